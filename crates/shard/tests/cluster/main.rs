//! Goal: a group whose replicas are on three nodes elects, serves and keeps what it acknowledged
//! through cuts, crashes and changes of its members; who cannot know that it leads does not pretend
//! to; a batch that is sent again is applied once.
//!
//! Method: three shards, each over a disk in memory and in a runtime of its own, joined by a
//! transport that can be cut in either direction. A crash drops the runtime and all unsynced bytes.
//! Mutants killed: skipping the question to the majority (`raft/replica.rs`), answering for any
//! replica number (`group.rs`), applying a numbered batch again (`raft/state_machine.rs`), counting
//! a learner that lags as ready to vote (`raft/members.rs`), folding what a replica has without
//! waiting for what was seen (`group/read.rs`).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod nodes;

use std::time::Instant;

use bitroster_bitmap::{Formula, Step};
use bitroster_command::{
    Expiry, NumberedOutcome, OpBatch, Outcome, PartQuery, ReadCommand, ReadOp, Reply, SetReply,
    SourceRef, Want, WriteCommand, WriteOp,
};
use bitroster_shard::{Error, FoldPart, MemberStep, MessageKind, promised_term};
use bitroster_types::{Consistency, GroupId, Key, NodeId, ReplicaId, SessionId};
use bitroster_wal::testing::FaultyDisk;
use bytes::Bytes;
use nodes::{Cluster, ONE, PATIENCE, soon, within};

fn key(name: &str) -> Key {
    Key::new(name.as_bytes()).unwrap()
}

fn set_bit(name: &str, offset: u64) -> OpBatch {
    let mut batch = OpBatch::new();
    batch.push_set_bit(&key(name), offset, true);
    batch
}

fn get_bit(name: &str, offset: u64) -> ReadOp {
    ReadOp::Command(ReadCommand::GetBit { key: key(name), offset })
}

fn count(name: &str) -> ReadOp {
    ReadOp::Command(ReadCommand::BitCount { key: key(name), range: None })
}

fn integer(number: i64) -> Outcome {
    Outcome::Reply(Reply::Integer(number))
}

#[test]
fn a_founded_group_is_led_by_the_preferred_replica_and_all_apply_what_is_written() {
    let cluster = Cluster::start();
    assert_eq!(cluster.leader(&[1, 2, 3]), NodeId(1));
    assert_eq!(cluster.write(&[1, 2, 3], &set_bit("k", 7)).1, [integer(0)]);
    assert_eq!(cluster.read(NodeId(1), get_bit("k", 7)).unwrap(), integer(1));
    let leader = cluster.group(NodeId(1));
    for consistency in [Consistency::Leader, Consistency::Stale] {
        let read = cluster.block(leader.read(get_bit("k", 7), consistency, soon()));
        assert_eq!(read.unwrap(), integer(1), "{consistency:?}");
    }
    for node in [2, 3].map(NodeId) {
        cluster.catch_up(node, NodeId(1));
        let error = cluster.read(node, get_bit("k", 7)).unwrap_err();
        assert!(
            matches!(error, Error::NoLeader { leader: Some(NodeId(1)), .. }),
            "a follower points to the leader: {error:?}"
        );
        assert_eq!(cluster.group(node).peek(&get_bit("k", 7)), Some(integer(1)));
        assert_eq!(cluster.group(node).read_now(&get_bit("k", 7)), None);
        let mut ops = OpBatch::new();
        ops.push_read(&get_bit("k", 7));
        ops.push_read(&count("k"));
        let reading = cluster.group(node);
        let stale =
            cluster.block(reading.read_batch(ops, Consistency::Stale, &[], soon())).unwrap();
        assert_eq!(stale.outcomes.decode().unwrap(), [integer(1), integer(1)]);
        assert!(stale.age < PATIENCE);
    }
    let status = cluster.group(NodeId(1)).status();
    assert!(status.leads && status.ready && !status.learner);
    let followers: Vec<_> =
        status.followers.iter().map(|one| (one.replica.0, one.node.0, one.voter)).collect();
    assert_eq!(followers, [(2, 2, true), (3, 3, true)]);
}

/// Reads that are confirmed by `supporters`: what they answered, and the term to be confirmed.
fn read_with(cluster: &Cluster, node: NodeId, supporters: &[u64]) -> Result<Confirmable, Error> {
    let mut ops = OpBatch::new();
    ops.push_read(&count("k"));
    let supporters: Vec<_> = supporters.iter().copied().map(ReplicaId).collect();
    let (group, within) = (cluster.group(node), within(500));
    let read = group.read_batch(ops, Consistency::Linearizable, &supporters, within);
    let answered = cluster.block(read)?;
    Ok((answered.outcomes.decode().unwrap().remove(0), answered.term))
}

