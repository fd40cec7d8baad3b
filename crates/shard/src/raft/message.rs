//! Raft's messages as bytes.
//!
//! Integers are little-endian; votes and log ids as in [`codec`]. A message's kind travels
//! beside it. Entries carry no index: they follow `previous` without a gap.
//!
//! | message            | bytes                                                                 |
//! |--------------------|-----------------------------------------------------------------------|
//! | append             | vote, previous log id, committed log id, n u32, n entries             |
//! | entry              | term u64, length u32, payload                                         |
//! | answer to append   | 0; 1 and a log id (taken so far); 2 (conflict); 3 and a higher vote   |
//! | vote, pre-vote     | vote, last log id, leadership is handed over u8 (0 or 1)              |
//! | answer to a vote   | vote, granted u8, last log id                                         |
//! | transfer of lead   | vote, replica u64, last log id                                        |
//! | its answer         | 0; 1, vote wanted, vote held; 2, log id wanted, log id held           |
//! | snapshot begins    | 0, transfer u64, vote, description                                    |
//! | snapshot goes on   | 1, transfer u64, vote, offset u64, bytes of the state                 |
//! | snapshot ends      | 2, transfer u64, vote, length u64                                     |
//! | its answer         | 0 (go on); 1 and the follower's vote                                  |
//! | promised term      | nothing                                                               |
//! | its answer         | term u64                                                              |

use std::io;

use bitroster_types::limits::SNAPSHOT_PIECE_BYTES;
use bytes::Bytes;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderError, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};

use super::codec::{
    self, Input, VOTE_BYTES, damaged, decode_log_id, decode_meta, encode_log_id, encode_meta,
    encode_payload,
};
use super::types::{LogId, SnapshotMeta, TypeConfig, Vote};

type Append = AppendEntriesRequest<TypeConfig>;
type Appended = AppendEntriesResponse<TypeConfig>;
type Ballot = VoteRequest<TypeConfig>;
type Voted = VoteResponse<TypeConfig>;
type Transfer = TransferLeaderRequest<TypeConfig>;
type Transferred = TransferLeaderResponse<TypeConfig>;
type Refused = TransferLeaderError<TypeConfig>;

/// Largest term or index that is taken from a peer: Raft adds to them, and none gets here by
/// counting.
const COUNT_MAX: u64 = u64::MAX >> 1;

/// Bytes of an append without its entries, about.
const HEAD_BYTES: usize = 64;
/// Bytes of an entry beside its payload.
const ENTRY_BYTES: usize = 12;

/// Entries, or a heartbeat, as bytes. Costs a copy of the payloads.
pub(crate) fn encode_append(request: &Append) -> Bytes {
    let payloads: Vec<_> =
        request.entries.iter().map(|entry| encode_payload(&entry.payload)).collect();
    let len: usize = payloads.iter().map(|payload| payload.len() + ENTRY_BYTES).sum();
    let mut out = Vec::with_capacity(HEAD_BYTES + len);
    out.extend_from_slice(&codec::encode_vote(&request.vote));
    encode_log_id(request.prev_log_id.as_ref(), &mut out);
    encode_log_id(request.leader_commit.as_ref(), &mut out);
    put_len(payloads.len(), &mut out);
    for (entry, payload) in request.entries.iter().zip(&payloads) {
        out.extend_from_slice(&entry.log_id.leader_id.term.to_le_bytes());
        put_len(payload.len(), &mut out);
        out.extend_from_slice(payload);
    }
    out.into()
}

/// The entries in these bytes: their payloads are slices of `body` and keep all of it alive.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidData`] if the bytes are no append, or one that no leader sends.
pub(crate) fn decode_append(body: &Bytes) -> io::Result<Append> {
    let mut input = Input(body);
    let vote = take_vote(&mut input)?;
    let prev_log_id = take_log_id(&mut input)?;
    let leader_commit = take_log_id(&mut input)?;
    let count = input.u32()?;
    let first = prev_log_id.map_or(0, |log_id| log_id.index + 1);
    let mut last_term = prev_log_id.map_or(0, |log_id| log_id.leader_id.term);
    let mut entries = Vec::new();
    for index in first..first + u64::from(count) {
        let (term, len) = (input.u64()?, input.u32()? as usize);
        if term < last_term || term > vote.leader_id.term {
            return Err(damaged("an entry of a term that cannot be there"));
        }
        let at = body.len() - input.0.len();
        input.skip(len)?;
        entries.push(codec::decode_entry(term, index, body.slice(at..at + len))?);
        last_term = term;
    }
    input.end()?;
    if !vote.committed || last_term > vote.leader_id.term {
        return Err(damaged("entries of one who does not lead"));
    }
    Ok(Append { vote, prev_log_id, entries, leader_commit })
}

