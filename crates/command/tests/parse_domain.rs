//! Goal: commands of dates, names, presence and transfers make what their syntax says.
//!
//! Method: as in `parse_own.rs`.

mod common;

use bitroster_bitmap::Bitmap;
use bitroster_command::{
    Command, Composite, Expiry, MergeMode, ParseLimits, WriteCommand, parse, payload,
};
use bitroster_types::limits::FORMULAS_MAX;
use common::{composite, error, made, read, refuse, session, write};

const SYNTAX: &str = "ERR syntax error";
const RANGE: &str = "ERR the range ends before it begins";
const DATE: &str = "ERR not a date: use 2026-11-21T09, 2026-11-21, 2026-W47 or 2026-11";
const KINDS: &str = "ERR FROM and TO are dates of two kinds";
const ID: &str = "ERR id is not an integer or out of range";

#[test]
fn a_mark_has_a_time_units_and_an_expiry() {
    let mark = |at: &str, units: &str, keep: &str| {
        let rest = format!("id: 7, at: {at}, units: [{units}], keep_secs: {keep}");
        composite(&format!("Mark {{ family: b\"dau\", {rest} }}"))
    };
    made(&[
        ("BM.MARK dau 7", mark("None", "Day", "None")),
        ("BM.MARK dau 7 AT 5", mark("Some(UnixMillis(5000))", "Day", "None")),
        ("BM.MARK dau 7 UNIT h D w m d", mark("None", "Hour, Day, Week, Month", "None")),
        ("BM.MARK dau 7 EXPIRE 60 UNIT w", mark("None", "Week", "Some(60)")),
        ("BM.MARK dau 7 UNIT d EXPIRE 60 AT 0", mark("Some(UnixMillis(0))", "Day", "Some(60)")),
    ]);
    let time = "ERR time is not an integer or out of range";
    refuse(&[
        ("BM.MARK dau x", "ERR bit offset is not an integer or out of range"),
        ("BM.MARK dau 7 AT", SYNTAX),
        ("BM.MARK dau 7 AT -1", time),
        ("BM.MARK dau 7 AT 253402300800", time),
        ("BM.MARK dau 7 AT 9223372036854775807", time),
        ("BM.MARK dau 7 UNIT", SYNTAX),
        ("BM.MARK dau 7 UNIT y", "ERR a unit is h, d, w or m"),
        ("BM.MARK dau 7 UNIT d y", SYNTAX),
        ("BM.MARK dau 7 EXPIRE 0", "ERR invalid expire time in 'bm.mark' command"),
        ("BM.MARK dau 7 EXPIRE 99999999999999", "ERR invalid expire time in 'bm.mark' command"),
    ]);
}

