//! How replicas of a group on different nodes reach each other.
//!
//! Raft's messages are opaque bytes outside `raft`: a transport carries them to a node, which hands
//! them to [`Shard::receive`](crate::Shard::receive), and carries the answer back.

use std::time::Duration;

use bitroster_types::{GroupId, NodeId, ReplicaId};
use bytes::Bytes;
use futures_util::future::BoxFuture;

/// Where a message goes. A replica takes only what is addressed to its own number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Destination {
    /// The node.
    pub node: NodeId,
    /// The group.
    pub group: GroupId,
    /// The replica.
    pub replica: ReplicaId,
}

/// What a message is about; part of the form of messages, never renumbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum MessageKind {
    /// Entries, or a heartbeat.
    Append = 1,
    /// A vote is asked for.
    Vote = 2,
    /// Whether a vote would be given.
    PreVote = 3,
    /// A piece of a snapshot.
    Snapshot = 4,
    /// The leader hands over.
    TransferLeader = 5,
    /// Which term a replica has promised itself to.
    Lead = 6,
}

impl MessageKind {
    /// The kind with this number.
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Append,
            2 => Self::Vote,
            3 => Self::PreVote,
            4 => Self::Snapshot,
            5 => Self::TransferLeader,
            6 => Self::Lead,
            _ => return None,
        })
    }
}

/// Why a message has no answer. It may have arrived all the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// The node cannot be reached, or did not answer in time.
    #[error("node {node}: {reason}")]
    Unreachable {
        /// The node.
        node: NodeId,
        /// Why.
        reason: String,
    },
    /// The node answered that it has no such replica, or that the message makes no sense.
    #[error("node {node} refused: {reason}")]
    Refused {
        /// The node.
        node: NodeId,
        /// Why.
        reason: String,
    },
}

/// Carries messages between replicas.
pub trait Peers: Send + Sync + 'static {
    /// Sends a message and waits for its answer, at most `timeout`.
    ///
    /// Messages to one node of at most
    /// [`RPC_PIECE_BYTES`](bitroster_types::limits::RPC_PIECE_BYTES) arrive in the order in which
    /// their futures were first polled, unless the link breaks between; longer ones in any order.
    /// Bounded: where too much waits for a node the call fails at once.
    ///
    /// # Errors
    ///
    /// [`PeerError`].
    fn call(
        &self,
        to: Destination,
        kind: MessageKind,
        body: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Bytes, PeerError>>;
}
