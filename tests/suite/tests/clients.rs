//! Goal: the clients that teams already use work unchanged, and get the results that Redis gives.
//!
//! Method: each program under `tests/clients` runs once against Debian's redis-server and once
//! against Bitroster, in the same run; what it prints must be equal byte for byte. The programs do
//! what such teams do: active users, retention, flags, permissions, presence, transactions.

use std::process::Command;

use bitroster_resp::Frame;
use bitroster_suite::{Server, programs, server::workspace};

/// Runs a program against Redis and against one process of Bitroster.
fn prints_the_same(program: impl Fn() -> Command, lines_min: usize) {
    let (redis, bitroster) = (Server::redis(), Server::bitroster(&["--groups", "4"]));
    programs::prints_the_same(program, lines_min, redis.port(), bitroster.port());
}

#[test]
fn redis_py_programs_get_what_redis_gives() {
    prints_the_same(programs::python, 80);
}

#[test]
fn ioredis_programs_get_what_redis_gives() {
    prints_the_same(|| programs::node("ioredis.cjs"), 30);
}

#[test]
fn node_redis_programs_get_what_redis_gives() {
    prints_the_same(|| programs::node("node_redis.cjs"), 30);
}

#[test]
fn redis_cli_scripts_print_the_same_in_both_protocols() {
    let script = workspace().join("tests/clients/redis-cli.txt");
    let redis = Server::redis();
    let bitroster = Server::bitroster(&["--groups", "4"]);
    for options in [&["-2"][..], &["-3"], &["--no-raw"]] {
        let expected = programs::redis_cli(redis.port(), &script, options);
        let got = programs::redis_cli(bitroster.port(), &script, options);
        programs::compare(&expected, &got, 60);
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
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
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
