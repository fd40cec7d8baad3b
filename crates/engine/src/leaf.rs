//! A page of keys that are close by hash.
//!
//! Small entries, and those are nearly all, lie packed one behind the other in one vector, so that
//! a key costs its bytes, eight bytes of order and nine of header, and copying a page after a
//! snapshot is two `memcpy`s. An entry too large or too rich for that lives behind an `Arc`.

use std::sync::Arc;

use bitroster_bitmap::Bitmap;
use bitroster_types::{LogIndex, UnixMillis, limits::SMALL_VALUE_BYTES_MAX};

use crate::{
    entry::{Entry, Value, View, mask_of},
    size::{class, reserve},
};

/// Marks a [`Place`] as an index into `full` instead of `packed`.
const FULL: u32 = 1 << 31;

/// Flags, length of the key, length of the value, and 48 bits of log index.
const HEADER_BYTES: usize = 9;

/// Set in the flags of a packed entry whose header is followed by an expiry of eight bytes.
const HAS_EXPIRY: u8 = 1;

/// Dead bytes that are not worth a compaction.
const DEAD_BYTES_MIN: usize = 128;

/// The least log index that a packed entry cannot hold.
pub(crate) const MODIFIED_END: u64 = 1 << 48;

#[derive(Clone, Copy, Debug)]
struct Place {
    hash: u32,
    at: u32,
}

#[derive(Clone, Debug)]
struct Full {
    key: Box<[u8]>,
    entry: Entry,
}

impl Full {
    fn bytes(&self) -> usize {
        class(size_of::<Self>() + 16) + class(self.key.len()) + self.entry.heap_bytes()
    }
}

/// Bytes of an entry: its place, and what it takes within its page or outside. As
/// [`Leaf::bytes_of`], for who has the entry in view.
pub(crate) fn bytes_of_view(key: &[u8], view: &View<'_>) -> usize {
    let held = match view.value {
        Value::Flat(bytes) => {
            let expiry = if view.expiry.is_some() { 8 } else { 0 };
            HEADER_BYTES + expiry + key.len() + bytes.len()
        }
        Value::Whole(bitmap) => {
            size_of::<Arc<Full>>()
                + class(size_of::<Full>() + 16)
                + class(key.len())
                + bitmap.heap_bytes()
                + class(size_of_val(view.spread))
        }
    };
    size_of::<Place>() + held
}

/// Why a bit was not written where it lies. It changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unwritten {
    /// No such key.
    Absent,
    /// The key is past its expiry.
    Expired,
    /// The value must grow out of its page.
    Grow,
}

/// Entries in order of their hash; of equal hashes, the older first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leaf {
    places: Vec<Place>,
    packed: Vec<u8>,
    full: Vec<Arc<Full>>,
    /// Bytes of `packed` that belong to no entry any more.
    dead: usize,
    /// Sum of `Full::bytes`.
    full_bytes: usize,
    /// Bytes of the values of packed entries.
    packed_value_bytes: usize,
    /// Leading bits of the hash that all entries share.
    prefix: u32,
}

impl Leaf {
    /// An empty page for hashes with the same `prefix` bits in front.
    pub(crate) fn new(prefix: u32) -> Self {
        Self { prefix, ..Self::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Bytes on the heap, this page's own included, in size classes.
    pub(crate) fn bytes(&self) -> usize {
        class(size_of::<Self>() + 16)
            + class(self.places.capacity() * size_of::<Place>())
            + class(self.packed.capacity())
            + class(self.full.capacity() * size_of::<Arc<Full>>())
            + self.full_bytes
    }

    /// Bytes of the entries outside the page.
    pub(crate) fn full_bytes(&self) -> usize {
        self.full_bytes
    }

    /// How many entries are packed, the bytes of their values, and the bytes that all that is
    /// packed takes.
    pub(crate) fn packed_figures(&self) -> (usize, usize, usize) {
        let count = self.places.len() - self.full.len();
        (count, self.packed_value_bytes, class(self.packed.capacity()))
    }

    /// The values that are not packed.
    pub(crate) fn full_values(&self) -> impl Iterator<Item = &Bitmap> {
        self.full.iter().map(|full| &full.entry.value)
    }

    /// Hashes are spread evenly, so the place is guessed and then found a few steps away, within a
    /// cache line or two; halving would touch more of them.
    fn first_at_least(&self, hash: u32) -> usize {
        let spread = (u64::from(hash) << self.prefix) & u64::from(u32::MAX);
        let mut at = ((spread * self.places.len() as u64) >> 32) as usize;
        while at > 0 && self.places[at - 1].hash >= hash {
            at -= 1;
        }
        while at < self.places.len() && self.places[at].hash < hash {
            at += 1;
        }
        at
    }

    fn search(&self, hash: u32, key: &[u8]) -> Option<usize> {
        let first = self.first_at_least(hash);
        let same = self.places[first..].iter().take_while(|place| place.hash == hash);
        same.enumerate().find(|(_, place)| self.key_at(place.at) == key).map(|(n, _)| first + n)
    }

    fn key_at(&self, at: u32) -> &[u8] {
        if at & FULL == 0 { Packed::at(&self.packed, at).key() } else { &self.full_at(at).key }
    }

    fn full_at(&self, at: u32) -> &Full {
        &self.full[(at ^ FULL) as usize]
    }

    fn view_at(&self, at: u32) -> View<'_> {
        if at & FULL == 0 {
            Packed::at(&self.packed, at).view()
        } else {
            View::of(&self.full_at(at).entry)
        }
    }

    pub(crate) fn find(&self, hash: u32, key: &[u8]) -> Option<View<'_>> {
        self.search(hash, key).map(|index| self.view_at(self.places[index].at))
    }

