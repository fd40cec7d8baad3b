//! What the keyspace holds for one key.

use std::ops::Range;

use bitroster_bitmap::Bitmap;
use bitroster_command::Header;
use bitroster_types::{GroupId, LogIndex, UnixMillis, Version};

use crate::size::class;

/// A record or a part, by itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    /// Those bits of the key that this group owns, at the key's own offsets.
    pub(crate) value: Bitmap,
    /// Absent from this log time on.
    pub(crate) expiry: Option<UnixMillis>,
    /// The log entry that last changed it.
    pub(crate) modified: LogIndex,
    /// `None` for a record that was never spread.
    pub(crate) version: Option<Version>,
    /// The other groups that hold parts. Empty in a part.
    pub(crate) spread: Box<[GroupId]>,
}

impl Entry {
    /// Bytes on the heap, in size classes, without the entry itself.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.value.heap_bytes() + class(size_of_val(&*self.spread))
    }
}

/// A borrowed look at an entry, in whichever form it is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(crate) value: Value<'a>,
    pub(crate) expiry: Option<UnixMillis>,
    pub(crate) modified: LogIndex,
    pub(crate) version: Option<Version>,
    pub(crate) spread: &'a [GroupId],
}

impl<'a> View<'a> {
    pub(crate) fn of(entry: &'a Entry) -> Self {
        Self {
            value: Value::Whole(&entry.value),
            expiry: entry.expiry,
            modified: entry.modified,
            version: entry.version,
            spread: &entry.spread,
        }
    }

    /// Whether the entry is past its expiry at `time`.
    pub(crate) fn is_expired(&self, time: UnixMillis) -> bool {
        self.expiry.is_some_and(|expiry| expiry <= time)
    }

    pub(crate) fn to_entry(self) -> Entry {
        Entry {
            value: self.value.to_bitmap(),
            expiry: self.expiry,
            modified: self.modified,
            version: self.version,
            spread: self.spread.into(),
        }
    }

    pub(crate) fn header(&self) -> Box<Header> {
        Box::new(Header {
            version: self.version,
            expiry: self.expiry,
            spread: self.spread.to_vec(),
            len_bytes: self.value.len_bytes(),
            modified: self.modified,
        })
    }
}

/// A borrowed value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    /// A few bytes beside the key.
    Flat(&'a [u8]),
    /// A bitmap of its own.
    Whole(&'a Bitmap),
}

impl Value<'_> {
    pub(crate) fn len_bytes(&self) -> u64 {
        match self {
            Self::Flat(bytes) => bytes.len() as u64,
            Self::Whole(bitmap) => bitmap.len_bytes(),
        }
    }

    pub(crate) fn get(&self, offset: u64) -> bool {
        match self {
            Self::Flat(bytes) => usize::try_from(offset / 8)
                .ok()
                .and_then(|at| bytes.get(at))
                .is_some_and(|byte| byte & mask_of(offset) != 0),
            Self::Whole(bitmap) => bitmap.get(offset),
        }
    }

    /// The value by itself; shares a bitmap's memory.
    pub(crate) fn to_bitmap(self) -> Bitmap {
        match self {
            Self::Flat(bytes) => Bitmap::from_bytes(bytes),
            Self::Whole(bitmap) => bitmap.clone(),
        }
    }

    /// The bytes of `range`, cut at the value's length.
    #[expect(clippy::cast_possible_truncation, reason = "both ends are cut at a slice's length")]
    pub(crate) fn read_bytes(&self, range: Range<u64>) -> Vec<u8> {
        match self {
            Self::Flat(bytes) => {
                let len = bytes.len() as u64;
                let (start, end) = (range.start.min(len), range.end.min(len));
                bytes[start.min(end) as usize..end as usize].to_vec()
            }
            Self::Whole(bitmap) => bitmap.read_bytes(range),
        }
    }
}

/// The bit at `offset` within its byte: bit 0 is the most significant.
pub(crate) const fn mask_of(offset: u64) -> u8 {
    0x80 >> (offset % 8)
}
