//! How values are kept, counted by walking all pages a little at a time.

use std::ops::ControlFlow;

use bitroster_bitmap::{Bitmap, Form};
use bitroster_placement::slot_of_segment;
use bitroster_types::Segment;

use crate::{Engine, leaf::Leaf, owned::Owned, spot::Spot};

/// Segments of one value of which each is looked at; of a longer value's others the share that the
/// group owns is taken.
const SEGMENTS_MAX: u32 = 1 << 16;

/// Values of a keyspace by how they are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forms {
    /// Values of a few bytes, kept as they are; the bytes are those of all small keys with their
    /// values.
    pub inline: Form,
    /// Containers that list positions.
    pub arrays: Form,
    /// Containers of plain bits.
    pub dense: Form,
    /// Containers that list runs.
    pub runs: Form,
    /// Containers of ones only.
    pub full: Form,
    /// What the group's segments would take as plain bytes. A value that lies in several groups
    /// counts in each with the segments that the group owns, up to its last byte there.
    pub logical_bytes: u64,
}

/// A walk over the pages of a keyspace, in several steps between which the keyspace may change.
#[derive(Debug, Default)]
pub struct Survey {
    /// Where the next step begins; `None` before the first.
    next: Option<Spot>,
    sums: Forms,
    /// For each number of segments how many of the first so many, but segment 0, the group owns.
    owned_before: Vec<u32>,
}

impl Survey {
    /// Walks on from where the last call ended, for about `work` containers and pages. Once the
    /// walk is at its end, what there was, and the next call begins anew.
    pub fn step(&mut self, engine: &Engine, work: usize) -> Option<Forms> {
        let from = self.next.take().unwrap_or_else(|| {
            *self = Self::default();
            Spot::FIRST
        });
        let mut left = work.max(1);
        let walked = engine.store.root().visit_pages(from, |spot, page| {
            if left == 0 {
                return ControlFlow::Break(spot);
            }
            left = left.saturating_sub(1 + self.add(engine, spot, page));
            ControlFlow::Continue(())
        });
        match walked {
            ControlFlow::Break(spot) => {
                self.next = Some(spot);
                None
            }
            ControlFlow::Continue(()) => Some(std::mem::take(self).sums),
        }
    }

    /// Whether a walk is under way.
    pub const fn is_under_way(&self) -> bool {
        self.next.is_some()
    }

    /// Adds a page; how many containers it has.
    fn add(&mut self, engine: &Engine, spot: Spot, page: &Leaf) -> usize {
        let (count, value_bytes, bytes) = page.packed_figures();
        self.sums.inline.count += count;
        self.sums.inline.bytes += bytes;
        let owned = &engine.store.owned;
        if owned.has(spot.slot) {
            self.sums.logical_bytes += value_bytes as u64;
        }
        page.full_values().map(|value| self.add_value(engine, owned.has(spot.slot), value)).sum()
    }

    fn add_value(&mut self, engine: &Engine, is_home: bool, value: &Bitmap) -> usize {
        let segment_bytes = engine.config.width.bytes();
        let bytes = value.len_bytes();
        let logical_bytes = self.logical_bytes(&engine.store.owned, is_home, bytes, segment_bytes);
        self.sums.logical_bytes += logical_bytes;
        if value.as_flat().is_some() {
            self.sums.inline.count += 1;
            self.sums.inline.bytes += value.heap_bytes();
            return 1;
        }
        let stats = value.stats();
        let pairs = [
            (&mut self.sums.arrays, stats.arrays),
            (&mut self.sums.dense, stats.dense),
            (&mut self.sums.runs, stats.runs),
            (&mut self.sums.full, stats.full),
        ];
        let mut containers = 0;
        for (sum, more) in pairs {
            sum.count += more.count;
            sum.bytes += more.bytes;
            containers += more.count;
        }
        containers
    }

    /// How many of the first `bytes` lie in segments of the group.
    fn logical_bytes(
        &mut self,
        owned: &Owned,
        is_home: bool,
        bytes: u64,
        segment_bytes: u64,
    ) -> u64 {
        let of_first = if is_home { bytes.min(segment_bytes) } else { 0 };
        let Some(rest) = bytes.checked_sub(segment_bytes).filter(|rest| *rest > 0) else {
            return of_first;
        };
        if owned.has_all() {
            return bytes;
        }
        let whole = u32::try_from(rest / segment_bytes).unwrap_or(u32::MAX).min(SEGMENTS_MAX);
        self.count_owned(owned, whole + 1);
        let place = whole as usize;
        let before = u64::from(self.owned_before[place]);
        let mut owned_bytes = of_first + before * segment_bytes;
        let last = rest - u64::from(whole) * segment_bytes;
        if whole == SEGMENTS_MAX {
            owned_bytes += last / 16_384 * u64::from(owned.count());
        } else if self.owned_before[place + 1] > self.owned_before[place] {
            owned_bytes += last;
        }
        owned_bytes
    }

