//! Computation that may be done outside the engine's lock.
//!
//! A [`Work`] holds clones of the bitmaps it needs, which cost a reference count each, so that the
//! engine can go on while the work runs on a thread for long computations.

mod formula;
mod look;
mod names;
mod prefixes;

use std::ops::Range;

use bitroster_bitmap::{BitOp, Bitmap, Formula};
use bitroster_command::{BitLogic, CommandError, Outcome, Reply, Want};
use bitroster_types::{Segment, SegmentWidth, limits::WORK_BYTES_MIN};
use bytes::Bytes;

pub(crate) use self::{
    formula::{Derivation, Encoded, Evaluation, check},
    look::{Holding, Keys, Presence},
    names::{Lookup, Wanted},
    prefixes::Prefixes,
};
use crate::owned::Owned;

/// A computation with all that it needs. Independent of the engine that gave it.
#[derive(Debug)]
pub struct Work {
    pub(crate) job: Box<Job>,
    /// The state that it was made from.
    pub(crate) stamp: u64,
}

impl Work {
    /// The evaluation of formulas over values that engines have answered, the codec's bytes or
    /// nothing, as [`ReadOp::Evaluate`](bitroster_command::ReadOp::Evaluate) is over keys.
    ///
    /// # Errors
    ///
    /// The first of the answers that is no value.
    pub fn evaluate(
        formulas: Vec<Formula>,
        values: Vec<Outcome>,
        range: (u64, u64),
        want: Want,
    ) -> Result<Self, Outcome> {
        let values = values.into_iter().map(|value| {
            if let Outcome::Reply(Reply::Bulk(bytes)) = value {
                return Ok(Some(bytes));
            }
            if value == Outcome::Reply(Reply::Nil) { Ok(None) } else { Err(value) }
        });
        let job = Job::EvaluateEncoded(Encoded {
            formulas,
            values: values.collect::<Result<_, Outcome>>()?,
            range,
            want,
        });
        Ok(Self { job: Box::new(job), stamp: 0 })
    }

    /// Computes. Takes about as long as reading [`Work::cost_bytes`] from memory a few times.
    pub fn run(self) -> WorkDone {
        WorkDone { made: self.job.run(), stamp: self.stamp }
    }

    /// Bytes that it will touch, about.
    pub fn cost_bytes(&self) -> u64 {
        self.job.cost_bytes()
    }
}

/// The result of a [`Work`].
#[derive(Debug)]
pub struct WorkDone {
    pub(crate) made: Made,
    pub(crate) stamp: u64,
}

impl WorkDone {
    /// The answer of a read.
    ///
    /// # Panics
    ///
    /// If the work was a write's: that result goes to
    /// [`Engine::apply_prepared`](crate::Engine::apply_prepared).
    pub fn into_outcome(self) -> Outcome {
        match self.made {
            Made::Outcome(outcome) => outcome,
            Made::Value(_) => panic!("a write's work has no outcome before it is applied"),
        }
    }
}

/// What a job makes.
#[derive(Debug)]
pub(crate) enum Made {
    /// The answer of a read.
    Outcome(Outcome),
    /// A value that a write needs.
    Value(Result<Bitmap, CommandError>),
}

/// The segments of one key that a computation covers.
#[derive(Clone, Debug)]
pub(crate) enum Share {
    /// All of them: the key is wholly here.
    All,
    /// Those that the group owns.
    Owned {
        /// The group's slots.
        owned: Owned,
        /// Whether the group is the key's home.
        is_home: bool,
        /// The width of segments.
        width: SegmentWidth,
    },
}

impl Share {
    fn clip(&self, value: Bitmap) -> Bitmap {
        match self {
            Self::All => value,
            Self::Owned { owned, is_home, width } => {
                let keep = |start| owned.has_segment(*is_home, width.segment_of(start));
                value.restrict_to(keep, width.bits())
            }
        }
    }

    /// Bits of `range` that lie in the share.
    fn count_bits(&self, range: Range<u64>) -> u64 {
        let Self::Owned { owned, is_home, width } = self else { return range.end - range.start };
        if range.is_empty() {
            return 0;
        }
        let segments = width.segment_of(range.start).0..=width.segment_of(range.end - 1).0;
        let pieces = segments.map(Segment).filter(|n| owned.has_segment(*is_home, *n));
        pieces
            .map(|n| {
                let start = width.start_of(n);
                range.end.min(start + width.bits()) - range.start.max(start)
            })
            .sum()
    }
}

/// A value that may turn out too long is combined in at most so many pieces.
const PIECES_MAX: u64 = 512;

/// The least bits of such a piece: sixteen containers, all of which may be one group's.
const PIECE_BITS_MIN: u64 = 1 << 20;

/// Each piece looks at each operand: most such looks, some milliseconds, if there are not more
/// operands than that.
const LOOKS_MAX: u64 = 16 << 10;

