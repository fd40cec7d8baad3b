//! Goal: the tests of clusters would see the faults that they are there for.
//!
//! Method: a build in which a promise can be broken on purpose (`BITROSTER_PLANTED`), hurt in the
//! way that must bring it to light, again and again until the checker complains; a fault that stays
//! hidden for a minute and a half fails the test. One of the faults has a guard of its own, and is
//! shown to be harmless as long as the guard is not planted too.
//!
//! Mutants killed: ack-before-sync, read-from-deposed-leader, forget-session, and misroute together
//! with skip-epoch-check.

use std::{env, path::PathBuf, time::Duration};

use bitroster_suite::{
    Cluster, LoadPlan, Random,
    checker::check,
    cluster::ClusterBuilder,
    network::inside,
    scenario::{HangingDisks, any_leader, contradiction, say, verdict},
    server::workspace,
    wait,
};

/// How often a fault is given the chance to show itself.
const CHANCES: usize = 12;

/// The variable that names the faults of a process.
const PLANTED: &str = "BITROSTER_PLANTED";

/// The build with faults.
fn planted_binary() -> PathBuf {
    let built = || workspace().join("target/planted/bitroster");
    let binary = env::var_os("SUITE_PLANTED_BINARY").map_or_else(built, PathBuf::from);
    assert!(binary.exists(), "{} is not there; run `cargo xtask test`", binary.display());
    binary
}

/// Three shard nodes and two routers that give a request up after `timeout_ms`.
fn planted(timeout_ms: u32) -> ClusterBuilder {
    let timeout = format!("server.request_timeout_ms={timeout_ms}");
    Cluster::builder(3, 2).binary(planted_binary()).set(&[&timeout])
}

fn plan(cluster: &Cluster, random: &mut Random) -> LoadPlan {
    let plan = LoadPlan::new(cluster.router_addresses(), random.bits());
    LoadPlan { clients: 16, pipeline: 16, patience: Duration::from_secs(20), ..plan }
}

/// Repeats a round with a load of its own until the checker finds the fault.
fn must_show(fault: &str, mut round: impl FnMut() -> Option<String>) {
    for chance in 1..=CHANCES {
        if let Some(report) = round() {
            say(&format!("{fault} shows in round {chance}:\n{report}"));
            return;
        }
    }
    panic!("{fault} was not found in {CHANCES} rounds");
}

#[test]
fn a_write_acknowledged_before_it_is_on_disk_is_found_lost() {
    let mut random = Random::announced(301);
    // A new cluster each time: Raft gives up on replicas whose log is shorter than they said.
    must_show("ack-before-sync", || {
        let mut cluster = planted(2_000).environment(0..3, PLANTED, "ack-before-sync").start();
        let load = plan(&cluster, &mut random).start();
        load.wait_for_answers(500);
        let shards: Vec<usize> = cluster.shards().collect();
        // While the disks hang, what is acknowledged is not even handed to the kernel.
        let hanging = HangingDisks::of(&cluster, &shards);
        wait::while_others_work(Duration::from_millis(300 + random.below(200)));
        cluster.kill_all(&shards);
        drop(hanging);
        for at in shards {
            cluster.start_node(at);
        }
        // So much may be lost that the cluster does not come back: then there is nothing to read.
        let is_back = load.is_answered_within(300, Duration::from_secs(10));
        if is_back { contradiction(load) } else { check(&load.stop()).err() }
    });
}

#[test]
fn a_read_from_a_deposed_leader_is_found_stale() {
    inside("a_read_from_a_deposed_leader_is_found_stale", 5, |network| {
        let mut random = Random::announced(302);
        let cluster = planted(300)
            .network(network)
            .environment(0..3, PLANTED, "read-from-deposed-leader")
            .start();
        must_show("read-from-deposed-leader", || {
            let watched = vec![cluster.node(3).client_address(); 6];
            let load = LoadPlan { watched, ..plan(&cluster, &mut random) }.start();
            load.wait_for_answers(500);
            // The old leader keeps one router, the others keep the other one.
            let leader = any_leader(&cluster, &mut random);
            network.cut(leader, 4);
            for other in cluster.shards().filter(|other| *other != leader) {
                network.cut(leader, other);
                network.cut(3, other);
            }
            wait::while_others_work(Duration::from_secs(5));
            network.heal();
            cluster.wait_settled();
            contradiction(load)
        });
    });
}

#[test]
fn a_batch_that_is_applied_twice_is_found() {
    inside("a_batch_that_is_applied_twice_is_found", 5, |network| {
        let mut random = Random::announced(303);
        let mut cluster =
            planted(10_000).network(network).environment(0..3, PLANTED, "forget-session").start();
        must_show("forget-session", || {
            let load = plan(&cluster, &mut random).start();
            load.wait_for_answers(500);
            // What reaches the leader is applied, and the answers are lost with it.
            let leader = any_leader(&cluster, &mut random);
            for router in cluster.routers() {
                network.cut_one_way(leader, router);
            }
            wait::while_others_work(Duration::from_millis(300));
            cluster.kill(leader);
            // The dead one's kernel would still deliver the answers: until the routers give the
            // link up, which they do after three seconds, and ask the next leader.
            wait::while_others_work(Duration::from_millis(4_000));
            network.heal();
            load.wait_for_answers(500);
            cluster.start_node(leader);
            cluster.wait_whole();
            contradiction(load)
        });
    });
}

#[test]
fn a_misled_router_is_found_where_groups_take_what_is_not_theirs() {
    let mut random = Random::announced(304);
    let cluster = planted(2_000)
        .environment(0..3, PLANTED, "skip-epoch-check")
        .environment(4..5, PLANTED, "misroute")
        .start();
    must_show("misroute with skip-epoch-check", || {
        let load = plan(&cluster, &mut random).start();
        load.wait_for_answers(2_000);
        contradiction(load)
    });
}

#[test]
fn a_misled_router_is_harmless_where_groups_know_what_is_theirs() {
    let mut random = Random::announced(305);
    let cluster = planted(300).environment(4..5, PLANTED, "misroute").start();
    let load = plan(&cluster, &mut random).start();
    load.wait_for_answers(3_000);
    // Every bit is read at the end: through the router that is not misled, for the other one must
    // refuse.
    let tally = verdict(load);
    assert!(tally.refused > 0, "the misled router was never refused: {tally}");
}
