//! Records: what the log says, as bytes.
//!
//! A record is `kind u8 | 0 u8 | group u16 | len u32 | len bytes`, integers little-endian. It has
//! no checksum of its own: the frame around it has. `docs/file-formats.md` holds the table.

use bitroster_types::GroupId;

/// Bytes before a record's own part.
pub(crate) const RECORD_HEADER_BYTES: usize = 8;

const POSITION_BYTES: usize = 24;

/// A place in a group's log. Indexes of one group grow by one; `term` and `leader` are the caller's
/// and come back as they were given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The entry's number in its group's log.
    pub index: u64,
    /// The term in which it was proposed.
    pub term: u64,
    /// Who proposed it, or 0 where the caller does not record it.
    pub leader: u64,
}

/// One statement about a group's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Record<'a> {
    /// An entry follows the last one.
    Entry { group: GroupId, position: Position, payload: &'a [u8] },
    /// The group's vote, replacing the one before.
    Vote { group: GroupId, vote: &'a [u8] },
    /// Entries from this index on are gone.
    Truncate { group: GroupId, first_removed: u64 },
    /// Entries up to this one are gone, and the log goes on after it.
    Purge { group: GroupId, position: Position },
    /// Entries up to this one are known to be committed.
    Committed { group: GroupId, position: Position },
    /// The group is gone with all it had.
    Remove { group: GroupId },
    /// All before this record, of all groups, is void: what still holds follows.
    Reset,
}

mod kind {
    pub(super) const ENTRY: u8 = 1;
    pub(super) const VOTE: u8 = 2;
    pub(super) const TRUNCATE: u8 = 3;
    pub(super) const PURGE: u8 = 4;
    pub(super) const COMMITTED: u8 = 5;
    pub(super) const REMOVE: u8 = 6;
    pub(super) const RESET: u8 = 7;
}

impl<'a> Record<'a> {
    /// Appends the record to `out`. The caller has checked its length.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Entry { group, position, payload } => {
                encode_header(out, kind::ENTRY, group, POSITION_BYTES + payload.len());
                encode_position(out, position);
                out.extend_from_slice(payload);
            }
            Self::Vote { group, vote } => {
                encode_header(out, kind::VOTE, group, vote.len());
                out.extend_from_slice(vote);
            }
            Self::Truncate { group, first_removed } => {
                encode_header(out, kind::TRUNCATE, group, 8);
                out.extend_from_slice(&first_removed.to_le_bytes());
            }
            Self::Purge { group, position } => {
                encode_header(out, kind::PURGE, group, POSITION_BYTES);
                encode_position(out, position);
            }
            Self::Committed { group, position } => {
                encode_header(out, kind::COMMITTED, group, POSITION_BYTES);
                encode_position(out, position);
            }
            Self::Remove { group } => encode_header(out, kind::REMOVE, group, 0),
            Self::Reset => encode_header(out, kind::RESET, GroupId(0), 0),
        }
    }

    /// Reads the record that `bytes` begin with, and its whole length. `None` if there is none:
    /// too short, an unknown kind, or a length that does not fit the kind.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let (header, rest) = bytes.split_first_chunk::<RECORD_HEADER_BYTES>()?;
        let [kind, zero, group @ .., l0, l1, l2, l3] = *header;
        let group = GroupId(u16::from_le_bytes(group));
        let len = usize::try_from(u32::from_le_bytes([l0, l1, l2, l3])).ok()?;
        let own = rest.get(..len)?;
        let record = match (kind, zero) {
            (kind::ENTRY, 0) => {
                let (position, payload) = own.split_first_chunk::<POSITION_BYTES>()?;
                Self::Entry { group, position: decode_position(position), payload }
            }
            (kind::VOTE, 0) => Self::Vote { group, vote: own },
            (kind::TRUNCATE, 0) => {
                Self::Truncate { group, first_removed: u64::from_le_bytes(own.try_into().ok()?) }
            }
            (kind::PURGE, 0) => {
                Self::Purge { group, position: decode_position(own.try_into().ok()?) }
            }
            (kind::COMMITTED, 0) => {
                Self::Committed { group, position: decode_position(own.try_into().ok()?) }
            }
            (kind::REMOVE, 0) if own.is_empty() => Self::Remove { group },
            (kind::RESET, 0) if own.is_empty() && group == GroupId(0) => Self::Reset,
            _ => return None,
        };
        Some((record, RECORD_HEADER_BYTES + len))
    }
}

/// The encoded length of an entry, in bytes.
pub(crate) fn entry_bytes(payload_bytes: usize) -> usize {
    RECORD_HEADER_BYTES + POSITION_BYTES + payload_bytes
}

fn encode_header(out: &mut Vec<u8>, kind: u8, group: GroupId, len: usize) {
    let len = u32::try_from(len).expect("records are at most WAL_ENTRY_BYTES_MAX and a header");
    out.extend_from_slice(&[kind, 0]);
    out.extend_from_slice(&group.0.to_le_bytes());
    out.extend_from_slice(&len.to_le_bytes());
}

fn encode_position(out: &mut Vec<u8>, position: Position) {
    out.extend_from_slice(&position.index.to_le_bytes());
    out.extend_from_slice(&position.term.to_le_bytes());
    out.extend_from_slice(&position.leader.to_le_bytes());
}

fn decode_position(bytes: &[u8; POSITION_BYTES]) -> Position {
    let word = |at: usize| {
        u64::from_le_bytes(bytes[at..at + 8].try_into().expect("the slice is eight bytes"))
    };
    Position { index: word(0), term: word(8), leader: word(16) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back_and_no_part_of_it_does() {
        let group = GroupId(513);
        let position = Position { index: 7, term: u64::MAX, leader: 3 };
        for record in [
            Record::Entry { group, position, payload: b"payload" },
            Record::Entry { group, position, payload: b"" },
            Record::Vote { group, vote: b"vote" },
            Record::Truncate { group, first_removed: 9 },
            Record::Purge { group, position },
            Record::Committed { group, position },
            Record::Remove { group },
            Record::Reset,
        ] {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            assert_eq!(Record::decode(&bytes), Some((record, bytes.len())));
            for len in 0..bytes.len() {
                assert_eq!(Record::decode(&bytes[..len]), None, "{record:?} cut to {len}");
            }
        }
    }

    #[test]
    fn an_unknown_kind_and_a_wrong_length_are_refused() {
        assert_eq!(Record::decode(&[8, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(Record::decode(&[0; 8]), None);
        assert_eq!(Record::decode(&[7, 1, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(Record::decode(&[6, 0, 0, 0, 1, 0, 0, 0, 0]), None);
    }
}
