//! A group's replicas on other nodes, as Raft asks them.
//!
//! openraft asks [`Network`] for a client a peer and a purpose (log, heartbeat, snapshot); each
//! encodes its requests and hands them to the node's [`Peers`]. Without peers (a group of one) all
//! calls answer "unreachable".

use std::future::Future;
use std::io::{self, Read};
use std::iter;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bitroster_types::limits::SNAPSHOT_PIECE_BYTES;
use bitroster_types::{GroupId, NodeId, ReplicaId};
use bytes::Bytes;
use futures_util::future::{self, BoxFuture, Either};
use futures_util::stream::{BoxStream, Stream, StreamExt as _};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{AnyError, OptionalSend};
use tokio::task::spawn_blocking;

use super::appends;
use super::message::{self, SnapshotMessage, SnapshotPart};
use super::snapshot::{RaftSnapshot, SnapshotFile};
use super::types::{Host, TypeConfig, Vote};
use crate::error::invalid_data;
use crate::metrics::{Metrics, PeerMetrics, SnapshotOp, count};
use crate::options::Timing;
use crate::peers::{Destination, MessageKind, PeerError, Peers};

/// Bytes a second that any link manages: what is long is given time at this rate.
const BYTES_PER_SECOND_MIN: u64 = 4 << 20;

/// How long a follower may take to make a whole snapshot durable and its state.
const INSTALL_PATIENCE: Duration = Duration::from_secs(60);

/// Makes clients for one group's replica.
pub(crate) struct Network {
    pub(crate) group: GroupId,
    pub(crate) peers: Option<Arc<dyn Peers>>,
    pub(crate) timing: Timing,
    /// Distinguishes the sendings of snapshots.
    pub(crate) transfers: Arc<AtomicU64>,
    pub(crate) metrics: Arc<Metrics>,
}

/// A client of one peer.
pub(crate) struct Peer {
    to: Destination,
    peers: Option<Arc<dyn Peers>>,
    timing: Timing,
    transfers: Arc<AtomicU64>,
    metrics: Arc<Metrics>,
    /// What is counted of the node.
    sent: Arc<PeerMetrics>,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Peer;

    async fn new_client(&mut self, replica: u64, host: &Host) -> Peer {
        let (node, replica) = (NodeId(host.0), ReplicaId(replica));
        Peer {
            to: Destination { node, group: self.group, replica },
            peers: self.peers.clone(),
            timing: self.timing,
            transfers: self.transfers.clone(),
            metrics: self.metrics.clone(),
            sent: self.metrics.node.peer(node),
        }
    }
}

/// Why a call has no answer that can be used.
pub(super) enum Failure {
    /// Try later.
    Unreachable(PeerError),
    /// The answer makes no sense.
    Garbage(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Garbage(error)
    }
}

impl From<Failure> for RPCError<TypeConfig> {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unreachable(error) => Unreachable::new(&AnyError::new(&error)).into(),
            Failure::Garbage(error) => NetworkError::new(&AnyError::new(&error)).into(),
        }
    }
}

impl From<Failure> for StreamingError<TypeConfig> {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unreachable(error) => Unreachable::new(&AnyError::new(&error)).into(),
            Failure::Garbage(error) => NetworkError::new(&AnyError::new(&error)).into(),
        }
    }
}

