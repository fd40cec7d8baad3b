//! Programs with the clients that teams use, run against a server.

use std::{
    fs::File,
    path::Path,
    process::{Command, Output, Stdio},
};

use crate::server::workspace;

/// The program with redis-py.
pub fn python() -> Command {
    python_program("usage.py")
}

/// A program in Python, with the packages that `requirements.txt` pins.
pub fn python_program(program: &str) -> Command {
    let mut command = Command::new(workspace().join("target/clients/python/bin/python"));
    command.arg(workspace().join("tests/clients/python").join(program));
    command
}

/// A program with one of Node's clients.
pub fn node(program: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(workspace().join("tests/clients/node").join(program));
    command
}

/// Runs a program against the server on a port of loopback; its standard output.
///
/// # Panics
///
/// If it cannot be started or fails.
pub fn run(mut program: Command, port: u16) -> String {
    let output = program
        .arg(port.to_string())
        .env("NODE_PATH", workspace().join("target/clients/node/node_modules"))
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("start {program:?}: {error}; run `cargo xtask test`"));
    let Output { status, stdout, stderr } = output;
    let stderr = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{program:?} ended with {status}:\n{stderr}\n{}", text(&stdout));
    text(&stdout)
}

/// Runs a program against both servers and compares line by line.
///
/// # Panics
///
/// If they differ, or the program prints fewer lines than `lines_min`.
pub fn prints_the_same(
    program: impl Fn() -> Command,
    lines_min: usize,
    redis: u16,
    bitroster: u16,
) {
    compare(&run(program(), redis), &run(program(), bitroster), lines_min);
}

/// Compares what a program printed with Redis and with Bitroster.
///
/// # Panics
///
/// If they differ, or there are fewer lines than `lines_min`.
pub fn compare(redis: &str, bitroster: &str, lines_min: usize) {
    for (at, (expected, got)) in redis.lines().zip(bitroster.lines()).enumerate() {
        assert_eq!(got, expected, "line {}", at + 1);
    }
    assert_eq!(bitroster, redis);
    assert!(redis.lines().count() >= lines_min, "the program printed too little:\n{redis}");
}

/// Feeds a script of commands to redis-cli's standard input; what it printed.
///
/// # Panics
///
/// If it cannot be started or fails.
pub fn redis_cli(port: u16, script: &Path, options: &[&str]) -> String {
    let file = File::open(script).expect("the script is there");
    let output = Command::new("redis-cli")
        .args(["-p", &port.to_string()])
        .args(options)
        .stdin(file)
        .output()
        .expect("redis-cli starts; `cargo xtask test` installs it");
    assert!(output.status.success(), "redis-cli ended with {}", output.status);
    text(&output.stdout)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
