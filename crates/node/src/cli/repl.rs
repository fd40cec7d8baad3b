//! `bitroster cli`: one command, a file of commands, or a dialogue with any server that speaks
//! Redis's protocol.
//!
//! | module  | job                                                      |
//! |---------|----------------------------------------------------------|
//! | `shell` | the dialogue: line editing, history, its own commands    |
//! | `words` | a typed line becomes arguments                           |
//! | `print` | replies as text                                          |
//! | `hint`  | what may follow what was typed                           |
//! | `help`  | the manual                                               |

mod help;
mod hint;
mod print;
mod shell;
mod words;

use std::{
    ffi::OsString,
    io::{self, BufRead as _, BufReader, IsTerminal as _},
    os::unix::ffi::OsStringExt as _,
};

use anyhow::Context as _;
use bitroster_resp::{Frame, Version};
use clap::Args;

use self::print::{Form, answers_text};
use super::{
    exit::{Code, Failure},
    output::{self, Style},
    remote::{Remote, RemoteArgs},
};

/// Most requests of a script that are sent before their replies are read.
const PIPELINE_MAX: usize = 256;

/// Most bytes of them: a server may stop to read while its replies are not taken.
const PIPELINE_BYTES_MAX: usize = 16 << 10;

/// Arguments of `bitroster cli`.
#[derive(Debug, Args)]
pub(crate) struct CliArgs {
    #[command(flatten)]
    remote: RemoteArgs,
    /// How replies are written.
    #[arg(short, long, value_enum, default_value_t, value_name = "FORM")]
    output: Form,
    /// Speaks RESP3: maps, sets and truth values are told apart.
    #[arg(long)]
    resp3: bool,
    /// A command and its arguments; without, commands are read from standard input.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl CliArgs {
    fn version(&self) -> Version {
        if self.resp3 { Version::Resp3 } else { Version::Resp2 }
    }
}

/// Runs `bitroster cli`.
pub(crate) fn run(args: CliArgs) -> anyhow::Result<Code> {
    let version = args.version();
    let writer = Writer { form: args.output, style: Style::of_stdout() };
    if !args.command.is_empty() {
        let words: Vec<Vec<u8>> = args.command.into_iter().map(OsString::into_vec).collect();
        let mut remote = args.remote.connect(version)?;
        return once(&mut remote, &words, &writer);
    }
    if io::stdin().is_terminal() {
        return shell::run(args.remote.target()?, version, writer);
    }
    let mut remote = args.remote.connect(version)?;
    script(&mut remote, BufReader::new(io::stdin()), &writer)
}

/// How replies are shown.
#[derive(Clone, Copy, Debug)]
struct Writer {
    form: Form,
    style: Style,
}

impl Writer {
    /// The reply to `args` as it is shown.
    fn text(&self, args: &[Vec<u8>], reply: &Frame) -> Vec<u8> {
        let form = match self.form {
            Form::Auto if io::stdout().is_terminal() => Form::Pretty,
            Form::Auto => Form::Raw,
            Form::Pretty | Form::Raw | Form::Json => self.form,
        };
        if let Frame::Bulk(text) | Frame::Verbatim { text, .. } = reply
            && form != Form::Json
            && answers_text(args)
        {
            let mut text = text.to_vec();
            if !text.ends_with(b"\n") {
                text.push(b'\n');
            }
            return text;
        }
        print::reply(reply, form, self.style)
    }
}

/// One command. Its exit code tells how it was answered.
fn once(remote: &mut Remote, args: &[Vec<u8>], writer: &Writer) -> anyhow::Result<Code> {
    let reply = remote.call(args)?;
    output::print(writer.text(args, &reply))?;
    if let Frame::Error(text) = &reply {
        return Ok(Code::of_reply(text));
    }
    if listens(args) {
        listen(remote, args, writer)?;
    }
    Ok(Code::Done)
}

