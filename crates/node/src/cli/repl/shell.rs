//! The dialogue: a line is edited, run and answered, until the end.
//!
//! The history is kept in `$XDG_STATE_HOME/bitroster/history`, for its owner alone; lines that hold
//! a password never get there.

use std::{borrow::Cow, env, fs, path::PathBuf, time::Instant};

use anyhow::Context as _;
use bitroster_command::lookup;
use bitroster_resp::{Frame, Version};
use clap::ValueEnum as _;
use rustyline::{
    ColorMode, CompletionType, Config, Context, Editor, Helper,
    completion::Completer,
    error::ReadlineError,
    highlight::{CmdKind, Highlighter},
    hint::{Hint, Hinter},
    history::DefaultHistory,
    validate::Validator,
};

use super::{Form, Writer, help, hint, listen, listens, words};
use crate::cli::{
    exit::Code,
    output::{self, Style},
    remote::{Remote, Target},
};

/// Lines that are kept.
const HISTORY_LINES_MAX: usize = 2_000;

/// Talks until the person leaves.
pub(super) fn run(target: Target, version: Version, writer: Writer) -> anyhow::Result<Code> {
    let remote = target.connect(version)?;
    let mut shell = Shell {
        target,
        version,
        remote: Some(remote),
        writer,
        shows_time: false,
        in_transaction: false,
    };
    shell.greet()?;
    let style = writer.style;
    let colours = if style.colours { ColorMode::Enabled } else { ColorMode::Disabled };
    let config = Config::builder()
        .max_history_size(HISTORY_LINES_MAX)
        .and_then(|config| config.history_ignore_dups(true))
        .context("cannot set up the line editor")?
        .history_ignore_space(true)
        .completion_type(CompletionType::List)
        .color_mode(colours)
        .build();
    let mut editor: Editor<Assistant, DefaultHistory> =
        Editor::with_config(config).context("cannot edit lines here")?;
    editor.set_helper(Some(Assistant { style }));
    let history = history_file();
    if let Some(path) = &history {
        // The first time there is none.
        drop(editor.load_history(path));
    }
    loop {
        let prompt = shell.prompt();
        let shown = style.strong(&prompt);
        match editor.readline(&(prompt, shown)) {
            Ok(line) => {
                if is_kept(&line) && editor.add_history_entry(line.as_str()).unwrap_or(false) {
                    // Written at once, so that nothing is lost whatever ends the program.
                    if let Some(path) = &history {
                        drop(editor.append_history(path));
                    }
                }
                match shell.run_line(&line)? {
                    Flow::Go => {}
                    Flow::Leave => return Ok(Code::Done),
                }
            }
            Err(ReadlineError::Interrupted) => output::print("leave with Ctrl-D or \\q\n")?,
            Err(ReadlineError::Eof) => return Ok(Code::Done),
            Err(error) => return Err(error).context("cannot read the line"),
        }
    }
}

/// What follows a line.
enum Flow {
    Go,
    Leave,
}

/// A dialogue with a server.
struct Shell {
    target: Target,
    version: Version,
    /// `None` once the connection broke; the next command makes another one.
    remote: Option<Remote>,
    writer: Writer,
    shows_time: bool,
    in_transaction: bool,
}

impl Shell {
    /// Says who is at the other end, as far as it tells.
    fn greet(&mut self) -> anyhow::Result<()> {
        let style = self.writer.style;
        let info = self.remote.as_mut().and_then(|remote| remote.call(&["INFO", "server"]).ok());
        let who = info.as_ref().and_then(server_of).unwrap_or_else(|| "connected".to_owned());
        let (who, at) = (style.strong(&who), self.target.address());
        output::print(format!("{who} at {at}. Type 'help' for help, '\\q' to leave.\n"))
    }

    fn prompt(&self) -> String {
        let at = self.target.address();
        match (&self.remote, self.in_transaction) {
            (None, _) => "not connected> ".to_owned(),
            (Some(_), true) => format!("{at}(TX)> "),
            (Some(_), false) => format!("{at}> "),
        }
    }

    fn run_line(&mut self, line: &str) -> anyhow::Result<Flow> {
        let trimmed = line.trim();
        let mut plain = trimmed.split_ascii_whitespace();
        let first = plain.next().unwrap_or_default().to_ascii_lowercase();
        match first.as_str() {
            "" => return Ok(Flow::Go),
            "\\q" | "quit" | "exit" => return Ok(Flow::Leave),
            "help" | "\\h" | "\\?" | "?" => {
                output::print(help::help(plain.next(), self.writer.style))?;
                return Ok(Flow::Go);
            }
            "\\timing" => {
                self.shows_time = !self.shows_time;
                let is = if self.shows_time { "on" } else { "off" };
                output::print(format!("timing is {is}\n"))?;
                return Ok(Flow::Go);
            }
            "\\format" => {
                self.set_format(plain.next())?;
                return Ok(Flow::Go);
            }
            own if own.starts_with('\\') => {
                output::print(format!("no such command: {own}; 'help' lists them\n"))?;
                return Ok(Flow::Go);
            }
            _ => {}
        }
        let Ok(args) = words::split(trimmed.as_bytes()) else {
            output::print("Invalid argument(s)\n")?;
            return Ok(Flow::Go);
        };
        if let Err(error) = self.run_command(&args) {
            if error.is::<crate::cli::exit::OutputClosed>() {
                return Err(error);
            }
            // The connection is of no more use, and with it what was begun on it.
            self.remote = None;
            self.in_transaction = false;
            output::print(format!("{}\n", self.writer.style.bad(&format!("error: {error:#}"))))?;
        }
        Ok(Flow::Go)
    }

