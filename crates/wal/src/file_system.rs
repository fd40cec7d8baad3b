//! The disk as this crate sees it: a trait, and the operating system behind it.
//!
//! The trait is small on purpose: every operation in it is one that a test makes fail
//! ([`crate::testing::FaultyDisk`]). This is the only file of the project that names `std::fs`.

use std::fmt::Debug;
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// For reading; it must exist.
    Read,
    /// For reading and writing; it must exist.
    Write,
    /// For reading and writing; made anew, and emptied if it exists.
    Create,
}

/// Files and directories. What is written is durable after [`File::sync`]; what is created, renamed
/// or removed, after [`FileSystem::sync_dir`].
pub trait FileSystem: Debug + Send + Sync + 'static {
    /// Makes a directory and those above it. Does nothing where it exists.
    ///
    /// # Errors
    ///
    /// The operating system's.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Opens a file.
    ///
    /// # Errors
    ///
    /// The operating system's; [`io::ErrorKind::NotFound`] where it must exist and does not.
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn File>>;

    /// Gives a file another name in one step, replacing the file of that name.
    ///
    /// # Errors
    ///
    /// The operating system's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    ///
    /// The operating system's.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// The names of the files in a directory, in no order. Names that are not UTF-8 are left out:
    /// none of ours.
    ///
    /// # Errors
    ///
    /// The operating system's.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Waits until all that was created, renamed or removed in a directory is durable.
    ///
    /// # Errors
    ///
    /// The operating system's. Afterwards nobody knows which names the disk holds.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Locks a file for this process, making it if absent. The lock ends when the value is dropped
    /// or the process ends.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] while somebody holds it; else the operating system's.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>>;
}

/// An open file. Offsets and lengths are bytes.
pub trait File: Debug + Send + Sync {
    /// The file's length.
    ///
    /// # Errors
    ///
    /// The operating system's.
    fn len_bytes(&self) -> io::Result<u64>;

    /// Reads at `offset` and returns how many bytes were read; 0 at the end of the file.
    ///
    /// # Errors
    ///
    /// The operating system's.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`. Grows the file as needed.
    ///
    /// # Errors
    ///
    /// The operating system's. Any part of the bytes may have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Waits until all that was written is durable (`fdatasync`).
    ///
    /// # Errors
    ///
    /// The operating system's. Afterwards nobody knows what the disk holds, and a second call that
    /// succeeds proves nothing.
    fn sync(&self) -> io::Result<()>;
}

/// A held lock; dropping it releases it.
pub trait Lock: Debug + Send + Sync {}

/// Reads until `buffer` is full or the file ends; returns the bytes read.
pub(crate) fn read_full(file: &dyn File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// The operating system's files.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFileSystem;

impl FileSystem for RealFileSystem {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        if let Some(parent) = parent {
            self.create_dir_all(parent)?;
        }
        match fs::create_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => self.sync_dir(parent.unwrap_or(Path::new("."))),
        }
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn File>> {
        let create = access == Access::Create;
        let file = fs::OpenOptions::new()
            .read(true)
            .write(access != Access::Read)
            .create(create)
            .truncate(create)
            .open(path)?;
        Ok(Box::new(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        fs::File::open(dir)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(file)),
            Err(fs::TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }
}

impl File for fs::File {
    fn len_bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

impl Lock for fs::File {}
