//! Goal: each write is applied once, and each caller is told the truth: the outcome, that nothing
//! was applied, or that nobody knows.
//!
//! Method: nodes in one process over loopback, with one group whose engine is real and does with
//! each request what the test's script says. Kills these mutants: a repeat under a new number; a
//! definite error after a lost answer; ops sent after their caller was told that nothing was
//! applied (with the mark not looked at, and with it overwritten by a refusal); a new session after
//! a send that may have arrived; outcomes split at the wrong place; requests of an old map served.
#![allow(clippy::unwrap_used, reason = "a test fails where it breaks")]

mod support;

use std::{
    sync::{Arc, atomic::Ordering::SeqCst},
    time::{Duration, Instant},
};

use bitroster_command::{CommandError, OpBatch, Outcome, ReadOp, Reply};
use bitroster_proto::internal::Status;
use bitroster_router::{Reading, Target, Transport, TransportError};
use bitroster_rpc::ClusterTransport;
use bitroster_types::{Consistency, NodeId};
use futures_util::future::join_all;
use support::{Act, GROUP, TERM, cluster, increment, length, soon, until, with_newer_map};
use tokio::sync::Notify;

const TO: Target = Target { group: GROUP, epoch: 1 };

const NO_LEADER: TransportError = TransportError::NoLeader { group: GROUP };

fn integer(value: i64) -> Outcome {
    Outcome::Reply(Reply::Integer(value))
}

fn is_unknown(result: &Result<Vec<Outcome>, TransportError>) -> bool {
    matches!(result, Err(TransportError::OutcomeUnknown { .. }))
}

#[tokio::test]
async fn writes_of_many_callers_share_few_batches_and_each_gets_its_own_outcomes() {
    let (nodes, group, _) = cluster(3).await;
    let transport = ClusterTransport::new(nodes[1].links.clone());
    let writes = (0..300).map(|at| {
        let transport = &transport;
        async move {
            let name = format!("own {at}");
            let mut batch = increment(&name);
            batch.append(increment("all"));
            batch.append(increment(&name));
            let outcomes = transport.write(TO, batch, soon(19_000)).await.unwrap();
            assert_eq!((&outcomes[0], &outcomes[2]), (&integer(1), &integer(2)));
            outcomes[1].clone()
        }
    });
    let mut seen: Vec<i64> = join_all(writes)
        .await
        .into_iter()
        .map(|outcome| {
            let Outcome::Reply(Reply::Integer(value)) = outcome else { panic!("{outcome:?}") };
            value
        })
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, (1..=300).collect::<Vec<_>>());
    let batches = group.writes.load(SeqCst);
    assert!(batches <= 60, "{batches} batches");
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_and_the_write_is_applied_once() {
    let (nodes, group, _) = cluster(3).await;
    let transport = ClusterTransport::new(nodes[1].links.clone());
    group.script([Act::ApplyAndForget, Act::ApplyAndForget]);
    let outcomes = transport.write(TO, increment("k"), soon(9_000)).await;
    assert_eq!(outcomes, Ok(vec![integer(1)]));
    assert_eq!((group.counter("k"), group.writes.load(SeqCst)), (1, 3));
    let next = transport.write(TO, increment("k"), soon(9_000)).await;
    assert_eq!(next, Ok(vec![integer(2)]));
}

#[tokio::test]
async fn a_leader_that_hangs_does_not_hold_up_its_successor() {
    let (nodes, group, _) = cluster(3).await;
    let transport = ClusterTransport::new(nodes[2].links.clone());
    group.script([Act::ApplyAndHang]);
    let write = transport.write(TO, increment("k"), soon(19_000));
    let change = async {
        until("the leader hangs", || group.counter("k") == 1).await;
        group.leader.store(2, SeqCst);
    };
    let started = Instant::now();
    let (outcomes, ()) = tokio::join!(write, change);
    assert_eq!(outcomes, Ok(vec![integer(1)]));
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(transport.leader(GROUP), Some(NodeId(2)));
    assert_eq!(group.counter("k"), 1);
}