    fn set_format(&mut self, name: Option<&str>) -> anyhow::Result<()> {
        match name.and_then(|name| Form::from_str(name, true).ok()) {
            Some(form) => self.writer.form = form,
            None => return output::print("say \\format pretty, raw or json\n"),
        }
        Ok(())
    }

    /// Runs a command and shows its reply.
    ///
    /// # Errors
    ///
    /// What broke the connection.
    fn run_command(&mut self, args: &[Vec<u8>]) -> anyhow::Result<()> {
        let remote = match &mut self.remote {
            Some(remote) => remote,
            empty @ None => empty.insert(self.target.connect(self.version)?),
        };
        let started = Instant::now();
        let reply = remote.call(args)?;
        let took = started.elapsed();
        output::print(self.writer.text(args, &reply))?;
        if self.shows_time {
            let took = output::seconds(took.as_secs_f64());
            output::print(format!("{}\n", self.writer.style.dim(&format!("({took})"))))?;
        }
        if !matches!(reply, Frame::Error(_)) {
            if listens(args) {
                output::print(self.writer.style.dim("(Ctrl-C ends)\n"))?;
                listen(remote, args, &self.writer)?;
            }
            let name = args.first().map(|name| name.to_ascii_uppercase());
            match name.as_deref() {
                Some(b"MULTI") => self.in_transaction = true,
                Some(b"EXEC" | b"DISCARD" | b"RESET") => self.in_transaction = false,
                _ => {}
            }
        } else if args.first().is_some_and(|name| name.eq_ignore_ascii_case(b"EXEC")) {
            self.in_transaction = false;
        }
        Ok(())
    }
}

/// Name and version of a server, from its INFO.
fn server_of(info: &Frame) -> Option<String> {
    let (Frame::Bulk(text) | Frame::Verbatim { text, .. }) = info else { return None };
    let text = String::from_utf8_lossy(text);
    let field = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.map(|value| value.trim().to_owned())
    };
    for (name, product) in [
        ("bitroster_version", "Bitroster"),
        ("valkey_version", "Valkey"),
        ("redis_version", "Redis"),
    ] {
        if let Some(version) = field(name) {
            return Some(format!("{product} {version}"));
        }
    }
    None
}

/// Whether a line may be written to the history: not if it holds a password.
fn is_kept(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let is_secret = match words.as_slice() {
        [] => return false,
        ["auth", ..] => true,
        ["hello" | "migrate", rest @ ..] => rest.iter().any(|word| word.starts_with("auth")),
        ["acl", "setuser", ..] => true,
        ["config", "set", rest @ ..] => rest.iter().any(|word| is_secret_setting(word)),
        _ => false,
    };
    !is_secret
}

fn is_secret_setting(word: &str) -> bool {
    let word = word.trim_matches(['"', '\'']);
    word.contains("pass") || word == "masterauth"
}

/// The history's file; its folder is made. `None` where there is no place for it.
fn history_file() -> Option<PathBuf> {
    let named = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = named("XDG_STATE_HOME").or_else(|| Some(named("HOME")?.join(".local/state")))?;
    let folder = state.join("bitroster");
    fs::create_dir_all(&folder).ok()?;
    Some(folder.join("history"))
}

/// What the line editor asks while a line is typed.
struct Assistant {
    style: Style,
}

/// Arguments that are still to come. Shown, never inserted.
struct Arguments(String);

impl Hint for Arguments {
    fn display(&self) -> &str {
        &self.0
    }

    fn completion(&self) -> Option<&str> {
        None
    }
}

impl Hinter for Assistant {
    type Hint = Arguments;

    fn hint(&self, line: &str, pos: usize, _: &Context<'_>) -> Option<Arguments> {
        if pos < line.len() {
            return None;
        }
        hint::hint(line).map(Arguments)
    }
}

impl Completer for Assistant {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        pos: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(hint::completions(line.get(..pos).unwrap_or_default()))
    }
}

impl Highlighter for Assistant {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        let end = line.find(' ').unwrap_or(line.len());
        let (name, rest) = line.split_at(end);
        if lookup(name.as_bytes()).is_some() {
            Cow::Owned(format!("{}{rest}", self.style.name(name)))
        } else {
            Cow::Borrowed(line)
        }
    }

    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _: bool) -> Cow<'b, str> {
        Cow::Borrowed(prompt)
    }

    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        Cow::Owned(self.style.dim(hint))
    }

    fn highlight_char(&self, line: &str, pos: usize, _: CmdKind) -> bool {
        // Only the first word has a colour.
        line.get(..pos).is_none_or(|typed| !typed.contains(' '))
    }
}

impl Validator for Assistant {}

impl Helper for Assistant {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_never_kept() {
        for line in [
            "AUTH secret",
            "auth ann secret",
            "HELLO 3 AUTH ann secret",
            "ACL SETUSER ann on >secret",
            "CONFIG SET requirepass secret",
            "config set maxmemory 1gb \"requirepass\" secret",
            "MIGRATE h 1 k 0 1 AUTH2 ann secret",
            "   ",
        ] {
            assert!(!is_kept(line), "{line}");
        }
        for line in ["GET auth", "HELLO 3", "ACL LIST", "CONFIG SET maxmemory 1gb", "CONFIG GET *"]
        {
            assert!(is_kept(line), "{line}");
        }
    }

    #[test]
    fn servers_say_who_they_are() {
        let info = |text: &'static str| server_of(&Frame::Bulk(text.into()));
        let redis = info("# Server\r\nredis_version:7.0.15\r\nos:Linux\r\n");
        assert_eq!(redis.as_deref(), Some("Redis 7.0.15"));
        let both = info("redis_version:7.4.0\r\nbitroster_version:0.1.0\r\n");
        assert_eq!(both.as_deref(), Some("Bitroster 0.1.0"));
        assert_eq!(info("nothing"), None);
    }
}
