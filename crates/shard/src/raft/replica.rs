//! One replica of one group: openraft behind a face that names none of its types.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bitroster_command::Outcome;
use bitroster_engine::EngineConfig;
use bitroster_types::limits::LOG_KEPT_BYTES;
use bitroster_types::{GroupId, NodeId, ReplicaId};
use bytes::Bytes;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{
    ClientWriteError, Fatal as RaftFatal, ForwardToLeader, InitializeError, RaftError,
};
use openraft::metrics::WaitError;
use openraft::raft::ClientWriteResult;
use openraft::{Config, Instant as _, ServerState, SnapshotPolicy};
use tokio::sync::Mutex;

use super::incoming::{self, Incoming};
use super::lead::{Asking, Voters};
use super::log_store::LogStore;
use super::message;
use super::network::Network;
use super::snapshot::Snapshots;
use super::state_machine::StateMachine;
use super::types::{Callback, Host, LogId, Proposal, Raft, TypeConfig, Vote};
use crate::error::{Error, invalid_data};
use crate::fatal::Fatal;
use crate::group::role::Role;
use crate::metrics::Metrics;
use crate::options::Timing;
use crate::peers::{MessageKind, Peers};

/// Messages that may wait for a group's core task: few, since proposals in flight are few.
const CHANNEL_LEN: u64 = 1024;

/// Where a replica stands in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Its group.
    pub(crate) group: GroupId,
    /// Its number, new for every replica ever made.
    pub(crate) replica: ReplicaId,
    /// The node it lives on.
    pub(crate) node: NodeId,
}

/// What a replica is made of.
pub(crate) struct Parts {
    pub(crate) place: Place,
    pub(crate) log: LogStore,
    pub(crate) snapshots: Arc<Snapshots>,
    pub(crate) state_machine: StateMachine,
    pub(crate) peers: Option<Arc<dyn Peers>>,
    pub(crate) timing: Timing,
    /// For states that leaders send.
    pub(crate) engine: EngineConfig,
    pub(crate) metrics: Arc<Metrics>,
}

/// How a group begins.
#[derive(Clone, Debug)]
pub(crate) struct Founding {
    pub(crate) founders: Vec<(ReplicaId, NodeId)>,
    pub(crate) preferred: bool,
}

/// Why a proposal has no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// This replica does not lead, or cannot tell whether it still does: the entry did not reach
    /// the log. Who leads, as far as known.
    NotLeader(Option<NodeId>),
    /// The entry was in the log and another leader may have kept it or not.
    Unknown,
}

/// A message's answer, and what it told.
pub(crate) struct Received {
    pub(crate) answer: Bytes,
    /// The leader's log was taken, and this much of it was committed.
    pub(crate) committed: Option<u64>,
}

/// One replica. Clones share it.
#[derive(Clone)]
pub(crate) struct Replica {
    pub(super) place: Place,
    pub(super) raft: Raft,
    pub(super) timing: Timing,
    log: LogStore,
    peers: Option<Arc<dyn Peers>>,
    snapshots: Arc<Snapshots>,
    incoming: Arc<Mutex<Option<Incoming>>>,
    engine: EngineConfig,
}

impl Replica {
    /// Starts a replica: restores the last snapshot and applies the log as far as it is known to
    /// be committed.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`] if the snapshot or the log cannot be read.
    pub(crate) async fn open(parts: Parts) -> Result<Self, Error> {
        let Parts { place, log, snapshots, state_machine, peers, timing, engine, metrics } = parts;
        let config = Arc::new(config(place.group, timing));
        let transfers = Arc::default();
        let network =
            Network { group: place.group, peers: peers.clone(), timing, transfers, metrics };
        let raft = Raft::new(place.replica.0, config, network, log.clone(), state_machine)
            .await
            .map_err(|error| stopped(place.group, &error))?;
        let incoming = Arc::default();
        Ok(Self { place, raft, timing, log, peers, snapshots, incoming, engine })
    }

