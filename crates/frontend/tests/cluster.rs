//! Goal: what is told of the cluster is true, in Redis's forms, and never makes a client look for
//! another server.
//!
//! Method: as in `session.rs`, with a fixed view of three nodes and two groups.

mod support;

use bitroster_frontend::{ClusterView, GroupView, NodeView, Options, SlotRange};
use bitroster_types::{ClusterId, GroupId, NodeId};
use support::Harness;

/// Nodes 1 to 3, of which 3 is away. This is node 1; it leads group 1, and node 2 group 2.
fn view() -> ClusterView {
    let node = |id: u64| NodeView {
        id: NodeId(id),
        host: format!("node{id}"),
        port: 7000,
        role: "all",
        is_linked: id < 3,
    };
    let group = |id: u16, leader: u64| GroupView {
        id: GroupId(id),
        leader: Some(NodeId(leader)),
        voters: [1, 2, 3].map(NodeId).into(),
    };
    let range = |first, last, group| SlotRange { first, last, group: GroupId(group) };
    ClusterView {
        cluster: Some(ClusterId(0xabcd << 112)),
        revision: 9,
        epoch: 4,
        me: Some(NodeId(1)),
        nodes: [1, 2, 3].map(node).into(),
        ranges: vec![range(0, 0, 1), range(1, 8000, 2), range(8001, 16383, 1)],
        groups: vec![group(1, 1), group(2, 2)],
        applied_entries: 77,
    }
}

fn clustered() -> Harness {
    let harness = Harness::ready(Options::default());
    *harness.status.view.lock().expect("nobody panicked") = view();
    harness
}

/// A node's name.
fn name(node: u64) -> String {
    format!("abcd{node:036}")
}

#[tokio::test]
async fn nodes_are_shown_with_the_slots_that_they_lead() {
    let harness = clustered();
    let mut client = harness.connect();
    let (one, two, three) = (name(1), name(2), name(3));
    assert_eq!(
        client.ask_text("CLUSTER NODES").await,
        format!(
            "{one} node1:7000@7000 myself,master - 0 0 4 connected 0 8001-16383\n\
             {two} node2:7000@7000 master - 0 0 4 connected 1-8000\n\
             {three} node3:7000@7000 master,fail? - 0 0 4 disconnected\n"
        )
    );
    client.ask("CLUSTER MYID", &format!("$40\r\n{one}\r\n")).await;
    client.ask(&format!("CLUSTER REPLICAS {one}"), "*0\r\n").await;
    client.ask("CLUSTER REPLICAS x", "-ERR Unknown node x\r\n").await;
    harness.status.view.lock().unwrap().groups[1].leader = Some(NodeId(1));
    let line = format!("{two} node2:7000@7000 slave {one} 0 0 4 connected");
    let both = client.ask_text("CLUSTER NODES").await;
    assert!(both.contains(&line), "{both}");
    client.send(format!("CLUSTER REPLICAS {one}\r\n")).await;
    client.expect(&format!("*2\r\n${}\r\n{line}\r\n", line.len())).await;
}

#[tokio::test]
async fn a_node_that_keeps_no_data_shows_itself_too() {
    let harness = clustered();
    harness.status.view.lock().unwrap().me = None;
    let mut client = harness.connect();
    let me = "r".repeat(40);
    client.ask("CLUSTER MYID", &format!("$40\r\n{me}\r\n")).await;
    let nodes = client.ask_text("CLUSTER NODES").await;
    assert!(nodes.ends_with(&format!("{me} :0@0 myself,master - 0 0 4 connected\n")), "{nodes}");
    assert_eq!(nodes.matches("myself").count(), 1);
}

