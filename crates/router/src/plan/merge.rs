//! Changes of many bits at once whose bits lie in several segments.
//!
//! Each segment's bits are changed atomically; the segments of one command are not changed at one
//! instant.

use bitroster_bitmap::Bitmap;
use bitroster_command::{MergeMode, Reply, WriteCommand};
use bitroster_types::{GroupId, Key, SegmentWidth, limits::ENTRY_BYTES_MAX};
use bytes::Bytes;

use super::{gather, write::write_pieces};
use crate::call::{Call, Step, decoded};

/// Bytes of pieces that are written side by side: some entries' worth.
const BATCH_BYTES: usize = 4 * ENTRY_BYTES_MAX;

/// Changes the bits of a set, each group its own: how many have changed.
pub(crate) async fn merge(call: &Call, key: &Key, mode: MergeMode, bits: &Bytes) -> Step<Reply> {
    let set = decoded(bits)?;
    if set.cardinality() == 0 {
        return Ok(Reply::Integer(0));
    }
    let mut members = None;
    if mode == MergeMode::AndNot {
        // Who has no part has nothing to clear, and must not be made to hold one.
        let Some(header) = call.header(key).await? else {
            return Ok(Reply::Integer(0));
        };
        members = Some(gather::members(call, key, &header));
    }
    let mut pieces = segments(&set, call.map.width())
        .map(|(start, bits)| (call.map.group_of_bit(key, start), bits))
        .filter(|(group, _)| members.as_ref().is_none_or(|members| members.contains(group)))
        .map(|(group, bits)| (group, encoded(&bits)))
        .peekable();
    let mut sum = 0_i64;
    let mut is_begun = false;
    while pieces.peek().is_some() {
        let batch = batch(key, mode, &mut pieces);
        let alone = !is_begun && batch.len() == 1 && pieces.peek().is_none();
        match written(call, batch, alone).await {
            Ok(changed) => sum = sum.saturating_add(changed),
            Err(stop) if is_begun => return Err(call.after_change(stop)),
            Err(stop) => return Err(stop),
        }
        is_begun = true;
    }
    Ok(Reply::Integer(sum))
}

async fn written(call: &Call, batch: Vec<(GroupId, WriteCommand)>, alone: bool) -> Step<i64> {
    call.check_deadline()?;
    write_pieces(call, batch, alone).await
}

/// The next pieces that are written side by side: each has a copy of the key, so that those of a
/// large set with a long key are more than should wait at a time.
fn batch(
    key: &Key,
    mode: MergeMode,
    pieces: &mut impl Iterator<Item = (GroupId, Bytes)>,
) -> Vec<(GroupId, WriteCommand)> {
    let mut batch = Vec::new();
    let mut bytes = 0;
    while bytes < BATCH_BYTES
        && let Some((group, bits)) = pieces.next()
    {
        bytes += key.as_bytes().len() + bits.len();
        batch.push((group, WriteCommand::Merge { key: key.clone(), mode, bits }));
    }
    batch
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
    fn pieces_with_a_long_key_come_in_batches() {
        let key = Key::new(&[7; 64 << 10]).unwrap();
        let mut pieces = (0..1000_u16).map(|group| (GroupId(group), Bytes::from_static(b"bits")));
        let mut lens = Vec::new();
        let mut groups = Vec::new();
        loop {
            let batch = batch(&key, MergeMode::Or, &mut pieces);
            if batch.is_empty() {
                break;
            }
            lens.push(batch.len());
            groups.extend(batch.into_iter().map(|(group, _)| group.0));
        }
        assert_eq!(groups, (0..1000).collect::<Vec<u16>>());
        assert_eq!(lens, [256, 256, 256, 232]);
    }

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
