//! Commands of the connection, the server and transactions.

use super::{ALL_KEYS, CommandSpec, Flags, Group, NO_KEYS, row};
use crate::parse::{Parser, session as parse};

/// Answered always.
const ANY_TIME: Flags = Flags::LOADING.and(Flags::STALE);
const ANY_TIME_FAST: Flags = ANY_TIME.and(Flags::FAST);
/// BGSAVE's.
const SAVE: Flags = Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::NO_ASYNC_LOADING);
const MULTI: Flags = ANY_TIME_FAST.and(Flags::NOSCRIPT).and(Flags::ALLOW_BUSY);
const BEFORE_AUTH: Flags = MULTI.and(Flags::NO_AUTH);

const fn connection(name: &'static str, arity: i8, flags: Flags, parser: Parser) -> CommandSpec {
    row(name, arity, flags, NO_KEYS, Group::Connection, parser)
}

const fn server(name: &'static str, arity: i8, flags: Flags, parser: Parser) -> CommandSpec {
    row(name, arity, flags, NO_KEYS, Group::Server, parser)
}

const fn transaction(name: &'static str, flags: Flags, parser: Parser) -> CommandSpec {
    row(name, 1, flags, NO_KEYS, Group::Transactions, parser)
}

const CLIENT: &[&str] = &[
    "caching",
    "consistency",
    "getname",
    "getredir",
    "help",
    "id",
    "info",
    "kill",
    "list",
    "no-evict",
    "no-touch",
    "pause",
    "reply",
    "setinfo",
    "setname",
    "tracking",
    "trackinginfo",
    "unblock",
    "unpause",
];
const CLUSTER: &[&str] = &[
    "count-failure-reports",
    "countkeysinslot",
    "getkeysinslot",
    "help",
    "info",
    "keyslot",
    "links",
    "myid",
    "myshardid",
    "nodes",
    "replicas",
    "shards",
    "slaves",
    "slots",
];
const COMMAND: &[&str] = &["count", "docs", "getkeys", "getkeysandflags", "help", "info", "list"];

pub(super) const CONNECTION: &[CommandSpec] = &[
    connection("auth", -2, BEFORE_AUTH, parse::auth)
        .help("[username] password", "Authenticates the connection."),
    connection("client", -2, ANY_TIME, parse::admin)
        .since("2.4.0")
        .costs("Depends on subcommand.")
        .holds(CLIENT)
        .help("subcommand [argument ...]", "Asks and sets things of connections."),
    connection("echo", 2, ANY_TIME_FAST, parse::echo).help("message", "Answers the message."),
    connection("hello", -1, BEFORE_AUTH, parse::hello).since("6.0.0").help(
        "[protover [AUTH username password] [SETNAME clientname]]",
        "Chooses the protocol and answers what the server is.",
    ),
    connection("ping", -1, Flags::FAST, parse::ping)
        .help("[message]", "Answers PONG or the message."),
    connection("quit", -1, BEFORE_AUTH, parse::quit).help("", "Closes the connection."),
    connection("reset", 1, BEFORE_AUTH, parse::reset)
        .since("6.2.0")
        .help("", "Makes the connection as new."),
    connection("select", 2, ANY_TIME_FAST, parse::select)
        .help("index", "Chooses the database; there is only 0."),
    row("wait", 3, Flags::NOSCRIPT, NO_KEYS, Group::Generic, parse::wait)
        .categories(&["connection"])
        .since("3.0.0")
        .help("numreplicas timeout", "Waits until replicas have the connection's writes."),
    row("waitaof", 4, Flags::NOSCRIPT, NO_KEYS, Group::Generic, parse::admin)
        .categories(&["connection"])
        .since("7.2.0")
        .help("numlocal numreplicas timeout", "Waits until the connection's writes are synced."),
];

pub(super) const SERVER: &[CommandSpec] = &[
    server("bgsave", -1, SAVE, parse::admin)
        .categories(&["dangerous"])
        .help("[SCHEDULE]", "Makes all groups write a snapshot."),
    row("cluster", -2, ANY_TIME, NO_KEYS, Group::Cluster, parse::admin)
        .since("3.0.0")
        .costs("Depends on subcommand.")
        .holds(CLUSTER)
        .help("subcommand [argument ...]", "Asks things of the cluster."),
    server("command", -1, ANY_TIME, parse::admin)
        .categories(&["connection"])
        .since("2.8.13")
        .costs("O(N) where N is the number of commands")
        .holds(COMMAND)
        .help("[subcommand [argument ...]]", "Describes commands."),
    server("config", -2, ANY_TIME.and(Flags::NOSCRIPT).and(Flags::ADMIN), parse::admin)
        .categories(&["dangerous"])
        .since("2.0.0")
        .costs("Depends on subcommand.")
        .holds(&["get", "help", "resetstat", "rewrite", "set"])
        .help("subcommand [argument ...]", "Asks and sets the configuration."),
    server("info", -1, ANY_TIME, parse::info)
        .categories(&["dangerous"])
        .help("[section [section ...]]", "Tells of the server and its figures."),
    server("lastsave", 1, ANY_TIME_FAST.and(Flags::ADMIN), parse::admin)
        .categories(&["dangerous"])
        .help("", "Answers when the last snapshot was written."),
    server("role", 1, ANY_TIME_FAST.and(Flags::NOSCRIPT), parse::admin)
        .categories(&["admin", "dangerous"])
        .since("2.8.12")
        .help("", "Answers what the server is to its replicas."),
    server("time", 1, ANY_TIME_FAST, parse::time)
        .since("2.6.0")
        .help("", "Answers the time in seconds and microseconds."),
];

pub(super) const TRANSACTIONS: &[CommandSpec] = &[
    transaction("discard", MULTI, parse::discard)
        .since("2.0.0")
        .costs("O(N) where N is the number of queued commands")
        .help("", "Forgets the queued commands."),
    transaction("exec", ANY_TIME.and(Flags::NOSCRIPT).and(Flags::SKIP_SLOWLOG), parse::exec)
        .since("1.2.0")
        .costs("Depends on commands in the transaction")
        .help("", "Runs the queued commands."),
    transaction("multi", MULTI, parse::multi).since("1.2.0").help("", "Starts to queue commands."),
    transaction("unwatch", MULTI, parse::unwatch)
        .since("2.2.0")
        .help("", "Forgets the watched keys."),
    row("watch", -2, MULTI, ALL_KEYS, Group::Transactions, parse::watch)
        .since("2.2.0")
        .costs("O(1) for every key")
        .help("key [key ...]", "Makes EXEC depend on these keys not changing."),
];