#[test]
fn a_window_is_the_last_periods_or_those_between_two_dates() {
    let window = |span: &str, rolled_up: bool, ask: &str| {
        composite(&format!(
            "Window {{ family: b\"dau\", span: {span}, rolled_up: {rolled_up}, ask: {ask} }}"
        ))
    };
    let days = "Last { count: 28, unit: Day }";
    let list = |start: u64, limit: u64| {
        let range = format!("({start}, {})", u64::MAX);
        format!("List {{ range: {range}, limit: {limit}, has_cursor: true }}")
    };
    let between = "Between { first: UnixMillis(1794787200000), last: UnixMillis(1795392000000), \
                   unit: Week }";
    made(&[
        ("BM.WINDOW dau LAST 28d", window(days, false, "Count")),
        ("BM.WINDOW dau LAST 28D COUNT", window(days, false, "Count")),
        ("BM.WINDOW dau LAST 28d ROLLUP LIST", window(days, true, &list(0, 1000))),
        ("BM.WINDOW dau LAST 28d LIST LIMIT 2 CURSOR 1", window(days, false, &list(1, 2))),
        ("BM.WINDOW dau LAST 28d SAMPLE LIMIT 3", window(days, false, "Sample { count: 3 }")),
        ("BM.WINDOW dau LAST 28d STORE d ROLLUP", window(days, true, "Store { target: \"d\" }")),
        ("BM.WINDOW dau LAST 1h", window("Last { count: 1, unit: Hour }", false, "Count")),
        ("BM.WINDOW dau FROM 2026-W47 TO 2026-W48", window(between, false, "Count")),
    ]);
    let last = "ERR LAST needs a number and h, d, w or m, such as 28d";
    refuse(&[
        ("BM.WINDOW dau LAST", "ERR wrong number of arguments for 'bm.window' command"),
        ("BM.WINDOW dau LAST 28", last),
        ("BM.WINDOW dau LAST d", last),
        ("BM.WINDOW dau LAST 0d", last),
        ("BM.WINDOW dau LAST 5000000000d", last),
        ("BM.WINDOW dau FROM 2026-11-21", SYNTAX),
        ("BM.WINDOW dau FROM 2026-11-21 TO", SYNTAX),
        ("BM.WINDOW dau FROM x TO 2026-11-21", DATE),
        ("BM.WINDOW dau FROM 2026-11 TO 2026-11-21", KINDS),
        ("BM.WINDOW dau FROM 2026-12 TO 2026-11", RANGE),
        ("BM.WINDOW dau LAST 28d SUM", SYNTAX),
        ("BM.WINDOW dau LAST 28d STORE", SYNTAX),
        ("BM.WINDOW dau SINCE 2026-11", SYNTAX),
    ]);
}

#[test]
fn a_retention_names_cohorts_and_returns() {
    let retention = |cohorts: &str, returns: &str, horizon: u32| {
        composite(&format!(
            "Retention {{ cohorts: [{cohorts}], returns: [{returns}], horizon: {horizon} }}"
        ))
    };
    let of = |name: &str, days: &[u32]| {
        let keys = days.iter().map(|day| format!("\"{name}:2026-11-{day:02}\""));
        keys.collect::<Vec<_>>().join(", ")
    };
    made(&[
        (
            "BM.RETENTION new FROM 2026-11-01 TO 2026-11-03",
            retention(&of("new", &[1, 2, 3]), &of("new", &[1, 2, 3]), 3),
        ),
        (
            "BM.RETENTION new FROM 2026-11-01 TO 2026-11-03 RETURNING dau HORIZON 2",
            retention(&of("new", &[1, 2, 3]), &of("dau", &[1, 2, 3, 4]), 2),
        ),
        (
            "BM.RETENTION new FROM 2026-11-01 TO 2026-11-02 HORIZON 1",
            retention(&of("new", &[1, 2]), &of("new", &[1, 2]), 1),
        ),
        (
            "BM.RETENTION new FROM 2026-11-02 TO 2026-11-10 UNIT w",
            retention(
                "\"new:2026-W45\", \"new:2026-W46\"",
                "\"new:2026-W45\", \"new:2026-W46\"",
                2,
            ),
        ),
    ]);
    let horizon = "ERR horizon is not an integer or out of range";
    let prefix = "BM.RETENTION new FROM 2026-11-01 TO";
    for (rest, text) in [
        ("2026-11", KINDS),
        ("2026-10-01", RANGE),
        ("2026-11-31", DATE),
        ("2026-11-02 HORIZON 0", horizon),
        ("2026-11-02 HORIZON 3", horizon),
        ("2026-11-02 UNIT x", "ERR a unit is h, d, w or m"),
        ("2026-11-02 UNIT", SYNTAX),
        ("2026-11-02 RETURNING", SYNTAX),
        ("2026-11-02 LIMIT 3", SYNTAX),
        ("2027-01-31", "ERR 92 cohorts by 92 columns are more than 1024 keys or 4096 counts"),
        ("2027-01-29", "ERR 90 cohorts by 90 columns are more than 1024 keys or 4096 counts"),
        (
            "2027-01-03 HORIZON 64",
            "ERR 64 cohorts by 64 columns are more than 1024 keys or 4096 counts",
        ),
    ] {
        refuse(&[(&format!("{prefix} {rest}"), text)]);
    }
    // With what each cohort counts by itself: 64 + 64 * 63 and 89 + 89 * 90 / 2.
    for (rest, count) in [("2027-01-03 HORIZON 63", 64), ("2027-01-28", 89)] {
        let line = format!("{prefix} {rest}");
        let args: Vec<_> = line.split(' ').map(str::as_bytes).collect();
        let Command::Composite(found) = parse(&args, &ParseLimits::default()).expect(rest) else {
            panic!("no composite")
        };
        let Composite::Retention { cohorts, returns, horizon } = *found else { panic!("{rest}") };
        let asked = |at: usize| returns.iter().skip(at).take(horizon as usize).count();
        let counts: usize = (0..count).map(|at| 1 + asked(at)).sum();
        assert!(cohorts.len() == count && counts <= FORMULAS_MAX, "{rest}: {counts}");
    }
    refuse(&[("BM.RETENTION new UNIT d FROM 2026-11-01 TO 2026-11-02", SYNTAX)]);
}

