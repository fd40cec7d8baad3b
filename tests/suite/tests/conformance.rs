//! Goal: every command means the same whatever carries it and wherever it runs, and what Redis has
//! means what it means there.
//!
//! Method: the cases under `tests/conformance/cases` run in both versions of RESP and over gRPC,
//! against one process of four groups and against a cluster; those of Redis's commands also against
//! Debian's redis-server, so that the cases themselves are right. Every command of the table must
//! have cases: one that succeeds, one that is refused, one for each word of its syntax and one for
//! each of its sub-commands.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use bitroster_command::COMMANDS;
use bitroster_suite::{
    Client, Cluster, Server,
    conformance::{Case, Grpc, Resp, cases, expect::Expect, run},
    wait,
};

/// Commands that take any arguments and refuse none.
const NEVER_REFUSED: [&str; 5] = ["info", "punsubscribe", "quit", "sunsubscribe", "unsubscribe"];

/// Commands that answer an error or nothing, whatever they are given: those that would be of a
/// cluster whose clients know it, those that are not served, DEBUG, which is off, and SHUTDOWN.
const NEVER_ANSWERED: [&str; 9] = [
    "asking",
    "debug",
    "monitor",
    "move",
    "readonly",
    "readwrite",
    "replicaof",
    "shutdown",
    "slaveof",
];

fn resp(name: &str, connect: impl Fn() -> Client, cases: &[Case]) {
    for protocol in [2, 3] {
        run(cases, &mut Resp::new(name, protocol, &connect));
    }
}

fn grpc(name: &str, address: SocketAddr, cases: Vec<Case>) {
    let alone: Vec<_> = cases.into_iter().filter(|case| !case.is_session).collect();
    run(&alone, &mut Grpc::connect(name, address));
}

#[test]
fn cases_hold_on_one_process() {
    let server = Server::bitroster(&["--groups", "4"]);
    resp("one process", || server.client(), &cases());
}

#[test]
fn cases_hold_over_grpc_on_one_process() {
    let server = Server::bitroster(&["--groups", "4"]);
    grpc("one process", server.grpc_address(), cases());
}

#[test]
fn cases_hold_on_a_cluster() {
    let mut cluster = Cluster::builder(3, 1).start();
    cluster.wait_whole();
    let router = cluster.routers().start;
    let routed: Vec<_> = cases().into_iter().filter(|case| !case.is_lone).collect();
    resp("a cluster", || cluster.client_of(router), &routed);
    let address =
        wait::until("the router tells its gRPC address", || cluster.node(router).grpc_address());
    grpc("a cluster", address, routed);
}

#[test]
fn cases_of_redis_commands_hold_on_redis() {
    let redis = Server::redis();
    let shared: Vec<_> = cases().into_iter().filter(|case| !case.is_own).collect();
    resp("redis-server", || redis.client(), &shared);
}

/// A command's cases so far.
#[derive(Default)]
struct Seen {
    succeeds: bool,
    refused: bool,
    words: BTreeSet<String>,
}

#[test]
fn every_command_has_cases_for_its_use_its_options_and_its_errors() {
    let mut seen: BTreeMap<String, Seen> = BTreeMap::new();
    for case in cases() {
        for exchange in &case.exchanges {
            let mut words =
                exchange.request.iter().map(|word| String::from_utf8_lossy(word).to_uppercase());
            let Some(name) = words.next() else { continue };
            let seen = seen.entry(name.to_lowercase()).or_default();
            let refused = matches!(exchange.reply, Expect::Error(..));
            seen.refused |= refused;
            seen.succeeds |= !refused;
            seen.words.extend(words);
        }
    }
    let mut missing = Vec::new();
    for spec in COMMANDS {
        let name = spec.name;
        let Some(seen) = seen.get(name) else {
            missing.push(format!("{name}: no case"));
            continue;
        };
        if seen.succeeds == NEVER_ANSWERED.contains(&name) {
            missing.push(format!("{name}: no case that succeeds, or one too many"));
        }
        if seen.refused == NEVER_REFUSED.contains(&name) {
            missing.push(format!("{name}: no case that is refused, or one too many"));
        }
        let mut needed = literals(spec.syntax);
        needed.extend(spec.subcommands.iter().map(|name| name.to_uppercase()));
        let absent: Vec<_> = needed.into_iter().filter(|word| !seen.words.contains(word)).collect();
        if !absent.is_empty() {
            missing.push(format!("{name}: no case with {}", absent.join(", ")));
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

/// The words of a syntax that are written as they stand: those in capitals.
fn literals(syntax: &str) -> BTreeSet<String> {
    syntax
        .split(|char: char| !(char.is_ascii_alphanumeric() || char == '_' || char == '-'))
        .filter(|word| word.len() > 1 && word.chars().all(|char| !char.is_ascii_lowercase()))
        .filter(|word| word.starts_with(|first: char| first.is_ascii_uppercase()))
        .map(str::to_owned)
        .collect()
}