#[tokio::test]
async fn a_leader_that_dies_with_a_write_has_it_repeated_at_the_next_one() {
    let (mut nodes, group, _) = cluster(3).await;
    let transport = ClusterTransport::new(nodes[2].links.clone());
    group.script([Act::ApplyAndHang]);
    let write = transport.write(TO, increment("k"), soon(19_000));
    let death = async {
        until("the write is with the leader", || group.counter("k") == 1).await;
        nodes[0].crash();
        group.leader.store(3, SeqCst);
    };
    let (outcomes, ()) = tokio::join!(write, death);
    assert_eq!(outcomes, Ok(vec![integer(1)]));
    assert_eq!(group.counter("k"), 1);
}

#[tokio::test]
async fn without_a_leader_nothing_is_applied_and_the_caller_is_told_so() {
    let (nodes, group, _) = cluster(3).await;
    let transport = ClusterTransport::new(nodes[1].links.clone());
    group.leader.store(0, SeqCst);
    let refused = transport.write(TO, increment("k"), soon(200)).await;
    assert_eq!(refused, Err(NO_LEADER));
    let reading = Reading::default();
    let read = transport.read(TO, length("k"), &reading, soon(200)).await;
    assert_eq!(read, Err(NO_LEADER));
    group.leader.store(3, SeqCst);
    assert_eq!(transport.write(TO, increment("k"), soon(9_000)).await, Ok(vec![integer(1)]));
    assert_eq!(group.counter("k"), 1);
}

#[tokio::test]
async fn an_election_is_waited_for() {
    let (nodes, group, _) = cluster(3).await;
    let transport = ClusterTransport::new(nodes[1].links.clone());
    group.leader.store(0, SeqCst);
    group.script([Act::Refuse(Status::NotLeader, 3), Act::Refuse(Status::Unavailable, 0)]);
    let election = async {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        group.leader.store(2, SeqCst);
    };
    let write = transport.write(TO, increment("k"), soon(19_000));
    let (outcomes, ()) = tokio::join!(write, election);
    assert_eq!(outcomes, Ok(vec![integer(1)]));
}

#[tokio::test]
async fn a_write_that_was_sent_and_never_answered_is_unknown_not_failed() {
    let (nodes, group, _) = cluster(3).await;
    let transport = ClusterTransport::new(nodes[1].links.clone());
    group.script([Act::ApplyAndHang]);
    let lost = transport.write(TO, increment("k"), soon(300)).await;
    assert!(is_unknown(&lost), "{lost:?}");
    assert_eq!(group.counter("k"), 1);
}

#[tokio::test]
async fn a_lost_answer_and_then_no_leader_is_unknown() {
    let (nodes, group, _) = cluster(3).await;
    let transport = ClusterTransport::new(nodes[1].links.clone());
    group.script([Act::ApplyAndForget, Act::Refuse(Status::Refused, 0)]);
    let lost = transport.write(TO, increment("k"), soon(9_000)).await;
    assert!(is_unknown(&lost), "{lost:?}");
    group.script([Act::ApplyAndForget, Act::Refuse(Status::StaleEpoch, 2)]);
    let lost = transport.write(TO, increment("k"), soon(9_000)).await;
    assert!(is_unknown(&lost), "{lost:?}");
    assert_eq!(group.counter("k"), 2);
}

#[tokio::test]
async fn definite_refusals_are_told_as_they_are() {
    let (nodes, group, state) = cluster(3).await;
    let transport = ClusterTransport::new(nodes[1].links.clone());
    group.script(vec![Act::Refuse(Status::Busy, 0); 1000]);
    let busy = transport.write(TO, increment("k"), soon(200)).await;
    let is_busy = matches!(busy, Err(TransportError::Refused(CommandError::Busy(_))));
    assert!(is_busy, "{busy:?}");
    group.script([Act::Refuse(Status::Refused, 0)]);
    let refused = transport.write(TO, increment("k"), soon(9_000)).await;
    let text = CommandError::Message("ERR scripted".to_owned());
    assert_eq!(refused, Err(TransportError::Refused(text)));
    nodes[0].states.offer(Arc::new(with_newer_map(&state)));
    let stale = transport.write(TO, increment("k"), soon(9_000)).await;
    assert_eq!(stale, Err(TransportError::StaleMap { epoch: 2 }));
    let stale = transport.read(TO, length("k"), &Reading::default(), soon(9_000)).await;
    assert_eq!(stale, Err(TransportError::StaleMap { epoch: 2 }));
    assert_eq!(group.counter("k"), 0);
    let newer = Target { group: GROUP, epoch: 2 };
    assert_eq!(transport.write(newer, increment("k"), soon(9_000)).await, Ok(vec![integer(1)]));
}

