//! The commands that Redis has not: `BM.` and BITRANGEINTARRAY.

use super::{CommandSpec, Flags, Group, Keys, NO_KEYS, ONE_KEY, TWO_KEYS, row};
use crate::parse::{Parser, bits, dated, name, query, transfer};

const READ: Flags = Flags::READONLY;
const READ_FAST: Flags = READ.and(Flags::FAST);
/// Reads whose keys are not at fixed places.
const READ_ANY: Flags = READ.and(Flags::MOVABLEKEYS);
const WRITE: Flags = Flags::WRITE.and(Flags::DENYOOM);
const WRITE_FAST: Flags = WRITE.and(Flags::FAST);
/// Writes that take no memory.
const TAKE: Flags = Flags::WRITE;

/// What it costs to go over the containers of some keys.
const CONTAINERS: &str = "O(N) where N is the number of containers of the keys";
const OFFSETS: &str = "O(N) where N is the number of offsets";
const NAMES: &str = "O(N) where N is the number of names";
/// Where a list is cut: the containers before it cost next to nothing.
const LISTED: &str = "O(N) where N is the number of offsets answered";

const fn own(
    name: &'static str,
    arity: i8,
    flags: Flags,
    keys: Keys,
    parser: Parser,
) -> CommandSpec {
    row(name, arity, flags, keys, Group::Bitmap, parser).since("0.2.0").is_own()
}

/// What is asked of sets.
pub(super) const QUERIES: &[CommandSpec] = &[
    own("bitrangeintarray", 4, READ, ONE_KEY, query::ranks)
        .costs(LISTED)
        .help("key start end", "Lists the offsets of set bits by their rank, from start to end."),
    own("bm.contains", 3, READ, TWO_KEYS, query::contains)
        .costs(CONTAINERS)
        .help("key key", "Tells whether the first bitmap has every bit of the second."),
    own("bm.density", 5, READ, ONE_KEY, query::density).costs(CONTAINERS).help(
        "key low high parts",
        "Counts the set bits of each of so many equal parts of a half-open range.",
    ),
    own("bm.info", 2, READ, ONE_KEY, query::info)
        .costs(CONTAINERS)
        .help("key", "Tells how a bitmap is kept and what it takes, here and in plain Redis."),
    own("bm.intersects", 3, READ, TWO_KEYS, query::intersects)
        .costs(CONTAINERS)
        .help("key key", "Tells whether two bitmaps have a bit in common."),
    own("bm.jaccard", 3, READ, TWO_KEYS, query::jaccard)
        .costs(CONTAINERS)
        .help("key key", "Answers the bits in both by the bits in either; 0 where there are none."),
    own("bm.max", 2, READ_FAST, ONE_KEY, query::max)
        .help("key", "Answers the last set bit's offset, or -1."),
    own("bm.min", 2, READ_FAST, ONE_KEY, query::min)
        .help("key", "Answers the first set bit's offset, or -1."),
    own("bm.query", -3, READ_ANY, NO_KEYS, query::query)
        .writes_with("store", 1, 1)
        .costs(CONTAINERS)
        .holds(&["count", "list", "sample", "store"])
        .help(
            "COUNT expression [UNIVERSE key] | \
             LIST expression [UNIVERSE key] [CURSOR cursor] [LIMIT count] | \
             SAMPLE expression [UNIVERSE key] [LIMIT count] | \
             STORE destination expression [UNIVERSE key]",
            "Counts, lists, samples or stores the bits of an expression over several bitmaps.",
        ),
    own("bm.range", -4, READ, ONE_KEY, query::list_range).costs(LISTED).help(
        "key start end [LIMIT count]",
        "Lists the set bits from start to end, both included.",
    ),
    own("bm.rank", 3, READ, ONE_KEY, query::rank)
        .costs("O(N) where N is the number of containers up to the offset")
        .help("key offset", "Counts the set bits up to an offset and at it."),
    own("bm.scan", -3, READ, ONE_KEY, query::scan).costs(LISTED).help(
        "key cursor [COUNT count] [MATCHRANGE start end]",
        "Goes over the set bits in steps.",
    ),
    own("bm.select", -3, READ, ONE_KEY, query::select)
        .costs("O(N) where N is the number of containers up to the last offset answered")
        .help(
            "key rank [COUNT count]",
            "Answers the offset of the set bit of a rank, or so many from it on; a negative rank \
             counts from the end.",
        ),
    own("bm.topk", -5, READ_ANY, NO_KEYS, query::top_k)
        .costs("O(N) where N is the number of containers of the candidates")
        .help(
            "expression k [UNIVERSE key] KEYS key [key ...] | MATCH pattern",
            "Answers the keys that have most bits in common with an expression.",
        ),
];

