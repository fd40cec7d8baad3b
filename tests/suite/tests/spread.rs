//! Goal: a key spread over groups is whole or not there, whatever process dies in the middle of a
//! command that publishes, moves or removes it; and no death leaves anything behind.
//!
//! Method: writers publish numbered values of many segments over four groups (SET, MSET, BITOP),
//! move them (RENAME, COPY), let them expire and remove them, each writer with keys of its own;
//! readers look at whole keys, ranges, counts and single blocks through every router; traders take
//! each other's values away (GETDEL, SET with GET, NX, XX). Processes are killed at random moments
//! and started again: first a process that is a whole cluster, then the routers and shard nodes of
//! a cluster in turn. At the end each look is judged against what was written (the rules are in
//! `editions/ledger.rs`), every key is removed, and the groups must tell that nothing is staged,
//! pending, reserved or left of any key. `SUITE_MINUTES` makes it longer, `SUITE_SEED` repeats it.
//!
//! Mutants killed: publish a value before every part of it is staged and the parts of the old one
//! are in doubt; never activate what a dead process has published; look at a value and replace it
//! in two steps.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use bitroster_resp::Frame;
use bitroster_suite::{
    Client, Cluster, Random, Server,
    editions::{Editions, EditionsPlan},
    scenario::{Blow, any_leader, duration, repeat, say, some_time},
    wait,
};

/// What the groups that a node leads tell in INFO: business begun and not finished, then parts of
/// keys. All are none where no key is.
const LEFTOVERS: [&str; 4] = ["spread_staged", "spread_pending", "spread_reserved", "spread_parts"];

/// How long groups may take to clean up what a death has left.
const CLEANING: Duration = Duration::from_secs(60);

/// Settings under which each block of a value is a segment of its own.
const WIDTH: &str = "cluster.segment_width_log2=16";

/// Requests end before clients lose their patience, and leaders soon give up what a dead router has
/// left: after twice this time.
const TIMEOUT: &str = "server.request_timeout_ms=5000";

#[test]
fn spread_keys_stay_whole_when_a_lone_process_dies() {
    let mut random = Random::announced(501);
    let mut server = Server::bitroster(&["--groups", "4", "--set", WIDTH, "--set", TIMEOUT]);
    let address = |server: &Server| vec![SocketAddr::from(([127, 0, 0, 1], server.port()))];
    let clients = EditionsPlan::new(address(&server), random.bits()).start();
    let mut deaths = 0;
    let began = Instant::now();
    while deaths == 0 || began.elapsed() < duration(20) {
        clients.wait_for_writes(random.below(60));
        server = server.restart();
        clients.move_to(address(&server));
        deaths += 1;
    }
    say(&format!("the process died {deaths} times"));
    clients.wait_for_writes(20);
    judge(clients, || vec![server.client()]);
}

#[test]
fn spread_keys_stay_whole_when_routers_and_shard_nodes_die() {
    let mut random = Random::announced(502);
    let mut cluster = Cluster::builder(3, 2).serving_shards().set(&[WIDTH, TIMEOUT]).start();
    let clients = EditionsPlan::new(cluster.router_addresses(), random.bits()).start();
    repeat(duration(40), |_| {
        clients.wait_for_writes(random.below(60));
        // A router in the middle of a command is the case that matters most.
        let victim = match random.below(6) {
            0 => any_leader(&cluster, &mut random),
            1 => random.index(cluster.shards().len()),
            _ => cluster.routers().start + random.index(cluster.routers().len()),
        };
        Blow::Kill.strike(&mut cluster, victim, some_time(&mut random, 800));
        cluster.wait_ready(victim);
    });
    cluster.wait_whole();
    clients.wait_for_writes(20);
    let nodes = 0..cluster.routers().end;
    judge(clients, || nodes.clone().map(|at| cluster.client_of(at)).collect());
}

/// Stops the clients, judges what they saw, removes all keys, and looks for what is left.
fn judge(mut clients: Editions, nodes: impl Fn() -> Vec<Client>) {
    clients.stop();
    let ledger = clients.ledger();
    let tally = ledger.tally();
    say(&tally.to_string());
    ledger.check().unwrap_or_else(|report| panic!("{report}"));
    assert!(tally.done > 200 && tally.looks > 200, "hardly anything was answered: {tally}");

    let (begun, all) = (&LEFTOVERS[..3], &LEFTOVERS[..]);
    wait_for_none(nodes(), begun);
    clients.read_all();
    clients.ledger().check().unwrap_or_else(|report| panic!("when all was quiet:\n{report}"));

    let mut link = clients.link();
    for names in ledger.names().chunks(10) {
        let args: Vec<&str> = ["DEL"].into_iter().chain(names.iter().map(String::as_str)).collect();
        let reply = link.insist(&args);
        assert!(matches!(reply, Frame::Integer(0..)), "DEL answered {reply:?}");
    }
    assert_eq!(link.insist(&["DBSIZE"]), Frame::Integer(0));
    assert_eq!(link.insist(&["KEYS", "*"]), Frame::Array(Vec::new()));
    wait_for_none(nodes(), all);
}

/// Waits until the groups have none of these things.
fn wait_for_none(mut nodes: Vec<Client>, fields: &[&str]) {
    let mut left = Vec::new();
    let gone = wait::within(CLEANING, Duration::from_millis(50), || {
        left = fields.iter().map(|field| (*field, total(&mut nodes, field))).collect();
        left.iter().all(|(_, count)| *count == 0).then_some(())
    });
    assert!(gone.is_some(), "after {CLEANING:?} the groups still have {left:?}");
}

/// A field of INFO, over all nodes.
fn total(nodes: &mut [Client], field: &str) -> u64 {
    let told = nodes.iter_mut().map(|node| node.info("spread", field));
    told.map(|count| count.expect("INFO tells of spread keys")).sum()
}
