//! Commands of whole values and their bytes.

use super::{ALL_KEYS, CommandSpec, Flags, Group, Keys, ONE_KEY, row};
use crate::parse::{Parser, string as parse};

const READ: Flags = Flags::READONLY;
const READ_FAST: Flags = READ.and(Flags::FAST);
const WRITE: Flags = Flags::WRITE.and(Flags::DENYOOM);
const WRITE_FAST: Flags = WRITE.and(Flags::FAST);
/// Writes that take no memory.
const TAKE_FAST: Flags = Flags::WRITE.and(Flags::FAST);

/// Keys and values in turn.
const PAIRS: Keys = (1, -1, 2);

const fn string(
    name: &'static str,
    arity: i8,
    flags: Flags,
    keys: Keys,
    parser: Parser,
) -> CommandSpec {
    row(name, arity, flags, keys, Group::String, parser)
}

pub(super) const ROWS: &[CommandSpec] = &[
    string("append", 3, WRITE_FAST, ONE_KEY, parse::append)
        .since("2.0.0")
        .help("key value", "Adds bytes at a value's end and answers its new length."),
    string("decr", 2, WRITE_FAST, ONE_KEY, parse::decr)
        .help("key", "Subtracts one from an integer and answers the result."),
    string("decrby", 3, WRITE_FAST, ONE_KEY, parse::decr_by)
        .help("key decrement", "Subtracts from an integer and answers the result."),
    string("get", 2, READ_FAST, ONE_KEY, parse::get).help("key", "Answers a value."),
    string("getdel", 2, TAKE_FAST, ONE_KEY, parse::get_del)
        .since("6.2.0")
        .help("key", "Answers a value and deletes its key."),
    string("getex", -2, TAKE_FAST, ONE_KEY, parse::get_ex).since("6.2.0").help(
        "key [EX seconds | PX milliseconds | EXAT unix-time-seconds | \
         PXAT unix-time-milliseconds | PERSIST]",
        "Answers a value and sets or removes its key's expiry.",
    ),
    string("getrange", 4, READ, ONE_KEY, parse::get_range)
        .since("2.4.0")
        .costs("O(N) where N is the number of bytes answered")
        .help("key start end", "Answers a range of a value's bytes."),
    string("getset", 3, WRITE_FAST, ONE_KEY, parse::get_set)
        .help("key value", "Sets a value and answers the old one."),
    string("incr", 2, WRITE_FAST, ONE_KEY, parse::incr)
        .help("key", "Adds one to an integer and answers the result."),
    string("incrby", 3, WRITE_FAST, ONE_KEY, parse::incr_by)
        .help("key increment", "Adds to an integer and answers the result."),
    string("mget", -2, READ_FAST, ALL_KEYS, parse::m_get)
        .costs("O(N) where N is the number of keys")
        .help("key [key ...]", "Answers the values of several keys."),
    string("mset", -3, WRITE, PAIRS, parse::m_set)
        .since("1.0.1")
        .costs("O(N) where N is the number of keys")
        .help("key value [key value ...]", "Sets the values of several keys."),
    string("msetnx", -3, WRITE, PAIRS, parse::m_set_nx)
        .since("1.0.1")
        .costs("O(N) where N is the number of keys")
        .help("key value [key value ...]", "Sets the values of several keys if none exists."),
    string("psetex", 4, WRITE, ONE_KEY, parse::p_set_ex)
        .since("2.6.0")
        .help("key milliseconds value", "Sets a value and its expiry in milliseconds."),
    string("set", -3, WRITE, ONE_KEY, parse::set).help(
        "key value [NX|XX] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | \
         PXAT unix-time-milliseconds | KEEPTTL]",
        "Sets a value, on a condition and with an expiry if asked to.",
    ),
    string("setex", 4, WRITE, ONE_KEY, parse::set_ex)
        .since("2.0.0")
        .help("key seconds value", "Sets a value and its expiry in seconds."),
    string("setnx", 3, WRITE_FAST, ONE_KEY, parse::set_nx)
        .help("key value", "Sets a value if the key does not exist."),
    string("setrange", 4, WRITE, ONE_KEY, parse::set_range)
        .since("2.2.0")
        .costs("O(N) where N is the number of bytes written")
        .help("key offset value", "Overwrites bytes of a value and answers its length."),
    string("strlen", 2, READ_FAST, ONE_KEY, parse::str_len)
        .since("2.2.0")
        .help("key", "Answers a value's length in bytes."),
    string("substr", 4, READ, ONE_KEY, parse::get_range)
        .costs("O(N) where N is the number of bytes answered")
        .help("key start end", "Answers a range of a value's bytes; the old name of GETRANGE."),
];
