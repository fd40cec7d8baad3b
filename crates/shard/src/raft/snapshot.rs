//! A group's snapshots: written from a copy of the state, read at the start.
//!
//! Taking the copy costs microseconds (the engine shares its containers); writing it takes as long
//! as the disk does, on a thread for blocking work, while the group goes on.

use std::fmt;
use std::io::{self, Read, Write};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::time::Instant;

use bitroster_engine::{Engine, EngineConfig, Snapshot};
use bitroster_types::GroupId;
use bitroster_wal::{SnapshotReader, SnapshotStore, SnapshotWriter};
use openraft::storage::RaftSnapshotBuilder;
use tokio::task::spawn_blocking;

use super::codec;
use super::types::{SnapshotMeta, TypeConfig};
use crate::error::invalid_data;
use crate::metrics::{Metrics, SnapshotOp};

/// What openraft calls a snapshot: its description and its file.
pub(crate) type RaftSnapshot = openraft::type_config::alias::SnapshotOf<TypeConfig, SnapshotFile>;

/// The snapshots of one group on this node.
pub(crate) struct Snapshots {
    group: GroupId,
    store: SnapshotStore,
    pub(super) metrics: Arc<Metrics>,
}

/// A snapshot that is to be sent or installed.
#[derive(Debug)]
pub(crate) enum SnapshotFile {
    /// An open file. It stays readable when a newer snapshot takes its place.
    Kept {
        /// The file.
        reader: SnapshotReader,
        /// Whose file it is: installing one's own copies nothing.
        owner: Weak<Snapshots>,
    },
    /// One that a leader sent.
    Received(Box<Restored>),
}

/// A state that arrived, and the file it was written to, which has no name yet.
pub(crate) struct Restored {
    /// The state.
    pub(super) engine: Engine,
    /// The file.
    pub(super) writer: SnapshotWriter,
}

impl SnapshotFile {
    /// The state's bytes that are not read yet.
    ///
    /// # Errors
    ///
    /// If it is one that a leader sent: it is for installing only.
    pub(super) fn reader(&mut self) -> io::Result<&mut SnapshotReader> {
        match self {
            Self::Kept { reader, .. } => Ok(reader),
            Self::Received(_) => Err(invalid_data("a snapshot that is not installed yet")),
        }
    }
}

impl fmt::Debug for Restored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Restored").finish_non_exhaustive()
    }
}

impl Snapshots {
    /// The snapshots of `group` in `store`.
    pub(crate) fn new(group: GroupId, store: SnapshotStore, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { group, store, metrics })
    }

    /// The newest durable snapshot.
    pub(super) async fn current(self: &Arc<Self>) -> io::Result<Option<RaftSnapshot>> {
        let this = self.clone();
        blocking(move || {
            let Some(reader) = this.store.latest(this.group)? else { return Ok(None) };
            this.open(reader).map(Some)
        })
        .await
    }

    /// Restores the state that `snapshot` holds. One from elsewhere is kept as this group's
    /// newest before this returns.
    pub(super) async fn install(
        self: &Arc<Self>,
        config: &EngineConfig,
        meta: &SnapshotMeta,
        snapshot: SnapshotFile,
    ) -> io::Result<Engine> {
        let (this, config, meta) = (self.clone(), config.clone(), meta.clone());
        blocking(move || {
            let (mut reader, owner) = match snapshot {
                SnapshotFile::Kept { reader, owner } => (reader, owner),
                SnapshotFile::Received(restored) => {
                    let Restored { engine, writer } = *restored;
                    writer.finish()?;
                    return Ok(engine);
                }
            };
            if std::ptr::eq(owner.as_ptr(), Arc::as_ptr(&this)) {
                return restore(config, &mut reader);
            }
            let mut copy = Copied { reader, writer: this.create(&meta)? };
            let engine = restore(config, &mut copy)?;
            copy.writer.finish()?;
            Ok(engine)
        })
        .await
    }

    /// Writes a snapshot and opens it once it is durable.
    fn write(self: &Arc<Self>, meta: &SnapshotMeta, state: Snapshot) -> io::Result<RaftSnapshot> {
        let started = Instant::now();
        let mut writer = self.create(meta)?;
        state.write_to(&mut writer)?;
        let bytes = writer.finish()?;
        let elapsed = started.elapsed();
        self.metrics.snapshot_done(SnapshotOp::Build, elapsed);
        self.metrics.snapshot_bytes.store(bytes, Relaxed);
        let index = meta.last_log_id.map(|log_id| log_id.index);
        tracing::info!(group = %self.group, ?index, bytes, ?elapsed, "snapshot written");
        let reader = self
            .store
            .latest(self.group)?
            .ok_or_else(|| invalid_data("the snapshot just written is gone"))?;
        self.open(reader)
    }

    pub(super) fn create(&self, meta: &SnapshotMeta) -> io::Result<SnapshotWriter> {
        let index = meta.last_log_id.map_or(0, |log_id| log_id.index);
        Ok(self.store.create(self.group, index, &codec::encode_meta(meta))?)
    }

    fn open(self: &Arc<Self>, reader: SnapshotReader) -> io::Result<RaftSnapshot> {
        let meta = codec::decode_meta(reader.meta())?;
        Ok(RaftSnapshot {
            meta,
            snapshot: SnapshotFile::Kept { reader, owner: Arc::downgrade(self) },
        })
    }
}

impl fmt::Debug for Snapshots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshots").field("group", &self.group).finish_non_exhaustive()
    }
}

/// A snapshot about to be written: the state as it was, and what it holds.
pub(crate) struct SnapshotBuilder {
    snapshots: Arc<Snapshots>,
    /// Taken when written; Raft builds once.
    state: Option<(SnapshotMeta, Snapshot)>,
}

impl SnapshotBuilder {
    pub(super) fn new(snapshots: Arc<Snapshots>, meta: SnapshotMeta, state: Snapshot) -> Self {
        Self { snapshots, state: Some((meta, state)) }
    }
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> Result<RaftSnapshot, io::Error> {
        let (meta, state) = self.state.take().expect("a builder builds one snapshot");
        let snapshots = self.snapshots.clone();
        blocking(move || snapshots.write(&meta, state)).await
    }
}

/// Reads a snapshot and writes it to another store on the way.
struct Copied {
    reader: SnapshotReader,
    writer: SnapshotWriter,
}

impl Read for Copied {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.writer.write_all(&buffer[..read])?;
        Ok(read)
    }
}

/// Restores an engine from all of `input`.
pub(super) fn restore(config: EngineConfig, input: &mut impl Read) -> io::Result<Engine> {
    let engine = Engine::restore(config, input)
        .map_err(|error| invalid_data(format!("snapshot cannot be restored: {error}")))?;
    // To the end, where the reader checks the whole.
    if io::copy(input, &mut io::sink())? > 0 {
        return Err(invalid_data("bytes follow the state in a snapshot"));
    }
    Ok(engine)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}
