//! A snapshot that a leader sends, as it arrives.
//!
//! The state is restored while its pieces come, and written to a file of this node on the way. It
//! takes effect only when Raft installs it; a sending that breaks off leaves nothing behind, and a
//! new one takes its place.

use std::io::{self, Read, Write};
use std::sync::Arc;

use bitroster_engine::EngineConfig;
use bytes::{Buf, Bytes};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

use super::message::{SnapshotMessage, SnapshotPart};
use super::snapshot::{RaftSnapshot, Restored, SnapshotFile, Snapshots, restore};
use super::types::{SnapshotMeta, Vote};
use crate::error::invalid_data;

/// Pieces that may wait for the disk.
const PIECES_MAX: usize = 4;

/// What the leader's sending has brought so far.
#[derive(Debug)]
pub(crate) struct Incoming {
    vote: Vote,
    transfer: u64,
    meta: SnapshotMeta,
    /// Bytes that came.
    len: u64,
    pieces: mpsc::Sender<Piece>,
    restoring: JoinHandle<io::Result<Restored>>,
}

#[derive(Debug)]
enum Piece {
    Bytes(Bytes),
    End,
}

/// Takes the next part into `slot`. Gives the snapshot once all of it is here, and the vote of the
/// leader that sent it.
///
/// # Errors
///
/// If the part does not follow the one before, or the disk or the state refuse it. What had come
/// is dropped then.
pub(crate) async fn take(
    slot: &mut Option<Incoming>,
    message: SnapshotMessage,
    snapshots: &Arc<Snapshots>,
    config: &EngineConfig,
) -> io::Result<Option<(Vote, RaftSnapshot)>> {
    let SnapshotMessage { transfer, vote, part } = message;
    if let SnapshotPart::Begin(meta) = part {
        if meta.last_log_id.is_none_or(|last| last.leader_id.term > vote.leader_id.term) {
            return Err(invalid_data("a snapshot that its sender cannot have"));
        }
        *slot = Some(Incoming::begin(vote, transfer, meta, snapshots.clone(), config.clone()));
        return Ok(None);
    }
    // Dropped unless all goes well.
    let mut incoming = slot
        .take()
        .filter(|incoming| (incoming.vote, incoming.transfer) == (vote, transfer))
        .ok_or_else(|| invalid_data("a part of a snapshot that did not begin here"))?;
    match part {
        SnapshotPart::Begin(_) => {}
        SnapshotPart::Piece(offset, bytes) => {
            if offset != incoming.len {
                return Err(invalid_data("a piece of a snapshot out of its order"));
            }
            incoming.len += bytes.len() as u64;
            if incoming.pieces.send(Piece::Bytes(bytes)).await.is_err() {
                return Err(incoming.failure().await);
            }
            *slot = Some(incoming);
        }
        SnapshotPart::End(len) => {
            if len != incoming.len {
                return Err(invalid_data("a snapshot that is not whole"));
            }
            if incoming.pieces.send(Piece::End).await.is_err() {
                return Err(incoming.failure().await);
            }
            let restored = incoming.restoring.await.map_err(io::Error::other)??;
            let snapshot = SnapshotFile::Received(Box::new(restored));
            return Ok(Some((vote, RaftSnapshot { meta: incoming.meta, snapshot })));
        }
    }
    Ok(None)
}

impl Incoming {
    fn begin(
        vote: Vote,
        transfer: u64,
        meta: SnapshotMeta,
        snapshots: Arc<Snapshots>,
        config: EngineConfig,
    ) -> Self {
        let (pieces, receiver) = mpsc::channel(PIECES_MAX);
        let described = meta.clone();
        let restoring = spawn_blocking(move || {
            let writer = snapshots.create(&described)?;
            let rest = Bytes::new();
            let mut arriving = Arriving { pieces: receiver, rest, ended: false, writer };
            let engine = restore(config, &mut arriving)?;
            Ok(Restored { engine, writer: arriving.writer })
        });
        Self { vote, transfer, meta, len: 0, pieces, restoring }
    }

    /// Why the restoring ended early.
    async fn failure(self) -> io::Error {
        match self.restoring.await {
            Ok(Err(error)) => error,
            Ok(Ok(_)) => invalid_data("bytes follow the state in a snapshot"),
            Err(error) => io::Error::other(error),
        }
    }
}

/// The state's bytes in the order in which they come; each is written to the file as it is read.
struct Arriving<W> {
    pieces: mpsc::Receiver<Piece>,
    rest: Bytes,
    ended: bool,
    writer: W,
}

impl<W: Write> Read for Arriving<W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() && !self.ended {
            match self.pieces.blocking_recv() {
                Some(Piece::Bytes(bytes)) => {
                    self.writer.write_all(&bytes)?;
                    self.rest = bytes;
                }
                Some(Piece::End) => self.ended = true,
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        let len = self.rest.len().min(buffer.len());
        self.rest.copy_to_slice(&mut buffer[..len]);
        Ok(len)
    }
}
