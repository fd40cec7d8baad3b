//! The fields of which encoded ops and outcomes are made: numbers as LEB128 (signed ones zigzag),
//! byte strings and lists with their length in front, choices as one byte.

use bitroster_types::{GroupId, Key, UnixMillis, Version, limits::ENTRY_LIST_CAPACITY_MAX};
use bytes::Bytes;

use crate::EntryError;

/// Fields to bytes.
pub(crate) mod put {
    use super::{GroupId, UnixMillis, Version};

    pub(crate) type Out = Vec<u8>;

    pub(crate) fn number(out: &mut Out, mut value: u64) {
        while value >= 0x80 {
            out.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        out.push((value & 0x7f) as u8);
    }

    pub(crate) fn signed(out: &mut Out, value: i64) {
        number(out, ((value << 1) ^ (value >> 63)).cast_unsigned());
    }

    pub(crate) fn flag(out: &mut Out, value: bool) {
        out.push(u8::from(value));
    }

    pub(crate) fn text(out: &mut Out, bytes: &[u8]) {
        number(out, bytes.len() as u64);
        out.extend_from_slice(bytes);
    }

    pub(crate) fn list<T>(out: &mut Out, items: &[T], put: impl Fn(&mut Out, &T)) {
        number(out, items.len() as u64);
        for item in items {
            put(out, item);
        }
    }

    pub(crate) fn option<T>(out: &mut Out, value: Option<T>, put: impl FnOnce(&mut Out, T)) {
        flag(out, value.is_some());
        if let Some(value) = value {
            put(out, value);
        }
    }

    pub(crate) fn time(out: &mut Out, time: Option<UnixMillis>) {
        option(out, time, |out, time| number(out, time.0));
    }

    pub(crate) fn version(out: &mut Out, version: Option<Version>) {
        option(out, version, |out, version| number(out, version.0));
    }

    pub(crate) fn groups(out: &mut Out, groups: &[GroupId]) {
        list(out, groups, |out, group| number(out, group.0.into()));
    }
}

pub(crate) type Taken<T> = Result<T, EntryError>;

/// A place in encoded ops.
pub(crate) struct Cursor<'a> {
    bytes: &'a Bytes,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The place `at` bytes into `bytes`, at most their length.
    pub(crate) fn new(bytes: &'a Bytes, at: usize) -> Self {
        Self { bytes, at }
    }

    /// Bytes read so far.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn byte(&mut self) -> Taken<u8> {
        let byte = *self.bytes.get(self.at).ok_or(EntryError::Truncated)?;
        self.at += 1;
        Ok(byte)
    }

    pub(crate) fn number(&mut self) -> Taken<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(EntryError::Field("number"))
    }

    pub(crate) fn signed(&mut self) -> Taken<i64> {
        let value = self.number()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    pub(crate) fn flag(&mut self) -> Taken<bool> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(EntryError::Field("flag")),
        }
    }

    /// Where a byte string lies, its length being known to be there.
    pub(crate) fn span(&mut self) -> Taken<std::ops::Range<usize>> {
        let len = self.number()?;
        let left = self.bytes.len() - self.at;
        let len = usize::try_from(len).ok().filter(|len| *len <= left);
        let end = self.at + len.ok_or(EntryError::Truncated)?;
        let start = std::mem::replace(&mut self.at, end);
        Ok(start..end)
    }

    pub(crate) fn value(&mut self) -> Taken<Bytes> {
        let span = self.span()?;
        Ok(self.bytes.slice(span))
    }

    pub(crate) fn key(&mut self) -> Taken<Key> {
        Key::new(self.name()?).ok_or(EntryError::Field("key"))
    }

    /// A key's name; the caller checks its length.
    pub(crate) fn name(&mut self) -> Taken<&'a [u8]> {
        let span = self.span()?;
        Ok(&self.bytes[span])
    }

    pub(crate) fn list<T>(&mut self, take: impl Fn(&mut Self) -> Taken<T>) -> Taken<Vec<T>> {
        let len = self.number()?;
        let mut items = Vec::new();
        // Each item takes a byte at least; the list grows as they turn out to be there.
        if len > (self.bytes.len() - self.at) as u64 {
            return Err(EntryError::Truncated);
        }
        let len = usize::try_from(len).map_err(|_| EntryError::Truncated)?;
        items.reserve_exact(len.min(ENTRY_LIST_CAPACITY_MAX));
        for _ in 0..len {
            items.push(take(self)?);
        }
        Ok(items)
    }

    pub(crate) fn option<T>(
        &mut self,
        take: impl FnOnce(&mut Self) -> Taken<T>,
    ) -> Taken<Option<T>> {
        if self.flag()? { take(self).map(Some) } else { Ok(None) }
    }

    pub(crate) fn time(&mut self) -> Taken<Option<UnixMillis>> {
        self.option(|cursor| cursor.number().map(UnixMillis))
    }

    pub(crate) fn version(&mut self) -> Taken<Version> {
        self.number().map(Version)
    }

    pub(crate) fn group(&mut self) -> Taken<GroupId> {
        let group = u16::try_from(self.number()?).map_err(|_| EntryError::Field("group"))?;
        Ok(GroupId(group))
    }
}
