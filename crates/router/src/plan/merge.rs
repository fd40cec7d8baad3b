//! Changes of many bits at once whose bits lie in several segments.
//!
//! Each segment's bits are changed atomically; the segments of one command are not changed at one
//! instant.

use bitroster_bitmap::Bitmap;
use bitroster_command::{MergeMode, Reply, WriteCommand};
use bitroster_types::{GroupId, Key, SegmentWidth};
use bytes::Bytes;

use super::{gather, write::write_pieces};
use crate::call::{Call, Step, decoded};

/// Changes the bits of a set, each group its own: how many have changed.
pub(crate) async fn merge(call: &Call, key: &Key, mode: MergeMode, bits: &Bytes) -> Step<Reply> {
    let set = decoded(bits)?;
    if set.cardinality() == 0 {
        return Ok(Reply::Integer(0));
    }
    let mut pieces = pieces(call, key, mode, &set);
    if mode == MergeMode::AndNot {
        // Who has no part has nothing to clear, and must not be made to hold one.
        let Some(header) = call.header(key).await? else {
            return Ok(Reply::Integer(0));
        };
        let members = gather::members(call, key, &header);
        pieces.retain(|(group, _)| members.contains(group));
    }
    let alone = pieces.len() == 1;
    write_pieces(call, pieces, alone).await.map(Reply::Integer)
}

/// The set in pieces, one a segment, with their groups.
fn pieces(call: &Call, key: &Key, mode: MergeMode, set: &Bitmap) -> Vec<(GroupId, WriteCommand)> {
    let piece = |bits: Bitmap| {
        let bits = encoded(&bits);
        WriteCommand::Merge { key: key.clone(), mode, bits }
    };
    segments(set, call.map.width())
        .map(|(start, bits)| (call.map.group_of_bit(key, start), piece(bits)))
        .collect()
}

/// The bits of a set by segment, ascending, with each segment's start. All but the last are as long
/// as their bits, and that one as the set.
fn segments(set: &Bitmap, width: SegmentWidth) -> impl Iterator<Item = (u64, Bitmap)> {
    let last = set.last_set();
    let mut next = set.first_set(0..u64::MAX);
    std::iter::from_fn(move || {
        let start = next? & !(width.bits() - 1);
        let end = start + width.bits();
        let mut bits = set.restrict(start..end);
        if last >= Some(end) {
            bits.truncate(bits.last_set().map_or(0, |last| last / 8 + 1));
        }
        next = set.first_set(end..u64::MAX);
        Some((start, bits))
    })
}

/// A bitmap in its codec.
pub(crate) fn encoded(bitmap: &Bitmap) -> Bytes {
    let mut bytes = Vec::new();
    bitmap.encode(&mut bytes);
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_hold_the_bits_of_one_segment_each_and_the_last_one_the_length() {
        let width = SegmentWidth::from_log2(16).unwrap();
        let mut set = Bitmap::new();
        for bit in [3, 65_535, 65_536, 300_000] {
            set.set(bit, true);
        }
        set.extend_len(1 << 20);
        let pieces: Vec<(u64, Bitmap)> = segments(&set, width).collect();
        let starts: Vec<u64> = pieces.iter().map(|(start, _)| *start).collect();
        assert_eq!(starts, [0, 65_536, 262_144]);
        let lens: Vec<u64> = pieces.iter().map(|(_, bits)| bits.len_bytes()).collect();
        assert_eq!(lens, [8_192, 8_193, 1 << 20]);
        let mut whole = Bitmap::new();
        pieces.iter().for_each(|(_, bits)| whole.merge_disjoint(bits));
        assert_eq!(whole, set);
    }
}
