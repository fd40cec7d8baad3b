//! What can go wrong, and what the caller can do about it.

use std::io;
use std::time::Duration;

use bitroster_types::{GroupId, NodeId, ReplicaId};

/// A request that got no outcome, or a node that cannot start.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// This replica does not lead its group, or the group has no leader. Nothing was applied.
    #[error("no leader of group {group} here within the deadline; nothing was applied")]
    NoLeader {
        /// The group.
        group: GroupId,
        /// The node whose replica leads, as far as this one knows; never this node.
        leader: Option<NodeId>,
    },
    /// A message or request for a replica that is not here. Nothing was applied.
    #[error("replica {replica} of group {group} is not on this node")]
    NoReplica {
        /// The group.
        group: GroupId,
        /// The replica that was meant.
        replica: ReplicaId,
    },
    /// What came makes no sense. Nothing was applied.
    #[error("{what}")]
    Malformed {
        /// What is wrong with it.
        what: String,
    },
    /// The write was proposed and not answered: it may have been applied, or may yet be.
    #[error("no answer within {waited:?}; the write may or may not be applied")]
    OutcomeUnknown {
        /// How long the caller waited.
        waited: Duration,
    },
    /// The replica refused the request to protect others. Nothing was applied.
    #[error("{what}")]
    Busy {
        /// What is full or late.
        what: &'static str,
    },
    /// The batch is longer than an entry of the log may be. Nothing was applied.
    #[error("write of {len} bytes is longer than one log entry may be ({max} bytes)")]
    TooLong {
        /// Its bytes.
        len: usize,
        /// The most that there may be.
        max: usize,
    },
    /// The replica still recovers. Nothing was applied.
    #[error("group {group} is loading")]
    Loading {
        /// The group.
        group: GroupId,
    },
    /// The node is being stopped. Nothing was applied.
    #[error("shutting down")]
    ShuttingDown,
    /// The log or a snapshot failed.
    #[error(transparent)]
    Log(#[from] bitroster_wal::Error),
    /// A replica stopped for good: its disk failed or what it holds cannot be trusted. The process
    /// must end.
    #[error("replica of group {group} stopped: {reason}")]
    Stopped {
        /// The group.
        group: GroupId,
        /// Why, with its causes.
        reason: String,
    },
    /// An option is out of its range.
    #[error("{option}: {problem}")]
    Option {
        /// The option.
        option: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// An error of [`std::io`] that says what is wrong with data of our own.
pub(crate) fn invalid_data(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}
