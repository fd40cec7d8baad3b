//! Where log files come from and where they go: made full of zeros, or used again.
//!
//! A file that was written before need not grow, so a sync writes the data alone and not the file
//! system's journal; that halves its time. A file whose entries are all gone is therefore kept
//! under another name and used again, with a new salt.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use crate::data_dir::DataDir;
use crate::error::IoFailure;
use crate::file_system::{Access, File};
use crate::frame::FileHeader;

/// Zeros are written in pieces, with a sync every few, so that the log's own syncs never wait
/// behind a whole file of them.
const ZEROS_BYTES: usize = 256 << 10;
const ZEROS_SYNC_BYTES: u64 = 4 << 20;

const LOG_EXTENSION: &str = "log";
const SPARE_EXTENSION: &str = "spare";
const TEMPORARY_NAME: &str = "new.tmp";

/// A file's place in the log, or its use as a spare, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    /// Part of the log, with its sequence number.
    Log(u64),
    /// To be used again.
    Spare,
    /// Half made.
    Temporary,
}

impl Name {
    /// What a name in the log's directory stands for; `None` if it is none of ours.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        if name == TEMPORARY_NAME {
            return Some(Self::Temporary);
        }
        let (digits, extension) = name.split_once('.')?;
        if digits.len() != 20 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        match extension {
            LOG_EXTENSION => digits.parse().ok().map(Self::Log),
            SPARE_EXTENSION => Some(Self::Spare),
            _ => None,
        }
    }
}

/// The path of the log file with this sequence number.
pub(crate) fn log_path(dir: &Path, sequence: u64) -> PathBuf {
    dir.join(format!("{sequence:020}.{LOG_EXTENSION}"))
}

/// A file that is ready to take frames: its header and its name are durable.
#[derive(Debug)]
pub(crate) struct Fresh {
    pub(crate) file: Box<dyn File>,
    pub(crate) path: PathBuf,
    pub(crate) header: FileHeader,
}

/// A file that the log no longer needs.
#[derive(Debug)]
pub(crate) struct Retired {
    pub(crate) path: PathBuf,
    pub(crate) salt: u64,
    pub(crate) len_bytes: u64,
}

/// Makes, renames and removes log files.
#[derive(Debug)]
pub(crate) struct Stock {
    pub(crate) data: DataDir,
    pub(crate) dir: PathBuf,
    pub(crate) file_bytes: u64,
    pub(crate) spares: Vec<PathBuf>,
    pub(crate) spares_max: usize,
    /// Greater than the salt of every use of every file in the directory.
    pub(crate) salt_next: u64,
    /// Bytes of the spares, for the log's statistics.
    pub(crate) spare_bytes: Arc<AtomicU64>,
}

impl Stock {
    /// Makes a file ready: a spare if there is one, else a new one full of zeros.
    ///
    /// Its name is durable before it is returned: a sequence number that was written to is never
    /// given to another file.
    pub(crate) fn prepare(&mut self, sequence: u64) -> Result<Fresh, IoFailure> {
        let header = FileHeader { sequence, salt: self.salt_next };
        self.salt_next += 1;
        let fs = self.data.fs();
        let (from, file) = match self.spares.pop() {
            Some(spare) => {
                self.spare_bytes.fetch_sub(self.file_bytes, Ordering::Relaxed);
                let opened = fs.open(&spare, Access::Write);
                let file = opened.map_err(IoFailure::at("open", &spare))?;
                (spare, file)
            }
            None => {
                let path = self.dir.join(TEMPORARY_NAME);
                let file = self.zeros(&path)?;
                (path, file)
            }
        };
        file.write_at(&header.encode(), 0).map_err(IoFailure::at("write", &from))?;
        file.sync().map_err(IoFailure::at("sync", &from))?;
        let path = log_path(&self.dir, sequence);
        fs.rename(&from, &path).map_err(IoFailure::at("rename", &from))?;
        fs.sync_dir(&self.dir).map_err(IoFailure::at("sync directory", &self.dir))?;
        Ok(Fresh { file, path, header })
    }

    fn zeros(&self, path: &Path) -> Result<Box<dyn File>, IoFailure> {
        let file = self.data.fs().open(path, Access::Create);
        let file = file.map_err(IoFailure::at("create", path))?;
        let zeros = vec![0; ZEROS_BYTES];
        let (mut offset, mut synced) = (0, 0);
        while offset < self.file_bytes {
            let left = usize::try_from(self.file_bytes - offset).unwrap_or(usize::MAX);
            let len = left.min(ZEROS_BYTES);
            file.write_at(&zeros[..len], offset).map_err(IoFailure::at("write", path))?;
            offset += len as u64;
            if offset - synced >= ZEROS_SYNC_BYTES {
                file.sync().map_err(IoFailure::at("sync", path))?;
                synced = offset;
            }
        }
        Ok(file)
    }

