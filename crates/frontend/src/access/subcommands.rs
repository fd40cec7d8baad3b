//! Sub-commands of the commands that are only a common name for others, with the categories that
//! Redis 8.2 gives each.

const SLOW: &[&str] = &["slow"];
const CONNECTION: &[&str] = &["slow", "connection"];
const ADMIN: &[&str] = &["admin", "slow", "dangerous"];
const ADMIN_CONNECTION: &[&str] = &["admin", "slow", "dangerous", "connection"];
const PUBSUB: &[&str] = &["pubsub", "slow"];
const KEY: &[&str] = &["keyspace", "read", "slow"];
const READ: &[&str] = &["read", "slow"];
const SCRIPT: &[&str] = &["slow", "scripting"];
const SCRIPT_WRITE: &[&str] = &["write", "slow", "scripting"];

/// A sub-command and its categories.
type Sub = (&'static str, &'static [&'static str]);

/// Commands and their sub-commands. Those that the table has no row for have no effect.
pub(super) const SUBCOMMANDS: &[(&str, &[Sub])] = &[
    (
        "acl",
        &[
            ("cat", SLOW),
            ("deluser", ADMIN),
            ("dryrun", ADMIN),
            ("genpass", SLOW),
            ("getuser", ADMIN),
            ("help", SLOW),
            ("list", ADMIN),
            ("load", ADMIN),
            ("log", ADMIN),
            ("save", ADMIN),
            ("setuser", ADMIN),
            ("users", ADMIN),
            ("whoami", SLOW),
        ],
    ),
    (
        "client",
        &[
            ("caching", CONNECTION),
            ("consistency", CONNECTION),
            ("getname", CONNECTION),
            ("getredir", CONNECTION),
            ("help", CONNECTION),
            ("id", CONNECTION),
            ("info", CONNECTION),
            ("kill", ADMIN_CONNECTION),
            ("list", ADMIN_CONNECTION),
            ("no-evict", ADMIN_CONNECTION),
            ("no-touch", CONNECTION),
            ("pause", ADMIN_CONNECTION),
            ("reply", CONNECTION),
            ("setinfo", CONNECTION),
            ("setname", CONNECTION),
            ("tracking", CONNECTION),
            ("trackinginfo", CONNECTION),
            ("unblock", ADMIN_CONNECTION),
            ("unpause", ADMIN_CONNECTION),
        ],
    ),
    (
        "cluster",
        &[
            ("countkeysinslot", SLOW),
            ("getkeysinslot", SLOW),
            ("help", SLOW),
            ("info", SLOW),
            ("keyslot", SLOW),
            ("links", SLOW),
            ("myid", SLOW),
            ("myshardid", SLOW),
            ("nodes", SLOW),
            ("shards", SLOW),
            ("slots", SLOW),
        ],
    ),
    (
        "command",
        &[
            ("count", CONNECTION),
            ("docs", CONNECTION),
            ("getkeys", CONNECTION),
            ("getkeysandflags", CONNECTION),
            ("help", CONNECTION),
            ("info", CONNECTION),
            ("list", CONNECTION),
        ],
    ),
    (
        "config",
        &[("get", ADMIN), ("help", SLOW), ("resetstat", ADMIN), ("rewrite", ADMIN), ("set", ADMIN)],
    ),
    (
        "function",
        &[
            ("delete", SCRIPT_WRITE),
            ("dump", SCRIPT),
            ("flush", SCRIPT_WRITE),
            ("help", SCRIPT),
            ("kill", SCRIPT),
            ("list", SCRIPT),
            ("load", SCRIPT_WRITE),
            ("restore", SCRIPT_WRITE),
            ("stats", SCRIPT),
        ],
    ),
    (
        "latency",
        &[
            ("doctor", ADMIN),
            ("graph", ADMIN),
            ("help", SLOW),
            ("histogram", ADMIN),
            ("history", ADMIN),
            ("latest", ADMIN),
            ("reset", ADMIN),
        ],
    ),
    (
        "memory",
        &[
            ("doctor", SLOW),
            ("help", SLOW),
            ("malloc-stats", SLOW),
            ("purge", SLOW),
            ("stats", SLOW),
            ("usage", READ),
        ],
    ),
    (
        "module",
        &[("help", SLOW), ("list", ADMIN), ("load", ADMIN), ("loadex", ADMIN), ("unload", ADMIN)],
    ),
    (
        "object",
        &[
            ("encoding", KEY),
            ("freq", KEY),
            ("help", &["keyspace", "slow"]),
            ("idletime", KEY),
            ("refcount", KEY),
        ],
    ),
    (
        "pubsub",
        &[
            ("channels", PUBSUB),
            ("help", SLOW),
            ("numpat", PUBSUB),
            ("numsub", PUBSUB),
            ("shardchannels", PUBSUB),
            ("shardnumsub", PUBSUB),
        ],
    ),
    (
        "script",
        &[
            ("debug", SCRIPT),
            ("exists", SCRIPT),
            ("flush", SCRIPT),
            ("help", SCRIPT),
            ("kill", SCRIPT),
            ("load", SCRIPT),
        ],
    ),
    ("slowlog", &[("get", ADMIN), ("help", SLOW), ("len", ADMIN), ("reset", ADMIN)]),
];
