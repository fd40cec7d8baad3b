//! Votes, memberships and entries as bytes on the disk.
//!
//! Our own formats, so that another openraft is a recompile and never a migration of data.
//! Integers are little-endian.
//!
//! | record               | bytes                                                               |
//! |----------------------|---------------------------------------------------------------------|
//! | vote                 | term u64, replica voted for u64, committed u8 (0 or 1)              |
//! | kept vote            | vote, the replica that keeps it u64 (missing in older logs)         |
//! | payload, blank       | 0xF0                                                                |
//! | payload, ops         | as `bitroster_command` encodes them; the first byte is below 0xF0   |
//! | payload, membership  | 0xF1, membership                                                    |
//! | membership           | n u32, n voter lists; n u32, n times replica u64 and its node u64   |
//! | voter list           | n u32, n replicas u64; there are two lists while a group changes    |
//! | log id               | present u8 (0 or 1); if 1: term u64, index u64                      |
//! | snapshot description | version u8 = 1, last log id, log id of the membership, membership   |

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use bitroster_types::ReplicaId;
use bytes::Bytes;
use openraft::entry::RaftPayload;

use super::types::{
    Entry, Host, LogId, Membership, Payload, Proposal, SnapshotMeta, StoredMembership, Vote,
};

/// First byte of a blank entry's payload. A payload of ops starts with the version of their own
/// format, which stays below these.
const BLANK: u8 = 0xF0;
/// First byte of a membership entry's payload.
const MEMBERSHIP: u8 = 0xF1;
/// Version of a snapshot's description.
const META_VERSION: u8 = 1;

/// Bytes of an encoded vote.
pub(crate) const VOTE_BYTES: usize = 17;

/// The vote as bytes.
pub(crate) fn encode_vote(vote: &Vote) -> [u8; VOTE_BYTES] {
    let mut bytes = [0; VOTE_BYTES];
    bytes[..8].copy_from_slice(&vote.leader_id.term.to_le_bytes());
    bytes[8..16].copy_from_slice(&vote.leader_id.voted_for.to_le_bytes());
    bytes[16] = u8::from(vote.committed);
    bytes
}

/// The vote in these bytes.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidData`] if they are none.
pub(crate) fn decode_vote(bytes: &[u8]) -> io::Result<Vote> {
    let mut input = Input(bytes);
    let (term, voted_for) = (input.u64()?, input.u64()?);
    let committed = input.flag()?;
    input.end()?;
    Ok(if committed { Vote::new_committed(term, voted_for) } else { Vote::new(term, voted_for) })
}

/// The vote as a replica keeps it.
pub(crate) fn encode_kept_vote(vote: &Vote, replica: ReplicaId) -> Vec<u8> {
    let mut bytes = encode_vote(vote).to_vec();
    bytes.extend_from_slice(&replica.0.to_le_bytes());
    bytes
}

/// A kept vote, and whose it is if it says so.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidData`] if the bytes are none.
pub(crate) fn decode_kept_vote(bytes: &[u8]) -> io::Result<(Vote, Option<ReplicaId>)> {
    let mut input = Input(bytes);
    let vote = decode_vote(&input.take::<VOTE_BYTES>()?)?;
    let replica = if input.0.is_empty() { None } else { Some(ReplicaId(input.u64()?)) };
    input.end()?;
    Ok((vote, replica))
}

/// The payload of an entry as bytes; free for ops.
pub(crate) fn encode_payload(payload: &Payload) -> Bytes {
    match payload {
        Payload::Blank => Bytes::from_static(&[BLANK]),
        Payload::Normal(proposal) => {
            assert!(is_ops(&proposal.0), "an entry of ops must start with its format's version");
            proposal.0.clone()
        }
        Payload::Membership(membership) => {
            let mut out = vec![MEMBERSHIP];
            encode_membership(membership, &mut out);
            out.into()
        }
    }
}