    /// Makes the replica a member of its group: founds the group if it has no log and the replica
    /// is one of its founders. One that is the only voter leads, and has applied its log, when
    /// this returns; others come to lead or to follow in their time.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`] if the replica stops meanwhile.
    pub(crate) async fn join(&self, founding: Founding) -> Result<(), Error> {
        let stopped = |error: &dyn fmt::Display| self.stopped(error);
        if self.raft.is_initialized().await.map_err(|error| stopped(&error))? {
            if self.is_only_voter() {
                // Without waiting for a time-out: there is nobody to wait for.
                self.raft.trigger().elect(false).await.map_err(|error| stopped(&error))?;
                self.wait_to_lead().await?;
            }
            return Ok(());
        }
        let members: BTreeMap<u64, Host> =
            founding.founders.iter().map(|(replica, node)| (replica.0, Host(node.0))).collect();
        if !members.contains_key(&self.place.replica.0) {
            return Ok(());
        }
        if !founding.preferred && members.len() > 1 {
            // The preferred founder stands first; if it is away, one of the others must.
            let turn = self.place.replica.0 % 8;
            let patience = self.timing.election_timeout_max() * 2
                + self.timing.heartbeat() * u32::try_from(turn).unwrap_or_default();
            let fed = self.raft.wait(Some(patience));
            match fed.metrics(|metrics| metrics.last_log_index.is_some(), "a leader").await {
                Ok(_) => return Ok(()),
                Err(WaitError::Timeout(..)) => {}
                Err(error @ WaitError::ShuttingDown) => return Err(stopped(&error)),
            }
        }
        let is_alone = members.len() == 1;
        match self.raft.initialize(members).await {
            // Not allowed: a leader came first.
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {}
            Err(error) => return Err(stopped(&error)),
        }
        if is_alone { self.wait_to_lead().await } else { Ok(()) }
    }