    /// Bytes of one entry: its place, and what it takes within the page or outside.
    pub(crate) fn bytes_of(&self, hash: u32, key: &[u8]) -> Option<usize> {
        let at = self.places[self.search(hash, key)?].at;
        let held = if at & FULL == 0 {
            Packed::at(&self.packed, at).0.len()
        } else {
            size_of::<Arc<Full>>() + self.full_at(at).bytes()
        };
        Some(size_of::<Place>() + held)
    }

    /// The entries with a hash of at least `hash`, in order.
    pub(crate) fn iter_from(&self, hash: u32) -> impl Iterator<Item = (u32, &[u8], View<'_>)> {
        let places = &self.places[self.first_at_least(hash)..];
        places.iter().map(|place| (place.hash, self.key_at(place.at), self.view_at(place.at)))
    }

    /// Puts `entry` in the place of the key's old one, which is returned.
    pub(crate) fn put(&mut self, hash: u32, key: &[u8], entry: Entry) -> Option<Entry> {
        let Some(index) = self.search(hash, key) else {
            let at = self.push(key, entry);
            reserve(&mut self.places, 1);
            let first = self.first_at_least(hash);
            let same = self.places[first..].iter().take_while(|place| place.hash == hash);
            let index = first + same.count();
            self.places.insert(index, Place { hash, at });
            return None;
        };
        let at = self.places[index].at;
        let old = self.view_at(at).to_entry();
        if at & FULL == 0 && Packed::at(&self.packed, at).fits(key, &entry) {
            Packed::overwrite(&mut self.packed, at, &entry);
        } else {
            self.release(at);
            self.places[index].at = self.push(key, entry);
            self.compact();
        }
        Some(old)
    }

    pub(crate) fn take(&mut self, hash: u32, key: &[u8]) -> Option<Entry> {
        let index = self.search(hash, key)?;
        let at = self.places[index].at;
        let old = self.view_at(at).to_entry();
        self.release(at);
        self.places.remove(index);
        self.compact();
        Some(old)
    }

    /// Changes an entry where it lies. Big bitmaps are changed in place.
    pub(crate) fn edit<R>(
        &mut self,
        hash: u32,
        key: &[u8],
        change: impl FnOnce(&mut Entry) -> R,
    ) -> Option<R> {
        let index = self.search(hash, key)?;
        let at = self.places[index].at;
        if at & FULL == 0 {
            let mut entry = self.view_at(at).to_entry();
            let result = change(&mut entry);
            self.put(hash, key, entry);
            return Some(result);
        }
        let full = Arc::make_mut(&mut self.full[(at ^ FULL) as usize]);
        let before = full.bytes();
        let result = change(&mut full.entry);
        let after = full.bytes();
        let packs = is_packable(&full.key, &full.entry);
        self.full_bytes = self.full_bytes - before + after;
        if packs {
            let entry = std::mem::take(&mut full.entry);
            self.full_bytes -= after;
            self.full_bytes += full.bytes();
            self.release(at);
            self.places[index].at = self.push(key, entry);
        }
        Some(result)
    }