/// What a follower answers to an append, as bytes.
pub(crate) fn encode_appended(answer: &Appended) -> Bytes {
    let mut out = Vec::new();
    match answer {
        Appended::Success => out.push(0),
        Appended::PartialSuccess(upto) => {
            out.push(1);
            encode_log_id(upto.as_ref(), &mut out);
        }
        Appended::Conflict => out.push(2),
        Appended::HigherVote(vote) => {
            out.push(3);
            out.extend_from_slice(&codec::encode_vote(vote));
        }
    }
    out.into()
}

/// The answer in these bytes.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidData`] if they are none.
pub(crate) fn decode_appended(body: &[u8]) -> io::Result<Appended> {
    let mut input = Input(body);
    let answer = match input.u8()? {
        0 => Appended::Success,
        1 => Appended::PartialSuccess(take_log_id(&mut input)?),
        2 => Appended::Conflict,
        3 => Appended::HigherVote(take_vote(&mut input)?),
        _ => return Err(damaged("an unknown answer to an append")),
    };
    input.end()?;
    Ok(answer)
}

/// A question for a vote or a pre-vote as bytes.
pub(crate) fn encode_ballot(request: &Ballot) -> Bytes {
    let mut out = codec::encode_vote(&request.vote).to_vec();
    encode_log_id(request.last_log_id.as_ref(), &mut out);
    out.push(u8::from(request.leadership_transfer));
    out.into()
}

/// The question in these bytes.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidData`] if they are none.
pub(crate) fn decode_ballot(body: &[u8]) -> io::Result<Ballot> {
    let mut input = Input(body);
    let (vote, last_log_id) = (take_vote(&mut input)?, take_log_id(&mut input)?);
    let leadership_transfer = input.flag()?;
    input.end()?;
    Ok(Ballot { vote, last_log_id, leadership_transfer })
}

/// The answer to a question for a vote as bytes.
pub(crate) fn encode_voted(answer: &Voted) -> Bytes {
    let mut out = codec::encode_vote(&answer.vote).to_vec();
    out.push(u8::from(answer.vote_granted));
    encode_log_id(answer.last_log_id.as_ref(), &mut out);
    out.into()
}

/// The answer in these bytes.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidData`] if they are none.
pub(crate) fn decode_voted(body: &[u8]) -> io::Result<Voted> {
    let mut input = Input(body);
    let (vote, vote_granted) = (take_vote(&mut input)?, input.flag()?);
    let last_log_id = take_log_id(&mut input)?;
    input.end()?;
    Ok(Voted { vote, vote_granted, last_log_id })
}

/// Takes the question which term a replica has promised itself to.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidData`] if the bytes are another question.
pub(crate) fn decode_lead(body: &[u8]) -> io::Result<()> {
    Input(body).end()
}

/// The term that a replica has promised itself to as bytes.
pub(crate) fn encode_promised(term: u64) -> Bytes {
    Bytes::copy_from_slice(&term.to_le_bytes())
}

/// The term in these bytes.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidData`] if they are none.
pub(crate) fn decode_promised(body: &[u8]) -> io::Result<u64> {
    let mut input = Input(body);
    let term = input.u64()?;
    input.end()?;
    Ok(term)
}

/// The newest term that a replica has promised itself to, from its answer to
/// [`MessageKind::Lead`](crate::MessageKind::Lead), which has no body; `None` if it is no answer.
pub fn promised_term(answer: &[u8]) -> Option<u64> {
    decode_promised(answer).ok()
}

/// A leader's wish to hand over as bytes.
pub(crate) fn encode_transfer(request: &Transfer) -> Bytes {
    let mut out = codec::encode_vote(request.from_leader()).to_vec();
    out.extend_from_slice(&request.to_node_id().to_le_bytes());
    encode_log_id(request.last_log_id(), &mut out);
    out.into()
}

/// The wish in these bytes.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidData`] if they are none.
pub(crate) fn decode_transfer(body: &[u8]) -> io::Result<Transfer> {
    let mut input = Input(body);
    let (from, to) = (take_vote(&mut input)?, input.u64()?);
    let last_log_id = take_log_id(&mut input)?;
    input.end()?;
    Ok(Transfer::new(from, to, last_log_id))
}

/// What the next leader answers, as bytes.
pub(crate) fn encode_transferred(answer: &Transferred) -> Bytes {
    let mut out = Vec::new();
    match answer {
        Ok(()) => out.push(0),
        Err(Refused::VoteChanged { expected, actual }) => {
            out.push(1);
            out.extend_from_slice(&codec::encode_vote(expected));
            out.extend_from_slice(&codec::encode_vote(actual));
        }
        Err(Refused::LogNotFlushed { expected, actual }) => {
            out.push(2);
            encode_log_id(expected.as_ref(), &mut out);
            encode_log_id(actual.as_ref(), &mut out);
        }
    }
    out.into()
}