    fn is_only_voter(&self) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let mut voters = metrics.membership_config.membership().voter_ids();
        voters.next() == Some(self.place.replica.0) && voters.next().is_none()
    }

    /// Waits until this replica leads and has applied all that the log held.
    async fn wait_to_lead(&self) -> Result<(), Error> {
        // A leader's first entry comes after all that its log held.
        self.raft
            .wait(None)
            .metrics(
                |metrics| {
                    let applied = metrics.last_applied.map(|log_id| log_id.index);
                    metrics.state.is_leader()
                        && metrics
                            .last_applied
                            .is_some_and(|log_id| log_id.leader_id.term == metrics.current_term)
                        && applied >= metrics.last_log_index
                },
                "lead and apply the log",
            )
            .await
            .map_err(|error| self.stopped(&error))?;
        Ok(())
    }

    /// Proposes an entry and returns once it is on its way to the log; `done` is called when it is
    /// applied or refused, on a task of Raft's: it must be short. Dropped uncalled if the replica
    /// stops.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`] if the replica has stopped.
    pub(crate) async fn propose(
        &self,
        entry: Bytes,
        done: impl FnOnce(Result<Vec<Outcome>, Refusal>) + Send + 'static,
    ) -> Result<(), Error> {
        let own = self.place.node;
        let callback = Callback::new(move |result: ClientWriteResult<TypeConfig>| {
            done(match result {
                Ok(response) => Ok(response.data.0),
                Err(ClientWriteError::ForwardToLeader(forward)) => {
                    Err(Refusal::NotLeader(leader_of(&forward, own)))
                }
                Err(_) => Err(Refusal::Unknown),
            });
        });
        self.raft
            .write(Proposal(entry))
            .responder(callback)
            .await
            .map_err(|error| self.stopped(&error))
    }

    /// Asks a majority whether this replica may still be taken for the leader of `term`: once it
    /// has applied an entry of that term, reads of its state are linearizable if they came before
    /// the question.
    ///
    /// # Errors
    ///
    /// [`Error::NoLeader`] if a later leader may have been voted for, or no majority answers.
    ///
    /// # Cancel safety
    ///
    /// May be dropped; see [`Voters::ask`].
    pub(crate) async fn confirm_lead(&self, voters: &mut Voters, term: u64) -> Result<(), Error> {
        let metrics = self.raft.server_metrics();
        voters.set_members(self.place.replica, &metrics.borrow_watched().membership_config);
        let asking = Asking {
            group: self.place.group,
            own: self.place.replica,
            term,
            peers: self.peers.as_ref(),
            patience: self.timing.election_timeout_min(),
        };
        voters.ask(&asking, || self.log.promised()).await
    }

    /// Whether this replica makes a majority of the voters with `supporters`, and has not promised
    /// itself past `term`.
    pub(crate) fn is_majority_with(&self, term: u64, supporters: &[ReplicaId]) -> bool {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let stands_in = |replica: &u64| {
            *replica == self.place.replica.0 || supporters.contains(&ReplicaId(*replica))
        };
        let configs = metrics.membership_config.membership().get_joint_config();
        let is_majority = |config: &BTreeSet<u64>| {
            config.iter().filter(|replica| stands_in(replica)).count() > config.len() / 2
        };
        !configs.is_empty() && configs.iter().all(is_majority) && self.log.promised() <= term
    }

    /// How long ago, at most, a majority last said that this replica leads; `None` if none did
    /// since it last began to.
    pub(crate) fn quorum_age(&self) -> Option<Duration> {
        let metrics = self.raft.metrics();
        let acked = metrics.borrow_watched().last_quorum_acked?;
        // It may think that it was heard a little later than it was; see `appends`.
        Some(acked.elapsed() + self.timing.overdue())
    }

    /// Answers a message of another replica of the group.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`], [`Error::Stopped`].
    pub(crate) async fn receive(&self, kind: MessageKind, body: Bytes) -> Result<Received, Error> {
        let malformed = |error: std::io::Error| Error::Malformed { what: error.to_string() };
        let failed = |error: &dyn fmt::Display| self.stopped(error);
        let mut committed = None;
        let answer = match kind {
            MessageKind::Append => {
                let request = message::decode_append(&body).map_err(malformed)?;
                let told = request.leader_commit.map(|log_id| log_id.index);
                let answer = self.raft.append_entries(request).await;
                let answer = answer.map_err(|error| failed(&error))?;
                committed = told.filter(|_| answer.is_success());
                message::encode_appended(&answer)
            }
            MessageKind::Vote => {
                let request = message::decode_ballot(&body).map_err(malformed)?;
                let answer = self.raft.vote(request).await.map_err(|error| failed(&error))?;
                message::encode_voted(&answer)
            }
            MessageKind::PreVote => {
                let request = message::decode_ballot(&body).map_err(malformed)?;
                let answer = self.raft.pre_vote(request).await.map_err(|error| failed(&error))?;
                message::encode_voted(&answer)
            }
            MessageKind::Snapshot => {
                let answer = Box::pin(self.receive_snapshot(&body)).await;
                message::encode_received(answer.map_err(malformed)?.as_ref())
            }
            MessageKind::TransferLeader => {
                let request = message::decode_transfer(&body).map_err(malformed)?;
                let answer = self.raft.handle_transfer_leader(request).await;
                message::encode_transferred(&answer.map_err(|error| failed(&error))?)
            }
            MessageKind::Lead => {
                message::decode_lead(&body).map_err(malformed)?;
                message::encode_promised(self.log.promised())
            }
        };
        Ok(Received { answer, committed })
    }

    /// Takes a part of a snapshot, and installs it at its end. Gives this replica's vote once
    /// nothing more is to be sent.
    async fn receive_snapshot(&self, body: &Bytes) -> std::io::Result<Option<Vote>> {
        let part = message::decode_snapshot(body)?;
        let (vote, committed) = {
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow_watched();
            (metrics.vote, metrics.cluster_committed.max(metrics.local_committed))
        };
        if vote > part.vote {
            return Ok(Some(vote));
        }
        let mut slot = self.incoming.lock().await;
        let taken = incoming::take(&mut slot, part, &self.snapshots, &self.engine).await?;
        let Some((vote, snapshot)) = taken else { return Ok(None) };
        let last = snapshot.meta.last_log_id;
        let index = |log_id: Option<LogId>| log_id.map(|log_id| log_id.index);
        if index(last) <= index(committed) && last > committed {
            return Err(invalid_data("a snapshot of another history"));
        }
        let installed = self.raft.install_full_snapshot(vote, snapshot).await;
        Ok(Some(installed.map_err(std::io::Error::other)?.vote))
    }

    /// Writes a snapshot of all that is applied, waits until it is durable and has the log that it
    /// covers dropped: all of it, or all but what followers that lag a little may need. Does not
    /// write one if there is one already.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`] if the replica stops meanwhile; a disk that fails stops it.
    pub(crate) async fn snapshot(&self, keep: bool) -> Result<(), Error> {
        let stopped = |error: &dyn fmt::Display| self.stopped(error);
        let (applied, mut snapshot) = {
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow_watched();
            (metrics.last_applied, metrics.snapshot)
        };
        if applied.is_some() && applied > snapshot {
            self.raft.trigger().snapshot().await.map_err(|error| stopped(&error))?;
            let metrics = self
                .raft
                .wait(None)
                .metrics(|metrics| metrics.snapshot >= applied, "snapshot")
                .await
                .map_err(|error| stopped(&error))?;
            snapshot = metrics.snapshot;
        }
        let Some(snapshot) = snapshot else { return Ok(()) };
        let kept = if keep && !self.is_only_voter() { LOG_KEPT_BYTES } else { 0 };
        // Followers that lag further are sent the snapshot.
        let Some(upto) = self.log.purge_point(snapshot.index, kept) else { return Ok(()) };
        self.raft.trigger().purge_log(upto).await.map_err(|error| stopped(&error))
    }

    /// Waits until the log that the last snapshot covers is dropped. Meant to follow a
    /// [`Replica::snapshot`] that keeps nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`] if the replica stops meanwhile.
    pub(crate) async fn purged(&self) -> Result<(), Error> {
        self.raft
            .wait(None)
            .metrics(|metrics| metrics.purged >= metrics.snapshot, "purge")
            .await
            .map_err(|error| self.stopped(&error))?;
        Ok(())
    }

    /// Calls `changed` with who leads, now and at every change, until the replica stops. Tells
    /// `fatal` if it did not stop because it was told.
    pub(crate) async fn watch(&self, fatal: &Fatal, mut changed: impl FnMut(Role) + Send) {
        let mut metrics = self.raft.server_metrics();
        loop {
            let role = {
                let metrics = metrics.borrow_watched();
                let membership = metrics.membership_config.membership();
                let mut voters = membership.voter_ids();
                let leads = metrics.state == ServerState::Leader;
                let is_alone =
                    voters.next() == Some(self.place.replica.0) && voters.next().is_none();
                let leader = metrics.current_leader.and_then(|leader| {
                    let host = membership.nodes().find(|(replica, _)| **replica == leader)?;
                    Some((ReplicaId(leader), NodeId(host.1.0)))
                });
                Role { leads, alone: leads && is_alone, leader, term: metrics.vote.leader_id.term }
            };
            changed(role);
            if metrics.changed().await.is_err() {
                break;
            }
        }
        changed(Role::default());
        let state = self.raft.metrics().borrow_watched().running_state.clone();
        match state {
            Ok(()) | Err(RaftFatal::Stopped) => {}
            Err(error @ (RaftFatal::StorageError(_) | RaftFatal::Panicked)) => {
                fatal.stop(self.place.group, &error);
            }
        }
    }

    /// Stops the replica. What is in flight may or may not be applied.
    pub(crate) async fn shutdown(&self) {
        *self.incoming.lock().await = None;
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(group = %self.place.group, %error, "replica ended with an error");
        }
    }

    pub(super) fn stopped(&self, error: &dyn fmt::Display) -> Error {
        stopped(self.place.group, error)
    }
}