    /// Writes bits in order, up to the first for which the value must grow out of its page, and
    /// tells each one's old bit.
    pub(crate) fn set_bits(
        &mut self,
        hash: u32,
        key: &[u8],
        bits: &[(u64, bool)],
        now: (UnixMillis, LogIndex),
        mut told: impl FnMut(bool),
    ) -> Result<(), Unwritten> {
        let index = self.search(hash, key).ok_or(Unwritten::Absent)?;
        let at = self.places[index].at;
        if self.view_at(at).is_expired(now.0) {
            return Err(Unwritten::Expired);
        }
        if at & FULL == 0 {
            for bit in bits {
                told(Packed::set_bit(&mut self.packed, at, *bit, now.1).ok_or(Unwritten::Grow)?);
            }
            return Ok(());
        }
        let full = Arc::make_mut(&mut self.full[(at ^ FULL) as usize]);
        let bitmap = &mut full.entry.value;
        let (len, heap) = (bitmap.len_bytes(), bitmap.heap_bytes());
        let (mut values, mut is_changed) = (bits.iter().map(|(_, value)| *value), false);
        bitmap.set_all(bits, |old| {
            is_changed |= values.next() != Some(old);
            told(old);
        });
        self.full_bytes = self.full_bytes - heap + bitmap.heap_bytes();
        if is_changed || bitmap.len_bytes() != len {
            full.entry.modified = now.1;
        }
        Ok(())
    }

    /// Divides a page by the four bits of the hash that start at `shift`.
    pub(crate) fn split(self, shift: u32) -> [Self; 16] {
        let mut pages: [Self; 16] = std::array::from_fn(|_| Self::new(32 - shift));
        for place in &self.places {
            let page = &mut pages[(place.hash >> shift) as usize & 15];
            let at = if place.at & FULL == 0 {
                let bytes = Packed::at(&self.packed, place.at).0;
                reserve(&mut page.packed, bytes.len());
                let at = index_of(page.packed.len());
                page.packed.extend_from_slice(bytes);
                page.packed_value_bytes += usize::from(bytes[2]);
                at
            } else {
                page.push_full(Arc::clone(&self.full[(place.at ^ FULL) as usize]))
            };
            reserve(&mut page.places, 1);
            page.places.push(Place { hash: place.hash, at });
        }
        pages
    }

    /// Adds an entry without a place.
    fn push(&mut self, key: &[u8], entry: Entry) -> u32 {
        if is_packable(key, &entry) {
            let at = index_of(self.packed.len());
            Packed::push(&mut self.packed, key, &entry);
            self.packed_value_bytes += usize::from(self.packed[at as usize + 2]);
            at
        } else {
            self.push_full(Arc::new(Full { key: key.into(), entry }))
        }
    }

    fn push_full(&mut self, full: Arc<Full>) -> u32 {
        let at = index_of(self.full.len()) | FULL;
        self.full_bytes += full.bytes();
        reserve(&mut self.full, 1);
        self.full.push(full);
        at
    }

    /// Gives up an entry's bytes; its place is the caller's to mend.
    fn release(&mut self, at: u32) {
        if at & FULL == 0 {
            let bytes = Packed::at(&self.packed, at).0;
            self.dead += bytes.len();
            self.packed_value_bytes -= usize::from(bytes[2]);
            return;
        }
        let last = index_of(self.full.len() - 1) | FULL;
        let full = self.full.swap_remove((at ^ FULL) as usize);
        self.full_bytes -= full.bytes();
        if let Some(moved) = self.places.iter_mut().find(|place| place.at == last) {
            moved.at = at;
        }
        if self.full.is_empty() {
            self.full = Vec::new();
        }
    }

    /// Rewrites the packed entries once a third of their bytes are dead.
    fn compact(&mut self) {
        if self.places.is_empty() {
            *self = Self::new(self.prefix);
            return;
        }
        if self.dead < DEAD_BYTES_MIN || self.dead * 3 < self.packed.len() {
            return;
        }
        let old = std::mem::take(&mut self.packed);
        reserve(&mut self.packed, old.len() - self.dead);
        for place in self.places.iter_mut().filter(|place| place.at & FULL == 0) {
            let bytes = Packed::at(&old, place.at).0;
            place.at = index_of(self.packed.len());
            self.packed.extend_from_slice(bytes);
        }
        self.dead = 0;
        if self.places.capacity() / 2 > self.places.len() {
            let mut places = Vec::new();
            reserve(&mut places, self.places.len());
            places.append(&mut self.places);
            self.places = places;
        }
    }
}

