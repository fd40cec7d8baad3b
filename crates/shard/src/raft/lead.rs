//! Whether a leader still leads, as a majority says.
//!
//! Each replica tells the newest term that it has promised itself to: it counts from the moment
//! that a vote is about to be saved, which is before anybody learns of the vote. A leader of term
//! *t* that hears, *after* a read came, from a majority that none of them has promised itself past
//! *t* knows that no later leader had been voted for when the read came: two majorities share a
//! replica, and promises only grow. No clock takes part. All that an earlier leader acknowledged is
//! in the log before the first entry of *t*, so a leader that has applied an entry of its own term
//! may then answer from its state.
//!
//! No more replicas are asked than a majority takes, those first that answered last; when they are
//! slow, the others too. A replica that owes an answer is not asked again before that has come, so
//! that few questions are on their way whatever a network does.

use std::collections::BTreeSet;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bitroster_types::{GroupId, NodeId, ReplicaId};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::sleep;

use super::message;
use super::types::{LogId, StoredMembership};
use crate::error::Error;
use crate::peers::{Destination, MessageKind, Peers};

/// How long those who were asked first may take before the others are asked: a few round trips.
const HEDGE: Duration = Duration::from_millis(3);

/// Every so many questions go to all, so that one who has become faster is found.
const ASK_ALL_EVERY: u64 = 256;

/// What a leader knows of the voters from one question to the next.
#[derive(Default)]
pub(crate) struct Voters {
    membership: Option<LogId>,
    /// The majorities that are needed: two while the members change.
    configs: Vec<BTreeSet<u64>>,
    /// The others, in the order in which they are asked.
    others: Vec<Voter>,
    /// Number of the last question.
    question: u64,
    flying: FuturesUnordered<BoxFuture<'static, Answer>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Voter {
    replica: u64,
    node: NodeId,
    /// It has not answered the last question that it was asked.
    owes: bool,
    /// Number of the last question that it was asked.
    asked: u64,
}

/// What came of a question to one replica.
struct Answer {
    replica: u64,
    question: u64,
    /// The newest term that it has promised itself to; `None` if it did not say.
    promised: Option<u64>,
}

/// Who asks, and how.
pub(crate) struct Asking<'a> {
    pub(crate) group: GroupId,
    pub(crate) own: ReplicaId,
    /// The term that the asking replica leads in.
    pub(crate) term: u64,
    pub(crate) peers: Option<&'a Arc<dyn Peers>>,
    /// How long an answer may take.
    pub(crate) patience: Duration,
}

impl Voters {
    /// Takes note of the members, if they have changed.
    pub(crate) fn set_members(&mut self, own: ReplicaId, members: &StoredMembership) {
        if self.membership.is_some() && self.membership == *members.log_id() {
            return;
        }
        self.membership = *members.log_id();
        let membership = members.membership();
        self.configs.clone_from(membership.get_joint_config());
        let old = std::mem::take(&mut self.others);
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        for (replica, host) in membership.nodes() {
            if *replica == own.0 || !voters.contains(replica) {
                continue;
            }
            let (replica, node) = (*replica, NodeId(host.0));
            let new = Voter { replica, node, owes: false, asked: 0 };
            let known = old.iter().find(|voter| voter.replica == replica && voter.node == node);
            self.others.push(known.copied().unwrap_or(new));
        }
    }

    /// Asks whether the replica that asks may still be taken for the leader of its term. `promised`
    /// tells its own newest term.
    ///
    /// # Errors
    ///
    /// [`Error::NoLeader`] if a later leader may have been voted for, or no majority answers.
    ///
    /// # Cancel safety
    ///
    /// What was asked is answered to the next question, which takes no account of it.
    pub(crate) async fn ask(
        &mut self,
        asking: &Asking<'_>,
        promised: impl Fn() -> u64,
    ) -> Result<(), Error> {
        let no_leader = Error::NoLeader { group: asking.group, leader: None };
        self.question += 1;
        let mut agreed = BTreeSet::from([asking.own.0]);
        let mut asks_all = self.question.is_multiple_of(ASK_ALL_EVERY);
        let mut hedge = pin!(sleep(HEDGE));
        loop {
            if self.is_majority(&agreed) {
                return if promised() > asking.term { Err(no_leader) } else { Ok(()) };
            }
            self.send(asking, &agreed, asks_all);
            let answer = tokio::select! {
                biased;
                Some(answer) = self.flying.next(), if !self.flying.is_empty() => answer,
                () = &mut hedge, if !asks_all => {
                    asks_all = true;
                    continue;
                }
                else => return Err(no_leader),
            };
            // An old question's answer tells as well who no longer leads.
            if answer.promised.is_some_and(|promised| promised > asking.term) {
                self.note(&answer);
                return Err(no_leader);
            }
            if self.note(&answer) {
                agreed.insert(answer.replica);
            }
        }
    }

