//! How the log is run.

use std::time::Duration;

use bitroster_types::limits::{
    WAL_FILE_BYTES_DEFAULT, WAL_FILE_BYTES_MAX, WAL_FILE_BYTES_MIN, WAL_PENDING_BYTES_DEFAULT,
};

use crate::error::Error;

/// When a call counts as done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncMode {
    /// When the disk has it. Nothing acknowledged is lost, whatever ends the process or machine.
    #[default]
    Always,
    /// When the operating system has it; the disk has it at most this much later, as with Redis's
    /// `appendfsync everysec`. Nothing acknowledged is lost when the process is killed; a power cut
    /// may lose the last interval.
    Interval(Duration),
}

/// How the log is run. The defaults fit a production node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// When a call counts as done. Default [`SyncMode::Always`].
    pub sync_mode: SyncMode,

    /// Length of a log file, in bytes. Default 64 MiB; 8 KiB to 1 GiB, a multiple of 4 KiB. An
    /// entry that does not fit one gets a longer file of its own.
    pub file_bytes: u64,

    /// Bytes that may wait for the disk before callers must. Default 256 MiB; one call may exceed
    /// it. Callers that must not wait bound their own proposals well below it.
    pub pending_bytes_max: usize,

    /// Most files kept for use again after their entries are gone. Default 2.
    pub spare_files_max: usize,

    /// Whether the next file is made ready by a thread of its own, so that no call waits for it.
    /// Default true. Tests that count disk operations say false.
    pub prepare_ahead: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sync_mode: SyncMode::Always,
            file_bytes: WAL_FILE_BYTES_DEFAULT,
            pending_bytes_max: WAL_PENDING_BYTES_DEFAULT,
            spare_files_max: 2,
            prepare_ahead: true,
        }
    }
}

impl Options {
    /// Checks every field.
    ///
    /// # Errors
    ///
    /// [`Error::Option`] for the first that is out of range.
    pub fn validate(&self) -> Result<(), Error> {
        let range = WAL_FILE_BYTES_MIN..=WAL_FILE_BYTES_MAX;
        if !range.contains(&self.file_bytes) || !self.file_bytes.is_multiple_of(4096) {
            return Err(Error::Option {
                option: "file_bytes",
                value: self.file_bytes,
                min: WAL_FILE_BYTES_MIN,
                max: WAL_FILE_BYTES_MAX,
            });
        }
        if self.pending_bytes_max == 0 || self.pending_bytes_max > u32::MAX as usize / 2 {
            return Err(Error::Option {
                option: "pending_bytes_max",
                value: self.pending_bytes_max as u64,
                min: 1,
                max: u64::from(u32::MAX / 2),
            });
        }
        Ok(())
    }
}
