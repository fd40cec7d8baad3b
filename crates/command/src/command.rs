//! What a client can ask of the keyspace.
//!
//! Reads and writes are different types, so that only a write can change a replica. Ranges and
//! expiries are kept as the client gave them (negative indices, relative times): only the group
//! that holds the key knows its length and the log's time.

use bitroster_types::{Key, UnixMillis};
use bytes::Bytes;

use crate::{Composite, SessionCommand};

/// A parsed request, split by who answers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Answered by the session that received it; touches no key.
    Session(SessionCommand),
    /// Answered from applied state.
    Read(ReadCommand),
    /// Proposed to a log; applied by every replica.
    Write(WriteCommand),
    /// Made by the router of several reads and writes; never sent to a group as it is.
    Composite(Box<Composite>),
}

/// A request that cannot change the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadCommand {
    /// `GETBIT key offset`
    GetBit {
        /// The bitmap.
        key: Key,
        /// The bit's offset.
        offset: u64,
    },
    /// `BITCOUNT key [start end [BYTE|BIT]]`
    BitCount {
        /// The bitmap.
        key: Key,
        /// What to count; all of it where absent.
        range: Option<IndexRange>,
    },
    /// `BITPOS key bit [start [end [BYTE|BIT]]]`
    BitPos {
        /// The bitmap.
        key: Key,
        /// The bit looked for.
        bit: bool,
        /// First index to look at, 0 where absent; negative counts from the end.
        start: Option<i64>,
        /// Last index to look at. Its absence matters: a search for 0 then runs past the end.
        end: Option<i64>,
        /// What `start` and `end` count.
        unit: IndexUnit,
    },
    /// `BITFIELD_RO key [GET type offset ...]`
    BitFieldRo {
        /// The bitmap.
        key: Key,
        /// The fields to read.
        fields: Vec<Field>,
    },
    /// `BITOPCARD op key [key ...]`
    BitOpCard {
        /// How to combine.
        logic: BitLogic,
        /// The operands.
        sources: Vec<Key>,
    },
    /// `GET key`
    Get {
        /// The key.
        key: Key,
    },
    /// `MGET key [key ...]`
    MGet {
        /// The keys.
        keys: Vec<Key>,
    },
    /// `STRLEN key`
    StrLen {
        /// The key.
        key: Key,
    },
    /// `GETRANGE key start end`, in bytes, inclusive
    GetRange {
        /// The key.
        key: Key,
        /// First byte; negative counts from the end.
        start: i64,
        /// Last byte; negative counts from the end.
        end: i64,
    },
    /// `EXISTS key [key ...]` and `TOUCH key [key ...]`: a key named twice counts twice
    Exists {
        /// The keys.
        keys: Vec<Key>,
    },
    /// `TYPE key`
    Type {
        /// The key.
        key: Key,
    },
    /// `TTL`, `PTTL`, `EXPIRETIME`, `PEXPIRETIME`
    Ttl {
        /// The key.
        key: Key,
        /// Unit and origin of the answer.
        form: TimeForm,
    },
    /// `SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]`
    Scan {
        /// Where to go on; 0 starts.
        cursor: u64,
        /// Glob pattern.
        pattern: Option<Bytes>,
        /// How many keys to look at, about.
        count: u64,
        /// Whether the asked-for type is `string`, the only one there is.
        type_matches: bool,
    },
    /// `KEYS pattern`
    Keys {
        /// Glob pattern.
        pattern: Bytes,
    },
    /// `DBSIZE`
    DbSize,
    /// `RANDOMKEY`
    RandomKey,
    /// The numbers of names in an id space: `Array` of `Integer`s, `Nil` for a name without one
    FindIds {
        /// The space.
        space: Key,
        /// The names.
        names: Vec<Bytes>,
    },
    /// `BM.NAME space id [id ...]`: `Array` of `Bulk`s, `Nil` for a number without a name
    FindNames {
        /// The space.
        space: Key,
        /// The numbers.
        ids: Vec<u64>,
    },
    /// `BM.SPACE INFO space`: `Array` of how many names it has and how many bytes they take
    SpaceInfo {
        /// The space.
        space: Key,
    },
    /// `BM.SPACE LIST`: `Array` of names, ascending
    Spaces,
}