type Confirmable = (Outcome, Option<u64>);

/// The newest term that a replica has promised itself to, as it says to routers.
fn promised(cluster: &Cluster, node: u64) -> u64 {
    let shard = cluster.shard(NodeId(node));
    let answer = shard.receive(ONE, ReplicaId(node), MessageKind::Lead, Bytes::new());
    promised_term(&cluster.block(answer).unwrap()).unwrap()
}

#[test]
fn a_leader_leaves_it_to_its_supporters_and_a_deposed_one_finds_none() {
    let cluster = Cluster::start();
    let old = cluster.write(&[1, 2, 3], &set_bit("k", 1)).0;
    let others: Vec<_> = [1, 2, 3].into_iter().filter(|node| *node != old.0).collect();
    assert_eq!(read_with(&cluster, old, &[]).unwrap(), (integer(1), None));
    // Who makes no majority with it is of no use: the leader asks for itself.
    for nobody in [old.0, 77] {
        assert_eq!(read_with(&cluster, old, &[nobody]).unwrap(), (integer(1), None));
    }
    let term = read_with(&cluster, old, &others[..1]).unwrap().1.unwrap();
    assert!(others.iter().all(|other| promised(&cluster, *other) <= term));
    let refused = read_with(&cluster, NodeId(others[0]), &[old.0]).unwrap_err();
    assert!(matches!(refused, Error::NoLeader { leader, .. } if leader == Some(old)), "{refused}");

    cluster.net.isolate(old);
    let new = cluster.write(&others, &set_bit("k", 3)).0;
    let newer = read_with(&cluster, new, &others).unwrap();
    assert!(newer.0 == integer(2) && newer.1.is_some_and(|newer| newer > term), "{newer:?}");
    // The old one may not know yet, and answer what was right once. Both others were needed to make
    // the new one, so that whichever of them is asked tells.
    if let Ok((outcome, Some(told))) = read_with(&cluster, old, &others[..1]) {
        assert_eq!((outcome, told), (integer(1), term));
    }
    assert!(others.iter().all(|other| promised(&cluster, *other) > term));
    cluster.net.heal();
    cluster.catch_up(old, new);
    assert!(promised(&cluster, old.0) > term);
}

#[test]
fn a_leader_that_is_cut_off_is_replaced_and_answers_nothing_as_if_it_led() {
    let cluster = Cluster::start();
    let old = cluster.write(&[1, 2, 3], &set_bit("k", 1)).0;
    let others: Vec<_> = [1, 2, 3].into_iter().filter(|node| *node != old.0).collect();
    cluster.net.isolate(old);
    // Proposed before it can know.
    let lost = cluster.group(old);
    let lost = cluster.client.spawn(async move { lost.write(set_bit("k", 2), within(3000)).await });
    let (new, outcomes) = cluster.write(&others, &set_bit("k", 3));
    assert_eq!(outcomes, [integer(0)]);
    assert_ne!(new, old);
    let read = cluster.block(cluster.group(old).read(
        get_bit("k", 3),
        Consistency::Linearizable,
        within(3000),
    ));
    assert!(matches!(read, Err(Error::NoLeader { .. } | Error::Busy { .. })), "{read:?}");
    let read =
        cluster.block(cluster.group(old).read(get_bit("k", 3), Consistency::Leader, within(3000)));
    assert!(matches!(read, Err(Error::NoLeader { .. })), "its lease is over: {read:?}");
    let error = cluster.block(lost).unwrap().unwrap_err();
    assert!(matches!(error, Error::OutcomeUnknown { .. } | Error::NoLeader { .. }), "{error:?}");
    assert_eq!(cluster.read(new, get_bit("k", 2)).unwrap(), integer(0), "no majority had it");

    cluster.net.heal();
    cluster.block(cluster.group(old).wait_leader(|leader| leader.is_some_and(|it| it != old)));
    let leader = cluster.write(&[1, 2, 3], &set_bit("k", 4)).0;
    cluster.catch_up(old, leader);
    assert_eq!(cluster.group(old).peek(&count("k")), Some(integer(3)));
}

