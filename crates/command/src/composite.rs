//! What the router makes of several reads and writes.
//!
//! None of these reaches a group as it is, so none is in a log. They promise what their parts
//! promise: a read of several keys sees each at one version, and what writes does so one part after
//! the other.

use bitroster_bitmap::Formula;
use bitroster_types::{Key, UnixMillis};
use bytes::Bytes;

use crate::MergeMode;

/// A formula and the keys that are its operands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression {
    /// What to compute.
    pub formula: Formula,
    /// The operands, each named once.
    pub keys: Vec<Key>,
}

impl Expression {
    /// A key as it is.
    pub fn only(key: Key) -> Self {
        Self { formula: Formula::only(), keys: vec![key] }
    }

    /// About how many bytes it takes on the heap.
    fn heap_bytes(&self) -> usize {
        size_of_val(self.formula.steps()) + bytes_of(&self.keys)
    }
}

/// A request that takes several reads and writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Composite {
    /// What is asked of an expression.
    Query {
        /// The expression.
        of: Expression,
        /// What is asked.
        ask: Ask,
    },
    /// `BM.GETBITS key offset [offset ...]`: `Array` of 0 and 1
    GetBits {
        /// The bitmap.
        key: Key,
        /// The offsets.
        offsets: Vec<u64>,
    },
    /// `BM.RANK key offset`: `Integer`, how many bits are set up to the offset and at it
    Rank {
        /// The bitmap.
        key: Key,
        /// The offset.
        offset: u64,
        /// What a key that is not there answers: 0, or -1 for `TR.RANK`.
        absent: i64,
    },
    /// `BM.CONTAINS`, `BM.INTERSECTS`, `BM.JACCARD` and their aliases
    Compare {
        /// The first key.
        a: Key,
        /// The second key.
        b: Key,
        /// What to answer.
        relation: Relation,
    },
    /// `BM.INFO key`: `Map`, or `Nil`
    Info {
        /// The bitmap.
        key: Key,
    },
    /// `BM.RETENTION`: `Array` of one `Array` a cohort: its name, its size, and how many of it are
    /// in the return key of the same place, of the next place, and so on
    Retention {
        /// The cohorts.
        cohorts: Vec<Key>,
        /// The keys of activity, as many as cohorts or more; the first belongs to the first cohort.
        returns: Vec<Key>,
        /// Columns, the cohort's own place among them.
        horizon: u32,
    },
    /// `BM.TOPK expression k key [key ...]` or `MATCH pattern`: `Array` of key and count, greatest
    /// first, ties by name; keys without overlap are left out
    TopK {
        /// What to compare with.
        of: Expression,
        /// How many to answer.
        k: u64,
        /// The candidates.
        among: Candidates,
    },
    /// `BM.MARK family id [AT ts] [UNIT h|d|w|m ...] [EXPIRE seconds]`: `Integer`, how many of the
    /// dated keys had the bit clear
    Mark {
        /// The keys' common name; a date follows it after a colon.
        family: Bytes,
        /// The id.
        id: u64,
        /// When; now where absent.
        at: Option<UnixMillis>,
        /// A key for each of these.
        units: Vec<Unit>,
        /// How long after its end a dated key is kept, in seconds; for ever where absent.
        keep_secs: Option<u64>,
    },
    /// `BM.WINDOW family LAST nu|FROM date TO date ask [ROLLUP]`: as [`Composite::Query`] of the
    /// union of the dated keys
    Window {
        /// The keys' common name.
        family: Bytes,
        /// Which of them.
        span: Span,
        /// Whether whole weeks and months are read from keys of their own.
        rolled_up: bool,
        /// What is asked.
        ask: Ask,
    },
    /// `BM.ONLINE key [COUNT|LIST [CURSOR c] [LIMIT n]|IS id]`
    Online {
        /// The presence bitmap.
        key: Key,
        /// What is asked.
        ask: PresenceAsk,
    },
    /// `BM.SET key space name [name ...]`: sets the bits of the names' numbers: `Integer`, how many
    /// were clear
    SetNames {
        /// The bitmap.
        key: Key,
        /// The id space.
        space: Key,
        /// The names; those without a number get one.
        names: Vec<Bytes>,
    },
    /// `BM.PURGE id MATCH pattern [DRYRUN]`: clears a bit in every key: `Integer`, in how many it
    /// was set
    Purge {
        /// The bit.
        id: u64,
        /// Glob pattern of the keys.
        pattern: Bytes,
        /// Count only.
        dry_run: bool,
    },
    /// `BM.EXPORT`: `Bulk`, or `Nil` where there is no key
    Export {
        /// What to export.
        of: Expression,
        /// As what.
        format: Format,
    },
    /// `BM.IMPORT`: `Integer`, how many bits the set has, or with a merge how many changed
    Import {
        /// The bitmap.
        key: Key,
        /// The set, in the bitmap codec.
        bits: Bytes,
        /// How it is merged; replaces the value where absent.
        mode: Option<MergeMode>,
    },
    /// `BM.SPACE LIST`, over all groups
    SpaceList,
    /// `BM.PREFIXES prefix [SEPARATOR byte] [LIMIT count]`: `Array` of one `Map` for each next name
    /// below the prefix, most bytes first, and one without a name for the rest
    Prefixes {
        /// What the keys' names begin with; may be empty.
        prefix: Bytes,
        /// Where a name ends.
        separator: u8,
        /// Most names to answer; at most
        /// [`PREFIXES_LIMIT_MAX`](bitroster_types::limits::PREFIXES_LIMIT_MAX).
        limit: usize,
    },
    /// `DUMP key`: `Bulk`, or `Nil`
    Dump {
        /// The key.
        key: Key,
    },
    /// `MEMORY USAGE key`: `Integer` in bytes, or `Nil`
    MemoryUsage {
        /// The key.
        key: Key,
    },
    /// `OBJECT ENCODING key`: `Bulk`, or `Nil`
    ObjectEncoding {
        /// The key.
        key: Key,
    },
}

