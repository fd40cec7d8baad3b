//! The entries of a group, with their sums and the order in which they expire.

use std::collections::BTreeSet;

use bitroster_types::{
    Key, LogIndex, Slot, UnixMillis,
    limits::{EXPIRED_DROPPED_MAX, PART_GRACE_MS},
};

use crate::{
    entry::{Entry, View},
    leaf::Unwritten,
    owned::Owned,
    root::Root,
    spot::Spot,
};

/// Bytes of one row of the order of expiry, with its share of the tree's nodes, which are a little
/// over half full where rows come in order.
const EXPIRY_ROW_BYTES: u64 = 32;

/// Rows of the order of expiry that one entry looks at. More than it drops: some must stay.
const DUE_ROWS_MAX: usize = 4 * EXPIRED_DROPPED_MAX;

/// Sums that are kept, so that asking costs nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Heap bytes of pages and what they hold.
    pub(crate) bytes: u64,
    /// Entries at home.
    pub(crate) records: u64,
    /// Entries of keys whose home is elsewhere.
    pub(crate) parts: u64,
}

/// A row of the order of expiry: when to drop, and the packed spot.
type Due = (UnixMillis, u64);

/// What undoes a step of the order of expiry.
#[derive(Debug)]
enum Undo {
    Insert(Due),
    Remove(Due),
    Replace(BTreeSet<Due>),
}

/// What brings a store back to where it was.
#[derive(Debug)]
pub(crate) struct Saved {
    root: Root,
    tally: Tally,
}

#[derive(Debug, Default)]
pub(crate) struct Store {
    pub(crate) owned: Owned,
    root: Root,
    tally: Tally,
    /// Of equal spots with equal times there is one row.
    expiries: BTreeSet<Due>,
    undo: Option<Vec<Undo>>,
}