    fn is_majority(&self, agreed: &BTreeSet<u64>) -> bool {
        let has_more_than_half =
            |config: &BTreeSet<u64>| config.intersection(agreed).count() > config.len() / 2;
        !self.configs.is_empty() && self.configs.iter().all(has_more_than_half)
    }

    /// Asks as many as a majority takes beside those who agreed, or all. Who owes an answer counts
    /// only if it is one to this question.
    fn send(&mut self, asking: &Asking<'_>, agreed: &BTreeSet<u64>, asks_all: bool) {
        let question = self.question;
        let mut expected = agreed.clone();
        let is_coming = |voter: &&Voter| voter.owes && voter.asked == question;
        expected.extend(self.others.iter().filter(is_coming).map(|voter| voter.replica));
        for at in 0..self.others.len() {
            if !asks_all && self.is_majority(&expected) {
                return;
            }
            let voter = &mut self.others[at];
            if voter.owes || voter.asked == question {
                continue;
            }
            voter.owes = true;
            voter.asked = question;
            expected.insert(voter.replica);
            let Some(peers) = asking.peers else { continue };
            let (replica, node) = (voter.replica, voter.node);
            let to = Destination { node, group: asking.group, replica: ReplicaId(replica) };
            let answer = peers.call(to, MessageKind::Lead, Bytes::new(), asking.patience);
            self.flying.push(Box::pin(async move {
                let answer = answer.await.ok();
                let promised = answer.and_then(|body| message::decode_promised(&body).ok());
                Answer { replica, question, promised }
            }));
        }
    }

    /// Takes note of an answer; says whether it is one to the present question. Who answers it is
    /// asked first the next time, and who fails to last.
    fn note(&mut self, answer: &Answer) -> bool {
        let Some(at) = self.others.iter().position(|voter| voter.replica == answer.replica) else {
            return false;
        };
        self.others[at].owes = false;
        let voter = self.others.remove(at);
        match answer.promised {
            None => self.others.push(voter),
            Some(_) if answer.question == self.question => self.others.insert(0, voter),
            Some(_) => self.others.insert(at, voter),
        }
        answer.promised.is_some() && answer.question == self.question
    }
}

