//! Who is in a group, and who leads it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use bitroster_types::limits::MEMBER_BEHIND_MAX;
use bitroster_types::{GroupId, NodeId, ReplicaId};
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{
    ChangeMembershipError, ClientWriteError, ForwardReason, ForwardToLeader, RaftError,
};
use openraft::{ChangeMembers, ServerState};
use tokio::time::timeout;

use super::replica::{Replica, leader_of};
use super::types::{Host, TypeConfig};
use crate::error::Error;

/// Election time-outs that a change of members is waited for: a majority that takes longer is away.
const CHANGE_TIMEOUTS: u32 = 10;

/// Election time-outs that a transfer of leadership is waited for.
const TRANSFER_TIMEOUTS: u32 = 4;

/// A replica as it stands now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicaStatus {
    /// Its group.
    pub group: GroupId,
    /// Its number.
    pub replica: ReplicaId,
    /// Whether it takes itself for the leader.
    pub leads: bool,
    /// The node whose replica leads, as far as known; its own where it leads.
    pub leader: Option<NodeId>,
    /// The newest term it knows.
    pub term: u64,
    /// Index of the first entry that its log still holds; 0 where it has none.
    pub first_log: u64,
    /// Index of its last log entry; 0 where it has none.
    pub last_log: u64,
    /// Index of the last entry that it knows to be committed; 0 where it knows of none.
    pub committed: u64,
    /// Index of the last entry that it has applied; 0 where there is none.
    pub applied: u64,
    /// Whether it answers.
    pub ready: bool,
    /// Whether it has no vote.
    pub learner: bool,
    /// How many replicas of the group have a vote, as it knows.
    pub voters: u64,
    /// How many have none.
    pub learners: u64,
    /// The other replicas, by ascending number; only where this one leads.
    pub followers: Vec<FollowerStatus>,
}

/// Another replica as its leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowerStatus {
    /// Its number.
    pub replica: ReplicaId,
    /// Its node.
    pub node: NodeId,
    /// Entries of the leader's log that it is not known to have.
    pub behind: u64,
    /// Whether it votes.
    pub voter: bool,
}

/// How far a change of members is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberStep {
    /// The members are as wanted.
    Done,
    /// New members get the log from now on; they have no vote yet.
    AddedLearners,
    /// Not all new members have the log yet, a change is under way, or no majority has said lately
    /// that this replica leads.
    Waiting {
        /// Entries that the slowest one lacks.
        behind: u64,
    },
    /// The voters were changed, or this replica, which is to leave, gave up the lead.
    Changed,
}

/// What there is and what is wanted.
struct Plan {
    voters: BTreeSet<u64>,
    /// Voters and learners.
    present: BTreeSet<u64>,
    is_joint: bool,
    /// Whether the membership that counts is known to be committed.
    is_committed: bool,
    wanted: BTreeSet<u64>,
    /// Entries that each other replica lacks.
    behind: BTreeMap<u64, u64>,
}

impl Plan {
    fn behind(&self, replica: u64) -> u64 {
        self.behind.get(&replica).copied().unwrap_or(u64::MAX)
    }

    /// The one of these that is furthest.
    fn furthest(&self, replicas: impl Iterator<Item = u64>) -> Option<u64> {
        replicas
            .filter(|replica| self.behind.contains_key(replica))
            .min_by_key(|&replica| self.behind(replica))
    }
}

/// The first entry of a log that ends with `last` and was purged up to `purged`.
fn first_log(purged: u64, last: Option<u64>) -> u64 {
    last.filter(|last| *last > purged).map_or(0, |_| purged + 1)
}