#[test]
fn what_was_acknowledged_survives_a_crash_of_one_and_of_all() {
    let mut cluster = Cluster::start();
    let leader = cluster.write(&[1, 2, 3], &set_bit("k", 0)).0;
    cluster.crash(leader);
    let others: Vec<_> = [1, 2, 3].into_iter().filter(|node| *node != leader.0).collect();
    for bit in 1..20 {
        cluster.write(&others, &set_bit("k", bit));
    }
    cluster.boot(leader);
    cluster.wait_ready();
    let now = cluster.leader(&[1, 2, 3]);
    cluster.catch_up(leader, now);
    assert_eq!(cluster.group(leader).peek(&count("k")), Some(integer(20)));

    for node in [1, 2, 3].map(NodeId) {
        cluster.crash(node);
    }
    for node in [1, 2, 3].map(NodeId) {
        cluster.boot(node);
    }
    cluster.wait_ready();
    let (leader, outcomes) = cluster.write(&[1, 2, 3], &set_bit("k", 19));
    assert_eq!(outcomes, [integer(1)]);
    assert_eq!(cluster.read(leader, count("k")).unwrap(), integer(20));
}

#[test]
fn a_replica_that_lost_its_disk_is_replaced_by_one_that_is_sent_a_snapshot() {
    let mut cluster = Cluster::start();
    cluster.write(&[1, 2, 3], &set_bit("k", 0));
    for name in 0..200 {
        let mut batch = OpBatch::new();
        for bit in 0..500 {
            batch.push_set_bit(&key(&format!("big:{name}")), bit * 1009, true);
        }
        cluster.write(&[1, 2, 3], &batch);
    }
    cluster.crash(NodeId(3));
    // What went before is in no log: only a snapshot brings it.
    for node in [1, 2].map(NodeId) {
        cluster.block(cluster.shard(node).snapshot_all()).unwrap();
    }
    cluster.disks.insert(NodeId(3), FaultyDisk::default());
    cluster.replicas.insert(NodeId(3), ReplicaId(4));
    let members = [(1, 1), (2, 2), (4, 3)];
    let steps = |wanted: fn(&MemberStep) -> bool| {
        let members = members.map(|(replica, node)| (ReplicaId(replica), NodeId(node))).into();
        loop {
            let group = cluster.group(cluster.leader(&[1, 2]));
            match cluster.block(group.change_members(&members)) {
                Ok(step) if wanted(&step) => return,
                Ok(step) => assert_ne!(step, MemberStep::Changed, "it has nothing yet"),
                Err(error) => assert!(matches!(error, Error::NoLeader { .. }), "{error:?}"),
            }
        }
    };
    steps(|step| *step == MemberStep::AddedLearners);
    // With its vote, one that fails would stop the group.
    steps(|step| matches!(step, MemberStep::Waiting { behind } if *behind > 200));
    cluster.boot(NodeId(3));
    let steps = cluster.change_members(&[1, 2, 3], &members);
    assert!(steps.contains(&MemberStep::Changed), "{steps:?}");
    cluster.wait_ready();
    let leader = cluster.leader(&[1, 2, 3]);
    cluster.catch_up(NodeId(3), leader);
    assert!(!cluster.group(NodeId(3)).status().learner);
    assert_eq!(cluster.group(NodeId(3)).peek(&count("big:199")), Some(integer(500)));
    let stray =
        cluster.shard(NodeId(3)).receive(ONE, ReplicaId(3), MessageKind::Vote, Bytes::new());
    let error = cluster.block(stray).unwrap_err();
    assert!(matches!(error, Error::NoReplica { replica: ReplicaId(3), .. }), "{error:?}");
    // The new one counts: with it, one of the others may go.
    cluster.crash(NodeId(2));
    let (leader, outcomes) = cluster.write(&[1, 3], &set_bit("k", 0));
    assert_eq!(outcomes, [integer(1)]);
    // What it was sent outlives it.
    cluster.catch_up(NodeId(3), leader);
    cluster.crash(NodeId(3));
    cluster.boot(NodeId(3));
    cluster.wait_ready_on(NodeId(3));
    assert_eq!(cluster.group(NodeId(3)).peek(&count("big:0")), Some(integer(500)));
}