fn index_of(position: usize) -> u32 {
    let index = u32::try_from(position).expect("a page is split long before 2^31 bytes");
    assert!(index < FULL, "a page is split long before 2^31 bytes");
    index
}

fn is_packable(key: &[u8], entry: &Entry) -> bool {
    key.len() <= usize::from(u8::MAX)
        && entry.version.is_none()
        && entry.spread.is_empty()
        && entry.value.as_flat().is_some_and(|bytes| bytes.len() <= SMALL_VALUE_BYTES_MAX)
}

/// The bytes of one packed entry: header, expiry if there is one, key, value.
#[derive(Clone, Copy)]
struct Packed<'a>(&'a [u8]);

impl<'a> Packed<'a> {
    fn at(page: &'a [u8], at: u32) -> Self {
        let bytes = &page[at as usize..];
        let len = key_start(bytes[0]) + usize::from(bytes[1]) + usize::from(bytes[2]);
        Self(&bytes[..len])
    }

    fn value_start(self) -> usize {
        key_start(self.0[0]) + usize::from(self.0[1])
    }

    fn key(self) -> &'a [u8] {
        &self.0[key_start(self.0[0])..self.value_start()]
    }

    fn view(self) -> View<'a> {
        let mut modified = [0; 8];
        modified[..6].copy_from_slice(&self.0[3..9]);
        let expiry = (self.0[0] & HAS_EXPIRY != 0).then(|| {
            let bytes = self.0[9..17].try_into().expect("eight bytes");
            UnixMillis(u64::from_le_bytes(bytes))
        });
        View {
            value: Value::Flat(&self.0[self.value_start()..]),
            expiry,
            modified: LogIndex(u64::from_le_bytes(modified)),
            version: None,
            spread: &[],
        }
    }

    /// Whether `entry` can be written over this one.
    fn fits(self, key: &[u8], entry: &Entry) -> bool {
        is_packable(key, entry)
            && entry.value.len_bytes() == u64::from(self.0[2])
            && entry.expiry.is_some() == (self.0[0] & HAS_EXPIRY != 0)
    }

    fn overwrite(page: &mut [u8], at: u32, entry: &Entry) {
        let start = Packed::at(page, at).value_start();
        let bytes = &mut page[at as usize..];
        write_times(bytes, entry);
        let value = entry.value.as_flat().expect("a packable value is flat");
        bytes[start..start + value.len()].copy_from_slice(value);
    }

    #[expect(clippy::cast_possible_truncation, reason = "is_packable bounds both lengths")]
    fn push(page: &mut Vec<u8>, key: &[u8], entry: &Entry) {
        let value = entry.value.as_flat().expect("a packable value is flat");
        let flags = if entry.expiry.is_some() { HAS_EXPIRY } else { 0 };
        let start = page.len();
        reserve(page, key_start(flags) + key.len() + value.len());
        page.extend_from_slice(&[flags, key.len() as u8, value.len() as u8]);
        page.resize(start + key_start(flags), 0);
        write_times(&mut page[start..], entry);
        page.extend_from_slice(key);
        page.extend_from_slice(value);
    }

    /// Writes a bit that the value has room for, and returns the old one.
    fn set_bit(
        page: &mut [u8],
        at: u32,
        (offset, value): (u64, bool),
        modified: LogIndex,
    ) -> Option<bool> {
        let start = Packed::at(page, at).value_start();
        let bytes = &mut page[at as usize..];
        if offset / 8 >= u64::from(bytes[2]) {
            return None;
        }
        let byte = &mut bytes[start + (offset / 8) as usize];
        let old = *byte & mask_of(offset) != 0;
        if old != value {
            *byte ^= mask_of(offset);
            write_modified(bytes, modified);
        }
        Some(old)
    }
}

const fn key_start(flags: u8) -> usize {
    if flags & HAS_EXPIRY == 0 { HEADER_BYTES } else { HEADER_BYTES + 8 }
}

fn write_modified(bytes: &mut [u8], modified: LogIndex) {
    bytes[3..9].copy_from_slice(&modified.0.to_le_bytes()[..6]);
}

fn write_times(bytes: &mut [u8], entry: &Entry) {
    write_modified(bytes, entry.modified);
    if let Some(expiry) = entry.expiry {
        bytes[9..17].copy_from_slice(&expiry.0.to_le_bytes());
    }
}

#[cfg(test)]
mod tests;