impl Replica {
    /// The replica as it stands now; `ready` is for the group to say.
    pub(crate) fn status(&self) -> ReplicaStatus {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let index = |log_id: Option<super::types::LogId>| log_id.map_or(0, |log_id| log_id.index);
        let membership = metrics.membership_config.membership();
        let node_of = |wanted: u64| {
            let host = membership.nodes().find(|(replica, _)| **replica == wanted)?;
            Some(NodeId(host.1.0))
        };
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        let followers = metrics.replication.iter().flatten();
        let followers = followers.filter(|(replica, _)| **replica != self.place.replica.0);
        ReplicaStatus {
            group: self.place.group,
            replica: self.place.replica,
            leads: metrics.state == ServerState::Leader,
            leader: metrics.current_leader.and_then(node_of),
            term: metrics.current_term,
            first_log: first_log(index(metrics.purged), metrics.last_log_index),
            last_log: metrics.last_log_index.unwrap_or(0),
            committed: index(metrics.cluster_committed.max(metrics.local_committed)),
            applied: index(metrics.last_applied),
            ready: false,
            learner: !voters.contains(&self.place.replica.0),
            voters: voters.len() as u64,
            learners: membership.learner_ids().count() as u64,
            followers: followers
                .map(|(&replica, matched)| FollowerStatus {
                    replica: ReplicaId(replica),
                    node: node_of(replica).unwrap_or_default(),
                    behind: lacking(metrics.last_log_index, matched.map(|log_id| log_id.index)),
                    voter: voters.contains(&replica),
                })
                .collect(),
        }
    }

    /// Takes one step towards a group of exactly `members`, all of them voters. `grow` is called
    /// before voters other than this replica are made.
    ///
    /// # Errors
    ///
    /// [`Error::NoLeader`] if this replica does not lead; [`Error::Busy`] if no majority confirms
    /// the change in time, which may still come about; [`Error::Stopped`], [`Error::Option`].
    pub(crate) async fn change_members(
        &self,
        members: &BTreeMap<ReplicaId, NodeId>,
        grow: impl FnOnce() + Send,
    ) -> Result<MemberStep, Error> {
        if members.is_empty() {
            return Err(Error::Option { option: "members", problem: "a group needs one" });
        }
        let plan = self.plan(members)?;
        let missing: Vec<_> =
            members.iter().filter(|(replica, _)| !plan.present.contains(&replica.0)).collect();
        if !missing.is_empty() {
            let nodes = missing.iter().map(|(replica, node)| (replica.0, Host(node.0))).collect();
            grow();
            let step = self.change(ChangeMembers::AddNodes(nodes), true).await?;
            return Ok(if step == MemberStep::Changed { MemberStep::AddedLearners } else { step });
        }
        if plan.voters == plan.wanted && !plan.is_joint {
            if !plan.is_committed {
                // Until a majority has it, the members before it may yet be the group's.
                return Ok(MemberStep::Waiting { behind: 0 });
            }
            let surplus: BTreeSet<_> = plan.present.difference(&plan.wanted).copied().collect();
            return match surplus.is_empty() {
                true => Ok(MemberStep::Done),
                false => self.change(ChangeMembers::RemoveNodes(surplus), false).await,
            };
        }
        let coming = plan.wanted.difference(&plan.voters);
        let coming = coming.filter(|replica| **replica != self.place.replica.0);
        let behind = coming.map(|&replica| plan.behind(replica)).max().unwrap_or(0);
        if behind > MEMBER_BEHIND_MAX {
            return Ok(MemberStep::Waiting { behind });
        }
        grow();
        let own = self.place.replica.0;
        let mut voters = plan.wanted.clone();
        if !voters.contains(&own) {
            let heirs = plan.voters.intersection(&plan.wanted).copied();
            if let Some(heir) = plan.furthest(heirs) {
                self.transfer_leadership(ReplicaId(heir)).await?;
                return Ok(MemberStep::Changed);
            }
            // Nobody who stays may lead yet: the new members vote first, then one of them leads.
            voters.insert(own);
        }
        self.change(ChangeMembers::ReplaceAllVoters(voters), false).await
    }

    fn plan(&self, members: &BTreeMap<ReplicaId, NodeId>) -> Result<Plan, Error> {
        let status = self.status();
        if !status.leads {
            return Err(Error::NoLeader { group: status.group, leader: status.leader });
        }
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        Ok(Plan {
            voters: membership.voter_ids().collect(),
            present: membership.nodes().map(|(replica, _)| *replica).collect(),
            is_joint: membership.get_joint_config().len() > 1,
            is_committed: metrics.committed_membership_config == metrics.membership_config,
            wanted: members.keys().map(|replica| replica.0).collect(),
            behind: status
                .followers
                .iter()
                .map(|follower| (follower.replica.0, follower.behind))
                .collect(),
        })
    }