/// Whether more than one reply follows, until the connection ends.
fn listens(args: &[Vec<u8>]) -> bool {
    let name = args.first().map_or(&[][..], Vec::as_slice);
    let names = ["SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "MONITOR"];
    names.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

/// Prints what comes, until the connection ends or the program is stopped.
fn listen(remote: &mut Remote, args: &[Vec<u8>], writer: &Writer) -> anyhow::Result<()> {
    remote.set_timeout(None)?;
    loop {
        let frame = remote.receive()?;
        output::print(writer.text(args, &frame))?;
    }
}

/// The commands of a script, a line each; what is there at once is sent at once.
fn script(remote: &mut Remote, mut lines: impl Lines, writer: &Writer) -> anyhow::Result<Code> {
    let mut failed = Failed::default();
    let mut waiting: Vec<(u64, Vec<Vec<u8>>)> = Vec::new();
    let (mut number, mut bytes) = (0, 0);
    loop {
        let line = lines.next_line().context("cannot read standard input")?;
        let is_end = line.is_none();
        if let Some(line) = line {
            number += 1;
            match words::split(&line) {
                Ok(args) if args.is_empty() => {}
                Ok(args) => {
                    bytes += line.len();
                    remote.put(&args);
                    waiting.push((number, args));
                }
                Err(words::Unbalanced) => {
                    settle(remote, &mut waiting, &mut failed, writer)?;
                    output::print("Invalid argument(s)\n")?;
                    failed.add(number, Code::Usage, "invalid argument(s)");
                }
            }
        }
        let is_full = waiting.len() >= PIPELINE_MAX || bytes >= PIPELINE_BYTES_MAX;
        let is_last = waiting.last().is_some_and(|(_, args)| listens(args));
        if is_end || is_full || is_last || !lines.has_line() {
            let listening = if is_last { waiting.last().cloned() } else { None };
            settle(remote, &mut waiting, &mut failed, writer)?;
            bytes = 0;
            if let Some((_, args)) = listening {
                listen(remote, &args, writer)?;
            }
        }
        if is_end {
            return failed.end(number);
        }
    }
}

/// Sends what waits and prints the replies.
fn settle(
    remote: &mut Remote,
    waiting: &mut Vec<(u64, Vec<Vec<u8>>)>,
    failed: &mut Failed,
    writer: &Writer,
) -> anyhow::Result<()> {
    if waiting.is_empty() {
        return Ok(());
    }
    remote.flush()?;
    for (number, args) in waiting.drain(..) {
        let reply = remote.receive()?;
        if let Frame::Error(text) = &reply {
            failed.add(number, Code::of_reply(text), &String::from_utf8_lossy(text));
        }
        output::print(writer.text(&args, &reply))?;
    }
    Ok(())
}

/// Lines of a script.
trait Lines {
    /// The next line; `None` at the end.
    fn next_line(&mut self) -> io::Result<Option<Vec<u8>>>;

    /// Whether a whole line has been read ahead.
    fn has_line(&self) -> bool;
}

impl<R: io::Read> Lines for BufReader<R> {
    fn next_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        let read = self.read_until(b'\n', &mut line)?;
        Ok((read > 0).then_some(line))
    }

    fn has_line(&self) -> bool {
        self.buffer().contains(&b'\n')
    }
}

/// The commands of a script that were refused.
#[derive(Debug, Default)]
struct Failed {
    count: u64,
    first: Option<(u64, Code, String)>,
}

impl Failed {
    fn add(&mut self, number: u64, code: Code, text: &str) {
        self.count += 1;
        self.first.get_or_insert_with(|| (number, code, text.to_owned()));
    }

    /// How a script of so many lines ends.
    fn end(self, lines: u64) -> anyhow::Result<Code> {
        let Some((number, code, text)) = self.first else { return Ok(Code::Done) };
        let count = self.count;
        let what = format!("{count} of {lines} lines failed; the first is line {number}: {text}");
        Err(Failure::new(code, what).into())
    }
}