#[test]
fn prefixes_have_a_separator_and_a_limit() {
    let prefixes = |prefix: &str, separator: u8, limit: usize| {
        composite(&format!(
            "Prefixes {{ prefix: b\"{prefix}\", separator: {separator}, limit: {limit} }}"
        ))
    };
    made(&[
        ("BM.PREFIXES p:", prefixes("p:", b':', 1000)),
        ("BM.PREFIXES p SEPARATOR /", prefixes("p", b'/', 1000)),
        ("BM.PREFIXES p limit 10000", prefixes("p", b':', 10_000)),
        ("BM.PREFIXES p LIMIT 1 SEPARATOR .", prefixes("p", b'.', 1)),
        ("BM.PREFIXES p SEPARATOR . LIMIT 1", prefixes("p", b'.', 1)),
    ]);
    let limit = "ERR limit is not an integer or out of range";
    refuse(&[
        ("BM.PREFIXES", "ERR wrong number of arguments for 'bm.prefixes' command"),
        ("BM.PREFIXES p SEPARATOR ::", "ERR separator must be one byte"),
        ("BM.PREFIXES p SEPARATOR", SYNTAX),
        ("BM.PREFIXES p LIMIT 0", limit),
        ("BM.PREFIXES p LIMIT 10001", limit),
        ("BM.PREFIXES p LIMIT x", limit),
        ("BM.PREFIXES p LIMIT 1 LIMIT 1", SYNTAX),
        ("BM.PREFIXES p q", SYNTAX),
    ]);
    let long = vec![b'p'; (64 << 10) + 1];
    let refused = parse(&[b"BM.PREFIXES", &long], &ParseLimits::default());
    let text = "ERR prefix of 65537 bytes is longer than 65536";
    assert_eq!(refused.unwrap_err().to_string(), text);
}

#[test]
fn names_and_numbers_belong_to_a_space() {
    made(&[
        ("BM.ID s a b", write("AssignIds { space: \"s\", names: [b\"a\", b\"b\"] }")),
        ("BM.FIND s a", read("FindIds { space: \"s\", names: [b\"a\"] }")),
        ("BM.NAME s 0 7", read("FindNames { space: \"s\", ids: [0, 7] }")),
        ("BM.SPACE LIST", composite("SpaceList")),
        ("BM.SPACE INFO s", read("SpaceInfo { space: \"s\" }")),
        ("bm.space drop s", write("DropSpace { space: \"s\" }")),
        ("BM.SET k s a", composite("SetNames { key: \"k\", space: \"s\", names: [b\"a\"] }")),
    ]);
    refuse(&[
        ("BM.NAME s -1", ID),
        ("BM.NAME s x", ID),
        ("BM.SPACE LIST s", "ERR wrong number of arguments for 'bm.space|list' command"),
        ("BM.SPACE INFO", "ERR wrong number of arguments for 'bm.space|info' command"),
        ("BM.SPACE DROP a b", "ERR wrong number of arguments for 'bm.space|drop' command"),
        ("BM.SPACE MAKE a", "ERR unknown subcommand 'MAKE'. Try INFO space | LIST | DROP space"),
    ]);
    let long = vec![b'x'; 4097];
    assert_eq!(error(&[b"BM.ID", b"s", &long]), "ERR name of 4097 bytes is longer than 4096");
}