    /// Commits a change of the members. Those that lose their vote stay as learners if `retain`.
    async fn change(
        &self,
        change: ChangeMembers<u64, Host>,
        retain: bool,
    ) -> Result<MemberStep, Error> {
        let patience = self.timing.election_timeout_max() * CHANGE_TIMEOUTS;
        let changing = Box::pin(self.raft.change_membership(change, retain));
        let late = Error::Busy { what: "no majority has confirmed the change of members yet" };
        match timeout(patience, changing).await.map_err(|_| late)? {
            Ok(_) => Ok(MemberStep::Changed),
            Err(RaftError::Fatal(error)) => Err(self.stopped(&error)),
            Err(RaftError::APIError(error)) => self.unchanged(&error),
        }
    }

    fn unchanged(&self, error: &ClientWriteError<TypeConfig>) -> Result<MemberStep, Error> {
        match error {
            // A new leader hears from a majority a moment later.
            ClientWriteError::ForwardToLeader(ForwardToLeader {
                reason: ForwardReason::LeaseExpired,
                ..
            }) => Ok(MemberStep::Waiting { behind: 0 }),
            ClientWriteError::ForwardToLeader(forward)
            | ClientWriteError::LogEntryDiscarded(forward) => {
                let leader = leader_of(forward, self.place.node);
                Err(Error::NoLeader { group: self.place.group, leader })
            }
            ClientWriteError::ChangeMembershipError(
                ChangeMembershipError::InProgress(_)
                | ChangeMembershipError::UncommittedLeaderLog(_),
            ) => Ok(MemberStep::Waiting { behind: 0 }),
            ClientWriteError::ChangeMembershipError(_)
            | ClientWriteError::PreconditionFailed(_) => {
                Err(Error::Malformed { what: format!("the members cannot change so: {error}") })
            }
        }
    }

    /// Has the replica `to` lead, and waits until this one no longer does.
    ///
    /// # Errors
    ///
    /// [`Error::NoLeader`] if this replica does not lead; [`Error::Option`] if `to` has no vote;
    /// [`Error::Busy`] if it did not take over in time; [`Error::Stopped`].
    pub(crate) async fn transfer_leadership(&self, to: ReplicaId) -> Result<(), Error> {
        let status = self.status();
        if !status.leads {
            return Err(Error::NoLeader { group: status.group, leader: status.leader });
        }
        if to == self.place.replica {
            return Ok(());
        }
        if !status.followers.iter().any(|follower| follower.replica == to && follower.voter) {
            return Err(Error::Option { option: "to", problem: "the replica has no vote" });
        }
        let patience = self.timing.election_timeout_max() * TRANSFER_TIMEOUTS;
        if self.try_transfer(to, patience).await? {
            Ok(())
        } else {
            Err(Error::Busy { what: "the other replica did not take over in time" })
        }
    }

    /// Hands over to the voter that is furthest, if there is one and this replica leads; tries
    /// again, with whoever is furthest then, until `patience` is over. Whether it ceased to lead.
    pub(crate) async fn hand_over(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        loop {
            let status = self.status();
            let voters = status.followers.iter().filter(|follower| follower.voter);
            let Some(heir) = voters.min_by_key(|follower| follower.behind) else { return false };
            let left = until.saturating_duration_since(Instant::now());
            if !status.leads || left.is_zero() {
                return !status.leads;
            }
            let round = left.min(self.timing.election_timeout_max());
            match self.try_transfer(heir.replica, round).await {
                Ok(false) => {}
                Ok(true) => return true,
                Err(_) => return false,
            }
        }
    }

    /// Whether this replica ceased to lead in time after it was asked to hand over.
    async fn try_transfer(&self, to: ReplicaId, patience: Duration) -> Result<bool, Error> {
        let failed = |error: &dyn fmt::Display| self.stopped(error);
        self.raft.trigger().transfer_leader(to.0).await.map_err(|error| failed(&error))?;
        let waiter = self.raft.wait(Some(patience));
        let ended = waiter.metrics(|metrics| !metrics.state.is_leader(), "hand over").await;
        Ok(ended.is_ok())
    }
}

/// Entries up to `last` that come after `matched`.
fn lacking(last: Option<u64>, matched: Option<u64>) -> u64 {
    let count = |index: Option<u64>| index.map_or(0, |index| index + 1);
    count(last).saturating_sub(count(matched))
}