impl Composite {
    /// About how many bytes it takes on the heap: a few words name a thousand keys.
    pub fn heap_bytes(&self) -> usize {
        match self {
            Self::Query { of, .. } | Self::Export { of, .. } => of.heap_bytes(),
            Self::TopK { of, among, .. } => {
                of.heap_bytes()
                    + match among {
                        Candidates::Keys(keys) => bytes_of(keys),
                        Candidates::Match(pattern) => pattern.len(),
                    }
            }
            Self::Retention { cohorts, returns, .. } => bytes_of(cohorts) + bytes_of(returns),
            Self::GetBits { offsets, .. } => size_of_val(&offsets[..]),
            Self::SetNames { names, .. } => {
                names.iter().map(|name| size_of::<Bytes>() + name.len()).sum()
            }
            Self::Import { bits, .. } => bits.len(),
            Self::Rank { .. }
            | Self::Compare { .. }
            | Self::Info { .. }
            | Self::Mark { .. }
            | Self::Window { .. }
            | Self::Online { .. }
            | Self::Purge { .. }
            | Self::SpaceList
            | Self::Prefixes { .. }
            | Self::Dump { .. }
            | Self::MemoryUsage { .. }
            | Self::ObjectEncoding { .. } => 0,
        }
    }
}

fn bytes_of(keys: &[Key]) -> usize {
    keys.iter().map(|key| size_of::<Key>() + key.len()).sum()
}

/// What is asked of an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// `Integer`: how many bits.
    Count,
    /// `Array` of offsets, ascending.
    List {
        /// Half-open range of bits.
        range: (u64, u64),
        /// Most offsets to answer; at most
        /// [`LIST_OFFSETS_MAX`](bitroster_types::limits::LIST_OFFSETS_MAX).
        limit: u64,
        /// Answers two elements as SCAN does: the offset to go on from as a bulk, `0` at the end,
        /// and the array.
        has_cursor: bool,
    },
    /// `Array` of this many different offsets, ascending, evenly chosen by rank; all where there
    /// are fewer.
    Sample {
        /// How many.
        count: u64,
    },
    /// Makes the result the value of a key: `Integer`, how many bits. A result without bits removes
    /// the key.
    Store {
        /// Where the result goes.
        target: Key,
    },
    /// `Integer`: the first offset, or the last; -1 where there is none.
    Edge {
        /// The last.
        last: bool,
    },
    /// By rank: offsets from the bit of one rank on. Rank 0 is the first bit; a negative one counts
    /// from the end.
    Select {
        /// First rank.
        rank: i64,
        /// Most offsets: `Array`; none: one `Integer`, -1 where there is no such bit.
        count: Option<u64>,
    },
    /// `Array` of counts: a half-open range in this many parts of equal length, the last one cut.
    Density {
        /// Half-open range of bits.
        range: (u64, u64),
        /// How many parts.
        parts: u64,
    },
}

/// How two sets relate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// `Integer` 1 where every bit of the second is in the first.
    Contains,
    /// As [`Contains`](Self::Contains), and the first has more.
    ContainsStrictly,
    /// `Integer` 1 where they have the same bits.
    Equal,
    /// `Integer` 1 where they have a bit in common.
    Intersects,
    /// `Double`: bits in both by bits in either; this where there is none in either.
    Jaccard {
        /// 0, or -1 for redis-roaring's command.
        none: i8,
    },
}

/// The keys that BM.TOPK compares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Candidates {
    /// These.
    Keys(Vec<Key>),
    /// All whose name matches a glob pattern.
    Match(Bytes),
}

/// The length of what a dated key covers. Dates are UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unit {
    /// `family:2026-11-21T09`
    Hour,
    /// `family:2026-11-21`
    Day,
    /// `family:2026-W47`, by ISO 8601
    Week,
    /// `family:2026-11`
    Month,
}

/// Some consecutive dated keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// The present one and those before it, so many in all.
    Last {
        /// How many; at least 1.
        count: u32,
        /// Of what.
        unit: Unit,
    },
    /// From the key of one time to the key of another, inclusive.
    Between {
        /// A time in the first.
        first: UnixMillis,
        /// A time in the last.
        last: UnixMillis,
        /// Of what.
        unit: Unit,
    },
}

/// What is asked of a presence bitmap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PresenceAsk {
    /// `Integer`: how many are present.
    Count,
    /// Two elements as SCAN answers: the id to go on from as a bulk, `0` at the end, and the
    /// `Array` of ids.
    List {
        /// First id.
        cursor: u64,
        /// Most ids.
        limit: u64,
    },
    /// `Integer` 1 or 0.
    Is {
        /// The id.
        id: u64,
    },
}

/// The form of an exported or imported set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The portable Roaring format of 32-bit numbers.
    Roaring32,
    /// The portable Roaring format of 64-bit numbers.
    Roaring64,
    /// Redis's bytes.
    Bytes,
    /// Decimal numbers, one a line.
    Csv,
}
