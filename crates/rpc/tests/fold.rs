//! Goal: a fold is asked of one node that has a replica of every group; reads tell which log
//! entries they may show; one that nobody answers leaves time to ask the groups.
//!
//! Method: as in `transport.rs`; the node answers how many ops it was sent. Kills these mutants: an
//! answer that does not tell taken for one that shows nothing; a fold of a node that lacks a group,
//! or whose replica leaves; a failure of one group's fold counted against another group.
#![allow(clippy::unwrap_used, reason = "a test fails where it breaks")]

mod support;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bitroster_bitmap::{Formula, Step};
use bitroster_command::{PartQuery, ReadOp};
use bitroster_proto::internal::Status;
use bitroster_router::{Fold, Reading, Target, Transport};
use bitroster_rpc::ClusterTransport;
use bitroster_shard::FoldPart;
use bitroster_types::{Consistency, GroupId, NodeId};
use support::{Act, GROUP, Group, cluster, increment, key, length, router, soon, until};

const BOTH: [GroupId; 2] = [GROUP, GroupId(2)];

/// Reads something of these groups, and says which log entries that may show.
async fn read(transport: &ClusterTransport, groups: &[GroupId]) -> Vec<Option<u64>> {
    let reading = Reading::new(Consistency::Linearizable).noting();
    for group in groups {
        let to = Target { group: *group, epoch: 1 };
        transport.read(to, length("k"), &reading, soon(9_000)).await.unwrap();
    }
    groups.iter().map(|group| reading.shown(*group)).collect()
}

/// A fold over these groups, each of which must show the entry.
fn fold_of(parts: &[FoldPart]) -> Fold {
    let query = PartQuery::Value { start: 0, end: 9 };
    let value = ReadOp::Part { key: key("k"), version: None, query };
    let values: Vec<_> =
        parts.iter().map(|part| (part.group, part.applied, value.clone())).collect();
    let formula = Formula::new(vec![Step::Operand(0)], parts.len()).unwrap();
    Fold { epoch: 1, values, formula, range: (0, 9) }
}

/// The answer to a fold, and who was asked for what.
async fn fold(
    transport: &ClusterTransport,
    parts: &[FoldPart],
    group: &Group,
) -> (Option<u64>, Vec<(u64, Vec<FoldPart>)>) {
    let answer = transport.fold(fold_of(parts), soon(9_000)).await;
    (answer, std::mem::take(&mut *group.folds.lock().unwrap()))
}

fn parts(groups: &[GroupId], applied: u64) -> Vec<FoldPart> {
    groups.iter().map(|group| FoldPart { group: *group, applied }).collect()
}

#[tokio::test]
async fn reads_tell_what_they_may_show_and_one_that_does_not_is_remembered() {
    let (nodes, group, _) = cluster(3).await;
    let transport = ClusterTransport::new(nodes[1].links.clone());
    let applied = || group.engine.lock().unwrap().applied().0;
    assert_eq!(read(&transport, &BOTH).await, vec![Some(applied()); 2]);
    let to = Target { group: GROUP, epoch: 1 };
    transport.write(to, increment("k"), soon(9_000)).await.unwrap();
    assert_eq!(read(&transport, &[GROUP]).await, [Some(applied())]);
    // As a leader of an older version answers.
    let reading = Reading::default().noting();
    for (applied, shown) in [(7, Some(7)), (5, Some(7)), (9, Some(9)), (0, None), (9, None)] {
        reading.note_shown(GROUP, applied);
        assert_eq!((reading.shown(GROUP), reading.shown(GroupId(2))), (shown, None), "{applied}");
    }
    Reading::default().note_shown(GROUP, 1);
    assert_eq!(Reading::default().shown(GROUP), None, "nobody wanted to know");
}

#[tokio::test]
async fn one_node_with_all_groups_is_asked() {
    let (nodes, group, state) = cluster(3).await;
    let (links, states) = router(&state, "router:1");
    until("the router is linked", || links.linked().len() == 3).await;
    let routers = ClusterTransport::new(links);
    let own = ClusterTransport::new(nodes[1].links.clone());
    // A router asks who leads, a node with replicas itself.
    for (transport, by) in [(&routers, 1), (&own, 2)] {
        read(transport, &BOTH).await;
        for (groups, count) in [(&BOTH[..], 3), (&BOTH[..1], 2)] {
            let wanted = parts(groups, 70);
            let asked = vec![(by, wanted.clone())];
            assert_eq!(fold(transport, &wanted, &group).await, (Some(count), asked));
        }
    }
    // The replicas of one group leave two nodes: the third is left, whoever leads.
    let mut fewer = state;
    for replica in fewer.groups.get_mut(&GroupId(2)).unwrap() {
        replica.leaving = replica.node != NodeId(3);
    }
    fewer.revision += 1;
    states.offer(Arc::new(fewer.clone()));
    assert_eq!(fold(&routers, &parts(&BOTH, 70), &group).await.1[0].0, 3);
    let mut none = fewer.clone();
    none.groups.get_mut(&GroupId(2)).unwrap().iter_mut().for_each(|replica| replica.leaving = true);
    none.revision += 1;
    states.offer(Arc::new(none));
    assert_eq!(fold(&routers, &parts(&BOTH, 70), &group).await, (None, Vec::new()));
}

#[tokio::test]
async fn a_fold_that_nobody_answers_is_left_to_its_groups_for_a_while() {
    let (_nodes, group, state) = cluster(3).await;
    let (links, _) = router(&state, "router:1");
    until("the router is linked", || links.linked().len() == 3).await;
    let transport = ClusterTransport::new(links);
    // A group that gives two values fails once with both.
    let (one, other) = (parts(&[GROUP, GROUP], 70), parts(&BOTH[1..], 70));
    for status in [Status::Unavailable, Status::StaleEpoch, Status::Busy] {
        group.script([Act::Refuse(status, 2)]);
        let mut asked = Vec::new();
        for _ in 0..4 {
            let (answer, folds) = fold(&transport, &one, &group).await;
            asked.push((answer, folds.len()));
            assert_eq!(fold(&transport, &other, &group).await.0, Some(2), "it is not their fault");
        }
        assert_eq!(asked, [(None, 1), (None, 0), (None, 0), (Some(3), 1)], "{status:?}");
    }
    // What a group has no value for is no fault of the node's.
    group.script([Act::NoCount]);
    let answers = [fold(&transport, &one, &group).await.0, fold(&transport, &one, &group).await.0];
    assert_eq!(answers, [None, Some(3)]);
    // One that hangs leaves time to ask the groups.
    group.script([Act::ApplyAndHang]);
    let started = Instant::now();
    assert_eq!(transport.fold(fold_of(&one), soon(2_000)).await, None);
    assert!(started.elapsed() < Duration::from_millis(1_500), "{:?}", started.elapsed());
}
