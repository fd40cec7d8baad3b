//! Goal: the keys that rights are checked for are those that a command touches.
//!
//! Method: each request beside its keys, `r` and `w` before each; every row of the table must be
//! among them or touch no key.

use std::collections::BTreeSet;

use bitroster_command::{Access, COMMANDS, Flags, ParseLimits, keys_of, lookup, parse, payload};

/// The keys of a request, as `rkey` and `wkey`.
fn touched(line: &str) -> String {
    let args: Vec<_> = line.split(' ').map(str::as_bytes).collect();
    let command =
        parse(&args, &ParseLimits::default()).unwrap_or_else(|error| panic!("{line}: {error}"));
    let accesses = command.accesses();
    let shown = accesses.iter().map(|(key, access)| {
        let letter = if *access == Access::Read { 'r' } else { 'w' };
        format!("{letter}{}", key.escape_ascii())
    });
    shown.collect::<Vec<_>>().join(" ")
}

/// Requests and what they touch.
const TOUCHED: &[(&str, &str)] = &[
    ("APPEND k v", "wk"),
    ("BITCOUNT k", "rk"),
    ("BITFIELD k GET u8 0", "rk"),
    ("BITFIELD k SET u8 0 1", "rk wk"),
    ("BITFIELD_RO k GET u8 0", "rk"),
    ("BITOP AND d a b", "wd ra rb"),
    ("BITOPCARD AND a b", "ra rb"),
    ("BITPOS k 1", "rk"),
    ("BITRANGEINTARRAY k 0 1", "rk"),
    ("BM.CLEARBITS k 1", "rk wk"),
    ("BM.CONTAINS a b", "ra rb"),
    ("BM.DENSITY k 0 9 3", "rk"),
    ("BM.EXPORT k FORMAT csv", "rk"),
    ("BM.FIND s n", "rs"),
    ("BM.FLIPRANGE k 1 2", "rk wk"),
    ("BM.GETBITS k 1", "rk"),
    ("BM.ID s n", "rs ws"),
    ("BM.IMPORT k FORMAT csv 1", "wk"),
    ("BM.IMPORT k FORMAT csv 1 MODE or", "rk wk"),
    ("BM.INFO k", "rk"),
    ("BM.INTERSECTS a b", "ra rb"),
    ("BM.JACCARD a b", "ra rb"),
    ("BM.MARK f 1", "rf:* wf:*"),
    ("BM.MAX k", "rk"),
    ("BM.MIN k", "rk"),
    ("BM.NAME s 1", "rs"),
    ("BM.ONLINE k", "rk"),
    ("BM.PREFIXES p:", "rp:*"),
    ("BM.QUERY COUNT a|d:{1..2}", "ra rd:1 rd:2"),
    ("BM.QUERY COUNT ~a UNIVERSE u", "ra ru"),
    ("BM.QUERY STORE d a&d", "wd ra rd"),
    ("BM.RANGE k 0 9", "rk"),
    ("BM.RANK k 9", "rk"),
    (
        "BM.RETENTION c FROM 2026-11 TO 2026-12 RETURNING a",
        "rc:2026-11 rc:2026-12 ra:2026-11 ra:2026-12",
    ),
    ("BM.RETENTION c FROM 2026-11 TO 2026-11", "rc:2026-11"),
    ("BM.SCAN k 0", "rk"),
    ("BM.SELECT k 0", "rk"),
    ("BM.SET k s n", "rk wk rs ws"),
    ("BM.SETBITS k 1", "rk wk"),
    ("BM.SETRANGE k 1 2", "rk wk"),
    ("BM.SPACE DROP s", "ws"),
    ("BM.SPACE INFO s", "rs"),
    ("BM.TOPK a 3 KEYS x y", "ra rx ry"),
    ("BM.TOPK a 3 MATCH x*", "ra"),
    ("BM.TOUCH k 1 TTL 9", "rk wk"),
    ("BM.WINDOW f LAST 3d", "rf:*"),
    ("BM.WINDOW f LAST 3d STORE d", "wd rf:*"),
    ("COPY a b", "ra wb"),
    ("DECR k", "rk wk"),
    ("DECRBY k 1", "rk wk"),
    ("DEL a b", "wa wb"),
    ("DUMP k", "rk"),
    ("EXISTS a b", "ra rb"),
    ("EXPIRE k 1", "wk"),
    ("EXPIREAT k 1", "wk"),
    ("EXPIRETIME k", "rk"),
    ("GET k", "rk"),
    ("GETBIT k 0", "rk"),
    ("GETDEL k", "rk wk"),
    ("GETEX k PERSIST", "rk wk"),
    ("GETRANGE k 0 1", "rk"),
    ("GETSET k v", "rk wk"),
    ("INCR k", "rk wk"),
    ("INCRBY k 1", "rk wk"),
    ("MEMORY USAGE k", "rk"),
    ("MGET a b", "ra rb"),
    ("MSET a 1 b 2", "wa wb"),
    ("MSETNX a 1 b 2", "wa wb"),
    ("OBJECT ENCODING k", "rk"),
    ("OBJECT FREQ k", "rk"),
    ("PERSIST k", "wk"),
    ("PEXPIRE k 1", "wk"),
    ("PEXPIREAT k 1", "wk"),
    ("PEXPIRETIME k", "rk"),
    ("PSETEX k 1 v", "wk"),
    ("PTTL k", "rk"),
    ("RENAME a b", "ra wa wb"),
    ("RENAMENX a b", "ra wa wb"),
    ("SET k v", "wk"),
    ("SET k v GET", "rk wk"),
    ("SETBIT k 0 1", "rk wk"),
    ("SETEX k 1 v", "wk"),
    ("SETNX k v", "wk"),
    ("SETRANGE k 0 v", "wk"),
    ("STRLEN k", "rk"),
    ("SUBSTR k 0 1", "rk"),
    ("TOUCH a b", "ra rb"),
    ("TR.BITOP d AND a b", "wd ra rb"),
    ("TTL k", "rk"),
    ("TYPE k", "rk"),
    ("UNLINK a", "wa"),
    ("WATCH a b", "ra rb"),
];