#[test]
fn a_batch_that_is_sent_again_to_a_new_leader_is_applied_once() {
    let cluster = Cluster::start();
    let mut open = OpBatch::new();
    open.push_write(&WriteOp::OpenSession);
    let (first, outcomes) = cluster.write(&[1, 2, 3], &open);
    let [Outcome::Session(session)] = outcomes[..] else { panic!("{outcomes:?}") };
    let numbered = numbered(session, 1);
    let applied = |outcomes: &[Outcome]| match outcomes {
        [Outcome::Numbered(NumberedOutcome::Applied(kept))] => kept.clone().decode().unwrap(),
        other => panic!("{other:?}"),
    };
    let (leader, outcomes) = cluster.write(&[first.0], &numbered);
    assert_eq!(applied(&outcomes), [integer(0), integer(1), integer(1)]);
    let heir = NodeId(leader.0 % 3 + 1);
    let to = cluster.replicas[&heir];
    cluster.block(cluster.group(leader).transfer_leadership(to)).unwrap();
    let (leader, outcomes) = cluster.write(&[heir.0], &numbered);
    assert_eq!(leader, heir);
    assert_eq!(applied(&outcomes), [integer(0), integer(1), integer(1)]);
    assert_eq!(cluster.read(heir, count("k")).unwrap(), integer(1));
}

/// A bit twice, and a read of their number: what a second time would answer otherwise.
fn numbered(session: SessionId, number: u64) -> OpBatch {
    let mut ops = set_bit("k", 7);
    ops.push_set_bit(&key("k"), 7, true);
    ops.push_read(&count("k"));
    let mut batch = OpBatch::new();
    batch.push_numbered(session, number, number - 1, &ops);
    batch
}

#[test]
fn a_leader_that_is_to_stop_hands_over_first() {
    let cluster = Cluster::start();
    let old = cluster.write(&[1, 2, 3], &set_bit("k", 7)).0;
    cluster.block(cluster.shard(old).hand_over(PATIENCE));
    assert!(!cluster.group(old).leads());
    cluster.block(cluster.shard(old).shutdown()).unwrap();
    let others: Vec<_> = [1, 2, 3].into_iter().filter(|node| *node != old.0).collect();
    let (leader, outcomes) = cluster.write(&others, &set_bit("k", 7));
    assert_eq!(outcomes, [integer(1)]);
    assert_ne!(leader, old);
}

#[test]
fn a_leader_that_is_to_leave_gives_up_the_lead_and_its_group_shrinks_to_one() {
    let cluster = Cluster::start();
    cluster.write(&[1, 2, 3], &set_bit("k", 7));
    assert!(cluster.change_members(&[1, 2, 3], &[(2, 2)]).contains(&MemberStep::Changed));
    let leader = cluster.leader(&[2]);
    for gone in [1, 3].map(NodeId) {
        cluster.block(cluster.shard(gone).remove_group(ONE)).unwrap();
        assert!(cluster.shard(gone).group(ONE).is_none());
    }
    assert_eq!(cluster.write(&[2], &set_bit("k", 7)).1, [integer(1)]);
    // It answers alone now.
    assert_eq!(cluster.group(leader).read_now(&get_bit("k", 7)), Some(integer(1)));
    let error = cluster.block(cluster.shard(NodeId(1)).receive(
        ONE,
        ReplicaId(1),
        MessageKind::Append,
        Bytes::new(),
    ));
    assert!(matches!(error, Err(Error::NoReplica { .. })), "{error:?}");
}

#[test]
fn a_group_whose_preferred_founder_is_away_is_founded_by_the_others() {
    let mut cluster = Cluster::start_nodes(&[2, 3]);
    assert_eq!(cluster.write(&[2, 3], &set_bit("k", 7)).1, [integer(0)]);
    // It comes late, finds the group and leads it no more than it must.
    cluster.boot(NodeId(1));
    cluster.wait_ready();
    let leader = cluster.write(&[1, 2, 3], &set_bit("k", 8)).0;
    cluster.catch_up(NodeId(1), leader);
    assert_eq!(cluster.group(NodeId(1)).peek(&count("k")), Some(integer(2)));
}

#[test]
fn an_entry_longer_than_a_message_should_be_gets_through_and_a_lagging_follower_catches_up() {
    let mut cluster = Cluster::start();
    let leader = cluster.leader(&[1, 2, 3]);
    let away = NodeId(leader.0 % 3 + 1);
    let others: Vec<_> = [1, 2, 3].into_iter().filter(|node| *node != away.0).collect();
    cluster.crash(away);
    for name in ["a", "b", "c"] {
        let mut batch = OpBatch::new();
        batch.push_write(&WriteOp::Command(WriteCommand::Set {
            key: key(name),
            value: vec![1; 2 << 20].into(),
            existence: None,
            expiry: Expiry::Clear,
            reply: SetReply::Status,
        }));
        cluster.write(&others, &batch);
    }
    cluster.boot(away);
    cluster.wait_ready();
    let leader = cluster.write(&others, &set_bit("k", 1)).0;
    cluster.catch_up(away, leader);
    assert_eq!(cluster.group(away).peek(&get_bit("c", (2 << 23) + 7)), Some(integer(0)));
    assert_eq!(cluster.group(away).peek(&get_bit("c", (2 << 23) - 1)), Some(integer(1)));
}

