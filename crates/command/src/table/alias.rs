//! Commands of other bitmap modules that mean the same here.

use super::{CommandSpec, Flags, Group, Keys, ONE_KEY, TWO_KEYS, bitmap::KEYS_AFTER_ONE, row};
use crate::parse::{Parser, alias, bitmap, bits, query};

const READ: Flags = Flags::READONLY;
const READ_FAST: Flags = READ.and(Flags::FAST);
const WRITE: Flags = Flags::WRITE.and(Flags::DENYOOM);
/// Writes that take no memory.
const TAKE: Flags = Flags::WRITE;

const CONTAINERS: &str = "O(N) where N is the number of containers of the keys";
const OFFSETS: &str = "O(N) where N is the number of offsets";

/// A row of another module's command, which stands for `means`.
const fn alias(
    name: &'static str,
    arity: i8,
    flags: Flags,
    keys: Keys,
    parser: Parser,
    means: (&'static str, &'static str),
) -> CommandSpec {
    row(name, arity, flags, keys, Group::Bitmap, parser)
        .since("0.2.0")
        .is_own()
        .help(means.0, means.1)
}

const SET_BIT: (&str, &str) = ("key offset value", "Writes one bit, as SETBIT.");
const GET_BIT: (&str, &str) = ("key offset", "Answers one bit, as GETBIT.");
const GET_BITS: (&str, &str) = ("key offset [offset ...]", "Answers several bits, as BM.GETBITS.");
const MIN: (&str, &str) = ("key", "Answers the first set bit's offset, as BM.MIN.");
const MAX: (&str, &str) = ("key", "Answers the last set bit's offset, as BM.MAX.");

/// TairRoaring's.
pub(super) const TAIR: &[CommandSpec] = &[
    alias(
        "tr.bitcount",
        -2,
        READ,
        ONE_KEY,
        alias::tr_bit_count,
        ("key [start end]", "Counts the set bits from one offset to another, as BITCOUNT by bits."),
    )
    .costs(CONTAINERS),
    alias(
        "tr.bitop",
        -4,
        WRITE.and(Flags::MOVABLEKEYS),
        ONE_KEY,
        alias::tr_bit_op,
        ("destination AND|OR|XOR|DIFF key [key ...]", "Stores a combination, as BM.QUERY STORE."),
    )
    .costs(CONTAINERS),
    alias(
        "tr.bitopcard",
        -3,
        READ,
        KEYS_AFTER_ONE,
        alias::tr_bit_op_card,
        ("AND|OR|XOR|DIFF key [key ...]", "Counts the bits of a combination, as BITOPCARD."),
    )
    .costs(CONTAINERS),
    alias(
        "tr.clearbits",
        -3,
        TAKE,
        ONE_KEY,
        bits::clear_bits,
        ("key offset [offset ...]", "Clears bits and answers how many were set, as BM.CLEARBITS."),
    )
    .costs(OFFSETS),
    alias(
        "tr.contains",
        3,
        READ,
        TWO_KEYS,
        alias::tr_contains,
        ("key key", "Tells whether the second bitmap has every bit of the first."),
    )
    .costs(CONTAINERS),
    alias(
        "tr.fliprange",
        4,
        WRITE,
        ONE_KEY,
        bits::flip_range,
        ("key start end", "Turns the bits of a range over, as BM.FLIPRANGE."),
    )
    .costs(CONTAINERS),
    alias("tr.getbit", 3, READ_FAST, ONE_KEY, bitmap::get_bit, GET_BIT),
    alias("tr.getbits", -3, READ_FAST, ONE_KEY, bits::get_bits, GET_BITS).costs(OFFSETS),
    alias(
        "tr.jaccard",
        3,
        READ,
        TWO_KEYS,
        query::jaccard,
        ("key key", "Answers how alike two bitmaps are, as BM.JACCARD."),
    )
    .costs(CONTAINERS),
    alias("tr.max", 2, READ_FAST, ONE_KEY, query::max, MAX),
    alias("tr.min", 2, READ_FAST, ONE_KEY, query::min, MIN),
    alias(
        "tr.range",
        4,
        READ,
        ONE_KEY,
        query::list_range,
        ("key start end", "Lists the set bits of a range, as BM.RANGE."),
    )
    .costs("O(N) where N is the number of offsets answered"),
    alias(
        "tr.rank",
        3,
        READ,
        ONE_KEY,
        alias::tr_rank,
        (
            "key offset",
            "Counts the set bits up to an offset, as BM.RANK; -1 where there is no key.",
        ),
    )
    .costs(CONTAINERS),
    alias(
        "tr.scan",
        -3,
        READ,
        ONE_KEY,
        alias::tr_scan,
        ("key cursor [COUNT count]", "Goes over the set bits in steps, as BM.SCAN."),
    )
    .costs("O(N) where N is the number of offsets answered"),
    alias("tr.setbit", 4, WRITE, ONE_KEY, bitmap::set_bit, SET_BIT),
    alias(
        "tr.setrange",
        4,
        WRITE,
        ONE_KEY,
        bits::set_range,
        ("key start end", "Sets the bits of a range, as BM.SETRANGE."),
    )
    .costs(CONTAINERS),
];

