//! What can go wrong, and what the caller can do about it.

use std::io;
use std::path::{Path, PathBuf};

use bitroster_types::GroupId;

/// A disk operation that failed. Cheap enough to clone to every waiter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{operation} {}: {message}", path.display())]
pub struct IoFailure {
    /// What was tried: `open`, `read`, `write`, `sync`, `rename`, `remove` and the like.
    pub operation: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// The operating system's class of error.
    pub kind: io::ErrorKind,
    /// The operating system's text.
    pub message: String,
}

impl IoFailure {
    /// A closure for `map_err` that says what was tried, and where.
    pub(crate) fn at(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| Self {
            operation,
            path: path.to_owned(),
            kind: error.kind(),
            message: error.to_string(),
        }
    }
}

impl From<IoFailure> for io::Error {
    fn from(failure: IoFailure) -> Self {
        Self::new(failure.kind, failure)
    }
}

/// A refused or failed call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The disk failed while a file was opened, recovered or written. On [`Wal`](crate::Wal) it is
    /// returned by `open` only; afterwards the log is [`Error::Poisoned`].
    #[error("{0}")]
    Io(#[from] IoFailure),
    /// Another process, or another handle of this one, has the data directory open.
    #[error("data directory {} is in use by another process", path.display())]
    InUse {
        /// The lock file.
        path: PathBuf,
    },
    /// A file is not what was written and synced. No log file was changed; restore the node from
    /// its peers.
    #[error("{} is damaged at byte {offset}: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in the file.
        offset: u64,
        /// What does not fit.
        reason: &'static str,
    },
    /// A file was written by another version of Bitroster, or is none of ours.
    #[error("{} has format {found}; this version reads format {supported}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The number in the file.
        found: u32,
        /// The number that this version reads and writes.
        supported: u32,
    },
    /// The recovered log of a group misses entries.
    #[error("log of group {group} goes on at index {found}; {expected} is missing")]
    Gap {
        /// The group.
        group: GroupId,
        /// The first missing index.
        expected: u64,
        /// The index found in its place.
        found: u64,
    },
    /// An earlier write or sync failed: what is on the disk is unknown, and the log takes nothing
    /// more. End the process and start it again.
    #[error("log stopped by an earlier failure: {0}")]
    Poisoned(IoFailure),
    /// The log was closed.
    #[error("log is closed")]
    Closed,
    /// An entry, a vote or a snapshot's description exceeds its limit.
    #[error("{what} of {len} bytes exceeds {max}")]
    TooLong {
        /// What is too long.
        what: &'static str,
        /// Its length in bytes.
        len: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// A call does not fit the group's log: the caller's own error. Nothing was queued.
    #[error("{call} of group {group} at index {found} does not fit its log; expected {expected}")]
    OutOfOrder {
        /// The call.
        call: &'static str,
        /// The group.
        group: GroupId,
        /// The index that fits (`append`), or the lowest that does (`truncate_after`).
        expected: u64,
        /// The index given.
        found: u64,
    },
    /// An option is out of its range.
    #[error("{option} is {value}; must be {min} to {max}")]
    Option {
        /// The option.
        option: &'static str,
        /// Its value.
        value: u64,
        /// The least that is allowed.
        min: u64,
        /// The most that is allowed.
        max: u64,
    },
    /// The data directory already carries an identity.
    #[error("{} exists: the data directory belongs to a node already", path.display())]
    IdentityExists {
        /// The identity file.
        path: PathBuf,
    },
}

impl Error {
    /// A constructor for damage in one file.
    pub(crate) fn damaged(path: &Path, offset: u64, reason: &'static str) -> Self {
        Self::Damaged { path: path.to_owned(), offset, reason }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Io(failure) | Error::Poisoned(failure) => failure.into(),
            Error::Damaged { .. } | Error::Format { .. } | Error::Gap { .. } => {
                Self::new(io::ErrorKind::InvalidData, error)
            }
            Error::TooLong { .. } | Error::OutOfOrder { .. } | Error::Option { .. } => {
                Self::new(io::ErrorKind::InvalidInput, error)
            }
            Error::InUse { .. } => Self::new(io::ErrorKind::ResourceBusy, error),
            Error::IdentityExists { .. } => Self::new(io::ErrorKind::AlreadyExists, error),
            Error::Closed => Self::new(io::ErrorKind::BrokenPipe, error),
        }
    }
}
