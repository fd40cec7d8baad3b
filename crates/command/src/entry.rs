//! Ops as the bytes of a log entry.
//!
//! An entry is a head (form, time, number of ops) and the ops, one after another. An [`OpBatch`]
//! holds ops in that very form, so that a queue of batches becomes an entry by concatenation and
//! nothing is encoded twice between a router and a log.
//!
//! An op is a tag byte and its fields in order: numbers as LEB128 (signed ones zigzag), byte
//! strings and lists with their length in front, choices as one byte. Tags and choices never
//! change their meaning: entries outlive builds.
//!
//! A numbered batch is an op whose last field is a batch: session, number, the newest answered
//! number, then the count of its ops, their length in bytes, and the ops. It is read without
//! looking at them; whoever applies it reads them one by one.

mod batch;
mod put;
mod tag;
mod take;

use bitroster_types::UnixMillis;
use bytes::Bytes;

pub use self::batch::OpBatch;
use crate::{Op, coding::Cursor};

/// The form of entries that this build writes and reads.
const FORM: u8 = 1;

/// Form, time, number of ops.
const HEAD_BYTES: usize = 1 + 8 + 4;

/// Why bytes are not an entry, a batch of ops or a batch of outcomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Of a form that this build does not know.
    #[error("unknown form {form} of a log entry")]
    Form {
        /// The form's number.
        form: u8,
    },
    /// The bytes end before what they promise.
    #[error("encoded ops or outcomes end early")]
    Truncated,
    /// Bytes follow the last op or outcome.
    #[error("{bytes} bytes follow the last op or outcome")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// A field has a value that no op or outcome has.
    #[error("bad {0} in encoded ops or outcomes")]
    Field(&'static str),
}

/// An entry of the ops of `batches`, in their order, at `time`.
///
/// Costs one allocation and a copy.
///
/// # Panics
///
/// If there are 2^32 ops or more.
///
/// ```
/// use bitroster_command::{OpBatch, entry::{EntryReader, encode_entry}};
/// use bitroster_types::{Key, UnixMillis};
///
/// let mut batch = OpBatch::new();
/// batch.push_set_bit(&Key::new(b"k").unwrap(), 7, true);
/// let entry = EntryReader::new(encode_entry(UnixMillis(5), [&batch])).unwrap();
/// assert_eq!((entry.time(), entry.count()), (UnixMillis(5), 1));
/// let mut ops = entry.into_ops();
/// assert!(ops.next_op().unwrap().is_some());
/// assert!(ops.next_op().unwrap().is_none());
/// ```
pub fn encode_entry<'a, I>(time: UnixMillis, batches: I) -> Bytes
where
    I: IntoIterator<Item = &'a OpBatch>,
    I::IntoIter: Clone,
{
    let batches = batches.into_iter();
    let (count, len) = batches.clone().fold((0_u64, 0), |(count, len), batch| {
        (count + u64::from(batch.count()), len + batch.bytes_len())
    });
    let count = u32::try_from(count).expect("a queue is bounded far below 2^32 ops");
    let mut bytes = Vec::with_capacity(HEAD_BYTES + len);
    bytes.push(FORM);
    bytes.extend_from_slice(&time.0.to_le_bytes());
    bytes.extend_from_slice(&count.to_le_bytes());
    for batch in batches {
        bytes.extend_from_slice(batch.as_bytes());
    }
    bytes.into()
}

/// `SETBIT` as it lies in an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetBitRef<'a> {
    /// The key's name.
    pub key: &'a [u8],
    /// The bit's offset.
    pub offset: u64,
    /// Its new value.
    pub value: bool,
}

/// Reads encoded ops back, in order.
#[derive(Clone, Debug)]
pub struct OpReader {
    bytes: Bytes,
    at: usize,
    left: u32,
    /// Whether the ops are a numbered batch's, which holds no numbered one itself.
    is_nested: bool,
}

impl OpReader {
    /// Ops not yet read.
    pub fn left(&self) -> u32 {
        self.left
    }