/// Requests that touch no key by name.
const TOUCHED_NOT: &[&str] = &[
    "BM.PURGE 1 MATCH *",
    "BM.SPACE LIST",
    "DBSIZE",
    "FLUSHALL",
    "FLUSHDB",
    "KEYS *",
    "MEMORY DOCTOR",
    "OBJECT HELP",
    "PING",
    "RANDOMKEY",
    "SCAN 0",
    "SWAPDB 0 0",
];

#[test]
fn every_key_that_a_command_touches_is_named() {
    for (line, keys) in TOUCHED {
        assert_eq!(touched(line), *keys, "{line}");
    }
    for line in TOUCHED_NOT {
        assert_eq!(touched(line), "", "{line}");
    }
    let mut value = Vec::new();
    bitroster_bitmap::Bitmap::new().encode(&mut value);
    let dump = payload::dump(&value);
    let restore = parse(&[b"RESTORE", b"k", b"0", &dump], &ParseLimits::default()).unwrap();
    assert_eq!(restore.accesses()[..], [(b"k".into(), Access::Write)]);
}

#[test]
fn every_row_that_reads_or_writes_is_tried_above() {
    let lines = TOUCHED.iter().map(|(line, _)| *line).chain(TOUCHED_NOT.iter().copied());
    let tried: BTreeSet<_> =
        lines.map(|line| line.split(' ').next().unwrap_or_default().to_lowercase()).collect();
    for spec in COMMANDS {
        let touches = spec.flags.contains(Flags::WRITE) || spec.flags.contains(Flags::READONLY);
        let is_alias = ["r.", "r64.", "tr."].iter().any(|start| spec.name.starts_with(start));
        let is_refused = ["move", "restore"].contains(&spec.name);
        assert!(!touches || is_alias || is_refused || tried.contains(spec.name), "{}", spec.name);
    }
}

#[test]
fn what_the_table_says_of_keys_agrees_with_what_is_touched() {
    for (line, _) in TOUCHED {
        let args: Vec<_> = line.split(' ').map(str::as_bytes).collect();
        let command = parse(&args, &ParseLimits::default()).unwrap();
        let touched: BTreeSet<Vec<u8>> =
            command.accesses().iter().map(|(key, _)| key.to_vec()).collect();
        let found: BTreeSet<Vec<u8>> =
            keys_of(&args).unwrap().into_iter().map(|key| key.into_owned()).collect();
        assert_eq!(found, touched, "{line}");
    }
}

#[test]
fn only_commands_by_pattern_need_all_keys() {
    let needs = |line: &str| {
        let args: Vec<_> = line.split(' ').map(str::as_bytes).collect();
        parse(&args, &ParseLimits::default()).unwrap().needs_all_keys()
    };
    assert_eq!(needs("BM.PURGE 1 MATCH *"), Some(Access::Write));
    assert_eq!(needs("BM.PURGE 1 MATCH * DRYRUN"), Some(Access::Read));
    assert_eq!(needs("BM.TOPK a 1 MATCH *"), Some(Access::Read));
    assert_eq!(needs("BM.TOPK a 1 KEYS b"), None);
    assert_eq!(needs("GET a"), None);
}

#[test]
fn a_reading_command_that_stores_has_the_flags_of_a_write() {
    let flags = |line: &str| {
        let args: Vec<_> = line.split(' ').map(str::as_bytes).collect();
        let spec = lookup(args[0]).unwrap();
        spec.acl_categories_of(&args).join(" ")
    };
    assert_eq!(flags("BM.QUERY COUNT a"), "bitmap read slow");
    assert_eq!(flags("BM.QUERY store d a"), "bitmap write slow");
    assert_eq!(flags("BM.WINDOW store LAST 3d"), "bitmap read slow");
    assert_eq!(flags("BM.WINDOW f LAST 3d ROLLUP STORE d"), "bitmap write slow");
    assert_eq!(flags("BM.WINDOW f FROM 2026-11 TO 2026-12 STORE d"), "bitmap write slow");
    assert_eq!(flags("BM.SPACE LIST"), "bitmap read slow");
    assert_eq!(flags("BM.SPACE DROP s"), "bitmap write slow");
    assert_eq!(flags("SETBIT k 0 1"), "bitmap write slow");
    let spec = lookup(b"bm.query").unwrap();
    assert!(spec.flags_of(&[b"BM.QUERY", b"STORE", b"d", b"a"]).contains(Flags::DENYOOM));
    assert!(!spec.flags_of(&[b"BM.QUERY"]).contains(Flags::DENYOOM));
    let spec = lookup(b"bm.space").unwrap();
    assert!(!spec.flags_of(&[b"BM.SPACE", b"DROP", b"s"]).contains(Flags::DENYOOM));
}
