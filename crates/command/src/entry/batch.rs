//! Ops on their way to one group.

use bitroster_types::{Key, SessionId};
use bytes::Bytes;

use super::{EntryError, OpReader, put};
use crate::{Op, ReadOp, WriteOp};

/// Ops on their way to one group, already in the entry's encoding, so that a queue of batches
/// becomes an entry by concatenation.
///
/// Two batches are equal if they hold the same ops.
#[derive(Clone, Debug, Default)]
pub struct OpBatch {
    count: u32,
    /// Ops in numbered batches.
    inner: u64,
    encoded: Encoded,
    /// What of sessions it may hold or holds.
    sessions: Sessions,
}

/// Where the ops' bytes are.
#[derive(Clone, Debug)]
enum Encoded {
    /// Here, to grow.
    Own(Vec<u8>),
    /// In what they were received or read with. A push copies them first.
    Shared(Bytes),
}

/// Whether a batch holds ops that open a session or are numbered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Sessions {
    /// None so far.
    #[default]
    None,
    /// One at least; the batch must not be numbered itself.
    Some,
    /// None, for the batch is a numbered op's own; its reader refuses them.
    Never,
}

impl Default for Encoded {
    fn default() -> Self {
        Self::Own(Vec::new())
    }
}

impl PartialEq for OpBatch {
    fn eq(&self, other: &Self) -> bool {
        self.count == other.count && self.as_bytes() == other.as_bytes()
    }
}

impl Eq for OpBatch {}

impl OpBatch {
    /// No ops. Allocates nothing.
    pub const fn new() -> Self {
        Self { count: 0, inner: 0, encoded: Encoded::Own(Vec::new()), sessions: Sessions::None }
    }

    /// The batch that another node sent as `count` and [`as_bytes`](Self::as_bytes).
    ///
    /// Keeps `bytes` and copies nothing. Costs a decode of all ops, those of numbered batches
    /// included: what enters a log must be known to come out of it.
    ///
    /// # Errors
    ///
    /// If the bytes are not exactly `count` ops, or a numbered batch holds another one or opens a
    /// session.
    pub fn from_encoded(count: u32, bytes: Bytes) -> Result<Self, EntryError> {
        let reader = OpReader { bytes: bytes.clone(), at: 0, left: count, is_nested: false };
        let (sessions, inner) = check(reader)?;
        Ok(Self { count, inner, encoded: Encoded::Shared(bytes), sessions })
    }

    /// The ops of a numbered batch as they lie in an entry. Nothing is looked at; the reader does.
    pub(super) fn nested(count: u32, bytes: Bytes) -> Self {
        Self { count, inner: 0, encoded: Encoded::Shared(bytes), sessions: Sessions::Never }
    }

    /// Adds an op at the end.
    ///
    /// # Panics
    ///
    /// If a transaction holds anything but commands, or a numbered batch another one or an op that
    /// opens a session.
    pub fn push(&mut self, op: &Op) {
        match op {
            Op::Read(op) => self.push_read(op),
            Op::Write(op) => self.push_write(op),
        }
    }

    /// Adds a read at the end.
    pub fn push_read(&mut self, op: &ReadOp) {
        put::read_op(self.next(), op);
    }

    /// Adds a write at the end.
    ///
    /// # Panics
    ///
    /// As [`push`](Self::push).
    pub fn push_write(&mut self, op: &WriteOp) {
        put::write_op(self.next(), op);
        if let WriteOp::Numbered(batch) = op {
            self.inner += u64::from(batch.ops.count);
        }
        if matches!(op, WriteOp::OpenSession | WriteOp::Numbered(_)) {
            self.sessions = Sessions::Some;
        }
    }

    /// Adds `SETBIT key offset value` at the end: what [`push_write`](Self::push_write) of that
    /// command does, without the command.
    pub fn push_set_bit(&mut self, key: &Key, offset: u64, value: bool) {
        put::set_bit(self.next(), key, offset, value);
    }

