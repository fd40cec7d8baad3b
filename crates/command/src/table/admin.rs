//! Commands of operators, and those that Redis has and a cluster refuses.

use super::{CommandSpec, Flags, Group, NO_KEYS, ONE_KEY, row};
use crate::parse::{Parser, admin as parse, session::admin};

const ANY_TIME: Flags = Flags::LOADING.and(Flags::STALE);
/// What only operators may do.
const OPERATE: Flags = ANY_TIME.and(Flags::ADMIN).and(Flags::NOSCRIPT);
/// What concerns the disk.
const DISK: Flags = Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::NO_ASYNC_LOADING);
/// READONLY's and READWRITE's.
const MODE: Flags = ANY_TIME.and(Flags::FAST);
const FOLLOW: Flags = DISK.and(Flags::STALE);

/// A row for operators.
const fn server(name: &'static str, arity: i8, flags: Flags, parser: Parser) -> CommandSpec {
    row(name, arity, flags, NO_KEYS, Group::Server, parser).categories(&["dangerous"])
}

/// A row of a container for operators.
const fn container(name: &'static str, subcommands: &'static [&'static str]) -> CommandSpec {
    server(name, -2, OPERATE, admin).costs("Depends on subcommand.").holds(subcommands)
}

/// A row of what only matters to clients that know clusters.
const fn cluster(name: &'static str, flags: Flags) -> CommandSpec {
    row(name, 1, flags, NO_KEYS, Group::Cluster, admin).categories(&["connection"]).since("3.0.0")
}

/// A row of a container of scripts.
const fn scripting(name: &'static str, subcommands: &'static [&'static str]) -> CommandSpec {
    row(name, -2, Flags::NOSCRIPT, NO_KEYS, Group::Scripting, admin)
        .costs("Depends on subcommand.")
        .holds(subcommands)
}

const ACL: &[&str] = &[
    "cat", "deluser", "dryrun", "genpass", "getuser", "help", "list", "load", "log", "save",
    "setuser", "users", "whoami",
];
const LATENCY: &[&str] = &["doctor", "graph", "help", "histogram", "history", "latest", "reset"];
const MEMORY: &[&str] = &["doctor", "help", "malloc-stats", "purge", "stats", "usage"];
const OBJECT: &[&str] = &["encoding", "freq", "help", "idletime", "refcount"];
const FUNCTION: &[&str] =
    &["delete", "dump", "flush", "help", "kill", "list", "load", "restore", "stats"];

pub(super) const ROWS: &[CommandSpec] = &[
    container("acl", ACL)
        .since("6.0.0")
        .help("subcommand [argument ...]", "Asks and sets users and what they may do."),
    cluster("asking", Flags::FAST).help("", "Does nothing; slots that move are not redirected."),
    server("bgrewriteaof", 1, DISK, admin).help("", "Makes all groups write a snapshot."),
    container("debug", &[]).help("subcommand [argument ...]", "For tests."),
    scripting("function", FUNCTION)
        .since("7.0.0")
        .help("subcommand [argument ...]", "Asks about functions; there are none."),
    container("latency", LATENCY)
        .since("2.8.13")
        .help("subcommand [argument ...]", "Tells of events that took long."),
    row(
        "memory",
        -2,
        Flags::READONLY.and(Flags::MOVABLEKEYS),
        NO_KEYS,
        Group::Server,
        parse::memory,
    )
    .since("4.0.0")
    .costs("Depends on subcommand.")
    .holds(MEMORY)
    .help(
        "USAGE key [SAMPLES count] | STATS | DOCTOR | MALLOC-STATS | PURGE | HELP",
        "Tells what memory is used for.",
    ),
    container("module", &["help", "list", "load", "loadex", "unload"])
        .since("4.0.0")
        .help("subcommand [argument ...]", "Asks about modules; there are none."),
    server("monitor", 1, OPERATE, parse::monitor).help("", "Refused: no node sees all requests."),
    row("move", 3, Flags::WRITE.and(Flags::FAST), ONE_KEY, Group::Generic, parse::moving)
        .help("key db", "Refused: there is one database only."),
    row(
        "object",
        -2,
        Flags::READONLY.and(Flags::MOVABLEKEYS),
        NO_KEYS,
        Group::Generic,
        parse::object,
    )
    .since("2.2.3")
    .costs("Depends on subcommand.")
    .holds(OBJECT)
    .help("ENCODING|FREQ|IDLETIME|REFCOUNT key | HELP", "Tells how a value is kept."),
    cluster("readonly", MODE).help("", "Does nothing; replicas answer by the connection's mode."),
    cluster("readwrite", MODE).help("", "Does nothing; replicas answer by the connection's mode."),
    server("replicaof", 3, FOLLOW, parse::replica_of)
        .since("5.0.0")
        .help("host port", "Refused: the cluster decides who follows whom."),
    server("save", 1, DISK.and(Flags::NO_MULTI), admin)
        .costs("O(N) where N is the number of bytes")
        .help("", "Makes all groups write a snapshot and waits for it."),
    scripting("script", &["debug", "exists", "flush", "help", "kill", "load"])
        .since("2.6.0")
        .help("subcommand [argument ...]", "Asks about scripts; there are none."),
    server("shutdown", -1, OPERATE.and(Flags::NO_MULTI).and(Flags::ALLOW_BUSY), admin)
        .help("[NOSAVE|SAVE] [NOW] [FORCE] [ABORT]", "Stops the node."),
    server("slaveof", 3, FOLLOW, parse::replica_of)
        .help("host port", "Refused: the cluster decides who follows whom."),
    container("slowlog", &["get", "help", "len", "reset"])
        .since("2.2.12")
        .help("GET [count] | LEN | RESET | HELP", "Tells of commands that took long."),
    server("swapdb", 3, Flags::WRITE.and(Flags::FAST), parse::swap_db)
        .categories(&["keyspace", "dangerous"])
        .since("4.0.0")
        .help("index1 index2", "Does nothing; there is one database only."),
];
