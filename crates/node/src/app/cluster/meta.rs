//! The cluster's state, kept by the meta group.
//!
//! The meta group is a group like any other; the state is the value of one key in it. A change is
//! a pure function of the state, written on the condition that the state is still the one that it
//! was made from.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use bitroster_command::{
    Expiry, OpBatch, Outcome, ReadCommand, ReadOp, Reply, SetReply, WriteCommand, WriteOp,
};
use bitroster_placement::{ClusterState, slot_of_key, state::Changed};
use bitroster_router::{Reading, Target, Transport};
use bitroster_rpc::StateCell;
use bitroster_types::{Deadline, GroupId, Key, LogIndex, Slot};
use tracing::info;

/// The key whose value is the state.
const STATE_KEY: &[u8] = b"cluster-state";

/// How long one change may take in all.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a change is made anew because another one came first.
const ATTEMPTS_MAX: usize = 32;

/// Asks and changes the meta group.
#[derive(Clone)]
pub(crate) struct Meta {
    transport: Arc<dyn Transport>,
    cell: StateCell,
}

impl Meta {
    pub(crate) fn new(transport: Arc<dyn Transport>, cell: StateCell) -> Self {
        Self { transport, cell }
    }

    /// Changes the state; the state as it is then. `change` answers `None` where nothing is to be
    /// done, and may be asked several times.
    ///
    /// # Errors
    ///
    /// Those of `change`; a meta group that does not answer.
    pub(crate) async fn change(
        &self,
        mut change: impl FnMut(&ClusterState) -> anyhow::Result<Option<Changed>> + Send,
    ) -> anyhow::Result<ClusterState> {
        let deadline = Deadline::at(Instant::now() + CHANGE_TIMEOUT);
        for _ in 0..ATTEMPTS_MAX {
            let mark = self.mark(deadline).await?;
            let Some(state) = self.read(deadline).await? else {
                // The cluster was founded a moment ago: all its nodes know the first state, and
                // whoever comes first writes it.
                let first = self.cell.current().context("the cluster has no state yet")?;
                self.begin(&first).await?;
                continue;
            };
            let Some(Changed { state: next, lines }) = change(&state)? else { return Ok(state) };
            if self.write(mark, &next, deadline).await? {
                for line in lines {
                    info!(revision = next.revision, "{line}");
                }
                self.cell.offer(Arc::new(next.clone()));
                return Ok(next);
            }
        }
        bail!("the cluster's state kept changing; nothing was done")
    }

    /// Writes the first state if there is none.
    ///
    /// # Errors
    ///
    /// A meta group that does not answer.
    pub(crate) async fn begin(&self, first: &ClusterState) -> anyhow::Result<()> {
        let deadline = Deadline::at(Instant::now() + CHANGE_TIMEOUT);
        let mark = self.mark(deadline).await?;
        if self.read(deadline).await?.is_none() && self.write(mark, first, deadline).await? {
            info!(cluster = %first.cluster, "the cluster's first state is written");
        }
        Ok(())
    }

    /// The log entry that changed the state last; 0 for none.
    async fn mark(&self, deadline: Deadline) -> anyhow::Result<LogIndex> {
        let outcome = self.ask(ReadOp::Fingerprint { key: key() }, deadline).await?;
        let Outcome::Reply(Reply::Integer(index)) = outcome else {
            bail!("the meta group answered {outcome:?}");
        };
        Ok(LogIndex(u64::try_from(index)?))
    }

    async fn read(&self, deadline: Deadline) -> anyhow::Result<Option<ClusterState>> {
        let outcome = self.ask(get(), deadline).await?;
        if outcome == Outcome::Reply(Reply::Nil) {
            return Ok(None);
        }
        let Outcome::Reply(Reply::Bulk(bytes)) = outcome else {
            bail!("the meta group answered {outcome:?}");
        };
        Ok(Some(ClusterState::decode(&bytes)?))
    }

    async fn ask(&self, op: ReadOp, deadline: Deadline) -> anyhow::Result<Outcome> {
        Ok(self.transport.read(self.target(), op, &Reading::default(), deadline).await?)
    }

    /// Writes a state on the condition that nobody has since `mark`.
    async fn write(
        &self,
        mark: LogIndex,
        state: &ClusterState,
        deadline: Deadline,
    ) -> anyhow::Result<bool> {
        let set = WriteCommand::Set {
            key: key(),
            value: state.encode().into(),
            existence: None,
            expiry: Expiry::Clear,
            reply: SetReply::Status,
        };
        let op = WriteOp::Transaction { watches: vec![(key(), mark)], ops: vec![set.into()] };
        let mut batch = OpBatch::new();
        batch.push_write(&op);
        let outcomes = self.transport.write(self.target(), batch, deadline).await?;
        match outcomes.first() {
            Some(Outcome::Replies(replies)) if !replies.iter().any(Reply::is_error) => Ok(true),
            Some(Outcome::Reply(Reply::NilArray)) => Ok(false),
            outcome => bail!("the meta group answered {outcome:?}"),
        }
    }

    fn target(&self) -> Target {
        let epoch = self.cell.current().map_or(0, |state| state.map.epoch());
        Target { group: GroupId::META, epoch }
    }
}

fn key() -> Key {
    Key::new(STATE_KEY).expect("a short name")
}

/// The question for the state, for whoever holds a replica of the meta group.
pub(crate) fn get() -> ReadOp {
    ReadOp::Command(ReadCommand::Get { key: key() })
}

/// The slots that the meta group owns in its own keyspace: the state's.
pub(crate) fn slots() -> Vec<Slot> {
    vec![slot_of_key(STATE_KEY)]
}