impl Peer {
    async fn call(
        &self,
        kind: MessageKind,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, Failure> {
        let Some(peers) = &self.peers else {
            let reason = "a group of one replica has no peers".to_owned();
            return Err(Failure::Unreachable(PeerError::Unreachable {
                node: self.to.node,
                reason,
            }));
        };
        let started = Instant::now();
        let answer = peers.call(self.to, kind, body, timeout).await;
        match &answer {
            Ok(_) if kind == MessageKind::Append => {
                self.sent.round_trip.record_time(started.elapsed());
            }
            Ok(_) => {}
            Err(PeerError::Unreachable { .. }) => count(&self.sent.unreachable),
            Err(PeerError::Refused { .. }) => count(&self.sent.refused),
        }
        answer.map_err(Failure::Unreachable)
    }

    /// Reads an answer.
    fn decoded<T>(&self, answer: io::Result<T>) -> Result<T, Failure> {
        answer.map_err(|error| {
            count(&self.sent.malformed);
            Failure::Garbage(error)
        })
    }

    /// How long an answer may take before it counts as late.
    pub(super) fn overdue(&self) -> Duration {
        self.timing.overdue()
    }

    /// Sends entries, or a heartbeat.
    pub(super) async fn append(
        &self,
        body: Bytes,
        option: &RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, Failure> {
        let patience = self.patience(option, body.len());
        let answer = self.call(MessageKind::Append, body, patience).await?;
        self.decoded(message::decode_appended(&answer))
    }

    /// How long to wait for the answer to `len` bytes: longer than a hiccup, and never so short
    /// that a long entry cannot get through.
    fn patience(&self, option: &RPCOption, len: usize) -> Duration {
        let base = option.hard_ttl().max(self.timing.election_timeout_min());
        base + Duration::from_millis(len as u64 * 1000 / BYTES_PER_SECOND_MIN)
    }

    /// Sends a snapshot piece by piece, each after the one before was taken.
    async fn send_snapshot(
        &self,
        vote: Vote,
        snapshot: RaftSnapshot,
        option: &RPCOption,
    ) -> Result<Vote, Failure> {
        let started = Instant::now();
        let transfer = self.transfers.fetch_add(1, Ordering::Relaxed);
        let RaftSnapshot { meta, snapshot } = snapshot;
        let mut file = snapshot;
        let mut part = SnapshotPart::Begin(meta);
        let mut sent = 0;
        loop {
            let is_end = matches!(part, SnapshotPart::End(_));
            let body = message::encode_snapshot(&SnapshotMessage { transfer, vote, part });
            let mut patience = self.patience(option, body.len());
            if is_end {
                patience +=
                    INSTALL_PATIENCE + Duration::from_millis(sent / (BYTES_PER_SECOND_MIN / 1000));
            }
            let answer = self.call(MessageKind::Snapshot, body, patience).await?;
            if let Some(theirs) = self.decoded(message::decode_received(&answer))? {
                if is_end {
                    self.metrics.snapshot_done(SnapshotOp::Send, started.elapsed());
                }
                return Ok(theirs);
            }
            if is_end {
                return Err(invalid_data("a snapshot's end was not answered by a vote").into());
            }
            let (piece, rest) = next_piece(file).await?;
            file = rest;
            part = if piece.is_empty() {
                SnapshotPart::End(sent)
            } else {
                let offset = sent;
                sent += piece.len() as u64;
                SnapshotPart::Piece(offset, piece)
            };
        }
    }
}

/// The next bytes of a snapshot's state; none at its end. Reads the disk on a thread for that.
async fn next_piece(mut file: SnapshotFile) -> io::Result<(Bytes, SnapshotFile)> {
    spawn_blocking(move || {
        let mut piece = Vec::with_capacity(SNAPSHOT_PIECE_BYTES);
        file.reader()?.take(SNAPSHOT_PIECE_BYTES as u64).read_to_end(&mut piece)?;
        Ok((piece.into(), file))
    })
    .await
    .map_err(io::Error::other)?
}

impl RaftNetworkV2<TypeConfig> for Peer {
    type SnapshotData = SnapshotFile;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        Ok(self.append(message::encode_append(&request), &option).await?)
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, appends::Answer>, RPCError<TypeConfig>>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        let answers = appends::answers(self, input, option).boxed();
        Box::pin(future::ready(Ok(answers)))
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let body = message::encode_ballot(&request);
        let answer = self.call(MessageKind::Vote, body, option.hard_ttl()).await?;
        Ok(self.decoded(message::decode_voted(&answer))?)
    }

    // The default grants without asking, which would make pre-votes worthless.
    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let body = message::encode_ballot(&request);
        let answer = self.call(MessageKind::PreVote, body, option.hard_ttl()).await?;
        Ok(self.decoded(message::decode_voted(&answer))?)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: RaftSnapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let sending = pin!(self.send_snapshot(vote, snapshot, &option));
        match future::select(pin!(cancel), sending).await {
            Either::Left((closed, _)) => Err(closed.into()),
            Either::Right((sent, _)) => Ok(SnapshotResponse::new(sent?)),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        let body = message::encode_transfer(&request);
        let answer = self.call(MessageKind::TransferLeader, body, option.hard_ttl()).await?;
        Ok(self.decoded(message::decode_transferred(&answer))?)
    }

    // A peer that is back should not wait long for what it missed.
    fn backoff(&self) -> Option<Backoff> {
        Some(Backoff::new(iter::repeat(self.timing.heartbeat())))
    }
}