#[test]
fn presence_is_touched_and_asked() {
    let online = |ask: &str| composite(&format!("Online {{ key: \"k\", ask: {ask} }}"));
    made(&[
        ("BM.TOUCH k 5 TTL 60", write("Touch { key: \"k\", id: 5, ttl_secs: 60 }")),
        ("BM.ONLINE k", online("Count")),
        ("BM.ONLINE k COUNT", online("Count")),
        ("BM.ONLINE k LIST", online("List { cursor: 0, limit: 1000 }")),
        ("BM.ONLINE k LIST CURSOR 3 LIMIT 9", online("List { cursor: 3, limit: 9 }")),
        ("BM.ONLINE k IS 134217727", online("Is { id: 134217727 }")),
    ]);
    let expire = "ERR invalid expire time in 'bm.touch' command";
    refuse(&[
        ("BM.TOUCH k 134217728 TTL 60", ID),
        ("BM.TOUCH k -1 TTL 60", ID),
        ("BM.TOUCH k 1 EX 60", SYNTAX),
        ("BM.TOUCH k 1 TTL 0", expire),
        ("BM.TOUCH k 1 TTL 2147483648", expire),
        ("BM.ONLINE k IS x", ID),
        ("BM.ONLINE k IS", SYNTAX),
        ("BM.ONLINE k WHO", SYNTAX),
        ("BM.ONLINE k COUNT 1", SYNTAX),
    ]);
}

#[test]
fn a_purge_needs_a_pattern() {
    let purge = |dry_run: bool| {
        composite(&format!("Purge {{ id: 5, pattern: b\"u:*\", dry_run: {dry_run} }}"))
    };
    made(&[("BM.PURGE 5 MATCH u:*", purge(false)), ("BM.PURGE 5 MATCH u:* DRYRUN", purge(true))]);
    refuse(&[
        ("BM.PURGE 5 u:*", "ERR wrong number of arguments for 'bm.purge' command"),
        ("BM.PURGE 5 KEYS u:*", SYNTAX),
        ("BM.PURGE 5 MATCH u:* NOW", SYNTAX),
        ("BM.PURGE x MATCH u:*", "ERR bit offset is not an integer or out of range"),
    ]);
}

/// The mode and the offsets of an import.
fn import(format: &[u8], data: &[u8], rest: &[&[u8]]) -> (Option<MergeMode>, Vec<u64>) {
    let args = [&[&b"BM.IMPORT"[..], b"k", b"FORMAT", format, data][..], rest].concat();
    let Command::Composite(found) = parse(&args, &ParseLimits::default()).expect("an import")
    else {
        panic!("no composite")
    };
    let Composite::Import { bits, mode, .. } = *found else { panic!("no import") };
    (mode, Bitmap::decode(&bits).expect("a set").iter_set(0..u64::MAX).collect())
}