#[tokio::test]
async fn slots_and_shards_name_the_leader_first() {
    let mut client = clustered().connect();
    let node = |id: u64| format!("*4\r\n$5\r\nnode{id}\r\n:7000\r\n$40\r\n{}\r\n*0\r\n", name(id));
    let row = |first: u16, last: u16, nodes: [u64; 3]| {
        format!("*5\r\n:{first}\r\n:{last}\r\n{}", nodes.map(node).concat())
    };
    let rows = [row(0, 0, [1, 2, 3]), row(1, 8000, [2, 1, 3]), row(8001, 16383, [1, 2, 3])];
    client.ask("CLUSTER SLOTS", &format!("*3\r\n{}", rows.concat())).await;
    let node = |id: u64, role: &str, applied: u64, health: &str| {
        format!(
            "*14\r\n$2\r\nid\r\n$40\r\n{}\r\n$4\r\nport\r\n:7000\r\n$2\r\nip\r\n$5\r\nnode{id}\r\n\
             $8\r\nendpoint\r\n$5\r\nnode{id}\r\n$4\r\nrole\r\n${}\r\n{role}\r\n\
             $18\r\nreplication-offset\r\n:{applied}\r\n$6\r\nhealth\r\n${}\r\n{health}\r\n",
            name(id),
            role.len(),
            health.len(),
        )
    };
    let away = node(3, "replica", 0, "fail");
    let (led, other) = (node(1, "master", 77, "online"), node(2, "replica", 0, "online"));
    let first = format!(
        "*4\r\n$5\r\nslots\r\n*4\r\n:0\r\n:0\r\n:8001\r\n:16383\r\n\
         $5\r\nnodes\r\n*3\r\n{led}{other}{away}"
    );
    let (led, other) = (node(2, "master", 0, "online"), node(1, "replica", 77, "online"));
    let second = format!(
        "*4\r\n$5\r\nslots\r\n*2\r\n:1\r\n:8000\r\n$5\r\nnodes\r\n*3\r\n{led}{other}{away}"
    );
    client.ask("CLUSTER SHARDS", &format!("*2\r\n{first}{second}")).await;
}

#[tokio::test]
async fn a_group_without_a_known_leader_makes_the_state_fail() {
    let harness = clustered();
    let mut client = harness.connect();
    let whole = client.ask_text("CLUSTER INFO").await;
    for part in [
        "cluster_state:ok\r\n",
        "\r\ncluster_enabled:0\r\n",
        "\r\ncluster_slots_assigned:16384\r\ncluster_slots_ok:16384\r\n",
        "\r\ncluster_known_nodes:3\r\ncluster_size:2\r\ncluster_current_epoch:4\r\n",
        "\r\nbitroster_revision:9\r\nbitroster_groups:2\r\nbitroster_groups_led_here:1\r\n",
    ] {
        assert!(whole.contains(part), "{part:?} is missing from:\n{whole}");
    }
    harness.status.view.lock().unwrap().groups[1].leader = None;
    let torn = client.ask_text("CLUSTER INFO").await;
    for part in [
        "cluster_state:fail\r\n",
        "\r\ncluster_slots_ok:8384\r\n",
        "\r\ncluster_slots_fail:8000\r\n",
        "\r\ncluster_size:1\r\n",
    ] {
        assert!(torn.contains(part), "{part:?} is missing from:\n{torn}");
    }
    client.send("CLUSTER SLOTS\r\n").await;
    client.expect("*2\r\n*5\r\n:0\r\n:0\r\n").await;
}

#[tokio::test]
async fn a_node_alone_is_a_cluster_of_one() {
    let mut client = Harness::ready(Options::default()).connect();
    let me = "r".repeat(40);
    let line = format!("{me} :6379@6379 myself,master - 0 0 1 connected 0-16383\n");
    assert_eq!(client.ask_text("CLUSTER NODES").await, line);
    client
        .ask(
            "CLUSTER SLOTS",
            &format!("*1\r\n*3\r\n:0\r\n:16383\r\n*4\r\n$0\r\n\r\n:6379\r\n$40\r\n{me}\r\n*0\r\n"),
        )
        .await;
    let info = client.ask_text("CLUSTER INFO").await;
    assert!(info.starts_with("cluster_state:ok\r\ncluster_enabled:0\r\n"), "{info}");
    client.ask("WAIT 1 0", ":0\r\n").await;
}

