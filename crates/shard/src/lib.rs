//! One node's replicas: raft, engine and log.
//!
//! [`Shard`] opens a data directory and runs a replica of each group in it. A router asks a
//! [`GroupHandle`]: reads are answered from the state, writes are queued, packed into log entries
//! with everything else that waits, made durable, applied and answered.
//!
//! # Invariants
//!
//! - A write is answered after a majority has it on disk and it is applied; a read sees every
//!   write that was answered before it was asked.
//! - Only the state machine's task changes an engine, and it holds its lock for a few hundred ops
//!   at a time, heavy work excluded.
//! - A batch is owned by its group from the moment it is queued: a caller that goes away changes
//!   nothing.
//! - A failed disk, or an entry that cannot be read, ends the process ([`Fatal`]).
//!
//! # Map
//!
//! | module       | job                                                         |
//! |--------------|-------------------------------------------------------------|
//! | [`shard`]    | all replicas of a node: open, shut down                     |
//! | [`group`]    | one group: reads, writes, its proposer                      |
//! | `queue`      | where batches wait for the next entry                       |
//! | `raft`       | the only module that names openraft                         |
//! | `fold`       | one computation over what several groups hold               |
//! | `keyspace`   | the engine behind its lock                                  |
//! | `pool`       | threads for heavy computations                              |
//! | `keeper`     | snapshots by bytes of log                                   |
//! | [`peers`]    | how replicas on different nodes reach each other            |
//! | [`options`]  | how it is all run                                           |
//! | [`fatal`]    | what happens when a replica cannot go on                    |
//! | `metrics`    | what is counted                                             |
//!
//! Start at [`GroupHandle::write`], then `Group::propose` and `StateMachine::apply`.

pub mod error;
pub mod fatal;
mod fold;
pub mod group;
mod keeper;
mod keyspace;
mod metrics;
pub mod options;
pub mod peers;
mod pool;
mod queue;
mod raft;
pub mod shard;

pub use bitroster_engine::EngineStats;
pub use bitroster_wal::{Options as WalOptions, SyncMode};
pub use error::Error;
pub use fatal::Fatal;
pub use fold::FoldPart;
pub use group::{Answered, FollowerStatus, GroupHandle, MemberStep, ReplicaStatus};
pub use options::{Clock, GroupSpec, ShardOptions};
pub use peers::{Destination, MessageKind, PeerError, Peers};
pub use raft::message::promised_term;
pub use shard::{GroupStats, Shard, ShardStats};
