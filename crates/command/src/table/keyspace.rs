//! Commands of keys, whatever they hold.

use super::{ALL_KEYS, CommandSpec, Flags, Group, Keys, NO_KEYS, ONE_KEY, TWO_KEYS, row};
use crate::parse::{Parser, keyspace as parse, transfer};

const READ: Flags = Flags::READONLY;
const READ_FAST: Flags = READ.and(Flags::FAST);
const WRITE: Flags = Flags::WRITE;
const WRITE_FAST: Flags = WRITE.and(Flags::FAST);

const fn generic(
    name: &'static str,
    arity: i8,
    flags: Flags,
    keys: Keys,
    parser: Parser,
) -> CommandSpec {
    row(name, arity, flags, keys, Group::Generic, parser)
}

/// EXPIRE and its relatives.
const fn expire(name: &'static str) -> CommandSpec {
    generic(name, -3, WRITE_FAST, ONE_KEY, parse::expire)
}

/// TTL and its relatives.
const fn ttl(name: &'static str) -> CommandSpec {
    generic(name, 2, READ_FAST, ONE_KEY, parse::ttl)
}

pub(super) const ROWS: &[CommandSpec] = &[
    generic("copy", -3, WRITE.and(Flags::DENYOOM), TWO_KEYS, parse::copy)
        .since("6.2.0")
        .costs("O(N) where N is the value's size")
        .help(
            "source destination [DB destination-db] [REPLACE]",
            "Copies a key's value and expiry to another key.",
        ),
    row("dbsize", 1, READ_FAST, NO_KEYS, Group::Server, parse::db_size)
        .categories(&["keyspace"])
        .help("", "Answers the number of keys."),
    generic("del", -2, WRITE, ALL_KEYS, parse::delete)
        .costs("O(N) where N is the number of keys")
        .help("key [key ...]", "Deletes keys."),
    generic("dump", 2, READ, ONE_KEY, transfer::dump)
        .since("2.6.0")
        .costs("O(N) where N is the value's size")
        .help("key", "Answers a value in a form for RESTORE."),
    generic("exists", -2, READ_FAST, ALL_KEYS, parse::exists)
        .costs("O(N) where N is the number of keys")
        .help("key [key ...]", "Counts the keys that exist."),
    expire("expire")
        .help("key seconds [NX|XX|GT|LT]", "Sets a key's expiry to so many seconds from now."),
    expire("expireat")
        .since("1.2.0")
        .help("key unix-time-seconds [NX|XX|GT|LT]", "Sets a key's expiry to a time in seconds."),
    ttl("expiretime").since("7.0.0").help("key", "Answers when a key expires, in seconds."),
    row("flushall", -1, WRITE, NO_KEYS, Group::Server, parse::flush)
        .categories(&["keyspace", "dangerous"])
        .costs("O(N) where N is the number of keys")
        .help("[ASYNC|SYNC]", "Deletes all keys."),
    row("flushdb", -1, WRITE, NO_KEYS, Group::Server, parse::flush)
        .categories(&["keyspace", "dangerous"])
        .costs("O(N) where N is the number of keys")
        .help("[ASYNC|SYNC]", "Deletes all keys."),
    generic("keys", 2, READ, NO_KEYS, parse::keys)
        .categories(&["keyspace", "dangerous"])
        .costs("O(N) where N is the number of keys")
        .help("pattern", "Answers the keys that match a pattern."),
    generic("persist", 2, WRITE_FAST, ONE_KEY, parse::persist)
        .since("2.2.0")
        .help("key", "Removes a key's expiry."),
    expire("pexpire").since("2.6.0").help(
        "key milliseconds [NX|XX|GT|LT]",
        "Sets a key's expiry to so many milliseconds from now.",
    ),
    expire("pexpireat").since("2.6.0").help(
        "key unix-time-milliseconds [NX|XX|GT|LT]",
        "Sets a key's expiry to a time in milliseconds.",
    ),
    ttl("pexpiretime").since("7.0.0").help("key", "Answers when a key expires, in milliseconds."),
    ttl("pttl").since("2.6.0").help("key", "Answers how long a key lives, in milliseconds."),
    generic("randomkey", 1, READ, NO_KEYS, parse::random_key).help("", "Answers any key."),
    generic("rename", 3, WRITE, TWO_KEYS, parse::rename)
        .help("key newkey", "Renames a key and overwrites the other."),
    generic("renamenx", 3, WRITE_FAST, TWO_KEYS, parse::rename_nx)
        .help("key newkey", "Renames a key if the other does not exist."),
    generic("restore", -4, WRITE.and(Flags::DENYOOM), ONE_KEY, transfer::restore)
        .since("2.6.0")
        .categories(&["keyspace", "dangerous"])
        .costs("O(N) where N is the value's size")
        .help(
            "key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]",
            "Makes a key of what DUMP answered, here or in Redis.",
        ),
    generic("scan", -2, READ, NO_KEYS, parse::scan)
        .since("2.8.0")
        .costs("O(1) for every call, O(N) for all of them")
        .help("cursor [MATCH pattern] [COUNT count] [TYPE type]", "Goes over the keys in steps."),
    generic("touch", -2, READ_FAST, ALL_KEYS, parse::exists)
        .since("3.2.1")
        .costs("O(N) where N is the number of keys")
        .help("key [key ...]", "Counts the keys that exist."),
    ttl("ttl").help("key", "Answers how long a key lives, in seconds."),
    generic("type", 2, READ_FAST, ONE_KEY, parse::kind)
        .help("key", "Answers the type of a key's value."),
    generic("unlink", -2, WRITE_FAST, ALL_KEYS, parse::delete)
        .since("4.0.0")
        .costs("O(N) where N is the number of keys")
        .help("key [key ...]", "Deletes keys."),
];