/// What a look costs, as bytes.
const LOOK_BYTES: u64 = 128;

/// A combination of bitmaps that are all here.
#[derive(Debug)]
pub(crate) struct Combination {
    pub(crate) logic: BitLogic,
    pub(crate) operands: Vec<Bitmap>,
    pub(crate) range: Range<u64>,
    pub(crate) share: Share,
    /// Length of the longest operand, here or elsewhere.
    pub(crate) len_bytes: u64,
}

impl Combination {
    fn range(&self) -> Range<u64> {
        let end = self.range.end.min(self.len_bytes * 8);
        self.range.start.min(end)..end
    }

    /// Its bits within a range; the operand of NOT must be as long as the value.
    fn part(&self, range: Range<u64>) -> Bitmap {
        let operands: Vec<&Bitmap> = self.operands.iter().collect();
        self.share.clip(Bitmap::combine_range(op_of(self.logic), &operands, range))
    }

    /// The same, where the operand of NOT is as long as the value.
    fn extended(mut self) -> Self {
        if self.logic == BitLogic::Not {
            self.operands[0].extend_len(self.len_bytes);
        }
        self
    }

    fn build(self) -> Bitmap {
        let whole = self.extended();
        let mut value = whole.part(whole.range());
        value.extend_len(whole.len_bytes);
        value
    }

    /// Bits of each of the pieces that it is combined in where it may turn out too long.
    fn piece_bits(&self) -> u64 {
        let range = self.range();
        let most = (LOOKS_MAX / self.operands.len().max(1) as u64).clamp(1, PIECES_MAX);
        (range.end - range.start).div_ceil(most).next_power_of_two().max(PIECE_BITS_MIN)
    }

    fn short_cost_bytes(&self) -> u64 {
        let range = self.range();
        let pieces = (range.end - range.start).div_ceil(self.piece_bits());
        self.cost_bytes() + pieces * self.operands.len() as u64 * LOOK_BYTES
    }

    /// The value in the bitmap codec, or nothing where that, in pieces, is longer than `bytes_max`:
    /// it is given up after the piece that shows it.
    fn encode_short(self, bytes_max: u64) -> Option<Vec<u8>> {
        let whole = self.extended();
        let (range, piece) = (whole.range(), whole.piece_bits());
        let (mut value, mut bytes) = (Bitmap::new(), Vec::new());
        let mut start = range.start;
        while start < range.end {
            let end = (start / piece + 1).saturating_mul(piece).min(range.end);
            let part = whole.part(start..end);
            if part.cardinality() > 0 {
                part.encode(&mut bytes);
                if bytes.len() as u64 > bytes_max {
                    return None;
                }
                value.merge_disjoint(&part);
            }
            start = end;
        }
        value.extend_len(whole.len_bytes);
        bytes.clear();
        value.encode(&mut bytes);
        (bytes.len() as u64 <= bytes_max).then_some(bytes)
    }

    fn count(&self) -> u64 {
        let range = self.range();
        if self.logic == BitLogic::Not {
            let set = self.operands[0].count(range.clone());
            return self.share.count_bits(range) - set;
        }
        let operands: Vec<&Bitmap> = self.operands.iter().collect();
        Bitmap::combine_count(op_of(self.logic), &operands, range)
    }

    fn cost_bytes(&self) -> u64 {
        let held: u64 = self.operands.iter().map(|operand| operand.heap_bytes() as u64).sum();
        // A complement fills the gaps of a sparse operand, at a few bytes a container.
        held + if self.logic == BitLogic::Not { self.len_bytes >> 8 } else { 0 }
    }
}

/// What to compute.
#[derive(Debug)]
pub(crate) enum Job {
    /// The value of a combination.
    Combine(Combination),
    /// Its number of set bits.
    Count(Combination),
    /// Its value in the bitmap codec, as a bulk reply.
    EncodeCombined(Combination),
    /// The same, or nil where that is longer than so many bytes.
    EncodeShort(Combination, u64),
    /// A value from Redis's bytes.
    FromBytes(Bytes),
    /// A value from the bitmap codec.
    Decode(Bytes),
    /// A range of bits of a value.
    Restrict { value: Bitmap, range: Range<u64>, share: Share },
    /// A range of bytes as a bulk reply.
    Bytes { value: Bitmap, range: Range<u64> },
    /// Whole values as an array of bulk replies.
    Many(Vec<Option<Bitmap>>),
    /// A range of bits in the bitmap codec, as a bulk reply.
    Encode { value: Bitmap, range: Range<u64> },
    /// What formulas come to.
    Evaluate(Evaluation),
    /// The same over encoded values.
    EvaluateEncoded(Encoded),
    /// The value of a formula.
    Derive(Derivation),
    /// Who is present.
    Present(Presence),
    /// What a value costs.
    Info { value: Bitmap, memory_bytes: u64, width: SegmentWidth },
    /// The names of live records that match a pattern.
    Keys(Keys),
    /// The names of live keys with a bit.
    Holding(Holding),
    /// What the keys below a prefix take.
    Prefixes(Prefixes),
    /// Names and numbers of an id space.
    LookUp(Lookup),
}