#[tokio::test]
async fn writes_of_a_caller_that_left_are_not_sent_later() {
    let (nodes, group, _) = cluster(3).await;
    let transport = ClusterTransport::new(nodes[1].links.clone());
    group.leader.store(0, SeqCst);
    let (short, long) = tokio::join!(transport.write(TO, increment("short"), soon(100)), async {
        let long = transport.write(TO, increment("long"), soon(9_000));
        let election = async {
            let reading = Reading::default();
            assert!(transport.read(TO, length("k"), &reading, soon(300)).await.is_err());
            group.leader.store(1, SeqCst);
        };
        tokio::join!(long, election).0
    });
    assert_eq!((short, long), (Err(NO_LEADER), Ok(vec![integer(1)])));
    assert_eq!((group.counter("short"), group.counter("long")), (0, 1));
}

#[tokio::test]
async fn a_session_that_ended_is_opened_anew_if_nothing_can_have_arrived() {
    let (nodes, group, _) = cluster(3).await;
    let transport = ClusterTransport::new(nodes[1].links.clone());
    assert_eq!(transport.write(TO, increment("k"), soon(9_000)).await, Ok(vec![integer(1)]));
    group.script([Act::EndSessions]);
    assert_eq!(transport.write(TO, increment("k"), soon(9_000)).await, Ok(vec![integer(2)]));
    assert_eq!(group.counter("k"), 2);
}

#[tokio::test]
async fn a_session_that_ended_after_a_lost_answer_leaves_the_outcome_unknown() {
    let (nodes, group, _) = cluster(3).await;
    let transport = ClusterTransport::new(nodes[1].links.clone());
    group.script([Act::ApplyAndEndSessions]);
    let lost = transport.write(TO, increment("k"), soon(9_000)).await;
    assert!(is_unknown(&lost), "{lost:?}");
    assert_eq!(group.counter("k"), 1);
    assert_eq!(transport.write(TO, increment("k"), soon(9_000)).await, Ok(vec![integer(2)]));
}

#[tokio::test]
async fn short_reads_share_calls_and_a_long_one_does_not_hold_them_up() {
    let (nodes, group, _) = cluster(3).await;
    let transport = ClusterTransport::new(nodes[1].links.clone());
    transport.write(TO, increment("k"), soon(9_000)).await.unwrap();
    let reading = Reading::default();
    let gate = Arc::new(Notify::new());
    group.script([Act::Wait(gate.clone())]);
    let get = bitroster_command::ReadCommand::Get { key: support::key("k") };
    let long = transport.read(TO, ReadOp::Command(get), &reading, soon(19_000));
    let shorts = async {
        until("the long read is there", || group.reads.load(SeqCst) == 1).await;
        let read = || transport.read(TO, length("k"), &reading, soon(9_000));
        let outcomes = join_all((0..300).map(|_| read())).await;
        gate.notify_one();
        outcomes
    };
    let (long, shorts) = tokio::join!(long, shorts);
    assert_eq!(long, Ok(Outcome::Reply(Reply::Bulk("1".into()))));
    assert!(shorts.iter().all(|outcome| *outcome == Ok(integer(1))));
    let calls = group.reads.load(SeqCst);
    assert!(calls <= 60, "{calls} calls");
}

