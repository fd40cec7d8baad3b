//! Who confirms that a leader still leads.
//!
//! A linearizable read needs a majority's word, given after the read came, that none of them has
//! promised itself to a later leader. The leader can ask for it, which takes two more messages in a
//! row. So the router asks those whom the leader needs, its *supporters*, in the moment in which it
//! asks the leader, and puts the two answers together. Where that fails, for whatever reason, the
//! leader is asked to do it all, and also the next few times.

use std::time::Duration;

use bitroster_proto::internal::Status;
use bitroster_shard::{MessageKind, promised_term};
use bitroster_types::{Deadline, GroupId, NodeId, ReplicaId};
use bytes::Bytes;
use futures_util::future::{Either, select, try_join_all};
use parking_lot::Mutex;
use tokio::time::timeout;

use super::tries::Tries;
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
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    tries: Tries,
    questions: usize,
    /// How many of the likeliest are passed over.
    passed: usize,
    /// Those that were asked between two failures fail as one.
    failures: u64,
}

/// Those that are asked.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) supporters: Vec<Supporter>,
    /// Failures before they were asked.
    failures: u64,
}

impl Supporters {
    /// Who makes a majority with the replica on `leader`: a replica on this node first, then in the
    /// order of the state but for those that failed. None where the leader needs nobody, or is to
    /// ask for itself.
    pub(super) fn of(&self, links: &Links, group: GroupId, leader: NodeId) -> Asked {
        let (passed, failures) = {
            let mut inner = self.inner.lock();
            if !inner.tries.is_due() {
                return Asked::default();
            }
            if inner.questions.is_multiple_of(ASK_FIRST_EVERY) {
                inner.passed = 0;
            }
            inner.questions = inner.questions.wrapping_add(1);
            (inner.passed, inner.failures)
        };
        let states = links.states().subscribe();
        let state = states.borrow();
        let Some(state) = state.as_ref() else { return Asked::default() };
        let stays = state.replicas(group).iter().filter(|replica| !replica.leaving);
        let needed = stays.clone().count() / 2;
        let others = stays.filter(|replica| replica.node != leader);
        let others = others.map(|replica| Supporter { node: replica.node, replica: replica.id });
        let mut others: Vec<Supporter> = others.collect();
        if let Some(here) = others.iter().position(|other| links.is_here(other.node)) {
            others.swap(0, here);
        }
        if !others.is_empty() {
            let passed = passed % others.len();
            others.rotate_left(passed);
        }
        others.truncate(needed);
        Asked { supporters: others, failures }
    }

    /// Whether those that were asked confirmed what the leader said. If not, others are asked the
    /// next time.
    pub(super) fn tried(&self, asked: &Asked, helped: bool) {
        let mut inner = self.inner.lock();
        if asked.supporters.is_empty() || asked.failures != inner.failures {
            return;
        }
        inner.tries.tried(helped);
        if !helped {
            inner.failures += 1;
            inner.passed += 1;
        }
    }
}

/// A replica that is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Supporter {
    pub(super) node: NodeId,
    pub(super) replica: ReplicaId,
}

/// What the supporters say of the outcomes in a leader's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// They hold without one, or there are no outcomes.
    Unneeded,
    /// All supporters have confirmed them in time.
    Confirmed,
    /// They need it, and not all have given it.
    Missing,
}

/// Waits for the leader's `answer` while its supporters are asked, and says what came of that.
pub(super) async fn hear(
    links: &Links,
    group: GroupId,
    Asked { supporters, .. }: &Asked,
    deadline: Deadline,
    answer: impl Future<Output = Result<Response, CallError>>,
) -> (Result<Response, CallError>, Word) {
    let word = |term: Option<u64>, promised: Option<u64>| match (term, promised) {
        (None, _) => Word::Unneeded,
        (Some(term), Some(promised)) if promised <= term => Word::Confirmed,
        (Some(_), _) => Word::Missing,
    };
    if supporters.is_empty() {
        let answer = answer.await;
        let word = word(term_of(&answer), None);
        return (answer, word);
    }
    let questions = supporters.iter().map(|supporter| promised(links, group, *supporter, deadline));
    let promised = async { try_join_all(questions).await.ok()?.into_iter().max() };
    tokio::pin!(promised, answer);
    match select(answer, promised).await {
        Either::Left((answer, promised)) => {
            let Some(term) = term_of(&answer) else { return (answer, Word::Unneeded) };
            let promised = timeout(PATIENCE, promised).await.ok().flatten();
            (answer, word(Some(term), promised))
        }
        Either::Right((promised, answer)) => {
            let answer = answer.await;
            let word = word(term_of(&answer), promised);
            (answer, word)
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
    let response = links.call(node, request, deadline).await.map_err(drop)?;
    match (response.status, response.body) {
        (Status::Ok, Body::Message(body)) => promised_term(&body).ok_or(()),
        _ => Err(()),
    }
}