impl Job {
    pub(crate) fn run(self) -> Made {
        match self {
            Self::Combine(combination) => Made::Value(Ok(combination.build())),
            Self::Count(combination) => integer(combination.count()),
            Self::EncodeCombined(combination) => encoded(&combination.build()),
            Self::EncodeShort(combination, bytes_max) => {
                let bytes = combination.encode_short(bytes_max);
                reply(bytes.map_or(Reply::Nil, |bytes| Reply::Bulk(bytes.into())))
            }
            Self::FromBytes(bytes) => Made::Value(Ok(Bitmap::from_bytes(&bytes))),
            Self::Decode(bytes) => Made::Value(decoded(&bytes)),
            Self::Restrict { value, range, share } => {
                Made::Value(Ok(share.clip(value.restrict(range))))
            }
            Self::Bytes { value, range } => reply(Reply::Bulk(value.read_bytes(range).into())),
            Self::Many(values) => {
                let values = values.into_iter().map(|value| match value {
                    Some(value) => Reply::Bulk(value.read_bytes(0..u64::MAX).into()),
                    None => Reply::Nil,
                });
                reply(Reply::Array(values.collect()))
            }
            Self::Encode { value, range } => encoded(&value.restrict(range)),
            Self::Evaluate(evaluation) => evaluation.run(),
            Self::EvaluateEncoded(encoded) => encoded.run(),
            Self::Derive(derivation) => Made::Value(Ok(derivation.build())),
            Self::Present(presence) => presence.run(),
            Self::Info { value, memory_bytes, width } => {
                reply(look::info(&value, memory_bytes, width))
            }
            Self::Keys(keys) => keys.run(),
            Self::Holding(holding) => holding.run(),
            Self::Prefixes(prefixes) => prefixes.run(),
            Self::LookUp(lookup) => lookup.run(),
        }
    }

    pub(crate) fn cost_bytes(&self) -> u64 {
        match self {
            Self::Combine(combination)
            | Self::Count(combination)
            | Self::EncodeCombined(combination) => combination.cost_bytes(),
            Self::EncodeShort(combination, _) => combination.short_cost_bytes(),
            Self::FromBytes(bytes) | Self::Decode(bytes) => bytes.len() as u64,
            Self::Restrict { value, .. } => value.heap_bytes() as u64,
            Self::Bytes { value, range } => {
                range.end.min(value.len_bytes()).saturating_sub(range.start)
            }
            Self::Many(values) => values.iter().flatten().map(Bitmap::len_bytes).sum(),
            Self::Encode { value, .. } => value.heap_bytes() as u64,
            Self::Evaluate(evaluation) => evaluation.cost_bytes(),
            Self::EvaluateEncoded(encoded) => encoded.cost_bytes(),
            Self::Derive(derivation) => derivation.cost_bytes(),
            Self::Present(presence) => presence.cost_bytes(),
            // It looks at the heads of containers alone.
            Self::Info { value, .. } => value.heap_bytes() as u64 >> 6,
            Self::Keys(_) | Self::Holding(_) => WORK_BYTES_MIN,
            Self::Prefixes(prefixes) => prefixes.cost_bytes(),
            Self::LookUp(lookup) => lookup.cost_bytes(),
        }
    }
}

fn reply(reply: Reply) -> Made {
    Made::Outcome(Outcome::Reply(reply))
}

fn encoded(value: &Bitmap) -> Made {
    let mut bytes = Vec::new();
    value.encode(&mut bytes);
    reply(Reply::Bulk(bytes.into()))
}

fn integer(count: u64) -> Made {
    reply(Reply::Integer(count.cast_signed()))
}

/// A value from the bitmap codec.
pub(crate) fn decoded(bytes: &[u8]) -> Result<Bitmap, CommandError> {
    Bitmap::decode(bytes).map_err(|error| {
        CommandError::Message(format!("ERR an encoded bitmap is damaged: {error}"))
    })
}

/// The bitmap crate's name of an operation.
pub(crate) const fn op_of(logic: BitLogic) -> BitOp {
    match logic {
        BitLogic::And => BitOp::And,
        BitLogic::Or => BitOp::Or,
        BitLogic::Xor => BitOp::Xor,
        BitLogic::Not => BitOp::Not,
        BitLogic::Diff => BitOp::Diff,
        BitLogic::Diff1 => BitOp::Diff1,
        BitLogic::AndOr => BitOp::AndOr,
        BitLogic::One => BitOp::One,
    }
}