/// The answer in these bytes.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidData`] if they are none.
pub(crate) fn decode_transferred(body: &[u8]) -> io::Result<Transferred> {
    let mut input = Input(body);
    let answer = match input.u8()? {
        0 => Ok(()),
        1 => {
            let (expected, actual) = (take_vote(&mut input)?, take_vote(&mut input)?);
            Err(Refused::VoteChanged { expected, actual })
        }
        2 => {
            let (expected, actual) = (take_log_id(&mut input)?, take_log_id(&mut input)?);
            Err(Refused::LogNotFlushed { expected, actual })
        }
        _ => return Err(damaged("an unknown answer to a transfer")),
    };
    input.end()?;
    Ok(answer)
}

/// A part of a snapshot on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotMessage {
    /// Tells one sending of a leader from another.
    pub(crate) transfer: u64,
    /// The leader's vote.
    pub(crate) vote: Vote,
    /// What it brings.
    pub(crate) part: SnapshotPart,
}

/// What a part of a snapshot brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SnapshotPart {
    /// What the snapshot holds; the state follows.
    Begin(SnapshotMeta),
    /// Bytes of the state, at this offset.
    Piece(u64, Bytes),
    /// The state has this many bytes and is to be installed.
    End(u64),
}

/// The message as bytes. Costs a copy of the piece.
pub(crate) fn encode_snapshot(message: &SnapshotMessage) -> Bytes {
    let SnapshotMessage { transfer, vote, part } = message;
    let mut out = Vec::new();
    let mut head = |kind: u8, room: usize| {
        out.reserve(HEAD_BYTES + room);
        out.push(kind);
        out.extend_from_slice(&transfer.to_le_bytes());
        out.extend_from_slice(&codec::encode_vote(vote));
    };
    match part {
        SnapshotPart::Begin(meta) => {
            head(0, 0);
            out.extend_from_slice(&encode_meta(meta));
        }
        SnapshotPart::Piece(offset, bytes) => {
            head(1, bytes.len());
            out.extend_from_slice(&offset.to_le_bytes());
            out.extend_from_slice(bytes);
        }
        SnapshotPart::End(len) => {
            head(2, 0);
            out.extend_from_slice(&len.to_le_bytes());
        }
    }
    out.into()
}

/// The message in these bytes: a piece is a slice of them.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidData`] if they are none, or a piece is longer than any that is sent.
pub(crate) fn decode_snapshot(body: &Bytes) -> io::Result<SnapshotMessage> {
    let mut input = Input(body);
    let (kind, transfer) = (input.u8()?, input.u64()?);
    let vote = take_vote(&mut input)?;
    let part = match kind {
        0 => {
            let meta = decode_meta(input.0)?;
            if meta.last_log_id.is_some_and(|last| last.index > COUNT_MAX) {
                return Err(damaged("a log id too large"));
            }
            SnapshotPart::Begin(meta)
        }
        1 => {
            let offset = input.u64()?;
            if input.0.len() > SNAPSHOT_PIECE_BYTES {
                return Err(damaged("a piece of a snapshot that is too long"));
            }
            SnapshotPart::Piece(offset, body.slice(body.len() - input.0.len()..))
        }
        2 => {
            let len = input.u64()?;
            input.end()?;
            SnapshotPart::End(len)
        }
        _ => return Err(damaged("an unknown part of a snapshot")),
    };
    Ok(SnapshotMessage { transfer, vote, part })
}

/// The answer to a part of a snapshot: the follower's vote once it is decided, nothing until then.
pub(crate) fn encode_received(vote: Option<&Vote>) -> Bytes {
    let mut out = vec![u8::from(vote.is_some())];
    if let Some(vote) = vote {
        out.extend_from_slice(&codec::encode_vote(vote));
    }
    out.into()
}

/// The answer in these bytes.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidData`] if they are none.
pub(crate) fn decode_received(body: &[u8]) -> io::Result<Option<Vote>> {
    let mut input = Input(body);
    let vote = if input.flag()? { Some(take_vote(&mut input)?) } else { None };
    input.end()?;
    Ok(vote)
}

fn take_vote(input: &mut Input<'_>) -> io::Result<Vote> {
    let vote = codec::decode_vote(&input.take::<VOTE_BYTES>()?)?;
    if vote.leader_id.term > COUNT_MAX {
        return Err(damaged("a term too large"));
    }
    Ok(vote)
}

fn take_log_id(input: &mut Input<'_>) -> io::Result<Option<LogId>> {
    let log_id = decode_log_id(input)?;
    if log_id.is_some_and(|log_id| log_id.leader_id.term.max(log_id.index) > COUNT_MAX) {
        return Err(damaged("a log id too large"));
    }
    Ok(log_id)
}

fn put_len(len: usize, out: &mut Vec<u8>) {
    let len = u32::try_from(len).expect("entries are bounded far below");
    out.extend_from_slice(&len.to_le_bytes());
}

#[cfg(test)]
mod tests;