/// A request that may change the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteCommand {
    /// `SETBIT key offset 0|1`
    SetBit {
        /// The bitmap.
        key: Key,
        /// The bit's offset.
        offset: u64,
        /// Its new value.
        value: bool,
    },
    /// `BITFIELD key ...` with at least one writing field, or none at all
    BitField {
        /// The bitmap.
        key: Key,
        /// The operations, in order.
        ops: Vec<FieldOp>,
    },
    /// `BITOP op destination key [key ...]`
    BitOp {
        /// How to combine.
        logic: BitLogic,
        /// Where the result goes.
        target: Key,
        /// The operands.
        sources: Vec<Key>,
    },
    /// `SET` with all its options, `SETNX`, `SETEX`, `PSETEX`, `GETSET`
    Set {
        /// The key.
        key: Key,
        /// Its new value.
        value: Bytes,
        /// NX or XX.
        existence: Option<Existence>,
        /// What becomes of the expiry.
        expiry: Expiry,
        /// What to answer.
        reply: SetReply,
    },
    /// `GETDEL key`
    GetDel {
        /// The key.
        key: Key,
    },
    /// `GETEX key [EX|PX|EXAT|PXAT time | PERSIST]`; without an option it is a read
    GetEx {
        /// The key.
        key: Key,
        /// What becomes of the expiry.
        expiry: Expiry,
    },
    /// `MSET` and `MSETNX`
    MSet {
        /// Keys and values; the last value of a repeated key wins.
        pairs: Vec<(Key, Bytes)>,
        /// MSETNX: do nothing if one of the keys exists.
        only_if_none: bool,
    },
    /// `APPEND key value`
    Append {
        /// The key.
        key: Key,
        /// Bytes to add at the end.
        value: Bytes,
    },
    /// `SETRANGE key offset value`
    SetRange {
        /// The key.
        key: Key,
        /// First byte to overwrite.
        offset: u64,
        /// The bytes.
        value: Bytes,
    },
    /// `INCR`, `INCRBY`, `DECR`, `DECRBY`
    IncrBy {
        /// The key.
        key: Key,
        /// What to add.
        by: i64,
    },
    /// `DEL` and `UNLINK`
    Delete {
        /// The keys.
        keys: Vec<Key>,
    },
    /// `EXPIRE`, `PEXPIRE`, `EXPIREAT`, `PEXPIREAT`
    Expire {
        /// The key.
        key: Key,
        /// The new expiry: [`Expiry::In`] or [`Expiry::At`].
        expiry: Expiry,
        /// NX, XX, GT, LT.
        condition: ExpiryCondition,
    },
    /// `PERSIST key`
    Persist {
        /// The key.
        key: Key,
    },
    /// `RENAME` and `RENAMENX`
    Rename {
        /// The old name.
        source: Key,
        /// The new name.
        target: Key,
        /// RENAMENX: only if the new name is free.
        only_if_new: bool,
    },
    /// `COPY source destination [DB 0] [REPLACE]`
    Copy {
        /// What to copy.
        source: Key,
        /// Where to.
        target: Key,
        /// Overwrite what is there.
        replace: bool,
    },
    /// `FLUSHALL` and `FLUSHDB`
    Flush,
    /// Changes the bits of a set of offsets at once (`BM.SETBITS`, `BM.CLEARBITS`, `BM.SETRANGE`,
    /// `BM.FLIPRANGE`, `BM.IMPORT`): `Integer`, how many bits changed. Whatever the mode, an empty
    /// set changes nothing.
    Merge {
        /// The bitmap.
        key: Key,
        /// What becomes of the bits.
        mode: MergeMode,
        /// The set, in the bitmap codec.
        bits: Bytes,
    },
    /// `RESTORE` and `BM.IMPORT`: the value becomes the one given: `Ok`, or `BUSYKEY` where there
    /// is one and it is not to be replaced
    Restore {
        /// The key.
        key: Key,
        /// Its new value, in the bitmap codec.
        value: Bytes,
        /// What becomes of the expiry: not [`Expiry::Keep`].
        expiry: Expiry,
        /// Overwrite what is there.
        replace: bool,
    },
    /// `BM.TOUCH key id TTL seconds`: writes the second at which the id's presence ends, counted
    /// from the entry's time and rounded up, into the 32 bits from `id * 32` on: `Integer`, 1 where
    /// the id was not present and 0 where it was
    Touch {
        /// The presence bitmap.
        key: Key,
        /// The id: at most [`PRESENCE_ID_MAX`](bitroster_types::limits::PRESENCE_ID_MAX).
        id: u64,
        /// How long it is present, in seconds; at least 1.
        ttl_secs: u32,
    },
    /// `BM.ID space name [name ...]`: the numbers of names, dense from 0, given in this order to
    /// those that have none: `Array` of `Integer`s
    AssignIds {
        /// The space.
        space: Key,
        /// The names.
        names: Vec<Bytes>,
    },
    /// `BM.SPACE DROP space`: forgets a space: `Integer`, 1 where there was one
    DropSpace {
        /// The space.
        space: Key,
    },
}

