//! One replica of one group: openraft behind a face that names none of its types.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bitroster_command::Outcome;
use bitroster_types::GroupId;
use bytes::Bytes;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, Fatal as RaftFatal};
use openraft::raft::ClientWriteResult;
use openraft::{Config, ReadPolicy, ServerState, SnapshotPolicy};

use super::log_store::LogStore;
use super::network::Network;
use super::state_machine::StateMachine;
use super::types::{Callback, Host, Proposal, Raft, TypeConfig};
use crate::error::Error;
use crate::fatal::Fatal;

/// Time between a leader's heartbeats, in milliseconds.
const HEARTBEAT_MS: u64 = 200;
/// Shortest wait for a heartbeat before an election: four heartbeats, so that a lost one is no
/// reason to elect. The longest wait, twice this, is also the leader's lease.
const ELECTION_TIMEOUT_MS_MIN: u64 = 4 * HEARTBEAT_MS;
/// Messages that may wait for a group's core task: few, since proposals in flight are few.
const CHANNEL_LEN: u64 = 1024;

/// Where a replica stands in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReplicaId {
    /// Its number, new for every replica ever made.
    pub(crate) replica: u64,
    /// The node it lives on.
    pub(crate) node: u64,
}

/// Why a proposal has no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// This replica does not lead: the entry did not reach the log.
    NotLeader,
    /// The entry was in the log and another leader may have kept it or not.
    Unknown,
}

/// One replica. Clones share it.
#[derive(Clone)]
pub(crate) struct Replica {
    group: GroupId,
    id: ReplicaId,
    raft: Raft,
}

impl Replica {
    /// Starts a replica: restores the last snapshot and applies the log as far as it is known to
    /// be committed.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`] if the snapshot or the log cannot be read.
    pub(crate) async fn open(
        group: GroupId,
        id: ReplicaId,
        log: LogStore,
        state_machine: StateMachine,
    ) -> Result<Self, Error> {
        let config = Arc::new(config(group));
        let raft = Raft::new(id.replica, config, Network, log, state_machine)
            .await
            .map_err(|error| stopped(group, &error))?;
        Ok(Self { group, id, raft })
    }

    /// Makes this replica the leader of a group that has no other, without waiting for a timer,
    /// and waits until all that the log held is applied.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`] if the replica stops meanwhile.
    pub(crate) async fn lead_alone(&self) -> Result<(), Error> {
        let stopped = |error: &dyn fmt::Display| stopped(self.group, error);
        if self.raft.is_initialized().await.map_err(|error| stopped(&error))? {
            self.raft.trigger().elect(false).await.map_err(|error| stopped(&error))?;
        } else {
            let members = BTreeMap::from([(self.id.replica, Host(self.id.node))]);
            self.raft.initialize(members).await.map_err(|error| stopped(&error))?;
        }
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
            .map_err(|error| stopped(&error))?;
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
        let callback = Callback::new(move |result: ClientWriteResult<TypeConfig>| {
            done(match result {
                Ok(response) => Ok(response.data.0),
                Err(ClientWriteError::ForwardToLeader(_)) => Err(Refusal::NotLeader),
                Err(_) => Err(Refusal::Unknown),
            });
        });
        self.raft
            .write(Proposal(entry))
            .responder(callback)
            .await
            .map_err(|error| stopped(self.group, &error))
    }

    /// Asks a majority whether this replica still leads, and waits until it has applied all that
    /// was committed before the question: reads of the state are linearizable from then on.
    ///
    /// # Errors
    ///
    /// [`Error::NoLeader`] if it does not lead; [`Error::Stopped`].
    pub(crate) async fn confirm_read(&self) -> Result<(), Error> {
        let no_leader = Error::NoLeader { group: self.group };
        let Ok(linearizer) = self.raft.get_read_linearizer(ReadPolicy::ReadIndex).await else {
            return Err(no_leader);
        };
        linearizer.await_ready(&self.raft).await.map_err(|error| stopped(self.group, &error))?;
        Ok(())
    }