impl Store {
    pub(crate) fn root(&self) -> &Root {
        &self.root
    }

    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.tally.bytes + self.expiries.len() as u64 * EXPIRY_ROW_BYTES
    }

    /// Rows in the order of expiry.
    pub(crate) fn expiring(&self) -> u64 {
        self.expiries.len() as u64
    }

    pub(crate) fn find(&self, spot: Spot, key: &[u8]) -> Option<View<'_>> {
        self.root.page(spot)?.find(spot.hash, key)
    }

    /// Heap bytes of one entry and its share of the page.
    pub(crate) fn bytes_of(&self, spot: Spot, key: &[u8]) -> Option<usize> {
        self.root.page(spot)?.bytes_of(spot.hash, key)
    }

    fn adjust(&mut self, growth: isize) {
        let growth = i64::try_from(growth).expect("a page is far smaller");
        self.tally.bytes =
            self.tally.bytes.checked_add_signed(growth).expect("what is freed was counted");
    }

    fn count(&mut self, slot: Slot) -> &mut u64 {
        if self.owned.has(slot) { &mut self.tally.records } else { &mut self.tally.parts }
    }

    /// Puts an entry in the place of the old one, which is returned.
    pub(crate) fn put(&mut self, spot: Spot, key: &[u8], entry: Entry) -> Option<Entry> {
        let expiry = entry.expiry;
        let (page, growth) = self.root.page_for_insert(spot);
        let before = page.bytes();
        let old = page.put(spot.hash, key, entry);
        let growth = growth + page.bytes().cast_signed() - before.cast_signed();
        self.adjust(growth);
        if old.is_none() {
            *self.count(spot.slot) += 1;
        }
        self.reschedule(spot, old.as_ref().and_then(|old| old.expiry), expiry);
        old
    }

    pub(crate) fn take(&mut self, spot: Spot, key: &[u8]) -> Option<Entry> {
        let (page, copied) = self.root.page_mut(spot)?;
        let before = page.bytes();
        let taken = page.take(spot.hash, key);
        let mut growth = copied + page.bytes().cast_signed() - before.cast_signed();
        if page.is_empty() {
            growth += self.root.prune(spot);
        }
        self.adjust(growth);
        let old = taken?;
        *self.count(spot.slot) -= 1;
        self.reschedule(spot, old.expiry, None);
        Some(old)
    }

    /// Changes an entry where it lies.
    pub(crate) fn edit<R>(
        &mut self,
        spot: Spot,
        key: &[u8],
        change: impl FnOnce(&mut Entry) -> R,
    ) -> Option<R> {
        let (page, copied) = self.root.page_mut(spot)?;
        let before = page.bytes();
        let edited = page.edit(spot.hash, key, |entry| {
            let old = entry.expiry;
            (change(entry), old, entry.expiry)
        });
        let growth = copied + page.bytes().cast_signed() - before.cast_signed();
        self.adjust(growth);
        let (result, old, new) = edited?;
        self.reschedule(spot, old, new);
        Some(result)
    }

    /// Writes bits of an entry in order, as far as it has room for them, and tells each one's old
    /// bit.
    pub(crate) fn set_bits(
        &mut self,
        spot: Spot,
        key: &[u8],
        bits: &[(u64, bool)],
        now: (UnixMillis, LogIndex),
        told: impl FnMut(bool),
    ) -> Result<(), Unwritten> {
        let (page, copied) = self.root.page_mut(spot).ok_or(Unwritten::Absent)?;
        let before = page.full_bytes();
        let written = page.set_bits(spot.hash, key, bits, now, told);
        let growth = copied + page.full_bytes().cast_signed() - before.cast_signed();
        if growth != 0 {
            self.adjust(growth);
        }
        written
    }

    /// Drops every entry.
    pub(crate) fn clear(&mut self) {
        self.root = Root::default();
        self.tally = Tally::default();
        let expiries = std::mem::take(&mut self.expiries);
        if let Some(undo) = &mut self.undo {
            undo.push(Undo::Replace(expiries));
        }
    }

    /// Takes over the slots of the group.
    pub(crate) fn adopt(&mut self, owned: Owned) {
        self.owned = owned;
        if self.tally.records + self.tally.parts == 0 {
            return;
        }
        let root = self.root.clone();
        (self.tally.records, self.tally.parts) = (0, 0);
        self.expiries.clear();
        root.for_each(|spot, _, view| {
            *self.count(spot.slot) += 1;
            self.reschedule(spot, None, view.expiry);
        });
    }

    // ---- expiry ----

    fn due(&self, slot: Slot, expiry: UnixMillis) -> UnixMillis {
        let grace = if self.owned.has(slot) { 0 } else { PART_GRACE_MS };
        UnixMillis(expiry.0.saturating_add(grace))
    }

    fn reschedule(&mut self, spot: Spot, old: Option<UnixMillis>, new: Option<UnixMillis>) {
        if old == new {
            return;
        }
        if let Some(old) = old
            && !self.another_expires(spot, old)
        {
            self.unschedule((self.due(spot.slot, old), spot.packed()));
        }
        if let Some(new) = new {
            let due = (self.due(spot.slot, new), spot.packed());
            if self.expiries.insert(due)
                && let Some(undo) = &mut self.undo
            {
                undo.push(Undo::Remove(due));
            }
        }
    }

    fn unschedule(&mut self, due: Due) {
        if self.expiries.remove(&due)
            && let Some(undo) = &mut self.undo
        {
            undo.push(Undo::Insert(due));
        }
    }

    /// Whether an entry at this spot still needs the row of this expiry: two keys may share both.
    fn another_expires(&self, spot: Spot, expiry: UnixMillis) -> bool {
        self.root.page(spot).is_some_and(|page| {
            page.iter_from(spot.hash)
                .take_while(|(hash, ..)| *hash == spot.hash)
                .any(|(.., view)| view.expiry == Some(expiry))
        })
    }

    /// The rows of the order of expiry: when to drop, and where.
    pub(crate) fn due_rows(&self) -> impl Iterator<Item = (UnixMillis, Spot)> {
        let spot = |packed| Spot::unpack(packed).expect("packed by reschedule");
        self.expiries.iter().map(move |(due, packed)| (*due, spot(*packed)))
    }

    /// Where something is due at `time`, the first due first, no more than [`DUE_ROWS_MAX`].
    pub(crate) fn due_spots(&self, time: UnixMillis) -> Vec<Spot> {
        let due = self.due_rows().take_while(|(due, _)| *due <= time);
        due.map(|(_, spot)| spot).take(DUE_ROWS_MAX).collect()
    }

    /// The keys at a spot that are due at `time`.
    pub(crate) fn due_at(&self, spot: Spot, time: UnixMillis) -> Vec<Key> {
        let entries = self.root.page(spot).into_iter().flat_map(|page| page.iter_from(spot.hash));
        let here = entries.take_while(|(hash, ..)| *hash == spot.hash).filter(|(.., view)| {
            view.expiry.is_some_and(|expiry| self.due(spot.slot, expiry) <= time)
        });
        here.map(|(_, key, _)| Key::new(key).expect("it was a key when it was put")).collect()
    }

    /// Records that are past their expiry at `time` and not yet dropped.
    pub(crate) fn overdue_records(&self, time: UnixMillis) -> u64 {
        let rows = self.expiries.range(..=(time, u64::MAX));
        let mut count = 0;
        for (due, packed) in rows {
            let spot = Spot::unpack(*packed).expect("packed by reschedule");
            if self.owned.has(spot.slot)
                && let Some(page) = self.root.page(spot)
            {
                let same = page.iter_from(spot.hash).take_while(|(hash, ..)| *hash == spot.hash);
                count += same.filter(|(.., view)| view.expiry == Some(*due)).count() as u64;
            }
        }
        count
    }

    // ---- all or nothing ----

    /// Starts to remember how to go back; ends with [`Store::keep`] or [`Store::go_back`].
    pub(crate) fn save(&mut self) -> Saved {
        assert!(self.undo.is_none(), "transactions do not nest");
        self.undo = Some(Vec::new());
        Saved { root: self.root.clone(), tally: self.tally }
    }

    pub(crate) fn keep(&mut self, _saved: Saved) {
        self.undo = None;
    }

    pub(crate) fn go_back(&mut self, saved: Saved) {
        for step in self.undo.take().expect("save came before").into_iter().rev() {
            match step {
                Undo::Insert(due) => {
                    self.expiries.insert(due);
                }
                Undo::Remove(due) => {
                    self.expiries.remove(&due);
                }
                Undo::Replace(expiries) => self.expiries = expiries,
            }
        }
        self.root = saved.root;
        self.tally = saved.tally;
    }
}

