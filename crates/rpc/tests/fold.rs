//! Goal: a fold is asked of one node that has a replica of every group, and of no state older than
//! what the caller has seen.
//!
//! Method: as in `transport.rs`; the node answers how many ops it was sent. Kills these mutants: a
//! fold before the groups' states are known; one of a node that lacks a group, or whose replica
//! leaves; one of another node by a node that has replicas itself.
#![allow(clippy::unwrap_used, reason = "a test fails where it breaks")]

mod support;

use std::sync::Arc;

use bitroster_command::{Outcome, PartQuery, ReadOp, Reply};
use bitroster_placement::ClusterState;
use bitroster_proto::internal::{Role, Status};
use bitroster_router::{Fold, Reading, Target, Transport};
use bitroster_rpc::{ClusterTransport, Dispatcher, Identity, Links, StateCell};
use bitroster_shard::FoldPart;
use bitroster_types::{Consistency, GroupId, NodeId};
use support::{Act, GROUP, Group, Tasks, cluster, increment, key, length, soon, until};

const BOTH: [GroupId; 2] = [GROUP, GroupId(2)];

/// The links of a router, and the state that they follow.
async fn router(state: &ClusterState) -> (Links, StateCell) {
    let states = StateCell::new();
    states.offer(Arc::new(state.clone()));
    let identity = Identity {
        cluster: state.cluster,
        node: None,
        role: Role::Router,
        address: "router:1".to_owned(),
    };
    let dispatcher = Arc::new(Dispatcher::new(states.clone()));
    let links = Links::open(identity, states.clone(), dispatcher, Arc::new(Tasks));
    until("the router is linked", || links.linked().len() == 3).await;
    (links, states)
}

async fn read(transport: &ClusterTransport, group: GroupId, consistency: Consistency) {
    let (to, reading) = (Target { group, epoch: 1 }, Reading::new(consistency));
    transport.read(to, length("k"), &reading, soon(9_000)).await.unwrap();
}

/// The answer to a fold over these groups, and who was asked for what.
async fn fold(
    transport: &ClusterTransport,
    groups: &[GroupId],
    group: &Group,
) -> (Option<Outcome>, Vec<(u64, Vec<FoldPart>)>) {
    let query = PartQuery::Value { start: 0, end: 9 };
    let value = ReadOp::Part { key: key("k"), version: None, query };
    let values = groups.iter().map(|group| (*group, value.clone())).collect();
    let answer = transport.fold(Fold { epoch: 1, values, evaluate: value }, soon(9_000)).await;
    (answer, std::mem::take(&mut *group.folds.lock().unwrap()))
}

fn parts(groups: &[GroupId], applied: u64) -> Vec<FoldPart> {
    groups.iter().map(|group| FoldPart { group: *group, applied }).collect()
}

fn ops(count: i64) -> Option<Outcome> {
    Some(Outcome::Reply(Reply::Integer(count)))
}

#[tokio::test]
async fn one_node_with_all_groups_is_asked_for_what_was_seen() {
    let (nodes, group, state) = cluster(3).await;
    let (links, states) = router(&state).await;
    let routers = ClusterTransport::new(links);
    let own = ClusterTransport::new(nodes[1].links.clone());
    let applied = || group.engine.lock().unwrap().applied().0;
    // A router asks who leads, a node with replicas itself.
    for (transport, by) in [(&routers, 1), (&own, 2)] {
        read(transport, GROUP, Consistency::Linearizable).await;
        read(transport, GroupId(2), Consistency::Stale).await;
        assert_eq!(fold(transport, &BOTH, &group).await, (None, vec![]), "of one it saw no state");
        read(transport, GroupId(2), Consistency::Linearizable).await;
        let asked = vec![(by, parts(&BOTH, applied()))];
        assert_eq!(fold(transport, &BOTH, &group).await, (ops(3), asked));
        let to = Target { group: GROUP, epoch: 1 };
        transport.write(to, increment("k"), soon(9_000)).await.unwrap();
        read(transport, GROUP, Consistency::Linearizable).await;
        let asked = vec![(by, parts(&BOTH[..1], applied()))];
        assert_eq!(fold(transport, &BOTH[..1], &group).await, (ops(2), asked));
    }
    // The replicas of one group leave two nodes: the third is left, whoever leads.
    let mut fewer = state;
    for replica in fewer.groups.get_mut(&GroupId(2)).unwrap() {
        replica.leaving = replica.node != NodeId(3);
    }
    fewer.revision += 1;
    states.offer(Arc::new(fewer));
    assert_eq!(fold(&routers, &BOTH, &group).await.1[0].0, 3);
}

#[tokio::test]
async fn a_fold_that_nobody_answers_is_left_to_the_groups_for_a_while() {
    let (_nodes, group, state) = cluster(3).await;
    let transport = ClusterTransport::new(router(&state).await.0);
    read(&transport, GROUP, Consistency::Linearizable).await;
    for status in [Status::Unavailable, Status::StaleEpoch, Status::Busy] {
        group.script([Act::Refuse(status, 2)]);
        let mut asked = Vec::new();
        for _ in 0..4 {
            let (answer, folds) = fold(&transport, &BOTH[..1], &group).await;
            asked.push((answer, folds.len()));
        }
        assert_eq!(asked, [(None, 1), (None, 0), (None, 0), (ops(2), 1)], "{status:?}");
    }
}