    /// Makes the table of owned segments long enough for `segments` after segment 0.
    fn count_owned(&mut self, owned: &Owned, segments: u32) {
        if self.owned_before.is_empty() {
            self.owned_before.push(0);
        }
        let first = u32::try_from(self.owned_before.len()).unwrap_or(u32::MAX);
        for segment in first..=segments {
            let before = self.owned_before.last().copied().unwrap_or(0);
            let is_owned = owned.has(slot_of_segment(Segment(segment)));
            self.owned_before.push(before + u32::from(is_owned));
        }
    }
}

#[cfg(test)]
mod tests {
    use bitroster_command::{Expiry, WriteCommand, WriteOp};
    use bitroster_types::{GroupId, Key, LogIndex, SegmentWidth, Slot, UnixMillis, limits::SLOTS};

    use super::*;
    use crate::EngineConfig;

    fn engine(slots: impl Iterator<Item = u16>) -> Engine {
        let width = SegmentWidth::from_log2(16).unwrap();
        let mut engine = Engine::new(EngineConfig::new(GroupId(1), width));
        engine.begin(LogIndex(1), UnixMillis(1));
        engine.apply(&WriteOp::Adopt { slots: slots.filter_map(Slot::new).collect() });
        engine
    }

    fn set(engine: &mut Engine, key: &str, value: Vec<u8>) {
        engine.apply(&WriteOp::Command(WriteCommand::Set {
            key: Key::new(key.as_bytes()).unwrap(),
            value: value.into(),
            existence: None,
            expiry: Expiry::Clear,
            reply: bitroster_command::SetReply::Status,
        }));
    }

    #[test]
    fn a_walk_in_small_steps_counts_what_one_at_once_does() {
        let mut engine = engine(0..SLOTS);
        for n in 0..3_000 {
            set(&mut engine, &format!("small:{{{}}}:{n}", n % 3), vec![1; n % 40]);
        }
        set(&mut engine, "dense", (0..20_000).map(|n| u8::try_from(n % 251).unwrap()).collect());
        set(&mut engine, "ones", vec![0xff; 16_384]);
        set(&mut engine, "sparse", [vec![0; 30_000], vec![1]].concat());
        let whole = Survey::default().step(&engine, usize::MAX).unwrap();
        let (mut survey, mut steps) = (Survey::default(), 1);
        let pieces = loop {
            match survey.step(&engine, 1) {
                Some(forms) => break forms,
                None => steps += 1,
            }
            assert!(survey.is_under_way());
        };
        assert!(steps > 10, "{steps} steps");
        assert_eq!(pieces, whole);
        let lens: usize = (0..3_000).map(|n| n % 40).sum();
        assert_eq!(whole.logical_bytes, (lens + 20_000 + 16_384 + 30_001) as u64);
        assert_eq!(whole.inline.count, 3_000);
        assert_eq!((whole.dense.count, whole.full.count), (3, 2));
        assert!(whole.arrays.count >= 1 && whole.dense.bytes >= 3 * 8192);
        let stats = engine.stats();
        let payload = whole.inline.bytes + whole.arrays.bytes + whole.dense.bytes;
        assert!(payload as u64 <= stats.page_bytes, "{payload} of {}", stats.page_bytes);
    }

    #[test]
    fn a_group_counts_the_segments_that_it_owns() {
        let mut survey = Survey::default();
        let half: Vec<Slot> = (0..SLOTS / 2).filter_map(Slot::new).collect();
        let owned = Owned::of(&half);
        let segment = 8192;
        let twin = |bytes: u64| -> u64 {
            let segments = 1..u32::try_from(bytes.div_ceil(segment).max(1)).unwrap();
            let of_rest = segments.filter(|s| owned.has(slot_of_segment(Segment(*s))));
            let of_rest: u64 = of_rest.map(|s| segment.min(bytes - u64::from(s) * segment)).sum();
            of_rest + bytes.min(segment)
        };
        for bytes in [0, 1, 8191, 8192, 8193, 16_384, 16_385, 100_000, 1_000_000] {
            assert_eq!(survey.logical_bytes(&owned, true, bytes, segment), twin(bytes), "{bytes}");
            let of_part = twin(bytes) - bytes.min(segment);
            assert_eq!(survey.logical_bytes(&owned, false, bytes, segment), of_part, "{bytes}");
        }
        let huge = survey.logical_bytes(&owned, false, 1 << 39, segment);
        assert!(huge.abs_diff(1 << 38) < 1 << 33, "{huge}");
    }
}