#[cfg(test)]
mod tests {
    use bitroster_bitmap::Bitmap;

    use super::*;

    #[test]
    fn the_bytes_of_pages_are_counted_whoever_shares_them() {
        let mut store = Store::default();
        let mut snapshot = Root::default();
        let mut state = 1u64;
        let mut draw = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % below
        };
        for n in 0..8_000 {
            let key = format!("{{t}}{}", draw(900));
            let (spot, key) = (Spot::of(key.as_bytes()), key.as_bytes());
            let saved = (draw(5) == 0).then(|| store.save());
            match draw(6) {
                0..=2 => {
                    let len = usize::try_from(draw(200)).expect("below 200");
                    let value = Bitmap::from_bytes(&[0xA5; 200][..len]);
                    store.put(spot, key, Entry { value, ..Entry::default() });
                }
                3 => {
                    store.take(spot, key);
                }
                4 => {
                    store.edit(spot, key, |entry| entry.value.set(draw(4_000), true));
                }
                _ => {
                    let bit = (draw(4_000), true);
                    let now = (UnixMillis(0), LogIndex(1));
                    let written = store.set_bits(spot, key, &[bit], now, |_| {});
                    assert_ne!(written, Err(Unwritten::Expired));
                }
            }
            match saved {
                Some(saved) if draw(2) == 0 => store.go_back(saved),
                Some(saved) => store.keep(saved),
                None => {}
            }
            if draw(3) == 0 {
                snapshot = store.root().clone();
            }
            if n % 16 == 0 {
                assert_eq!(store.tally().bytes, store.root().bytes() as u64, "step {n}");
            }
        }
        assert!(snapshot.bytes() > 0 && store.tally().bytes > 0);
    }
}
