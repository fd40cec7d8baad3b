//! The types that openraft is run with.

use std::fmt;

use bitroster_command::Outcome;
use bytes::Bytes;
use openraft::impls::leader_id_std;
use openraft::raft::responder::Responder;
use openraft::type_config::alias::{LogIdOf, SnapshotMetaOf, StoredMembershipOf};
use openraft::vote::RaftLeaderId;
use openraft::{OptionalSend, RaftTypeConfig};

use super::runtime::Runtime;

/// Standard Raft: one leader a term, so that a log id is a term and an index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TypeConfig;

type LeaderId = leader_id_std::LeaderId<u64, u64>;

impl RaftTypeConfig for TypeConfig {
    type D = Proposal;
    type R = Applied;
    type NodeId = u64;
    type Node = Host;
    type Term = u64;
    type LeaderId = LeaderId;
    type Vote = Vote;
    type Payload = Payload;
    type Entry = Entry;
    type AsyncRuntime = Runtime;
    type Responder<T>
        = Callback<T>
    where
        T: OptionalSend + 'static;
    type Batch<T>
        = openraft::impls::InlineBatch<T>
    where
        T: OptionalSend + 'static;
    type ErrorSource = openraft::impls::BoxedErrorSource;
}

/// One group's Raft.
pub(crate) type Raft = openraft::Raft<TypeConfig, super::state_machine::StateMachine>;
/// Term and index.
pub(crate) type LogId = LogIdOf<TypeConfig>;
/// Who was voted for, and whether a quorum did.
pub(crate) type Vote = openraft::Vote<LeaderId>;
/// A log entry.
pub(crate) type Entry = openraft::Entry<<LeaderId as RaftLeaderId>::Committed, Payload>;
/// Blank, ops or membership.
pub(crate) type Payload = openraft::EntryPayload<Proposal, u64, Host>;
/// The replicas of a group and their nodes.
pub(crate) type Membership = openraft::Membership<u64, Host>;
/// A membership and the entry that made it so.
pub(crate) type StoredMembership = StoredMembershipOf<TypeConfig>;
/// What a snapshot holds.
pub(crate) type SnapshotMeta = SnapshotMetaOf<TypeConfig>;

/// The bytes of an entry, as `bitroster_command` encodes them.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Proposal(pub(crate) Bytes);

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// What an entry's ops answered, in order. Empty where nobody waits.
#[derive(Debug, Default)]
pub(crate) struct Applied(pub(crate) Vec<Outcome>);

/// The node that a replica lives on. Its address is found through the cluster map, so that a node
/// may change address without a membership change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Host(pub(crate) u64);

/// Calls back when a proposal is applied or refused; dropped uncalled if Raft stops first.
pub(crate) struct Callback<T>(Box<dyn FnOnce(T) + Send>);

impl<T> Callback<T> {
    /// The callback that runs `done` on the state machine's task: it must be short.
    pub(crate) fn new(done: impl FnOnce(T) + Send + 'static) -> Self {
        Self(Box::new(done))
    }
}

impl<T: OptionalSend + 'static> Responder<TypeConfig, T> for Callback<T> {
    fn on_complete(self, result: T) {
        (self.0)(result);
    }
}