    /// The next op if it is a `SETBIT`, without copying its key; `None`, with nothing read, where
    /// it is another or there is none.
    ///
    /// A short cut for whoever looks ahead in an entry: most ops are these, and an [`Op`] of one
    /// takes three times as long to make.
    ///
    /// # Errors
    ///
    /// As [`next_op`](Self::next_op).
    pub fn next_set_bit(&mut self) -> Result<Option<SetBitRef<'_>>, EntryError> {
        if self.left == 0 {
            return Ok(None);
        }
        let mut cursor = Cursor::new(&self.bytes, self.at);
        let found = take::set_bit(&mut cursor)?;
        if found.is_some() {
            self.at = cursor.at();
            self.left -= 1;
        }
        Ok(found)
    }

    /// The `SETBIT`s of one key that come next, at most `most`: replaces `bits` by their offsets
    /// and values, and returns the key. `None`, with nothing read and `bits` empty, where another
    /// op or none comes next, or one that cannot be read, which [`next_op`](Self::next_op) tells.
    ///
    /// Pipelines mostly write to one key, which has to be found once then.
    pub fn next_set_bits(&mut self, bits: &mut Vec<(u64, bool)>, most: usize) -> Option<&[u8]> {
        bits.clear();
        let mut cursor = Cursor::new(&self.bytes, self.at);
        let mut name: Option<&[u8]> = None;
        while self.left > 0
            && bits.len() < most
            && let Ok(Some(bit)) = take::set_bit(&mut cursor)
            && *name.get_or_insert(bit.key) == bit.key
        {
            bits.push((bit.offset, bit.value));
            self.at = cursor.at();
            self.left -= 1;
        }
        name.filter(|_| !bits.is_empty())
    }

    /// The next op, or `None` after the last.
    ///
    /// Values are slices of the bytes read from and keep all of those alive; keys are copied.
    ///
    /// # Errors
    ///
    /// If the bytes are not what was encoded. Stop then: what follows has no meaning.
    pub fn next_op(&mut self) -> Result<Option<Op>, EntryError> {
        if self.left == 0 {
            let bytes = self.bytes.len() - self.at;
            return if bytes == 0 { Ok(None) } else { Err(EntryError::Trailing { bytes }) };
        }
        if self.is_nested && self.bytes.get(self.at).is_some_and(|tag| tag::is_session(*tag)) {
            return Err(EntryError::Field("op of a numbered batch"));
        }
        let mut cursor = Cursor::new(&self.bytes, self.at);
        let op = take::op(&mut cursor)?;
        self.at = cursor.at();
        self.left -= 1;
        Ok(Some(op))
    }
}

/// Reads an entry.
#[derive(Clone, Debug)]
pub struct EntryReader {
    time: UnixMillis,
    count: u32,
    ops: OpReader,
}

impl EntryReader {
    /// Opens an entry that [`encode_entry`] made. Looks at its head only.
    ///
    /// # Errors
    ///
    /// If the head is cut short or of an unknown form.
    pub fn new(bytes: Bytes) -> Result<Self, EntryError> {
        let form = *bytes.first().ok_or(EntryError::Truncated)?;
        if form != FORM {
            return Err(EntryError::Form { form });
        }
        let head = bytes.first_chunk::<HEAD_BYTES>().ok_or(EntryError::Truncated)?;
        let [_, time @ .., c0, c1, c2, c3] = *head;
        let time = UnixMillis(u64::from_le_bytes(time));
        let count = u32::from_le_bytes([c0, c1, c2, c3]);
        Ok(Self {
            time,
            count,
            ops: OpReader { bytes, at: HEAD_BYTES, left: count, is_nested: false },
        })
    }

    /// The entry's time.
    pub fn time(&self) -> UnixMillis {
        self.time
    }

    /// Number of ops the entry says it holds. Not to be trusted with an allocation.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The ops.
    pub fn into_ops(self) -> OpReader {
        self.ops
    }
}

#[cfg(test)]
mod tests {
    use bitroster_types::Key;

    use super::*;
    use crate::WriteCommand;

    #[test]
    fn a_set_bit_of_a_short_key_takes_at_most_18_bytes() {
        let key = Key::new(b"0123456789").unwrap();
        let mut batch = OpBatch::new();
        batch.push_set_bit(&key, u32::MAX.into(), true);
        assert!(batch.bytes_len() <= 18, "{} bytes", batch.bytes_len());
    }

    #[test]
    fn the_short_cut_for_set_bit_writes_what_the_command_does() {
        let key = Key::new(b"k").unwrap();
        for (offset, value) in [(0, false), (127, true), (128, false), ((1 << 42) - 1, true)] {
            let (mut short, mut long) = (OpBatch::new(), OpBatch::new());
            short.push_set_bit(&key, offset, value);
            long.push(&WriteCommand::SetBit { key: key.clone(), offset, value }.into());
            assert_eq!(short, long);
        }
    }

    #[test]
    fn an_entry_of_another_form_is_refused() {
        let refused = |bytes: &'static [u8]| EntryReader::new(Bytes::from_static(bytes)).err();
        assert_eq!(refused(b""), Some(EntryError::Truncated));
        assert_eq!(refused(b"\x01"), Some(EntryError::Truncated));
        assert_eq!(refused(&[9; 20]), Some(EntryError::Form { form: 9 }));
    }
}