    /// Keeps a file to use it again, or removes it. Durable when it returns: a file must not be
    /// overwritten while the log may still know it by its old name.
    pub(crate) fn retire(&mut self, retired: &Retired) -> Result<(), IoFailure> {
        let fs = self.data.fs();
        let path = &retired.path;
        if retired.len_bytes == self.file_bytes && self.spares.len() < self.spares_max {
            let spare = self.dir.join(format!("{:020}.{SPARE_EXTENSION}", retired.salt));
            fs.rename(path, &spare).map_err(IoFailure::at("rename", path))?;
            self.spares.push(spare);
            self.spare_bytes.fetch_add(self.file_bytes, Ordering::Relaxed);
        } else {
            fs.remove(path).map_err(IoFailure::at("remove", path))?;
        }
        fs.sync_dir(&self.dir).map_err(IoFailure::at("sync directory", &self.dir))
    }
}

#[derive(Debug)]
enum Job {
    Prepare(u64),
    Retire(Retired),
}

/// The stock, worked by the log's thread itself or by one of its own.
#[derive(Debug)]
pub(crate) enum Supply {
    /// Files are made when they are needed.
    OnDemand(Stock),
    /// The next file is made while the one before it fills.
    Ahead(Maker),
}

/// A thread that makes and retires files. Dropping it ends the thread and waits for it.
#[derive(Debug)]
pub(crate) struct Maker {
    /// Holds at most one file to make and those just retired.
    jobs: Option<mpsc::Sender<Job>>,
    fresh: mpsc::Receiver<Result<Fresh, IoFailure>>,
    thread: Option<JoinHandle<()>>,
}

impl Supply {
    /// Takes over a stock, and starts a thread for it if told to. With a thread, the file after
    /// `sequence` is begun at once.
    pub(crate) fn new(stock: Stock, ahead: bool, sequence: u64) -> Result<Self, IoFailure> {
        if !ahead {
            return Ok(Self::OnDemand(stock));
        }
        let dir = stock.dir.clone();
        let (jobs, inbox) = mpsc::channel();
        let (outbox, fresh) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("bitroster-wal-files".to_owned())
            .spawn(move || run(stock, &inbox, &outbox))
            .map_err(IoFailure::at("start thread for", &dir))?;
        let maker = Maker { jobs: Some(jobs), fresh, thread: Some(thread) };
        maker.send(Job::Prepare(sequence + 1));
        Ok(Self::Ahead(maker))
    }

    /// The file with this number, and the order for the one after it.
    pub(crate) fn next(&mut self, sequence: u64) -> Result<Fresh, IoFailure> {
        match self {
            Self::OnDemand(stock) => stock.prepare(sequence),
            Self::Ahead(maker) => {
                let ready = maker.fresh.recv().unwrap_or_else(|_| {
                    Err(IoFailure {
                        operation: "prepare",
                        path: "log file".into(),
                        kind: std::io::ErrorKind::Other,
                        message: "the thread that makes log files has ended".to_owned(),
                    })
                })?;
                assert_eq!(ready.header.sequence, sequence, "log files are made in order");
                maker.send(Job::Prepare(sequence + 1));
                Ok(ready)
            }
        }
    }

    /// Files that are being made before they are needed.
    pub(crate) fn ahead(&self) -> u64 {
        match self {
            Self::OnDemand(_) => 0,
            Self::Ahead(_) => 1,
        }
    }

    /// Gives a file back.
    pub(crate) fn retire(&mut self, retired: Retired) -> Result<(), IoFailure> {
        match self {
            Self::OnDemand(stock) => stock.retire(&retired),
            Self::Ahead(maker) => {
                maker.send(Job::Retire(retired));
                Ok(())
            }
        }
    }
}

impl Maker {
    fn send(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            // A thread that has ended left its failure, which the next file's taker meets.
            drop(jobs.send(job));
        }
    }
}

impl Drop for Maker {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was printed, and is met as a missing file.
            drop(thread.join());
        }
    }
}

/// Works jobs until the log is closed or one fails; the failure is the last thing sent.
fn run(
    mut stock: Stock,
    inbox: &mpsc::Receiver<Job>,
    outbox: &mpsc::Sender<Result<Fresh, IoFailure>>,
) {
    while let Ok(job) = inbox.recv() {
        let answer = match job {
            Job::Prepare(sequence) => Some(stock.prepare(sequence)),
            Job::Retire(retired) => stock.retire(&retired).err().map(Err),
        };
        if let Some(answer) = answer {
            let failed = answer.is_err();
            if outbox.send(answer).is_err() || failed {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_the_log_gives_are_taken_for_its_files() {
        assert_eq!(Name::parse("00000000000000000012.log"), Some(Name::Log(12)));
        assert_eq!(Name::parse("00000000000000000012.spare"), Some(Name::Spare));
        assert_eq!(Name::parse("new.tmp"), Some(Name::Temporary));
        for name in ["12.log", "00000000000000000012.txt", "+0000000000000000012.log", "log", ""] {
            assert_eq!(Name::parse(name), None, "{name:?}");
        }
        assert_eq!(Name::parse("99999999999999999999.log"), None);
    }
}