impl fmt::Debug for Voters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Voters").field("others", &self.others).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use openraft::Membership;
    use tokio::sync::mpsc::Receiver;

    use super::super::types::Host;
    use super::super::wire::{Sent, wire};
    use super::*;

    const TERM: u64 = 5;

    /// Replica 1 of a group, which leads.
    struct Stage {
        voters: Voters,
        peers: Arc<dyn Peers>,
        others: Others,
        own_promise: u64,
    }

    impl Stage {
        fn new(configs: &[&[u64]]) -> Self {
            let (peers, asked) = wire();
            let others = Others { asked, owed: BTreeMap::new() };
            let mut stage = Self { voters: Voters::default(), peers, others, own_promise: TERM };
            stage.set_members(1, configs);
            stage
        }

        fn set_members(&mut self, index: u64, configs: &[&[u64]]) {
            let configs: Vec<BTreeSet<u64>> =
                configs.iter().map(|config| config.iter().copied().collect()).collect();
            // One who has no vote is a member too.
            let members = configs.iter().flatten().copied().chain([9]);
            let hosts: BTreeMap<u64, Host> = members.map(|id| (id, Host(id + 10))).collect();
            let membership = Membership::new(configs, hosts).unwrap();
            let log_id = LogId::new_term_index(1, index);
            self.voters.set_members(ReplicaId(1), &StoredMembership::new(Some(log_id), membership));
        }

        /// Asks, and says whether it leads; while that waits, `act` sees who was asked, and
        /// answers.
        async fn leads(&mut self, mut act: impl AsyncFnMut(&mut Others)) -> bool {
            let Self { voters, peers, others, own_promise } = self;
            let (group, own) = (GroupId(1), ReplicaId(1));
            let patience = Duration::from_secs(60);
            let asking = Asking { group, own, term: TERM, peers: Some(peers), patience };
            let question = voters.ask(&asking, || *own_promise);
            match tokio::join!(question, act(others)).0 {
                Ok(()) => true,
                Err(Error::NoLeader { leader: None, .. }) => false,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// The other replicas, and the questions that they owe an answer to.
    struct Others {
        asked: Receiver<Sent>,
        owed: BTreeMap<u64, Sent>,
    }

    impl Others {
        /// Who was asked and did not know of it yet.
        fn asked(&mut self) -> Vec<u64> {
            let mut asked = Vec::new();
            while let Ok(sent) = self.asked.try_recv() {
                asked.push(self.take(sent));
            }
            asked
        }

        /// Waits for somebody to be asked.
        async fn next(&mut self) -> u64 {
            let sent = self.asked.recv().await.unwrap();
            self.take(sent)
        }

        fn take(&mut self, sent: Sent) -> u64 {
            let replica = sent.to.replica.0;
            assert_eq!((sent.kind, sent.to.node.0), (MessageKind::Lead, replica + 10));
            message::decode_lead(&sent.body).unwrap();
            assert!(self.owed.insert(replica, sent).is_none(), "{replica} owes an answer");
            replica
        }

        fn says(&mut self, replica: u64, promised: u64) {
            self.owed.remove(&replica).unwrap().answer(message::encode_promised(promised));
        }

        fn fails(&mut self, replica: u64) {
            drop(self.owed.remove(&replica).unwrap());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_majority_is_asked_and_those_first_that_answer() {
        let mut stage = Stage::new(&[&[1, 2, 3]]);
        let leads = stage.leads(async |others| {
            assert_eq!(others.asked(), [2]);
            others.fails(2);
            assert_eq!(others.next().await, 3);
            others.says(3, TERM);
        });
        assert!(leads.await);
        for _ in 0..3 {
            let leads = stage.leads(async |others| {
                assert_eq!(others.asked(), [3]);
                // One who lags promises less.
                others.says(3, TERM - 1);
            });
            assert!(leads.await);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_slow_is_helped_out_and_not_asked_again_before_it_answers() {
        let mut stage = Stage::new(&[&[1, 2, 3]]);
        let leads = stage.leads(async |others| {
            assert_eq!(others.asked(), [2]);
            // After a moment, and nobody has answered.
            assert_eq!(others.next().await, 3);
            others.says(3, TERM);
        });
        assert!(leads.await);
        // Two owes an answer to that question; it does not count for this one.
        let leads = stage.leads(async |others| {
            assert_eq!(others.asked(), [3]);
            others.says(2, TERM);
            assert_eq!(others.next().await, 2);
            others.says(2, TERM);
        });
        assert!(leads.await);
        let leads = stage.leads(async |others| {
            assert_eq!(others.asked(), [2], "three owes the answer");
            others.fails(2);
            others.fails(3);
            assert_eq!(others.next().await, 3);
            others.says(3, TERM);
        });
        assert!(leads.await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_promise_to_a_later_term_ends_the_lead() {
        let mut stage = Stage::new(&[&[1, 2, 3]]);
        let leads = stage.leads(async |others| {
            others.asked();
            others.says(2, TERM + 1);
        });
        assert!(!leads.await);
        // Also one that was made to an earlier question.
        let mut stage = Stage::new(&[&[1, 2, 3]]);
        let leads = stage.leads(async |others| {
            others.asked();
            assert_eq!(others.next().await, 3);
            others.says(3, TERM);
        });
        assert!(leads.await);
        let leads = stage.leads(async |others| {
            others.asked();
            others.says(2, TERM + 2);
        });
        assert!(!leads.await);
        // And one of its own.
        stage.own_promise = TERM + 1;
        let leads = stage.leads(async |others| {
            assert_eq!(others.asked(), [2], "three owes an answer");
            others.says(2, TERM);
        });
        assert!(!leads.await);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_majority_nobody_leads() {
        let mut stage = Stage::new(&[&[1, 2, 3]]);
        let leads = stage.leads(async |others| {
            others.asked();
            others.fails(2);
            assert_eq!(others.next().await, 3);
            others.fails(3);
        });
        assert!(!leads.await);
        assert!(Stage::new(&[&[1]]).leads(async |_| {}).await);
        let mut unknown = Stage::new(&[&[1]]);
        unknown.voters = Voters::default();
        assert!(!unknown.leads(async |_| {}).await);
    }

    #[tokio::test(start_paused = true)]
    async fn while_members_change_both_majorities_are_needed() {
        let mut stage = Stage::new(&[&[1, 2, 3]]);
        stage.set_members(2, &[&[1, 2, 3], &[1, 4, 5]]);
        let leads = stage.leads(async |others| {
            assert_eq!(others.asked(), [2, 3, 4]);
            others.says(2, TERM);
            others.says(3, TERM);
            others.fails(4);
            assert_eq!(others.next().await, 5);
            others.says(5, TERM);
        });
        assert!(leads.await);
        // A leader that is to leave counts for nothing in what comes after it.
        stage.set_members(3, &[&[2, 3, 4]]);
        let leads = stage.leads(async |others| {
            let asked = others.asked();
            assert_eq!(asked.len(), 2, "{asked:?}");
            others.says(asked[0], TERM);
            others.fails(asked[1]);
            let last = others.next().await;
            others.fails(last);
        });
        assert!(!leads.await);
    }
}
