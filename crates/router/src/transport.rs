//! How the router reaches the groups.

use std::time::Duration;

use bitroster_command::{CommandError, OpBatch, Outcome, ReadOp};
use bitroster_types::{Deadline, GroupId};
use futures_util::future::BoxFuture;

/// Carries ops to groups and outcomes back.
///
/// The node implements it over the replicas in its own process; across nodes the same trait goes
/// over the network. An implementation finds the group's leader by itself and waits for one until
/// the deadline.
pub trait Transport: Send + Sync + 'static {
    /// Answers a cheap read in place, or says `None` where that would have to wait: the group is
    /// elsewhere, leadership has to be confirmed, or the work is long. Never blocks.
    fn read_now(&self, group: GroupId, op: &ReadOp) -> Option<Outcome>;

    /// Answers a read, linearizably.
    ///
    /// # Errors
    ///
    /// [`TransportError::NoLeader`] where nobody answered before the deadline, and refusals.
    fn read(
        &self,
        group: GroupId,
        op: ReadOp,
        deadline: Deadline,
    ) -> BoxFuture<'_, Result<Outcome, TransportError>>;

    /// Commits a batch of ops in one entry, in order: one outcome an op.
    ///
    /// # Errors
    ///
    /// [`TransportError::NoLeader`] and [`TransportError::Refused`] only where no op of the batch
    /// was or will be applied; otherwise [`TransportError::OutcomeUnknown`].
    ///
    /// # Cancel safety
    ///
    /// A batch that was handed over may be applied although its future was dropped.
    fn write(
        &self,
        group: GroupId,
        batch: OpBatch,
        deadline: Deadline,
    ) -> BoxFuture<'_, Result<Vec<Outcome>, TransportError>>;
}

/// Why a group gave no outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// No leader was found before the deadline; nothing was applied.
    #[error("no leader of group {group} within the deadline")]
    NoLeader {
        /// The group.
        group: GroupId,
    },
    /// The batch was sent and not answered.
    #[error("no answer within {waited:?}")]
    OutcomeUnknown {
        /// How long the caller waited.
        waited: Duration,
    },
    /// Refused before anything was done.
    #[error(transparent)]
    Refused(#[from] CommandError),
}

impl From<TransportError> for CommandError {
    fn from(error: TransportError) -> Self {
        match error {
            TransportError::NoLeader { group } => Self::NoLeader { group: group.0 },
            TransportError::OutcomeUnknown { waited } => Self::OutcomeUnknown { waited },
            TransportError::Refused(error) => error,
        }
    }
}
