//! The durable log, votes and snapshot files of all groups of a process.
//!
//! [`Wal`] is one stream of records for all groups: what many groups append while a sync runs goes
//! to the disk with the next one. Entries and votes are bytes; the crate knows neither raft nor
//! commands, and it is the only one that touches files, always through [`FileSystem`].
//!
//! # Invariants
//!
//! - What was acknowledged survives: a [`Completion`] runs after the sync
//!   ([`SyncMode::Always`]) or after the operating system has the bytes
//!   ([`SyncMode::Interval`]).
//! - The log is recovered as a prefix of what was queued, never with a hole.
//! - After a failed write or sync nothing more is written: the log is poisoned.
//! - Damage to what was synced is reported, never skipped; only a torn end is cut.
//! - Bytes of an earlier use of a file never pass a checksum.
//!
//! # Map
//!
//! | module          | job                                                           |
//! |-----------------|---------------------------------------------------------------|
//! | [`file_system`] | the disk as a trait, and the real one                         |
//! | [`data_dir`]    | a node's directory: lock, identity                            |
//! | [`disk`]        | what the directory takes, and what is free                    |
//! | [`wal`]         | the handle: append, vote, truncate, purge                     |
//! | `queue`         | what callers and the log's thread share                       |
//! | `writer`        | the thread: swap, write, sync, answer                         |
//! | `files`         | the file that fills, the full ones, and when they are freed   |
//! | `stock`         | files made ready ahead and used again                         |
//! | `ledger`        | votes and bounds, repeated at the start of each file          |
//! | `frame`         | files and frames as bytes, with salted checksums              |
//! | `record`        | records as bytes                                              |
//! | [`recovery`]    | reading it all back, and where a torn end is cut              |
//! | [`snapshot`]    | snapshot files: streamed, checked chunk by chunk, atomic      |
//! | [`testing`]     | a disk that fails on command and loses what was not synced    |
//!
//! Start at [`Wal::append`], then `Writer::write`. The bytes are in `docs/file-formats.md`.

pub mod completion;
pub mod data_dir;
pub mod disk;
pub mod error;
pub mod file_system;
mod files;
mod frame;
mod ledger;
pub mod options;
mod queue;
mod record;
pub mod recovery;
pub mod snapshot;
mod stock;
pub mod testing;
pub mod wal;
mod writer;

pub use completion::{Completion, Waiter};
pub use data_dir::{DataDir, Identity};
pub use disk::DiskUsage;
pub use error::{Error, IoFailure};
pub use file_system::{Access, File, FileSystem, Lock, RealFileSystem};
pub use options::{Options, SyncMode};
pub use record::Position;
pub use recovery::{Entry, Recovered, RecoveredGroup, TornTail};
pub use snapshot::{SnapshotReader, SnapshotStore, SnapshotWriter};
pub use wal::{EntryRef, Holder, Stats, Wal};