#[tokio::test]
async fn a_read_is_confirmed_by_those_whom_the_leader_needs() {
    let (nodes, group, _) = cluster(3).await;
    let transport = ClusterTransport::new(nodes[1].links.clone());
    transport.write(TO, increment("k"), soon(9_000)).await.unwrap();
    let read = async |consistency| {
        let reading = Reading::new(consistency);
        transport.read(TO, length("k"), &reading, soon(9_000)).await
    };
    // What it reads, and of these reads, how many the leader answered to be confirmed, and who was
    // asked to.
    let figures = || {
        let asked = std::mem::take(&mut *group.asked.lock().unwrap());
        (group.reads.swap(0, SeqCst), group.unconfirmed.swap(0, SeqCst), asked)
    };
    for promised in [0, TERM] {
        group.promised[1].store(promised, SeqCst);
        assert_eq!(read(Consistency::Linearizable).await, Ok(integer(1)));
        assert_eq!(figures(), (1, 1, vec![2]), "the replica here is asked");
    }
    assert_eq!(read(Consistency::Leader).await, Ok(integer(1)));
    assert_eq!(figures(), (1, 0, vec![]));
    // It has promised itself to a later leader: this one must see for itself.
    group.promised[1].store(TERM + 1, SeqCst);
    assert_eq!(read(Consistency::Linearizable).await, Ok(integer(1)));
    assert_eq!(figures(), (2, 1, vec![2]));
    // So it does for a while. Then others are asked; one that hangs is not waited for.
    group.promised[2].store(u64::MAX, SeqCst);
    let (started, alone) = (Instant::now(), (1, 0, vec![]));
    for expected in [alone.clone(), alone.clone(), (2, 1, vec![3])] {
        assert_eq!(read(Consistency::Linearizable).await, Ok(integer(1)));
        // The question may arrive after the answer of the leader that was asked again.
        until("all are asked", || group.asked.lock().unwrap().len() >= expected.2.len()).await;
        assert_eq!(figures(), expected);
    }
    assert!(started.elapsed() < Duration::from_secs(5), "its question would last longer");
    group.promised[1].store(TERM, SeqCst);
    let helped = (1, 1, vec![2]);
    for expected in [vec![alone; 4], vec![helped; 3]].concat() {
        assert_eq!(read(Consistency::Linearizable).await, Ok(integer(1)));
        assert_eq!(figures(), expected);
    }
}

#[tokio::test]
async fn a_read_past_a_leader_that_lost_its_lead_is_not_held_up_by_its_supporters() {
    let (nodes, group, _) = cluster(3).await;
    let transport = ClusterTransport::new(nodes[1].links.clone());
    group.promised.iter().for_each(|promised| promised.store(u64::MAX, SeqCst));
    group.script([Act::Refuse(Status::NotLeader, 3)]);
    group.leader.store(3, SeqCst);
    group.promised[1].store(TERM, SeqCst);
    let read = transport.read(TO, length("k"), &Reading::default(), soon(9_000)).await;
    assert_eq!(read, Ok(integer(0)));
    assert_eq!(transport.leader(GROUP), Some(NodeId(3)));
}

#[tokio::test]
async fn a_stale_read_is_answered_here_and_tells_its_age() {
    let (mut nodes, group, _) = cluster(3).await;
    group.leader.store(0, SeqCst);
    let transport = ClusterTransport::new(nodes[1].links.clone());
    let reading = Reading::new(Consistency::Stale);
    let read = transport.read(TO, length("k"), &reading, soon(9_000)).await;
    assert_eq!((read, reading.age_ms.load(SeqCst)), (Ok(integer(0)), 200));
    nodes[0].crash();
    nodes[2].crash();
    let read = transport.read(TO, length("k"), &reading, soon(9_000)).await;
    assert_eq!(read, Ok(integer(0)));
}

#[tokio::test]
async fn a_long_write_goes_alone_and_whole() {
    let (nodes, group, _) = cluster(3).await;
    let transport = ClusterTransport::new(nodes[1].links.clone());
    let mut batch = OpBatch::new();
    for at in 0..40_000 {
        batch.append(increment(&format!("{at}")));
    }
    let outcomes = transport.write(TO, batch, soon(19_000)).await.unwrap();
    assert!(outcomes.len() == 40_000 && outcomes.iter().all(|outcome| *outcome == integer(1)));
    assert_eq!(group.counter("39999"), 1);
}

#[tokio::test]
async fn a_group_whose_only_replica_is_here_is_asked_without_numbers() {
    let (nodes, group, _) = cluster(1).await;
    let transport = ClusterTransport::new(nodes[0].links.clone());
    assert_eq!(transport.write(TO, increment("k"), soon(9_000)).await, Ok(vec![integer(1)]));
    group.script([Act::ApplyAndForget]);
    let lost = transport.write(TO, increment("k"), soon(9_000)).await;
    assert!(is_unknown(&lost), "{lost:?}");
    let reading = Reading::default();
    let read = transport.read(TO, length("k"), &reading, soon(9_000)).await;
    assert_eq!((read, group.counter("k")), (Ok(integer(1)), 2));
}