/// The payload in these bytes. Ops are not looked into.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidData`] if they are none.
pub(crate) fn decode_payload(bytes: Bytes) -> io::Result<Payload> {
    if is_ops(&bytes) {
        return Ok(Payload::normal(Proposal(bytes)));
    }
    let mut input = Input(&bytes);
    let payload = match input.u8()? {
        BLANK => Payload::Blank,
        MEMBERSHIP => Payload::Membership(decode_membership(&mut input)?),
        _ => return Err(damaged("unknown kind of entry")),
    };
    input.end()?;
    Ok(payload)
}

/// The entry at this place with this payload.
///
/// # Errors
///
/// As [`decode_payload`].
pub(crate) fn decode_entry(term: u64, index: u64, payload: Bytes) -> io::Result<Entry> {
    Ok(Entry { log_id: LogId::new_term_index(term, index), payload: decode_payload(payload)? })
}

/// What a snapshot holds, as bytes.
pub(crate) fn encode_meta(meta: &SnapshotMeta) -> Vec<u8> {
    let mut out = vec![META_VERSION];
    encode_log_id(meta.last_log_id.as_ref(), &mut out);
    encode_log_id(meta.last_membership.log_id().as_ref(), &mut out);
    encode_membership(meta.last_membership.membership(), &mut out);
    out
}

/// What a snapshot with this description holds.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidData`] if the bytes are no description.
pub(crate) fn decode_meta(bytes: &[u8]) -> io::Result<SnapshotMeta> {
    let mut input = Input(bytes);
    if input.u8()? != META_VERSION {
        return Err(damaged("a snapshot's description of an unknown version"));
    }
    let last_log_id = decode_log_id(&mut input)?;
    let changed = decode_log_id(&mut input)?;
    let membership = decode_membership(&mut input)?;
    input.end()?;
    Ok(SnapshotMeta { last_log_id, last_membership: StoredMembership::new(changed, membership) })
}

fn is_ops(payload: &[u8]) -> bool {
    payload.first().is_some_and(|&first| first < BLANK)
}

pub(super) fn encode_log_id(log_id: Option<&LogId>, out: &mut Vec<u8>) {
    out.push(u8::from(log_id.is_some()));
    if let Some(log_id) = log_id {
        out.extend_from_slice(&log_id.leader_id.term.to_le_bytes());
        out.extend_from_slice(&log_id.index.to_le_bytes());
    }
}

pub(super) fn decode_log_id(input: &mut Input<'_>) -> io::Result<Option<LogId>> {
    Ok(if input.flag()? { Some(LogId::new_term_index(input.u64()?, input.u64()?)) } else { None })
}

/// Lists of voters (two in a joint membership), then replicas and their nodes. Each list starts
/// with its length as `u32`.
fn encode_membership(membership: &Membership, out: &mut Vec<u8>) {
    let configs = membership.get_joint_config();
    encode_len(configs.len(), out);
    for config in configs {
        encode_len(config.len(), out);
        for replica in config {
            out.extend_from_slice(&replica.to_le_bytes());
        }
    }
    encode_len(membership.nodes().count(), out);
    for (replica, host) in membership.nodes() {
        out.extend_from_slice(&replica.to_le_bytes());
        out.extend_from_slice(&host.0.to_le_bytes());
    }
}

fn encode_len(len: usize, out: &mut Vec<u8>) {
    let len = u32::try_from(len).expect("a group has few replicas");
    out.extend_from_slice(&len.to_le_bytes());
}

fn decode_membership(input: &mut Input<'_>) -> io::Result<Membership> {
    let mut configs = Vec::new();
    for _ in 0..input.u32()? {
        let mut config = BTreeSet::new();
        for _ in 0..input.u32()? {
            config.insert(input.u64()?);
        }
        configs.push(config);
    }
    let mut nodes = BTreeMap::new();
    for _ in 0..input.u32()? {
        nodes.insert(input.u64()?, Host(input.u64()?));
    }
    if configs.is_empty() && nodes.is_empty() {
        return Ok(Membership::default());
    }
    Membership::new(configs, nodes).map_err(|_| damaged("a membership without voters"))
}

