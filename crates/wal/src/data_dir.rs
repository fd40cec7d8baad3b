//! A node's data directory: its lock, its layout and who it belongs to.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, IoFailure};
use crate::file_system::{Access, FileSystem, Lock, read_full};

/// The only format of a data directory that this version reads and writes.
pub const FORMAT: u32 = 1;

const LOCK_NAME: &str = "lock";
const IDENTITY_NAME: &str = "identity";
const IDENTITY_BYTES_MAX: usize = 512;

/// An open data directory. Clones share it; it stays locked until the last clone is gone, and
/// [`Wal`](crate::Wal) and [`SnapshotStore`](crate::SnapshotStore) each keep one.
#[derive(Clone, Debug)]
pub struct DataDir {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    fs: Arc<dyn FileSystem>,
    root: PathBuf,
    _lock: Box<dyn Lock>,
}

impl DataDir {
    /// Opens and locks a data directory, making it if absent.
    ///
    /// # Errors
    ///
    /// [`Error::InUse`] while another handle is alive, here or in another process; [`Error::Io`].
    pub fn open(fs: Arc<dyn FileSystem>, root: &Path) -> Result<Self, Error> {
        fs.create_dir_all(root).map_err(IoFailure::at("create directory", root))?;
        let path = root.join(LOCK_NAME);
        let lock = match fs.lock(&path) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(Error::InUse { path });
            }
            other => other.map_err(IoFailure::at("lock", &path))?,
        };
        Ok(Self { inner: Arc::new(Inner { fs, root: root.to_owned(), _lock: lock }) })
    }

    /// The directory's path.
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    /// The file system that it lies on.
    pub(crate) fn fs(&self) -> &dyn FileSystem {
        &*self.inner.fs
    }

    /// Makes a directory below the root and returns its path.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.root().join(name);
        self.fs().create_dir_all(&path).map_err(IoFailure::at("create directory", &path))?;
        Ok(path)
    }

    /// Whom the directory belongs to, or `None` if it is new.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] or [`Error::Format`] for a file that is not as it was written;
    /// [`Error::Io`].
    pub fn identity(&self) -> Result<Option<Identity>, Error> {
        let path = self.root().join(IDENTITY_NAME);
        let file = match self.fs().open(&path, Access::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(IoFailure::at("open", &path))?,
        };
        let mut bytes = vec![0; IDENTITY_BYTES_MAX];
        let read = read_full(&*file, &mut bytes, 0).map_err(IoFailure::at("read", &path))?;
        Identity::parse(&bytes[..read], &path).map(Some)
    }

    /// Writes whom the directory belongs to, in one step: a crash leaves all of it or nothing.
    ///
    /// # Errors
    ///
    /// [`Error::IdentityExists`] if it belongs to a node already; [`Error::Io`].
    pub fn create_identity(&self, identity: &Identity) -> Result<(), Error> {
        let path = self.root().join(IDENTITY_NAME);
        if self.identity()?.is_some() {
            return Err(Error::IdentityExists { path });
        }
        let temporary = path.with_extension("tmp");
        let fs = self.fs();
        let file =
            fs.open(&temporary, Access::Create).map_err(IoFailure::at("create", &temporary))?;
        file.write_at(identity.text().as_bytes(), 0).map_err(IoFailure::at("write", &temporary))?;
        file.sync().map_err(IoFailure::at("sync", &temporary))?;
        fs.rename(&temporary, &path).map_err(IoFailure::at("rename", &temporary))?;
        fs.sync_dir(self.root()).map_err(IoFailure::at("sync directory", self.root()))?;
        Ok(())
    }
}

/// Whom a data directory belongs to. A node that finds another cluster or node in it must not
/// start: its votes and log were made under another name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster's number, drawn when it was created.
    pub cluster: u128,
    /// The node's number in it.
    pub node: u64,
}

impl Identity {
    /// The file's text: a person may read it, a checksum keeps a person from editing it.
    fn text(self) -> String {
        let body =
            format!("bitroster {FORMAT}\ncluster {:032x}\nnode {}\n", self.cluster, self.node);
        format!("{body}crc32c {:08x}\n", crc32c::crc32c(body.as_bytes()))
    }

    fn parse(bytes: &[u8], path: &Path) -> Result<Self, Error> {
        let damaged = |reason| Error::damaged(path, 0, reason);
        let text = std::str::from_utf8(bytes).map_err(|_| damaged("identity is not text"))?;
        let mut words = text.split_ascii_whitespace();
        let mut field = |name| {
            let found = words.next() == Some(name);
            words.next().filter(|_| found).ok_or_else(|| damaged("identity lacks a field"))
        };
        let format = field("bitroster")?.parse().map_err(|_| damaged("format is no number"))?;
        if format != FORMAT {
            return Err(Error::Format { path: path.to_owned(), found: format, supported: FORMAT });
        }
        let cluster = u128::from_str_radix(field("cluster")?, 16);
        let node = field("node")?.parse();
        let (Ok(cluster), Ok(node)) = (cluster, node) else {
            return Err(damaged("cluster or node is no number"));
        };
        let identity = Self { cluster, node };
        if identity.text().as_bytes() == bytes {
            Ok(identity)
        } else {
            Err(damaged("identity does not match its checksum"))
        }
    }
}