    /// Writes a snapshot of all that is applied, waits until it is durable and has the log that it
    /// covers dropped. Does nothing if there is one already.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`] if the replica stops meanwhile; a disk that fails stops it.
    pub(crate) async fn snapshot(&self) -> Result<(), Error> {
        let stopped = |error: &dyn fmt::Display| stopped(self.group, error);
        let (applied, snapshot) = {
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow_watched();
            (metrics.last_applied, metrics.snapshot)
        };
        let Some(applied) = applied.filter(|applied| snapshot.is_none_or(|last| last < *applied))
        else {
            return Ok(());
        };
        self.raft.trigger().snapshot().await.map_err(|error| stopped(&error))?;
        let metrics = self
            .raft
            .wait(None)
            .metrics(|metrics| metrics.snapshot >= Some(applied), "snapshot")
            .await
            .map_err(|error| stopped(&error))?;
        let Some(snapshot) = metrics.snapshot else { return Ok(()) };
        // The whole log up to the snapshot: followers that lag further are sent the snapshot.
        self.raft.trigger().purge_log(snapshot.index).await.map_err(|error| stopped(&error))
    }

    /// Waits until the log that the last snapshot covers is dropped.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`] if the replica stops meanwhile.
    pub(crate) async fn purged(&self) -> Result<(), Error> {
        self.raft
            .wait(None)
            .metrics(|metrics| metrics.purged >= metrics.snapshot, "purge")
            .await
            .map_err(|error| stopped(self.group, &error))?;
        Ok(())
    }

    /// Calls `changed` with whether this replica leads a group that has no other voter, now and at
    /// every change, until the replica stops. Tells `fatal` if it did not stop because it was told.
    pub(crate) async fn watch(&self, fatal: &Fatal, mut changed: impl FnMut(bool) + Send) {
        let mut metrics = self.raft.server_metrics();
        loop {
            let alone = {
                let metrics = metrics.borrow_watched();
                let mut voters = metrics.membership_config.membership().voter_ids();
                metrics.state == ServerState::Leader
                    && voters.next() == Some(self.id.replica)
                    && voters.next().is_none()
            };
            changed(alone);
            if metrics.changed().await.is_err() {
                break;
            }
        }
        changed(false);
        let state = self.raft.metrics().borrow_watched().running_state.clone();
        match state {
            Ok(()) | Err(RaftFatal::Stopped) => {}
            Err(error @ (RaftFatal::StorageError(_) | RaftFatal::Panicked)) => {
                fatal.stop(self.group, &error);
            }
        }
    }

    /// Stops the replica. What is in flight may or may not be applied.
    pub(crate) async fn shutdown(&self) {
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(group = %self.group, %error, "replica ended with an error");
        }
    }
}

impl fmt::Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica").field("group", &self.group).finish_non_exhaustive()
    }
}

fn config(group: GroupId) -> Config {
    Config {
        cluster_name: format!("group-{group}"),
        heartbeat_interval: HEARTBEAT_MS,
        heartbeat_min_interval: Some(HEARTBEAT_MS * 2 / 3),
        election_timeout_min: ELECTION_TIMEOUT_MS_MIN,
        election_timeout_max: 2 * ELECTION_TIMEOUT_MS_MIN,
        max_payload_entries: 1024,
        // Snapshots and purges are triggered by bytes of log, by the keeper.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        purge_batch_size: 1024,
        api_channel_size: Some(CHANNEL_LEN),
        notification_channel_size: Some(CHANNEL_LEN),
        state_machine_channel_size: Some(CHANNEL_LEN),
        enable_pre_vote: Some(true),
        // A restarted leader that leads on without a vote could serve what it has not applied.
        enable_leader_restore: Some(false),
        ..Config::default()
    }
    .validate()
    .expect("the configuration is made of constants")
}

fn stopped(group: GroupId, error: &dyn fmt::Display) -> Error {
    Error::Stopped { group, reason: error.to_string() }
}
