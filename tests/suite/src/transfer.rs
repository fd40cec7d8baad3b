//! `bitroster import` and `bitroster export` as processes, and bitmaps to give them.

use std::{
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use bitroster_resp::Frame;
use serde_json::Value;

use crate::{Client, Random, Server, server::binary};

/// Bytes written by one SETRANGE.
const CHUNK_BYTES: usize = 128 << 10;

/// A run of the command line that has ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; `None` after a signal.
    pub code: Option<i32>,
    /// What it found.
    pub stdout: String,
    /// What it said beside.
    pub stderr: String,
}

impl Ended {
    /// Standard output as JSON.
    ///
    /// # Panics
    ///
    /// If it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The run, if it has ended with this code.
    ///
    /// # Panics
    ///
    /// If it has not.
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }
}

/// The program with arguments; its environment names no server and no password.
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(args).stdin(Stdio::null());
    for name in ["ADDR", "USER", "PASSWORD", "SOURCE_PASSWORD"] {
        command.env_remove(format!("BITROSTER_{name}"));
    }
    command
}

/// Runs the program to its end.
///
/// # Panics
///
/// If it does not start.
pub fn run(args: &[&str]) -> Ended {
    run_command(&mut command(args))
}

/// Runs a prepared program to its end.
///
/// # Panics
///
/// If it does not start.
pub fn run_command(command: &mut Command) -> Ended {
    let Output { status, stdout, stderr } =
        command.output().expect("bitroster starts; `cargo xtask test` builds it");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ended { code: status.code(), stdout: text(&stdout), stderr: text(&stderr) }
}

/// A run that goes on; killed when dropped.
#[derive(Debug)]
pub struct Running(Child);

impl Running {
    /// Starts the program.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn start(args: &[&str]) -> Self {
        let mut command = command(args);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("bitroster starts; `cargo xtask test` builds it"))
    }

    /// Ends it by SIGKILL.
    ///
    /// # Panics
    ///
    /// If it has ended already.
    pub fn kill(mut self) {
        assert_eq!(self.0.try_wait().expect("the child's state"), None, "it has ended already");
        self.0.kill().expect("kill");
        self.0.wait().expect("wait for the killed import");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.kill().is_ok() {
            drop(self.0.wait());
        }
    }
}

/// A server's address as a URL.
pub fn url(server: &Server) -> String {
    format!("redis://127.0.0.1:{}", server.port())
}

/// A server's address.
pub fn address(server: &Server) -> String {
    format!("127.0.0.1:{}", server.port())
}

/// An argument for a file.
///
/// # Panics
///
/// If the path is no text.
pub fn path(path: &Path) -> &str {
    path.to_str().expect("a path of plain letters")
}

/// Sends one request; its reply.
///
/// # Panics
///
/// If the connection fails.
pub fn ask(client: &mut Client, request: &str) -> Frame {
    client.words(request).expect("an answer")
}

/// A number that a server answers.
///
/// # Panics
///
/// If it answers anything else.
pub fn number(client: &mut Client, request: &str) -> i64 {
    let reply = ask(client, request);
    let Frame::Integer(number) = reply else { panic!("{request} answered {reply:?}") };
    number
}

/// Writes a value of so many bytes, of which `zeros_in_16` in 16 chunks are left out; in the
/// others about one bit in 2 to the power of `thinness` is set.
///
/// # Panics
///
/// If the connection fails.
pub fn fill(
    client: &mut Client,
    key: &str,
    len: usize,
    thinness: u32,
    zeros_in_16: u64,
    random: &mut Random,
) {
    for at in (0..len).step_by(CHUNK_BYTES) {
        if random.below(16) < zeros_in_16 {
            continue;
        }
        let mut chunk = Vec::with_capacity(CHUNK_BYTES);
        while chunk.len() < CHUNK_BYTES.min(len - at) {
            let word = (0..thinness).fold(u64::MAX, |word, _| word & random.bits());
            chunk.extend_from_slice(&word.to_be_bytes());
        }
        chunk.truncate(CHUNK_BYTES.min(len - at));
        let start = at.to_string();
        let request = [b"SETRANGE", key.as_bytes(), start.as_bytes(), &chunk];
        let reply = client.call(&request).expect("an answer");
        assert!(matches!(reply, Frame::Integer(_)), "{reply:?}");
    }
}
