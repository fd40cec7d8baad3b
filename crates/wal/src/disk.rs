//! What a data directory takes of its disk.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path};

/// Bytes of one block, as the operating system counts them whatever the disk's own are.
const BLOCK_BYTES: u64 = 512;

/// A data directory and its disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskUsage {
    /// Bytes that the files below the directory take on the disk.
    pub used_bytes: u64,
    /// Bytes that this process may still write to the disk.
    pub free_bytes: u64,
}

impl DiskUsage {
    /// Asks the operating system. Costs a call a file, of which there are a few dozen.
    ///
    /// # Errors
    ///
    /// If the directory is not there or cannot be read.
    pub fn of(root: &Path) -> io::Result<Self> {
        let disk = rustix::fs::statvfs(root)?;
        let free_bytes = disk.f_bavail.saturating_mul(disk.f_frsize);
        Ok(Self { used_bytes: used_bytes(root)?, free_bytes })
    }
}

#[allow(clippy::disallowed_methods, reason = "figures of a real disk")]
fn used_bytes(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // A file that was removed meanwhile takes nothing.
        let Ok(metadata) = entry.metadata() else { continue };
        bytes += if metadata.is_dir() {
            used_bytes(&entry.path())?
        } else {
            metadata.blocks() * BLOCK_BYTES
        };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a real disk")]
    fn files_below_a_directory_are_counted_and_room_is_left() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("log")).unwrap();
        fs::write(dir.path().join("log/1"), vec![7; 100_000]).unwrap();
        fs::write(dir.path().join("lock"), b"x").unwrap();
        let usage = DiskUsage::of(dir.path()).unwrap();
        assert!((100_000..1 << 20).contains(&usage.used_bytes), "{usage:?}");
        assert!(usage.free_bytes > 0);
        assert!(DiskUsage::of(&dir.path().join("absent")).is_err());
    }
}
