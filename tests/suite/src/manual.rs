//! Pages of the manual: their blocks of code, run as they stand.
//!
//! A block's fence says what it is. `console` has lines that begin with `$ ` and are run by bash,
//! each with what it prints below; `sh`, `python` and `js` are programs, and a block `output` after
//! one is what it prints. `redis` behind it means that redis-server answers instead of Bitroster,
//! and `no-run` that the block needs what a test has not. All blocks of a page see one server, with
//! port 6379 replaced by its port.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

use crate::{
    Server,
    server::{binary, workspace},
};

/// What `redis-cli` means in a page.
const REDIS_CLI: &str = "redis-cli() { command redis-cli -p \"$PORT\" $STYLE \"$@\"; }\n";

/// The port that pages name.
const PORT: &str = "6379";

/// A fenced block of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The fence's line, from 1.
    pub line: usize,
    /// The fence's words.
    pub info: String,
    /// What is between the fences; each line ends in a line feed.
    pub text: String,
}

impl Block {
    /// The language.
    pub fn language(&self) -> &str {
        self.info.split(' ').next().unwrap_or_default()
    }

    /// Whether the fence has a word behind the language.
    pub fn is_marked(&self, word: &str) -> bool {
        self.info.split(' ').skip(1).any(|known| known == word)
    }

    /// Whether it is code that can be run somewhere.
    pub fn is_code(&self) -> bool {
        matches!(self.language(), "console" | "sh" | "python" | "js" | "go")
    }
}

/// The blocks of a page.
///
/// # Panics
///
/// If the last one has no end.
pub fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = page.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let Some(info) = line.strip_prefix("```") else { continue };
        let mut text = String::new();
        loop {
            let (_, line) = lines.next().unwrap_or_else(|| panic!("line {}: no end", at + 1));
            if line == "```" {
                break;
            }
            text.push_str(line);
            text.push('\n');
        }
        blocks.push(Block { line: at + 1, info: info.to_owned(), text });
    }
    blocks
}

/// The servers that a page's blocks talk to: fresh ones.
#[derive(Default)]
pub struct Servers {
    bitroster: Option<Server>,
    redis: Option<Server>,
}

impl Servers {
    fn port_for(&mut self, block: &Block) -> u16 {
        if block.is_marked("redis") {
            self.redis.get_or_insert_with(Server::redis).port()
        } else {
            // The number of groups is told by what a key takes.
            let start = || Server::bitroster(&["--groups", "2"]);
            self.bitroster.get_or_insert_with(start).port()
        }
    }
}

/// How many blocks of a page were run, and how many say that they cannot be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Blocks that were run.
    pub run: usize,
    /// Blocks that are marked `no-run`.
    pub not_run: usize,
}

/// Runs the blocks of a page in their order.
///
/// # Errors
///
/// What the first block that fails or prints something else than it shows did instead.
pub fn run(page: &str) -> Result<Count, String> {
    let blocks = blocks(page);
    let mut servers = Servers::default();
    let mut count = Count::default();
    for (at, block) in blocks.iter().enumerate().filter(|(_, block)| block.is_code()) {
        if block.is_marked("no-run") {
            count.not_run += 1;
            continue;
        }
        let shown = blocks.get(at + 1).filter(|next| next.language() == "output");
        let port = servers.port_for(block);
        run_block(block, shown, port).map_err(|wrong| format!("line {}: {wrong}", block.line))?;
        count.run += 1;
    }
    Ok(count)
}

fn run_block(block: &Block, shown: Option<&Block>, port: u16) -> Result<(), String> {
    let text = block.text.replace(PORT, &port.to_string());
    let printed = match block.language() {
        "console" => return run_console(&text, port),
        "sh" => done(bash(&format!("set -e\n{text}"), port, "-e"))?,
        "python" => {
            let python = workspace().join("target/clients/python/bin/python");
            done(output(Command::new(python).arg("-c").arg(&text)))?
        }
        "js" => {
            let modules = workspace().join("target/clients/node/node_modules");
            done(output(Command::new("node").env("NODE_PATH", modules).arg("-e").arg(&text)))?
        }
        other => return Err(format!("a block of {other} cannot be run: mark it `no-run`")),
    };
    shown.map_or(Ok(()), |shown| compare("the program", &shown.text, &printed))
}

/// Runs lines that begin with `$ `, and compares what each prints with what stands below it.
fn run_console(text: &str, port: u16) -> Result<(), String> {
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let command = line.strip_prefix("$ ").ok_or_else(|| format!("no command: {line}"))?;
        let mut shown = String::new();
        while let Some(line) = lines.next_if(|line| !line.starts_with("$ ")) {
            shown.push_str(line);
            shown.push('\n');
        }
        compare(command, &shown, &text_of(&bash(command, port, "--no-raw")))?;
    }
    Ok(())
}

/// Runs bash in a folder of its own.
fn bash(script: &str, port: u16, style: &str) -> Output {
    let folder = tempfile::tempdir().expect("a temporary folder");
    output(
        Command::new("bash")
            .arg("-c")
            .arg(format!("{REDIS_CLI}{script}"))
            .current_dir(folder.path())
            .env("PORT", port.to_string())
            .env("STYLE", style),
    )
}

fn output(command: &mut Command) -> Output {
    let started = command.stdin(Stdio::null()).output();
    started.unwrap_or_else(|error| panic!("start {command:?}: {error}; run `cargo xtask test`"))
}

fn text_of(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

fn done(output: Output) -> Result<String, String> {
    let text = text_of(&output);
    if output.status.success() { Ok(text) } else { Err(format!("{}\n{text}", output.status)) }
}

/// Compares line by line, but for blanks at the ends of lines and at the end.
fn compare(what: &str, shown: &str, printed: &str) -> Result<(), String> {
    let lines = |text: &str| -> Vec<String> {
        text.trim_end().lines().map(|line| line.trim_end().to_owned()).collect()
    };
    if lines(shown) == lines(printed) {
        return Ok(());
    }
    Err(format!("{what}\nprints\n{printed}instead of\n{shown}"))
}

/// The page's text.
///
/// # Panics
///
/// If it is not there.
pub fn page(path: impl AsRef<Path>) -> String {
    let path = workspace().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What the binary prints.
///
/// # Panics
///
/// If it fails.
pub fn prints(args: &[&str]) -> String {
    let output = Command::new(binary()).args(args).output().expect("bitroster starts");
    assert!(output.status.success(), "{args:?} ended with {}", output.status);
    String::from_utf8(output.stdout).expect("text")
}
