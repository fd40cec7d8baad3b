//! What is asked about a part, and of formulas.

/// A question about a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartQuery {
    /// Its length in bytes: `Integer`, 0 where there is no part.
    Len,
    /// Set bits in a half-open range of bits: `Integer`.
    Count {
        /// First bit.
        start: u64,
        /// The bit after the last.
        end: u64,
    },
    /// The first bit of a value in a half-open range, among the segments this group owns (an
    /// owned segment without bits is all zeros): `Integer`, -1 where there is none.
    FirstBit {
        /// The value looked for.
        bit: bool,
        /// First bit.
        start: u64,
        /// The bit after the last.
        end: u64,
    },
    /// Its bits in a half-open range: `Bulk`, in the bitmap codec; the length is the part's own.
    Value {
        /// First bit; a multiple of the segment width.
        start: u64,
        /// The bit after the last.
        end: u64,
    },
    /// What it costs: `Array` of nine `Integer`s: bytes of memory, set bits, length in bytes,
    /// segments that hold bits, containers as arrays, dense, as runs, full, and 1 where it is flat.
    /// Not for log entries: the memory is this replica's, and others may hold the same in more.
    Info,
    /// Who is present: the ids of the 32-bit fields in a half-open range of bits that are greater
    /// than `after_secs`: `Integer`, how many; with a limit `Bulk`, the first ids that there are as
    /// a bitmap, in the bitmap codec.
    Present {
        /// First bit; a multiple of 32.
        start: u64,
        /// The bit after the last.
        end: u64,
        /// Seconds since the epoch.
        after_secs: u32,
        /// Most ids to answer; none: count them.
        limit: Option<u64>,
    },
}

/// What [`ReadOp::Evaluate`](super::ReadOp::Evaluate) answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// How many bits each formula has: `Array` of `Integer`s.
    Counts,
    /// How many bits the formula has in each step of this many from the start of the range on, the
    /// last one cut: `Array` of `Integer`s. At most
    /// [`HISTOGRAM_STEPS_MAX`](bitroster_types::limits::HISTOGRAM_STEPS_MAX) steps.
    Histogram {
        /// Bits of a step; at least 1.
        step: u64,
    },
    /// The formula's first `limit` bits, or its last: `Bulk`, in the bitmap codec.
    List {
        /// Most bits to answer.
        limit: u64,
        /// The last instead of the first.
        from_end: bool,
    },
    /// All of the formula's bits: `Bulk`, in the bitmap codec.
    Value,
}