/// What changes or reads many bits of one bitmap, and whole values.
pub(super) const BITS: &[CommandSpec] = &[
    own("bm.clearbits", -3, TAKE, ONE_KEY, bits::clear_bits)
        .costs(OFFSETS)
        .help("key offset [offset ...]", "Clears bits and answers how many were set."),
    own("bm.export", 4, READ, ONE_KEY, transfer::export)
        .costs("O(N) where N is the length of the answer")
        .help(
            "key FORMAT roaring32|roaring64|bytes|csv",
            "Answers a bitmap in a form that other programs read.",
        ),
    own("bm.fliprange", 4, WRITE, ONE_KEY, bits::flip_range)
        .costs("O(N) where N is the number of containers of the range")
        .help("key start end", "Turns the bits from start to end over and answers how many."),
    own("bm.getbits", -3, READ_FAST, ONE_KEY, bits::get_bits)
        .costs(OFFSETS)
        .help("key offset [offset ...]", "Answers several bits."),
    own("bm.import", -5, WRITE, ONE_KEY, transfer::import)
        .costs("O(N) where N is the length of the data")
        .help(
            "key FORMAT roaring32|roaring64|bytes|csv data [MODE set|or|andnot|xor]",
            "Makes a bitmap of data in another program's form, or merges it into one.",
        ),
    own("bm.setbits", -3, WRITE, ONE_KEY, bits::set_bits)
        .costs(OFFSETS)
        .help("key offset [offset ...]", "Sets bits and answers how many were clear."),
    own("bm.setrange", -4, WRITE, ONE_KEY, bits::set_range)
        .costs("O(N) where N is the number of containers of the range")
        .help(
            "key start end [0|1]",
            "Sets or clears the bits from start to end and answers how many changed.",
        ),
];

/// What has to do with dates, names and presence.
pub(super) const DOMAIN: &[CommandSpec] = &[
    own("bm.find", -3, READ_FAST, ONE_KEY, name::find)
        .costs(NAMES)
        .help("space name [name ...]", "Answers the numbers that names have in an id space."),
    own("bm.id", -3, WRITE_FAST, ONE_KEY, name::assign)
        .costs(NAMES)
        .help("space name [name ...]", "Answers names' numbers and gives one to each new name."),
    own("bm.mark", -3, WRITE.and(Flags::MOVABLEKEYS), NO_KEYS, dated::mark)
        .costs("O(N) where N is the number of units")
        .help(
            "family id [AT unix-time-seconds] [UNIT h|d|w|m [h|d|w|m ...]] [EXPIRE seconds]",
            "Sets a bit in the bitmaps of the present hour, day, week or month.",
        ),
    own("bm.name", -3, READ_FAST, ONE_KEY, name::name)
        .costs("O(N) where N is the number of ids")
        .help("space id [id ...]", "Answers the names that have numbers in an id space."),
    own("bm.online", -2, READ, ONE_KEY, name::online)
        .costs("O(N) where N is the number of ids")
        .help(
            "key [COUNT | LIST [CURSOR cursor] [LIMIT count] | IS id]",
            "Tells who is present in a presence bitmap.",
        ),
    own("bm.prefixes", -2, READ_ANY, NO_KEYS, name::prefixes)
        .categories(&["bitmap", "keyspace"])
        .costs("O(N) where N is the number of keys, in steps that hold up nobody")
        .help(
            "prefix [SEPARATOR byte] [LIMIT count]",
            "Counts keys, bits and memory for each next name below a prefix, most memory first.",
        ),
    own("bm.purge", -4, TAKE, NO_KEYS, name::purge)
        .categories(&["bitmap", "dangerous"])
        .costs("O(N) where N is the number of keys")
        .help("id MATCH pattern [DRYRUN]", "Clears one bit in every bitmap whose key matches."),
    own("bm.retention", -6, READ_ANY, NO_KEYS, dated::retention)
        .costs("O(N*M) where N is the number of cohorts and M the number of columns")
        .help(
            "cohort-prefix FROM date TO date [RETURNING prefix] [UNIT h|d|w|m] [HORIZON count]",
            "Counts how many of each dated cohort came back in each of the periods after it.",
        ),
    own("bm.set", -4, WRITE, TWO_KEYS, name::set)
        .costs(NAMES)
        .help("key space name [name ...]", "Sets the bits of names' numbers in an id space."),
    own("bm.space", -2, READ_ANY, NO_KEYS, name::space)
        .writes_with("drop", 1, 1)
        .costs("Depends on subcommand.")
        .holds(&["drop", "info", "list"])
        .help("INFO space | LIST | DROP space", "Tells of id spaces, or forgets one."),
    own("bm.touch", 5, WRITE_FAST, ONE_KEY, name::touch)
        .help("key id TTL seconds", "Makes an id present for some seconds."),
    own("bm.window", -4, READ_ANY, NO_KEYS, dated::window)
        .writes_with("store", 4, 8)
        .costs(CONTAINERS)
        .help(
            "family LAST count(h|d|w|m) | FROM date TO date [ROLLUP] \
             [COUNT | LIST [CURSOR cursor] [LIMIT count] | SAMPLE [LIMIT count] | \
             STORE destination]",
            "Counts, lists, samples or stores the union of a family's dated bitmaps.",
        ),
];