#[test]
fn every_format_is_imported_and_exported() {
    let set = Bitmap::from_offsets(&[1, 9]);
    let offsets = vec![1, 9];
    assert_eq!(import(b"bytes", b"\x40\x40", &[]), (None, offsets.clone()));
    assert_eq!(import(b"CSV", b"9,1\n", &[b"MODE", b"set"]), (None, offsets.clone()));
    let roaring = set.to_roaring32().unwrap();
    let mode = (Some(MergeMode::Or), offsets.clone());
    assert_eq!(import(b"roaring32", &roaring, &[b"mode", b"OR"]), mode);
    let mode = (Some(MergeMode::AndNot), offsets.clone());
    assert_eq!(import(b"roaring64", &set.to_roaring64(), &[b"MODE", b"andnot"]), mode);
    let mode = (Some(MergeMode::Xor), offsets);
    assert_eq!(import(b"bytes", b"\x40\x40", &[b"MODE", b"xor"]), mode);
    let of = "Expression { formula: Formula { steps: [Operand(0)] }, keys: [\"k\"] }";
    let export = |format: &str| composite(&format!("Export {{ of: {of}, format: {format} }}"));
    made(&[
        ("BM.EXPORT k FORMAT roaring32", export("Roaring32")),
        ("BM.EXPORT k FORMAT ROARING64", export("Roaring64")),
        ("BM.EXPORT k FORMAT bytes", export("Bytes")),
        ("BM.EXPORT k format csv", export("Csv")),
    ]);
}

#[test]
fn imports_of_other_data_are_refused() {
    let formats = "ERR FORMAT is one of roaring32, roaring64, bytes and csv";
    refuse(&[
        ("BM.EXPORT k FORMAT json", formats),
        ("BM.EXPORT k AS csv", SYNTAX),
        ("BM.IMPORT k FORMAT json x", formats),
        ("BM.IMPORT k FORMAT csv 1 MODE", SYNTAX),
        ("BM.IMPORT k FORMAT csv 1 MODE and", "ERR MODE is one of set, or, andnot and xor"),
        ("BM.IMPORT k FORMAT csv 1 2", SYNTAX),
    ]);
    for (format, data) in
        [("csv", "x"), ("csv", "4294967296"), ("roaring32", "x"), ("roaring64", "x")]
    {
        let text = error(&[b"BM.IMPORT", b"k", b"FORMAT", format.as_bytes(), data.as_bytes()]);
        assert!(text.starts_with("ERR "), "{text}");
    }
    let far = Bitmap::from_offsets(&[1 << 32]).to_roaring64();
    let text = error(&[b"BM.IMPORT", b"k", b"FORMAT", b"roaring64", &far]);
    assert_eq!(text, "ERR bit offset is not an integer or out of range");
    let limits = ParseLimits { bitmap_bits_max: 16, bulk_bytes_max: 100 };
    let args: [&[u8]; 5] = [b"BM.IMPORT", b"k", b"FORMAT", b"bytes", b"123"];
    let text = parse(&args, &limits).unwrap_err().to_string();
    assert_eq!(text, "ERR string exceeds maximum allowed size (proto-max-bulk-len)");
}