#[tokio::test]
async fn what_changes_a_cluster_is_refused_as_a_lone_redis_does() {
    let mut client = clustered().connect();
    let refused = "-ERR This instance has cluster support disabled\r\n";
    client.ask("CLUSTER MEET 10.0.0.1 6379", refused).await;
    client.ask("CLUSTER SETSLOT 1 NODE x", refused).await;
    client.ask("CLUSTER COUNTKEYSINSLOT 1", refused).await;
    client.ask("CLUSTER FOO", "-ERR unknown subcommand 'FOO'. Try CLUSTER HELP.\r\n").await;
    let arity = "-ERR wrong number of arguments for 'cluster|nodes' command\r\n";
    client.ask("CLUSTER NODES x", arity).await;
}

#[tokio::test]
async fn replication_is_that_of_one_master_and_wait_claims_a_majority_only() {
    let harness = clustered();
    let mut client = harness.connect();
    client.ask("SETBIT k 1 1\nWAIT 2 0", ":0\r\n:1\r\n").await;
    client.ask("MULTI\nWAIT 2 0\nEXEC", "+OK\r\n+QUEUED\r\n*1\r\n:1\r\n").await;
    let info = client.ask_text("INFO replication").await;
    let data = format!("abcd{}", "0".repeat(36));
    let data = format!("{}{}", "0".repeat(8), &data[..32]);
    assert_eq!(
        info,
        format!(
            "# Replication\r\nrole:master\r\nconnected_slaves:1\r\n\
             master_failover_state:no-failover\r\nmaster_replid:{data}\r\n\
             master_replid2:{}\r\nmaster_repl_offset:77\r\nsecond_repl_offset:-1\r\n\
             repl_backlog_active:0\r\nrepl_backlog_size:0\r\n\
             repl_backlog_first_byte_offset:0\r\nrepl_backlog_histlen:0\r\n",
            "0".repeat(40)
        )
    );
}

#[tokio::test]
async fn a_connection_chooses_what_its_reads_may_miss() {
    let harness = clustered();
    let mut client = harness.connect();
    client.ask("CLIENT CONSISTENCY", "*2\r\n$12\r\nlinearizable\r\n:0\r\n").await;
    client.ask("SETBIT k 1 1\nGETBIT k 1", ":0\r\n:1\r\n").await;
    client
        .ask("CLIENT CONSISTENCY STALE\nCLIENT CONSISTENCY", "+OK\r\n*2\r\n$5\r\nstale\r\n:0\r\n")
        .await;
    // Asked in the same pipeline, it tells of the reads before it.
    client.ask("GETBIT k 1\nCLIENT CONSISTENCY", ":1\r\n*2\r\n$5\r\nstale\r\n:12\r\n").await;
    client.ask("CLIENT CONSISTENCY", "*2\r\n$5\r\nstale\r\n:0\r\n").await;
    client
        .ask(
            "CLIENT CONSISTENCY eventual",
            "-ERR consistency is linearizable, leader or stale, not 'eventual'\r\n",
        )
        .await;
    let arity = "-ERR wrong number of arguments for 'client|consistency' command\r\n";
    client.ask("CLIENT CONSISTENCY a b", arity).await;
    client
        .ask(
            "MULTI\nCLIENT CONSISTENCY leader\nEXEC\nCLIENT CONSISTENCY",
            "+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n*2\r\n$6\r\nleader\r\n:0\r\n",
        )
        .await;
    client.ask("RESET\nCLIENT CONSISTENCY", "+RESET\r\n*2\r\n$12\r\nlinearizable\r\n:0\r\n").await;
    let mut other = harness.connect();
    other.ask("CLIENT CONSISTENCY", "*2\r\n$12\r\nlinearizable\r\n:0\r\n").await;
}

#[tokio::test]
async fn a_server_without_a_map_is_loading_although_it_is_ready() {
    let harness = Harness::loading(Options::default());
    harness.frontend.set_ready();
    let mut client = harness.connect();
    let loading = "-LOADING Bitroster is loading the dataset in memory\r\n";
    client.ask("GETBIT k 1", loading).await;
    assert!(client.ask_text("CLUSTER INFO").await.starts_with("cluster_state:fail\r\n"));
    harness.give_map();
    client.ask("GETBIT k 1", ":0\r\n").await;
}
