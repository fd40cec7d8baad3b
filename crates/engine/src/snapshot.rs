//! The state as bytes, and back.
//!
//! # Form
//!
//! The eight bytes `BITROSTR`, a version, then blocks: length and CRC-32C of the payload, both
//! little-endian `u32`, and the payload, of at most [`SNAPSHOT_BLOCK_BYTES_MAX`]. The payloads,
//! joined, are one stream of records, each a kind and its fields; it starts with a head and ends
//! with a count of the records. A value is written as its length in bytes and pieces in the bitmap
//! codec, each of a bounded range of bits, so that neither side ever holds a large value twice.
//! Sessions come after all entries: the newest id, then a record for each, with the outcomes kept.
//! Version 1 had none of these and is read as a state without sessions. Version 3 added kinds of
//! records for changes over several groups; those that version 2 had are as they were. Version 4
//! added id spaces, a record each, after the sessions: the space's name, how many names it has, and
//! the names as they are kept, in pieces that end with an empty one.
//!
//! [`SNAPSHOT_BLOCK_BYTES_MAX`]: bitroster_types::limits::SNAPSHOT_BLOCK_BYTES_MAX
//!
//! Nothing is allocated because a length says so: buffers grow with the bytes that have arrived and
//! passed their checksum.

mod block;
mod load;
mod save;

use std::{io, sync::Arc};

use bitroster_types::{LogIndex, UnixMillis};

use crate::{
    Engine, EngineConfig, owned::Owned, root::Root, session::Sessions, side::Side, space::Spaces,
};

/// What a file starts with.
const MAGIC: [u8; 8] = *b"BITROSTR";

/// The version of the form that is written.
const FORMAT: u16 = 4;

/// The oldest version that is read.
const FORMAT_MIN: u16 = 1;

/// Bits of one piece of a value: 2 MiB dense, and a multiple of what bitmaps share at once.
const PIECE_BITS: u64 = 1 << 24;

/// Longest piece: the codec never needs twice the dense form.
const PIECE_BYTES_MAX: u64 = 2 * PIECE_BITS / 8;

/// Kinds of records.
mod kind {
    pub(super) const HEAD: u8 = 1;
    pub(super) const ENTRY: u8 = 2;
    pub(super) const STAGED_VALUE: u8 = 3;
    pub(super) const VERSION: u8 = 4;
    pub(super) const EXPIRED: u8 = 5;
    pub(super) const RESERVED: u8 = 6;
    pub(super) const DROPPED: u8 = 7;
    pub(super) const END: u8 = 8;
    pub(super) const SESSIONS: u8 = 9;
    pub(super) const SESSION: u8 = 10;
    pub(super) const STAGED_VOID: u8 = 11;
    pub(super) const STAGED_EXPIRY: u8 = 12;
    pub(super) const RESERVED_EXCLUSIVE: u8 = 13;
    pub(super) const PUBLISHED: u8 = 14;
    pub(super) const ABANDONED: u8 = 15;
    pub(super) const ABORTED: u8 = 16;
    pub(super) const ENLISTED: u8 = 17;
    pub(super) const FLOOR: u8 = 18;
    pub(super) const SPACE: u8 = 19;

    /// The last that a version of the form knows.
    pub(super) const fn last_of(format: u16) -> u8 {
        match format {
            0..=2 => SESSION,
            3 => FLOOR,
            _ => SPACE,
        }
    }
}

/// The state at one entry, to be written out while the engine goes on.
///
/// Shares all memory with the engine; what the engine changes meanwhile is copied page by page.
#[derive(Clone, Debug)]
pub struct Snapshot {
    config: EngineConfig,
    applied: LogIndex,
    time: UnixMillis,
    owned: Owned,
    root: Root,
    side: Arc<Side>,
    sessions: Arc<Sessions>,
    spaces: Arc<Spaces>,
}

/// Why bytes are not a snapshot of this group.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The source failed, or ended early.
    #[error("a snapshot cannot be read: {0}")]
    Io(#[from] io::Error),
    /// Not a snapshot, or of a version that this build does not know.
    #[error("not a snapshot of format {FORMAT_MIN} to {FORMAT}")]
    Format,
    /// A block's checksum does not fit its bytes.
    #[error("checksum of a snapshot's block is {found:#010x}, not {expected:#010x}")]
    Checksum {
        /// As stored.
        expected: u32,
        /// As computed.
        found: u32,
    },
    /// The checksums hold, and yet the contents make no sense.
    #[error("a snapshot is damaged: {0}")]
    Malformed(&'static str),
    /// The snapshot is of another group, or of a cluster with another constant.
    #[error("a snapshot of {found}, not of {expected}")]
    Foreign {
        /// What the configuration says.
        expected: String,
        /// What the snapshot says.
        found: String,
    },
}

impl Engine {
    /// The state as it is now. Costs microseconds: only reference counts are touched.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            config: self.config.clone(),
            applied: self.applied,
            time: self.time,
            owned: self.store.owned.clone(),
            root: self.store.root().clone(),
            side: Arc::clone(&self.side),
            sessions: Arc::clone(&self.sessions),
            spaces: Arc::clone(&self.spaces),
        }
    }

    /// The state that a snapshot was taken of.
    ///
    /// # Errors
    ///
    /// Bytes that [`Snapshot::write_to`] did not write, or not for this configuration.
    pub fn restore(config: EngineConfig, input: &mut impl io::Read) -> Result<Self, RestoreError> {
        load::load(config, input)
    }
}

impl Snapshot {
    /// The last entry in it.
    pub fn applied(&self) -> LogIndex {
        self.applied
    }

    /// Log time at that entry.
    pub fn time(&self) -> UnixMillis {
        self.time
    }

    /// Writes it out. The bytes depend on the state alone. Costs time and I/O by its size, memory
    /// only a few MiB.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn write_to(self, out: &mut impl io::Write) -> io::Result<()> {
        save::save(&self, out)
    }
}