/// What [`WriteCommand::Merge`] does with the bits of its set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MergeMode {
    /// Sets them; the value is then at least as long as the set's.
    Or,
    /// Clears them; neither makes a key nor lengthens a value.
    AndNot,
    /// Turns them over; the value is then at least as long as the set's.
    Xor,
}

/// How BITOP combines its operands. Redis 8.2's eight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BitLogic {
    /// Set in all.
    And,
    /// Set in any.
    Or,
    /// Set in an odd number.
    Xor,
    /// Not set in the only operand, up to its length.
    Not,
    /// Set in the first and in none of the others.
    Diff,
    /// Set in one of the others and not in the first.
    Diff1,
    /// Set in the first and in one of the others.
    AndOr,
    /// Set in exactly one.
    One,
}

/// An inclusive range of bytes or bits, as a client writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexRange {
    /// First index; negative counts from the end.
    pub start: i64,
    /// Last index, inclusive; negative counts from the end.
    pub end: i64,
    /// What the indices count.
    pub unit: IndexUnit,
}

/// What an index counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IndexUnit {
    /// Bytes.
    #[default]
    Byte,
    /// Bits.
    Bit,
}

/// The type of a bit field: `u1` to `u63`, `i1` to `i64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldType {
    /// Two's complement, or unsigned.
    pub signed: bool,
    /// Width in bits, 1 to 64 (unsigned: 63).
    pub width: u8,
}

/// One field of a bitmap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Width and sign.
    pub kind: FieldType,
    /// First bit; `#n` is already multiplied out.
    pub offset: u64,
}

/// One operation of BITFIELD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldOp {
    /// The field.
    pub field: Field,
    /// What to do with it.
    pub action: FieldAction,
    /// What happens on overflow, as set by the last `OVERFLOW` before this operation.
    pub overflow: Overflow,
}

/// What BITFIELD does with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldAction {
    /// Answer the value.
    Get,
    /// Write a value, answer the old one.
    Set(i64),
    /// Add, answer the new value.
    IncrBy(i64),
}

/// What BITFIELD does when a value does not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// Wraps around.
    #[default]
    Wrap,
    /// Stops at the largest or smallest value.
    Sat,
    /// Answers nil and writes nothing.
    Fail,
}

/// NX or XX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existence {
    /// Only if the key does not exist.
    IfAbsent,
    /// Only if the key exists.
    IfPresent,
}

/// What a write does to a key's expiry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expiry {
    /// Removes it.
    #[default]
    Clear,
    /// Leaves it as it is (`KEEPTTL`).
    Keep,
    /// Sets it this many milliseconds after the entry's time; may be zero or negative.
    In(i64),
    /// Sets it to this time; zero where the client's was negative.
    At(UnixMillis),
}

/// The condition of EXPIRE. NX excludes the others; GT and LT exclude each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExpiryCondition {
    /// Only if the key has no expiry.
    pub if_none: bool,
    /// Only if the key has an expiry.
    pub if_some: bool,
    /// Only if the new expiry is later; none counts as infinitely late.
    pub if_later: bool,
    /// Only if the new expiry is earlier.
    pub if_earlier: bool,
}

/// What SET and its relatives answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SetReply {
    /// OK, or nil where the condition did not hold.
    #[default]
    Status,
    /// 1 or 0 (`SETNX`).
    Changed,
    /// The old value or nil (`SET ... GET`, `GETSET`).
    Old,
}

/// Unit and origin of an expiry that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeForm {
    /// Milliseconds instead of seconds.
    pub millis: bool,
    /// A time since the epoch instead of the time left.
    pub absolute: bool,
}
