//! Who confirms that a leader still leads.
//!
//! A linearizable read needs a majority's word, given after the read came, that none of them has
//! promised itself to a later leader. The leader can ask for it, which takes two more messages in a
//! row. So the router asks those whom the leader needs, its *supporters*, in the moment in which it
//! asks the leader, and puts the two answers together. Where that fails, for whatever reason, the
//! leader is asked to do it all.

use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use bitroster_proto::internal::Status;
use bitroster_shard::{MessageKind, promised_term};
use bitroster_types::{Deadline, GroupId, NodeId, ReplicaId};
use bytes::Bytes;
use futures_util::future::{Either, select, try_join_all};
use tokio::time::timeout;

use super::within;
use crate::{
    error::CallError,
    links::Links,
    request::{Body, Request, Response},
};

/// How much longer than the leader its supporters may take: several round trips of a busy network.
const PATIENCE: Duration = Duration::from_millis(10);

/// Every so many questions those are asked again that should be asked first.
const ASK_FIRST_EVERY: usize = 256;

/// Which supporters of a group are asked.
#[derive(Debug, Default)]
pub(super) struct Supporters {
    /// How many of the likeliest are passed over.
    passed: AtomicUsize,
    questions: AtomicUsize,
}

impl Supporters {
    /// Who makes a majority with the replica on `leader`: a replica on this node first, then in the
    /// order of the state but for those that failed. None where the leader needs nobody.
    pub(super) fn of(&self, links: &Links, group: GroupId, leader: NodeId) -> Vec<Supporter> {
        if self.questions.fetch_add(1, Relaxed).is_multiple_of(ASK_FIRST_EVERY) {
            self.passed.store(0, Relaxed);
        }
        let states = links.states().subscribe();
        let state = states.borrow();
        let Some(state) = state.as_ref() else { return Vec::new() };
        let stays = state.replicas(group).iter().filter(|replica| !replica.leaving);
        let needed = stays.clone().count() / 2;
        let others = stays.filter(|replica| replica.node != leader);
        let others = others.map(|replica| Supporter { node: replica.node, replica: replica.id });
        let mut others: Vec<Supporter> = others.collect();
        if let Some(here) = others.iter().position(|other| links.is_here(other.node)) {
            others.swap(0, here);
        }
        if !others.is_empty() {
            let passed = self.passed.load(Relaxed) % others.len();
            others.rotate_left(passed);
        }
        others.truncate(needed);
        others
    }

    /// Those that were asked did not help: others are asked the next time.
    pub(super) fn failed(&self) {
        self.passed.fetch_add(1, Relaxed);
    }
}

/// A replica that is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Supporter {
    pub(super) node: NodeId,
    pub(super) replica: ReplicaId,
}

/// Waits for the leader's `answer` while its supporters are asked, and says whether the outcomes in
/// it hold: they need no confirmation, or all supporters have given it in time.
pub(super) async fn hear(
    links: &Links,
    group: GroupId,
    supporters: &[Supporter],
    deadline: Deadline,
    answer: impl Future<Output = Result<Response, CallError>>,
) -> (Result<Response, CallError>, bool) {
    if supporters.is_empty() {
        return (answer.await, true);
    }
    let questions = supporters.iter().map(|supporter| promised(links, group, *supporter, deadline));
    let promised = async { try_join_all(questions).await.ok()?.into_iter().max() };
    tokio::pin!(promised, answer);
    match select(answer, promised).await {
        Either::Left((answer, promised)) => {
            let Some(term) = term_of(&answer) else { return (answer, true) };
            let promised = timeout(PATIENCE, promised).await.ok().flatten();
            (answer, promised.is_some_and(|promised| promised <= term))
        }
        Either::Right((promised, answer)) => {
            let answer = answer.await;
            let holds = term_of(&answer)
                .is_none_or(|term| promised.is_some_and(|promised| promised <= term));
            (answer, holds)
        }
    }
}

/// The term that the supporters of who gave this answer are to confirm.
const fn term_of(answer: &Result<Response, CallError>) -> Option<u64> {
    match answer {
        Ok(Response { body: Body::Outcomes { term: term @ 1.., .. }, .. }) => Some(*term),
        _ => None,
    }
}

/// The newest term that a replica has promised itself to.
async fn promised(
    links: &Links,
    group: GroupId,
    Supporter { node, replica }: Supporter,
    deadline: Deadline,
) -> Result<u64, ()> {
    let request = Request::Raft { group, replica, kind: MessageKind::Lead, body: Bytes::new() };
    // Far longer than it is waited for.
    let deadline = within(deadline, Duration::from_secs(1));
    let response = links.call(node, request, deadline).await.map_err(drop)?;
    match (response.status, response.body) {
        (Status::Ok, Body::Message(body)) => promised_term(&body).ok_or(()),
        _ => Err(()),
    }
}