/// The names of redis-roaring's commands, 32 or 64 bits wide.
struct Names {
    bit_count: &'static str,
    bit_op: &'static str,
    bit_pos: &'static str,
    clear_bits: &'static str,
    contains: &'static str,
    get_bit: &'static str,
    get_bits: &'static str,
    jaccard: &'static str,
    max: &'static str,
    min: &'static str,
    ranks: &'static str,
    set_bit: &'static str,
}

const fn roaring(names: &Names) -> [CommandSpec; 12] {
    let op_help = (
        "AND|OR|XOR|ANDOR|ONE|DIFF|DIFF1 destination key [key ...]",
        "Stores a combination and answers how many bits it has, as BM.QUERY STORE.",
    );
    let clear_help =
        ("key offset [offset ...] COUNT", "Clears bits and answers how many were set.");
    let contains_help =
        ("key key [ALL|ALL_STRICT|EQ]", "Tells whether two bitmaps meet, contain or equal.");
    let jaccard_help = ("key key", "Answers how alike two bitmaps are; -1 where both are empty.");
    let ranks_help = ("key start end", "Lists offsets by their rank, as BITRANGEINTARRAY.");
    [
        alias(
            names.bit_count,
            2,
            READ_FAST,
            ONE_KEY,
            bitmap::bit_count,
            ("key", "Counts the set bits, as BITCOUNT."),
        ),
        alias(names.bit_op, -4, WRITE, KEYS_AFTER_ONE, alias::r_bit_op, op_help).costs(CONTAINERS),
        alias(
            names.bit_pos,
            3,
            READ,
            ONE_KEY,
            query::bit_pos,
            ("key bit", "Finds the first set or clear bit, as BITPOS."),
        )
        .costs(CONTAINERS),
        alias(names.clear_bits, -4, TAKE, ONE_KEY, alias::r_clear_bits, clear_help).costs(OFFSETS),
        alias(names.contains, -3, READ, TWO_KEYS, alias::r_contains, contains_help)
            .costs(CONTAINERS),
        alias(names.get_bit, 3, READ_FAST, ONE_KEY, bitmap::get_bit, GET_BIT),
        alias(names.get_bits, -3, READ_FAST, ONE_KEY, bits::get_bits, GET_BITS).costs(OFFSETS),
        alias(names.jaccard, 3, READ, TWO_KEYS, alias::r_jaccard, jaccard_help).costs(CONTAINERS),
        alias(names.max, 2, READ_FAST, ONE_KEY, query::max, MAX),
        alias(names.min, 2, READ_FAST, ONE_KEY, query::min, MIN),
        alias(names.ranks, 4, READ, ONE_KEY, query::ranks, ranks_help)
            .costs("O(N) where N is the number of offsets answered"),
        alias(names.set_bit, 4, WRITE, ONE_KEY, bitmap::set_bit, SET_BIT),
    ]
}

/// redis-roaring's of 32 bits.
pub(super) const ROARING: &[CommandSpec] = &roaring(&Names {
    bit_count: "r.bitcount",
    bit_op: "r.bitop",
    bit_pos: "r.bitpos",
    clear_bits: "r.clearbits",
    contains: "r.contains",
    get_bit: "r.getbit",
    get_bits: "r.getbits",
    jaccard: "r.jaccard",
    max: "r.max",
    min: "r.min",
    ranks: "r.rangeintarray",
    set_bit: "r.setbit",
});

/// redis-roaring's of 64 bits.
pub(super) const ROARING_64: &[CommandSpec] = &roaring(&Names {
    bit_count: "r64.bitcount",
    bit_op: "r64.bitop",
    bit_pos: "r64.bitpos",
    clear_bits: "r64.clearbits",
    contains: "r64.contains",
    get_bit: "r64.getbit",
    get_bits: "r64.getbits",
    jaccard: "r64.jaccard",
    max: "r64.max",
    min: "r64.min",
    ranks: "r64.rangeintarray",
    set_bit: "r64.setbit",
});
