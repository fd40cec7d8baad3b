//! Goal: the clients that teams already use work unchanged, and get the results that Redis gives.
//!
//! Method: each program under `tests/clients` runs once against Debian's redis-server and once
//! against Bitroster, in the same run; what it prints must be equal byte for byte. The programs do
//! what such teams do: active users, retention, flags, permissions, presence, transactions.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

use bitroster_resp::Frame;
use bitroster_suite::{Server, server::workspace};

/// Runs a program against a server; its standard output.
fn run(program: &mut Command, server: &Server) -> String {
    let output = program
        .arg(server.port().to_string())
        .env("NODE_PATH", workspace().join("target/clients/node/node_modules"))
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("start {program:?}: {error}; run `cargo xtask test`"));
    let Output { status, stdout, stderr } = output;
    let stderr = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{program:?} ended with {status}:\n{stderr}\n{}", text(&stdout));
    text(&stdout)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a program against both servers and compares line by line.
fn prints_the_same(program: impl Fn() -> Command, lines_min: usize) {
    let redis = run(&mut program(), &Server::redis());
    let bitroster = run(&mut program(), &Server::bitroster(&["--groups", "4"]));
    for (at, (expected, got)) in redis.lines().zip(bitroster.lines()).enumerate() {
        assert_eq!(got, expected, "line {}", at + 1);
    }
    assert_eq!(bitroster, redis);
    assert!(redis.lines().count() >= lines_min, "the program printed too little:\n{redis}");
}

fn python() -> Command {
    let mut command = Command::new(workspace().join("target/clients/python/bin/python"));
    command.arg(workspace().join("tests/clients/python/usage.py"));
    command
}

fn node(program: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(workspace().join("tests/clients/node").join(program));
    command
}

#[test]
fn redis_py_programs_get_what_redis_gives() {
    prints_the_same(python, 80);
}

#[test]
fn ioredis_programs_get_what_redis_gives() {
    prints_the_same(|| node("ioredis.cjs"), 30);
}

#[test]
fn node_redis_programs_get_what_redis_gives() {
    prints_the_same(|| node("node_redis.cjs"), 30);
}

/// Feeds a script of commands to redis-cli's standard input.
fn redis_cli(server: &Server, script: &Path, options: &[&str]) -> String {
    let file = std::fs::File::open(script).expect("the script is there");
    let output = Command::new("redis-cli")
        .args(["-p", &server.port().to_string()])
        .args(options)
        .stdin(file)
        .output()
        .expect("redis-cli starts; `cargo xtask test` installs it");
    assert!(output.status.success(), "redis-cli ended with {}", output.status);
    text(&output.stdout)
}

#[test]
fn redis_cli_scripts_print_the_same_in_both_protocols() {
    let script = workspace().join("tests/clients/redis-cli.txt");
    let redis = Server::redis();
    let bitroster = Server::bitroster(&["--groups", "4"]);
    for options in [&["-2"][..], &["-3"], &["--no-raw"]] {
        let expected = redis_cli(&redis, &script, options);
        let got = redis_cli(&bitroster, &script, options);
        assert_eq!(got, expected, "with {options:?}");
        assert!(expected.lines().count() >= 60, "the script printed too little:\n{expected}");
    }
}

#[test]
fn redis_benchmark_runs_at_every_pipeline_depth() {
    let server = Server::bitroster(&["--groups", "4"]);
    // redis-benchmark pads its random numbers with zeros, which no offset may have: keys vary.
    let requests =
        ["SETBIT user:__rand_int__ 5000000 1", "GETBIT user:__rand_int__ 5000000", "SET hot 1"];
    for depth in ["1", "16", "64"] {
        for request in requests {
            let output = Command::new("redis-benchmark")
                .args(["-p", &server.port().to_string(), "-c", "20", "-n", "4000", "-P", depth])
                .args(["-r", "100000", "--csv"])
                .args(request.split(' '))
                .output()
                .expect("redis-benchmark starts; `cargo xtask test` installs it");
            let said = text(&output.stdout) + &text(&output.stderr);
            assert!(output.status.success(), "{request}: {}\n{said}", output.status);
            assert!(!said.contains("rror"), "{request}: {said}");
        }
    }
    let keys = server.client().words("DBSIZE").expect("an answer");
    assert!(
        matches!(keys, Frame::Integer(count) if count > 5_000),
        "the benchmark's keys are not there: {keys:?}"
    );
}
