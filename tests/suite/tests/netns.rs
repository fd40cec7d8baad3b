//! Goal: whatever links break, clients see one history, and the majority goes on.
//!
//! Method: each process in a network namespace of its own; links are cut in one direction or both,
//! between nodes and between routers and nodes, slowed down, and made to flicker, while processes
//! die and freeze too; the clients reach the routers all the time. The history is checked at the
//! end. Needs root and iproute2; where that is missing the tests say so and do nothing.
//!
//! Mutants killed: see `planted.rs`.

use std::time::Duration;

use bitroster_suite::{
    Cluster, LoadPlan, Random,
    network::{Network, inside},
    scenario::{Blow, any_leader, cut_links, duration, repeat, say, some_time, verdict},
    wait,
};

/// Three shard nodes and two routers.
const NODES: usize = 5;

fn cluster(network: &Network) -> Cluster {
    Cluster::builder(3, 2).network(network).start()
}

#[test]
fn links_break_and_mend_and_clients_see_one_history() {
    inside("links_break_and_mend_and_clients_see_one_history", NODES, |network| {
        let mut random = Random::announced(201);
        let mut cluster = cluster(network);
        let load = LoadPlan::new(cluster.router_addresses(), random.bits()).start();
        let rounds = repeat(duration(60), |_| {
            cut_links(&cluster, network, &mut random);
            if random.one_in(3) {
                // A node that is hurt while the links are bad must find back by itself.
                network.isolate(random.index(3));
                let blow = if random.one_in(2) { Blow::Kill } else { Blow::Pause };
                let victim = random.index(NODES);
                blow.strike(&mut cluster, victim, some_time(&mut random, 1_500));
                network.heal();
            }
            cluster.wait_whole();
            load.wait_for_answers(200);
        });
        say(&format!("{rounds} rounds"));
        verdict(load);
    });
}

#[test]
fn a_leader_that_is_cut_off_is_replaced_and_its_clients_go_on() {
    inside("a_leader_that_is_cut_off_is_replaced_and_its_clients_go_on", NODES, |network| {
        let mut random = Random::announced(202);
        let cluster = cluster(network);
        let load = LoadPlan::new(cluster.router_addresses(), random.bits()).start();
        load.wait_for_answers(500);
        let leader = any_leader(&cluster, &mut random);
        let routers = cluster.routers();
        // The routers still reach it: only what it can no longer promise must not be answered.
        for other in cluster.shards().filter(|other| *other != leader) {
            network.cut(leader, other);
        }
        let others = wait::within(Duration::from_secs(20), Duration::from_millis(200), || {
            let other = cluster.shards().find(|other| *other != leader)?;
            let status = cluster.status_from(other)?;
            let gone = cluster.id_of(&status, leader)?;
            let groups = status.groups.iter();
            let led = groups.clone().all(|group| group.leader.is_some_and(|node| node != gone));
            led.then_some(())
        });
        assert!(others.is_some(), "the majority elects no leaders");
        load.wait_for_answers(2_000);
        network.heal();
        cluster.wait_settled();
        load.wait_for_answers(500);
        say(&format!("{} routers served all the time", routers.len()));
        verdict(load);
    });
}
