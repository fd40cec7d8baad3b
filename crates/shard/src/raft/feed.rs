//! The ops of an entry, or of a numbered batch, as they are applied.

use bitroster_command::OpReader;
use bitroster_engine::Engine;

/// SETBITs of different keys that are fetched before they are applied.
const FETCHED_AHEAD: u32 = 8;

/// Ops, and how far the engine was told what is to come.
pub(super) struct Feed {
    pub(super) reader: OpReader,
    scout: Option<OpReader>,
    /// Whether few SETBITs that come after each other are of the same key.
    is_mixed: bool,
}

impl Feed {
    pub(super) fn new(reader: OpReader) -> Self {
        Self { reader, scout: None, is_mixed: false }
    }

    /// The SETBITs of one key that come next and can be read, at most `most`: replaces `bits` by
    /// their offsets and values, and returns the key. `None` if something else is next.
    ///
    /// What they touch is seldom in the cache. The engine fetches what it needs for those of one
    /// key; where the keys change with nearly every op, the next ops' are fetched here.
    pub(super) fn next_set_bits(
        &mut self,
        engine: &Engine,
        bits: &mut Vec<(u64, bool)>,
        most: usize,
    ) -> Option<&[u8]> {
        if self.is_mixed {
            let scout = self.scout.get_or_insert_with(|| self.reader.clone());
            if scout.left() > self.reader.left() {
                *scout = self.reader.clone();
            }
            while self.reader.left() - scout.left() < FETCHED_AHEAD
                && let Ok(Some(bit)) = scout.next_set_bit()
            {
                engine.fetch(bit);
            }
        }
        let key = self.reader.next_set_bits(bits, most);
        self.is_mixed = bits.len() < FETCHED_AHEAD as usize;
        key
    }
}

#[cfg(test)]
mod tests {
    use bitroster_command::{EntryReader, Op, OpBatch, WriteCommand, WriteOp, encode_entry};
    use bitroster_engine::EngineConfig;
    use bitroster_types::{GroupId, Key, LogIndex, SegmentWidth, Slot, UnixMillis, limits::SLOTS};
    use bytes::Bytes;

    use super::*;

    /// A group with a value to fetch.
    fn engine(key: &Key) -> Engine {
        let mut engine = Engine::new(EngineConfig::new(GroupId(1), SegmentWidth::DEFAULT));
        engine.begin(LogIndex(1), UnixMillis(1));
        engine.apply(&WriteOp::Adopt { slots: (0..SLOTS).filter_map(Slot::new).collect() });
        let append = WriteCommand::Append { key: key.clone(), value: vec![0x55; 10_000].into() };
        engine.apply(&WriteOp::Command(append));
        engine
    }

    /// What a feed gives: SETBITs' offsets, and 0 for any other op; whether all could be read.
    fn fed(entry: Bytes, engine: &Engine) -> (Vec<u64>, bool) {
        let (mut feed, mut seen) = (Feed::new(EntryReader::new(entry).unwrap().into_ops()), vec![]);
        let mut bits = Vec::new();
        loop {
            if feed.next_set_bits(engine, &mut bits, 7).is_some() {
                seen.extend(bits.iter().map(|(offset, _)| *offset));
                continue;
            }
            match feed.reader.next_op() {
                Ok(Some(Op::Write(WriteOp::Tick))) => seen.push(0),
                Ok(None) => return (seen, true),
                Ok(op) => panic!("nobody sent {op:?}"),
                Err(_) => return (seen, false),
            }
        }
    }

    #[test]
    fn a_feed_gives_every_op_once_and_in_order() {
        let key = Key::new(b"k").unwrap();
        let engine = engine(&key);
        let mut state = 1u64;
        for len in 0..60 {
            let mut batch = OpBatch::new();
            let mut offsets = Vec::new();
            for place in 1..=len {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(len);
                let is_bit = (state >> 60) < 13;
                offsets.push(if is_bit { place } else { 0 });
                if is_bit {
                    batch.push_set_bit(&key, place, true);
                } else {
                    batch.push_write(&WriteOp::Tick);
                }
            }
            let entry = encode_entry(UnixMillis(1), [&batch]);
            assert_eq!(fed(entry.clone(), &engine), (offsets.clone(), true), "{len}");
            // One that says it holds more than it does.
            let mut more = entry.to_vec();
            more[9..13].fill(0xFF);
            assert_eq!(fed(more.into(), &engine), (offsets, false), "{len}");
        }
    }
}