/// Bytes not read yet.
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl Input<'_> {
    pub(super) fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let (taken, rest) =
            self.0.split_first_chunk::<N>().ok_or_else(|| damaged("a record that ends early"))?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn skip(&mut self, len: usize) -> io::Result<()> {
        let rest = self.0.get(len..).ok_or_else(|| damaged("a record that ends early"))?;
        self.0 = rest;
        Ok(())
    }

    pub(super) fn u8(&mut self) -> io::Result<u8> {
        Ok(self.take::<1>()?[0])
    }

    pub(super) fn u32(&mut self) -> io::Result<u32> {
        Ok(u32::from_le_bytes(self.take()?))
    }

    pub(super) fn u64(&mut self) -> io::Result<u64> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    pub(super) fn flag(&mut self) -> io::Result<bool> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(damaged("a flag that is neither 0 nor 1")),
        }
    }

    pub(super) fn end(&self) -> io::Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(damaged("bytes after a record's end")) }
    }
}

pub(super) fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joint() -> Membership {
        let configs = vec![BTreeSet::from([1, 2, 3]), BTreeSet::from([2, 3, 4])];
        Membership::new_with_defaults(configs, [1, 2, 3, 4, 9])
    }

    #[test]
    fn votes_come_back_as_they_were() {
        for vote in [Vote::new(0, 0), Vote::new(7, u64::MAX), Vote::new_committed(u64::MAX, 3)] {
            assert_eq!(decode_vote(&encode_vote(&vote)).unwrap(), vote);
        }
    }

    #[test]
    fn a_kept_vote_says_whose_it_is_and_one_of_an_older_log_does_not() {
        let vote = Vote::new_committed(7, 3);
        let kept = encode_kept_vote(&vote, ReplicaId(9));
        assert_eq!(decode_kept_vote(&kept).unwrap(), (vote, Some(ReplicaId(9))));
        assert_eq!(decode_kept_vote(&encode_vote(&vote)).unwrap(), (vote, None));
        for len in (0..kept.len()).filter(|len| *len != VOTE_BYTES) {
            assert!(decode_kept_vote(&kept[..len]).is_err(), "cut to {len}");
        }
    }

    #[test]
    fn payloads_come_back_as_they_were() {
        let ops = Payload::Normal(Proposal(Bytes::from_static(&[1, 2, 3])));
        for payload in [Payload::Blank, Payload::Membership(joint()), ops] {
            assert_eq!(decode_payload(encode_payload(&payload)).unwrap(), payload);
        }
    }

    #[test]
    fn a_snapshots_description_comes_back_as_it_was() {
        let log_id = Some(LogId::new_term_index(3, 99));
        let described = SnapshotMeta {
            last_log_id: log_id,
            last_membership: StoredMembership::new(log_id, joint()),
        };
        for meta in [SnapshotMeta::default(), described] {
            assert_eq!(decode_meta(&encode_meta(&meta)).unwrap(), meta);
        }
    }

    #[test]
    fn cut_or_lengthened_records_are_refused() {
        let meta = encode_meta(&SnapshotMeta {
            last_log_id: Some(LogId::new_term_index(1, 2)),
            last_membership: StoredMembership::new(None, joint()),
        });
        for len in 0..meta.len() {
            assert!(decode_meta(&meta[..len]).is_err(), "cut to {len}");
        }
        let mut longer = meta;
        longer.push(0);
        assert!(decode_meta(&longer).is_err());
        assert!(decode_vote(&[0; VOTE_BYTES + 1]).is_err());
        assert!(decode_payload(Bytes::new()).is_err());
        assert!(decode_payload(Bytes::from_static(&[0xFF])).is_err());
    }

    #[test]
    fn a_lying_length_allocates_nothing() {
        let mut bytes = vec![MEMBERSHIP];
        bytes.extend_from_slice(&u32::MAX.to_le_bytes());
        assert!(decode_payload(bytes.into()).is_err());
    }
}
