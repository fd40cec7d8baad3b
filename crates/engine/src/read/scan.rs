//! Walks over the group's records.
//!
//! They go by the log's time, not the reader's: what one of them has left out as expired is so for
//! every reader, whatever the clocks say, and none needs a tick for it.

use std::ops::ControlFlow;

use bitroster_command::{Outcome, Reply, glob};
use bitroster_placement::slot_of_key;
use bitroster_types::limits::SCAN_KEYS_EXAMINED_MAX;
use bytes::Bytes;

use super::{Reader, Step, Stepped};
use crate::{
    side::What,
    spot::Spot,
    work::{Holding, Job, Keys, Prefixes},
};

impl Reader<'_> {
    /// Looks at about `count` records from `cursor` on, or as many as one lock is for. The cursor
    /// is a place in the order of slots and hashes, so that a key which is there all the time is
    /// seen, whatever comes and goes.
    pub(super) fn scan(
        self,
        cursor: u64,
        pattern: Option<&[u8]>,
        count: u64,
        type_matches: bool,
    ) -> Reply {
        let count = count.clamp(1, SCAN_KEYS_EXAMINED_MAX);
        let mut keys = Vec::new();
        let mut looked_at = 0;
        let mut last = None;
        let next = Spot::unpack(cursor).map(|start| {
            self.store.root().visit(start, |spot, key, view| {
                // Keys that share a spot are answered together: no cursor lies between them.
                if looked_at >= count && last != Some(spot) {
                    return ControlFlow::Break(spot);
                }
                last = Some(spot);
                looked_at += 1;
                let matches = pattern.is_none_or(|pattern| glob::glob_match(pattern, key));
                if type_matches
                    && matches
                    && self.store.owned.has(spot.slot)
                    && !view.is_expired(self.time)
                {
                    keys.push(Reply::bulk(key));
                }
                ControlFlow::Continue(())
            })
        });
        let next = match next {
            Some(ControlFlow::Break(spot)) => spot.packed(),
            Some(ControlFlow::Continue(())) | None => 0,
        };
        Reply::Array(vec![Reply::bulk(next.to_string()), Reply::Array(keys)])
    }

    pub(super) fn keys(self, pattern: &Bytes) -> Step {
        Job::Keys(Keys {
            root: self.store.root().clone(),
            owned: self.store.owned.clone(),
            time: self.time,
            pattern: pattern.clone(),
        })
        .into()
    }

    /// The live keys that have a bit, for who asks to clear it and must not miss any. A part counts
    /// even past its expiry: home may take its key for alive. One that the group is in doubt about
    /// counts where what is staged of it has the bit: home may have published it.
    pub(super) fn holding(self, pattern: &Bytes, offset: u64, limit: u64) -> Stepped {
        let (owned, segment) = (&self.store.owned, self.config.width.segment_of(offset));
        if !segment.is_first() && !owned.has_segment(false, segment) {
            return Err(Outcome::NotOwner);
        }
        let staged = self.side.staged.iter().filter(|((key, _), staged)| {
            let is_elsewhere = !owned.has(slot_of_key(key)) && !segment.is_first();
            let has_bit = matches!(&staged.what, What::Value(value) if value.get(offset));
            is_elsewhere && has_bit && glob::glob_match(pattern, key)
        });
        Ok(Job::Holding(Holding {
            root: self.store.root().clone(),
            homes: owned.clone(),
            is_first: segment.is_first(),
            time: self.time,
            pattern: pattern.clone(),
            offset,
            limit,
            in_doubt: staged.map(|((key, _), _)| key.clone()).collect(),
        })
        .into())
    }

    /// What the keys below a prefix take, a page at a time.
    pub(super) fn prefixes(self, prefix: &Bytes, separator: u8, cursor: u64) -> Step {
        Job::Prefixes(Prefixes {
            root: self.store.root().clone(),
            owned: self.store.owned.clone(),
            time: self.time,
            width: self.config.width,
            prefix: prefix.clone(),
            separator,
            cursor,
            entries: self.store.tally().records + self.store.tally().parts,
            dataset_bytes: self.store.tally().bytes,
        })
        .into()
    }

    /// Some record. The reader's clock is the die, which in a batch is the log's: replicas keep the
    /// answers of batches and must agree on them.
    pub(super) fn random_key(self) -> Reply {
        let die = self.now.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ self.store.tally().records;
        let start = Spot::unpack(die.wrapping_mul(0xD1B5_4A32_D192_ED03) >> 18);
        let starts = [start.expect("46 bits are a spot"), Spot::FIRST];
        for start in starts {
            let found = self.store.root().visit(start, |spot, key, view| {
                if self.store.owned.has(spot.slot) && !view.is_expired(self.time) {
                    return ControlFlow::Break(Reply::bulk(key));
                }
                ControlFlow::Continue(())
            });
            if let ControlFlow::Break(reply) = found {
                return reply;
            }
        }
        Reply::Nil
    }
}