fn restore(ttl: &[u8], rest: &[&[u8]]) -> Result<(Expiry, bool), String> {
    let mut value = Vec::new();
    Bitmap::from_bytes(b"x").encode(&mut value);
    let dump = payload::dump(&value);
    let args = [&[&b"RESTORE"[..], b"k", ttl, &dump][..], rest].concat();
    match parse(&args, &ParseLimits::default()) {
        Ok(Command::Write(WriteCommand::Restore { value: found, expiry, replace, .. })) => {
            assert_eq!(found, value);
            Ok((expiry, replace))
        }
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn a_restore_takes_redis_options() {
    let at = Expiry::At(bitroster_types::UnixMillis(5));
    assert_eq!(restore(b"0", &[]), Ok((Expiry::Clear, false)));
    assert_eq!(restore(b"5", &[b"replace"]), Ok((Expiry::In(5), true)));
    assert_eq!(restore(b"5", &[b"ABSTTL"]), Ok((at, false)));
    assert_eq!(restore(b"0", &[b"ABSTTL", b"IDLETIME", b"3"]), Ok((Expiry::Clear, false)));
    assert_eq!(restore(b"0", &[b"FREQ", b"255"]), Ok((Expiry::Clear, false)));
    let refused = |ttl: &[u8], rest: &[&[u8]], text: &str| {
        assert_eq!(restore(ttl, rest), Err(text.to_owned()));
    };
    refused(b"-1", &[], "ERR Invalid TTL value, must be >= 0");
    refused(b"x", &[], "ERR value is not an integer or out of range");
    refused(b"9223372036854775807", &[], "ERR invalid expire time in 'restore' command");
    refused(b"0", &[b"FREQ", b"256"], "ERR Invalid FREQ value, must be >= 0 and <= 255");
    refused(b"0", &[b"IDLETIME", b"-1"], "ERR Invalid IDLETIME value, must be >= 0");
    refused(b"0", &[b"FREQ", b"3", b"IDLETIME", b"2"], SYNTAX);
    refused(b"0", &[b"IDLETIME", b"2", b"FREQ", b"3"], SYNTAX);
    refused(b"0", &[b"IDLETIME"], SYNTAX);
    refused(b"0", &[b"KEEP"], SYNTAX);
    refuse(&[("RESTORE k 0 abc", "ERR DUMP payload version or checksum are wrong")]);
}

#[test]
fn channels_and_operators_are_for_the_session() {
    let listen = |verb: &str, names: &str, patterned: bool, sharded: bool| {
        session(&format!(
            "{verb} {{ channels: [{names}], patterned: {patterned}, sharded: {sharded} }}"
        ))
    };
    let publish = |sharded: bool| {
        session(&format!("Publish {{ channel: b\"c\", message: b\"m\", sharded: {sharded} }}"))
    };
    let admin =
        |name: &str, args: &str| session(&format!("Admin {{ name: \"{name}\", args: [{args}] }}"));
    made(&[
        ("SUBSCRIBE a b", listen("Subscribe", "b\"a\", b\"b\"", false, false)),
        ("PSUBSCRIBE a*", listen("Subscribe", "b\"a*\"", true, false)),
        ("SSUBSCRIBE a", listen("Subscribe", "b\"a\"", false, true)),
        ("UNSUBSCRIBE", listen("Unsubscribe", "", false, false)),
        ("PUNSUBSCRIBE a*", listen("Unsubscribe", "b\"a*\"", true, false)),
        ("SUNSUBSCRIBE a", listen("Unsubscribe", "b\"a\"", false, true)),
        ("PUBLISH c m", publish(false)),
        ("SPUBLISH c m", publish(true)),
        ("PUBSUB NUMPAT", admin("pubsub", "b\"NUMPAT\"")),
        ("ACL WHOAMI", admin("acl", "b\"WHOAMI\"")),
        ("OBJECT FREQ k", admin("object", "b\"FREQ\", b\"k\"")),
        ("MEMORY DOCTOR", admin("memory", "b\"DOCTOR\"")),
        ("SWAPDB 0 0", admin("swapdb", "b\"0\", b\"0\"")),
        ("READONLY", admin("readonly", "")),
    ]);
    refuse(&[
        ("SWAPDB 0 1", "ERR DB index is out of range"),
        ("SWAPDB x 0", "ERR invalid first DB index"),
        ("SWAPDB 0 x", "ERR invalid second DB index"),
        ("MOVE k 0", "ERR source and destination objects are the same"),
        ("MOVE k 1", "ERR DB index is out of range"),
        ("REPLICAOF h 1", "ERR REPLICAOF not allowed in cluster mode."),
        ("SLAVEOF NO ONE", "ERR SLAVEOF not allowed in cluster mode."),
        ("MONITOR", "ERR MONITOR is not supported: no node sees all requests; see SLOWLOG"),
        ("SUBSCRIBE", "ERR wrong number of arguments for 'subscribe' command"),
        ("EVAL x 0", "ERR unknown command 'EVAL', with args beginning with: 'x' '0' "),
    ]);
}
