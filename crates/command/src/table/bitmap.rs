//! Commands of bits.

use super::{ALL_KEYS, CommandSpec, Flags, Group, Keys, ONE_KEY, row};
use crate::parse::{Parser, bitmap as parse};

const READ: Flags = Flags::READONLY;
const READ_FAST: Flags = READ.and(Flags::FAST);
const WRITE: Flags = Flags::WRITE.and(Flags::DENYOOM);

/// An operation stands before the keys.
pub(super) const KEYS_AFTER_ONE: Keys = (2, ALL_KEYS.1, ALL_KEYS.2);

const fn bitmap(
    name: &'static str,
    arity: i8,
    flags: Flags,
    keys: Keys,
    parser: Parser,
) -> CommandSpec {
    row(name, arity, flags, keys, Group::Bitmap, parser)
}

pub(super) const ROWS: &[CommandSpec] = &[
    bitmap("bitcount", -2, READ, ONE_KEY, parse::bit_count)
        .since("2.6.0")
        .costs("O(N)")
        .help("key [start end [BYTE|BIT]]", "Counts the set bits of a bitmap."),
    bitmap("bitfield", -2, WRITE, ONE_KEY, parse::bit_field)
        .since("3.2.0")
        .costs("O(1) for each subcommand specified")
        .help(
            "key [GET encoding offset | [OVERFLOW WRAP|SAT|FAIL] SET encoding offset value | \
             INCRBY encoding offset increment ...]",
            "Reads and writes integers of any width inside a bitmap.",
        ),
    bitmap("bitfield_ro", -2, READ_FAST, ONE_KEY, parse::bit_field_ro)
        .since("6.0.0")
        .costs("O(1) for each subcommand specified")
        .help(
            "key [GET encoding offset [GET encoding offset ...]]",
            "Reads integers of any width inside a bitmap.",
        ),
    bitmap("bitop", -4, WRITE, KEYS_AFTER_ONE, parse::bit_op).since("2.6.0").costs("O(N)").help(
        "AND|OR|XOR|NOT|DIFF|DIFF1|ANDOR|ONE destkey key [key ...]",
        "Combines bitmaps, stores the result and answers its length in bytes.",
    ),
    bitmap("bitopcard", -3, READ, KEYS_AFTER_ONE, parse::bit_op_card)
        .since("0.1.0")
        .is_own()
        .costs("O(N)")
        .help(
            "AND|OR|XOR|NOT|DIFF|DIFF1|ANDOR|ONE key [key ...]",
            "Counts the set bits of a combination of bitmaps without storing it.",
        ),
    bitmap("bitpos", -3, READ, ONE_KEY, parse::bit_pos)
        .since("2.8.7")
        .costs("O(N)")
        .help("key bit [start [end [BYTE|BIT]]]", "Finds the first set or clear bit."),
    bitmap("getbit", 3, READ_FAST, ONE_KEY, parse::get_bit)
        .since("2.2.0")
        .help("key offset", "Answers one bit."),
    bitmap("setbit", 4, WRITE, ONE_KEY, parse::set_bit)
        .since("2.2.0")
        .help("key offset value", "Writes one bit and answers its old value."),
];
