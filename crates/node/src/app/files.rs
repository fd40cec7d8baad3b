//! Small files of the data directory: read whole, replaced whole.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, bail};
use bitroster_wal::{Access, FileSystem};

/// The files of one directory.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    fs: Arc<dyn FileSystem>,
    dir: PathBuf,
}

impl Files {
    pub(crate) fn new(fs: Arc<dyn FileSystem>, dir: &Path) -> Self {
        Self { fs, dir: dir.to_owned() }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The bytes of a file; `None` where there is none.
    ///
    /// # Errors
    ///
    /// What the disk says; a file of more than `bytes_max`.
    pub(crate) fn read(&self, name: &str, bytes_max: u64) -> anyhow::Result<Option<Vec<u8>>> {
        let path = self.dir.join(name);
        let file = match self.fs.open(&path, Access::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.with_context(|| format!("cannot open {}", path.display()))?,
        };
        let read = || -> anyhow::Result<Vec<u8>> {
            let len = file.len_bytes()?;
            if len > bytes_max {
                bail!("{len} bytes are too many");
            }
            let mut bytes = vec![0; usize::try_from(len)?];
            let mut done = 0;
            while done < bytes.len() {
                match file.read_at(&mut bytes[done..], done as u64)? {
                    0 => bail!("the file ends early"),
                    count => done += count,
                }
            }
            Ok(bytes)
        };
        read().map(Some).with_context(|| format!("cannot read {}", path.display()))
    }

    /// Replaces a file in one step: a crash leaves the old or the new.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let (temporary, path) = (self.dir.join(format!("{name}.tmp")), self.dir.join(name));
        let write = || -> io::Result<()> {
            let file = self.fs.open(&temporary, Access::Create)?;
            file.write_at(bytes, 0)?;
            file.sync()?;
            self.fs.rename(&temporary, &path)?;
            self.fs.sync_dir(&self.dir)
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }
}