    /// Adds `ops` as one numbered batch at the end: what [`push_write`](Self::push_write) of
    /// [`WriteOp::Numbered`] does, without that op. Costs one copy of the ops' bytes.
    ///
    /// # Panics
    ///
    /// If one of `ops` is numbered itself or opens a session, or `answered` is not less than
    /// `number`: such an entry could not be read back.
    pub fn push_numbered(&mut self, session: SessionId, number: u64, answered: u64, ops: &Self) {
        put::numbered(self.next(), session, number, answered, ops);
        self.inner += u64::from(ops.count);
        self.sessions = Sessions::Some;
    }

    /// Adds the ops of `other` at the end, in their order.
    ///
    /// Costs a copy of them, or nothing where this batch is empty.
    pub fn append(&mut self, other: Self) {
        if self.count == 0 {
            *self = other;
            return;
        }
        self.own().extend_from_slice(other.as_bytes());
        self.count += other.count;
        self.inner += other.inner;
        if other.sessions == Sessions::Some {
            self.sessions = Sessions::Some;
        }
    }

    /// Number of ops; a numbered batch is one.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Number of ops; a numbered batch is one.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Number of ops, those within numbered batches counted too: what applying them is a matter of.
    pub fn ops_total(&self) -> u64 {
        u64::from(self.count) + self.inner
    }

    /// Whether there are no ops.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Length of the encoded ops in bytes.
    pub fn bytes_len(&self) -> usize {
        self.as_bytes().len()
    }

    /// The encoded ops, for [`from_encoded`](Self::from_encoded).
    pub fn as_bytes(&self) -> &[u8] {
        match &self.encoded {
            Encoded::Own(bytes) => bytes,
            Encoded::Shared(bytes) => bytes,
        }
    }

    /// Whether an op opens a session or is numbered, so that the batch cannot be numbered itself.
    pub(super) fn has_sessions(&self) -> bool {
        self.sessions == Sessions::Some
    }

    /// Reads the ops back, in order. Copies nothing.
    pub fn into_reader(self) -> OpReader {
        let is_nested = self.sessions == Sessions::Never;
        OpReader { left: self.count, bytes: self.into_bytes(), at: 0, is_nested }
    }

    /// The encoded ops, for [`from_encoded`](Self::from_encoded). Copies nothing.
    pub fn into_bytes(self) -> Bytes {
        match self.encoded {
            Encoded::Own(bytes) => bytes.into(),
            Encoded::Shared(bytes) => bytes,
        }
    }

    /// Counts one op more and gives the place to write it at.
    fn next(&mut self) -> &mut Vec<u8> {
        self.count += 1;
        self.own()
    }

    fn own(&mut self) -> &mut Vec<u8> {
        if let Encoded::Shared(bytes) = &mut self.encoded {
            self.encoded = Encoded::Own(std::mem::take(bytes).into());
        }
        let Encoded::Own(bytes) = &mut self.encoded else { unreachable!("made one's own above") };
        bytes
    }
}

/// Reads all ops, in numbered batches too: what of sessions is among them, and how many ops the
/// numbered batches hold.
fn check(mut reader: OpReader) -> Result<(Sessions, u64), EntryError> {
    let (mut sessions, mut inner) = (Sessions::None, 0);
    loop {
        while reader.next_set_bit()?.is_some() {}
        let Some(op) = reader.next_op()? else { return Ok((sessions, inner)) };
        match op {
            // Its reader refuses further numbered batches: this goes one level deep.
            Op::Write(WriteOp::Numbered(batch)) => {
                sessions = Sessions::Some;
                inner += u64::from(batch.ops.count);
                check(batch.ops.into_reader())?;
            }
            Op::Write(WriteOp::OpenSession) => sessions = Sessions::Some,
            Op::Read(_) | Op::Write(_) => {}
        }
    }
}