impl fmt::Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica").field("place", &self.place).finish_non_exhaustive()
    }
}

/// The node that a refusal points to, unless it is the one that refuses.
pub(super) fn leader_of(forward: &ForwardToLeader<TypeConfig>, own: NodeId) -> Option<NodeId> {
    forward.leader_node.map(|host| NodeId(host.0)).filter(|node| *node != own)
}

fn config(group: GroupId, timing: Timing) -> Config {
    Config {
        cluster_name: format!("group-{group}"),
        heartbeat_interval: timing.heartbeat_ms,
        heartbeat_min_interval: Some(timing.heartbeat_ms * 2 / 3),
        election_timeout_min: timing.election_timeout_ms_min,
        election_timeout_max: 2 * timing.election_timeout_ms_min,
        max_payload_entries: 1024,
        // Snapshots and purges are triggered by bytes of log, by the keeper.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        // A follower is sent the snapshot only where the log no longer reaches back to it.
        replication_lag_threshold: 1 << 40,
        purge_batch_size: 1024,
        api_channel_size: Some(CHANNEL_LEN),
        notification_channel_size: Some(CHANNEL_LEN),
        state_machine_channel_size: Some(CHANNEL_LEN),
        enable_pre_vote: Some(true),
        // A follower that lost what it had confirmed must not end its leader, and the next one.
        allow_log_reversion: Some(true),
        // A restarted leader that leads on without a vote could serve what it has not applied.
        enable_leader_restore: Some(false),
        ..Config::default()
    }
    .validate()
    .expect("the options were checked")
}

fn stopped(group: GroupId, error: &dyn fmt::Display) -> Error {
    Error::Stopped { group, reason: error.to_string() }
}