#[test]
fn garbage_from_a_peer_is_refused_and_changes_nothing() {
    let cluster = Cluster::start();
    let leader = cluster.write(&[1, 2, 3], &set_bit("k", 7)).0;
    for kind in (1..=6).filter_map(MessageKind::from_number) {
        for body in [&b""[..], b"\xFF", &[7; 40]] {
            if kind == MessageKind::Lead && body.is_empty() {
                continue;
            }
            let body = Bytes::copy_from_slice(body);
            let answer = cluster.shard(leader).receive(ONE, ReplicaId(leader.0), kind, body);
            let error = cluster.block(answer).unwrap_err();
            assert!(matches!(error, Error::Malformed { .. }), "{kind:?}: {error:?}");
        }
    }
    assert_eq!(cluster.read(leader, get_bit("k", 7)).unwrap(), integer(1));
}

/// Ops that count what replicas hold of a key: `&` of the value of each group, here one group
/// asked twice.
fn overlap(name: &str, end: u64) -> OpBatch {
    let source = SourceRef { key: key(name), version: None };
    let query = PartQuery::Value { start: 0, end };
    let value = ReadOp::Part { key: key(name), version: None, query };
    let steps = vec![Step::Operand(0), Step::Operand(1), Step::And];
    let evaluate = ReadOp::Evaluate {
        formulas: vec![Formula::new(steps, 2).unwrap()],
        sources: vec![source.clone(), source],
        range: (0, 1000),
        want: Want::Counts,
    };
    let mut ops = OpBatch::new();
    [&value, &value, &evaluate].into_iter().for_each(|op| ops.push_read(op));
    ops
}

#[test]
fn a_replica_that_does_not_lead_folds_once_it_has_applied_what_was_seen() {
    let cluster = Cluster::start();
    let follower = NodeId(3);
    let fold = |node: NodeId, applied: &[u64], deadline| {
        let part = |applied: &u64| FoldPart { group: ONE, applied: *applied };
        let parts: Vec<_> = applied.iter().map(part).collect();
        cluster.block(cluster.shard(node).fold(&parts, overlap("k", 1000), deadline))
    };
    let counts = |count| Outcome::Reply(Reply::Array(vec![Reply::Integer(count)]));
    let mut seen = 0;
    for bit in 0..5 {
        // What the follower lacks comes later: it has to wait for it.
        cluster.net.isolate(follower);
        let leader = cluster.write(&[1, 2], &set_bit("k", bit)).0;
        let mut ops = OpBatch::new();
        ops.push_read(&get_bit("k", bit));
        let group = cluster.group(leader);
        let read = group.read_batch(ops, Consistency::Linearizable, &[], soon());
        let answered = cluster.block(read).unwrap();
        assert_eq!(answered.outcomes.decode().unwrap(), [integer(1)]);
        assert!(answered.applied > seen, "it tells of the write");
        let late = fold(follower, &[answered.applied, seen], within(50)).unwrap_err();
        assert!(matches!(late, Error::Busy { .. }), "{late:?}");
        cluster.net.heal();
        seen = answered.applied;
        let count = i64::try_from(bit + 1).unwrap();
        // It waits for 50 ms at a time, which is about when the leader tries it again.
        let patience = Instant::now() + PATIENCE;
        let folded = loop {
            match fold(follower, &[seen, seen], soon()) {
                Err(Error::Busy { .. }) if Instant::now() < patience => {}
                folded => break folded,
            }
        };
        assert_eq!(folded.unwrap(), counts(count));
    }
    let many = vec![seen; 300];
    let malformed = [&[seen][..], &[], &many].map(|applied| fold(follower, applied, soon()));
    assert!(malformed.iter().all(|one| matches!(one, Err(Error::Malformed { .. }))));
    let elsewhere =
        [FoldPart { group: ONE, applied: 0 }, FoldPart { group: GroupId(9), applied: 0 }];
    let lacking =
        cluster.block(cluster.shard(follower).fold(&elsewhere, overlap("k", 1000), soon()));
    assert!(matches!(lacking, Err(Error::Loading { group: GroupId(9) })), "{lacking:?}");
}
