//! Outcomes as bytes: what a group's leader sends to a router on another node, and what a group
//! keeps to answer a numbered batch again.
//!
//! An outcome is a tag byte and its fields in order, as in [`entry`](crate::entry). The usual
//! answers take one byte: `OK`, the integers 0 to 63, no value. Tags never change their meaning:
//! kept outcomes lie in snapshots, which outlive builds.

mod put;
mod tag;
mod take;

use bitroster_types::limits::{ENTRY_OPS_MAX, SESSION_REPLY_BYTES_MAX};
use bytes::Bytes;

use crate::{EntryError, Outcome, coding::Cursor};

/// The outcomes of one batch of ops, in the order of the ops, encoded.
///
/// Cheap to clone. Two are equal if they hold the same outcomes.
#[derive(Clone, Debug, Default)]
pub struct OutcomeBatch {
    count: u32,
    bytes: Bytes,
    /// Whether they are a numbered batch's, among which no numbered one is.
    is_nested: bool,
}

impl PartialEq for OutcomeBatch {
    fn eq(&self, other: &Self) -> bool {
        self.count == other.count && self.bytes == other.bytes
    }
}

impl Eq for OutcomeBatch {}

impl OutcomeBatch {
    /// The outcomes that another node sent as [`count`](Self::count) and [`bytes`](Self::bytes).
    ///
    /// Keeps `bytes` alive, and whatever they are a slice of. Looks at nothing:
    /// [`decode`](Self::decode) says what is wrong.
    pub const fn from_encoded(count: u32, bytes: Bytes) -> Self {
        Self { count, bytes, is_nested: false }
    }

    /// Number of outcomes, as claimed. Not to be trusted with an allocation.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// The encoded outcomes.
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The outcomes, in order.
    ///
    /// Byte strings are slices of [`bytes`](Self::bytes) and keep all of those alive; keys are
    /// copied. Three things come back in another form: an error's text of ours as
    /// [`CommandError::Message`](crate::CommandError::Message), equal as a text; a status and the
    /// text of a `BUSY` that this build does not know, as text for people and as a `BUSY` that
    /// names no reason.
    ///
    /// # Errors
    ///
    /// If the bytes are not exactly `count` outcomes, replies nest deeper than
    /// [`REPLY_DEPTH_MAX`](bitroster_types::limits::REPLY_DEPTH_MAX), or the outcomes of a numbered
    /// batch name a numbered one.
    ///
    /// ```
    /// use bitroster_command::{Outcome, OutcomeBatch, OutcomeWriter, Reply};
    ///
    /// let mut writer = OutcomeWriter::new();
    /// writer.push(&Reply::Integer(1).into());
    /// let sent = writer.finish();
    /// assert_eq!(sent.bytes().len(), 1);
    /// let received = OutcomeBatch::from_encoded(sent.count(), sent.bytes().clone());
    /// assert_eq!(received.decode(), Ok(vec![Outcome::Reply(Reply::Integer(1))]));
    /// ```
    pub fn decode(self) -> Result<Vec<Outcome>, EntryError> {
        let Self { count, bytes, is_nested } = self;
        let mut cursor = Cursor::new(&bytes, 0);
        // Each outcome takes a byte at least; a larger count is a lie.
        let claimed = bytes.len().min(count as usize);
        let mut outcomes = Vec::with_capacity(claimed.min(ENTRY_OPS_MAX));
        for _ in 0..count {
            outcomes.push(take::outcome(&mut cursor, is_nested)?);
        }
        match bytes.len() - cursor.at() {
            0 => Ok(outcomes),
            bytes => Err(EntryError::Trailing { bytes }),
        }
    }
}

/// Encodes outcomes one after another.
#[derive(Clone, Debug, Default)]
pub struct OutcomeWriter {
    count: u32,
    bytes: Vec<u8>,
}

impl OutcomeWriter {
    /// No outcomes. Allocates nothing.
    pub const fn new() -> Self {
        Self { count: 0, bytes: Vec::new() }
    }

    /// Adds an outcome at the end. Costs a copy of its byte strings.
    pub fn push(&mut self, outcome: &Outcome) {
        put::outcome(&mut self.bytes, outcome);
        self.count += 1;
    }

    /// Number of outcomes so far.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Length of the encoded outcomes so far, in bytes.
    pub const fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The outcomes. Those that a session may keep give back the room they do not need, at the
    /// cost of a copy at most; longer ones are not copied.
    pub fn finish(mut self) -> OutcomeBatch {
        if self.bytes.len() <= SESSION_REPLY_BYTES_MAX {
            self.bytes.shrink_to_fit();
        }
        OutcomeBatch { count: self.count, bytes: self.bytes.into(), is_nested: false }
    }
}
