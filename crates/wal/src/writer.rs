//! The log's thread: swaps the pending buffer, writes it, syncs it, answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::IoFailure;
use crate::files::Files;
use crate::options::SyncMode;
use crate::queue::{Batch, Counters, Shared, Task};

/// The one writer of the log.
#[derive(Debug)]
pub(crate) struct Writer {
    shared: Arc<Shared>,
    files: Files,
    sync_mode: SyncMode,
    /// When the oldest write that is not synced was made. Interval mode only.
    unsynced_since: Option<Instant>,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, files: Files, sync_mode: SyncMode) -> Self {
        Self { shared, files, sync_mode, unsynced_since: None }
    }

    /// Works until the log is closed or fails.
    pub(crate) fn run(mut self) {
        self.shared.register_writer();
        let mut guard = Guard { shared: Arc::clone(&self.shared), batch: Batch::new() };
        let batch = &mut guard.batch;
        loop {
            let done = match self.shared.take(batch, self.sync_due()) {
                Task::Write => self.write(batch),
                Task::Sync => self.sync().and_then(|()| self.free()),
                Task::Close => match self.close() {
                    Ok(()) => return,
                    failed => failed,
                },
            };
            if let Err(failure) = done {
                tracing::error!(%failure, "log stopped: the disk failed");
                self.shared.poison(&failure, batch);
                return;
            }
        }
    }

    fn write(&mut self, batch: &mut Batch) -> Result<(), IoFailure> {
        let bytes = batch.buffer.len() as u64;
        let frames = self.files.write(&mut batch.buffer)?;
        Counters::add(&self.shared.counters.frames, frames as u64);
        Counters::add(&self.shared.counters.frame_bytes, bytes);
        match self.sync_mode {
            SyncMode::Always => self.sync()?,
            SyncMode::Interval(interval) => {
                if !self.files.is_synced() {
                    self.unsynced_since.get_or_insert_with(Instant::now);
                }
                if batch.sync || self.unsynced_for() >= interval {
                    self.sync()?;
                }
            }
        }
        if self.files.is_synced() {
            self.free()?;
        }
        for done in batch.completions.drain(..) {
            done.run(Ok(()));
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), IoFailure> {
        self.unsynced_since = None;
        if self.files.is_synced() {
            return Ok(());
        }
        let started = Instant::now();
        self.files.sync()?;
        self.shared.counters.syncs.record_time(started.elapsed());
        Ok(())
    }

    /// When the interval is over, if something waits for it. An interval past all time never is.
    fn sync_due(&self) -> Option<Instant> {
        match self.sync_mode {
            SyncMode::Always => None,
            SyncMode::Interval(interval) => self.unsynced_since?.checked_add(interval),
        }
    }

    fn unsynced_for(&self) -> Duration {
        self.unsynced_since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn free(&mut self) -> Result<(), IoFailure> {
        if self.files.free()? {
            publish(&self.shared, &self.files);
        }
        Ok(())
    }

    /// Ends the log so that the next start finds it whole. What is left to write was written.
    fn close(&mut self) -> Result<(), IoFailure> {
        self.files.seal()?;
        self.files.free().map(drop)
    }
}

/// Makes the files' figures visible to all handles.
pub(crate) fn publish(shared: &Shared, files: &Files) {
    use std::sync::atomic::Ordering::Relaxed;
    shared.counters.files.store(files.count() as u64, Relaxed);
    shared.counters.disk_bytes.store(files.disk_bytes(), Relaxed);
    *shared.holders.lock() = files.holders();
}

/// Tells everybody who waits when the thread ends by a panic.
#[derive(Debug)]
struct Guard {
    shared: Arc<Shared>,
    batch: Batch,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let failure = IoFailure {
                operation: "write",
                path: "log".into(),
                kind: std::io::ErrorKind::Other,
                message: "the log's thread panicked".to_owned(),
            };
            self.shared.poison(&failure, &mut self.batch);
        }
    }
}
