//! Goal: commands of values and keys are read as Redis reads them, and refused in Redis's words.
//!
//! Method: as in `parse.rs`: a request, and either the command it makes or the text that refuses
//! it.
//!
//! Mutants killed: seconds taken for milliseconds, NX taken for XX, a negative expiry let through,
//! options checked after the time.

mod common;

use bitroster_command::{ParseLimits, parse};
use common::{error, made, read, refuse, write};

const INTEGER: &str = "ERR value is not an integer or out of range";
const SYNTAX: &str = "ERR syntax error";

/// SET of `v` to `k`.
fn set(existence: &str, expiry: &str, reply: &str) -> String {
    write(&format!(
        "Set {{ key: \"k\", value: b\"v\", existence: {existence}, expiry: {expiry}, \
         reply: {reply} }}"
    ))
}

#[test]
fn set_takes_a_condition_an_expiry_and_get() {
    made(&[
        ("SET k v", set("None", "Clear", "Status")),
        ("set k v nx", set("Some(IfAbsent)", "Clear", "Status")),
        ("SET k v XX XX", set("Some(IfPresent)", "Clear", "Status")),
        ("SET k v GET", set("None", "Clear", "Old")),
        ("SET k v NX GET", set("Some(IfAbsent)", "Clear", "Old")),
        ("SET k v EX 10", set("None", "In(10000)", "Status")),
        ("SET k v PX 10 XX", set("Some(IfPresent)", "In(10)", "Status")),
        ("SET k v EXAT 10", set("None", "At(UnixMillis(10000))", "Status")),
        ("SET k v pxat 10", set("None", "At(UnixMillis(10))", "Status")),
        ("SET k v KEEPTTL KEEPTTL", set("None", "Keep", "Status")),
        ("SET k v EX 1 EX 2", set("None", "In(2000)", "Status")),
        ("SETNX k v", set("Some(IfAbsent)", "Clear", "Changed")),
        ("SETEX k 5 v", set("None", "In(5000)", "Status")),
        ("PSETEX k 5 v", set("None", "In(5)", "Status")),
        ("GETSET k v", set("None", "Clear", "Old")),
    ]);
}

#[test]
fn set_refuses_options_that_exclude_each_other_before_it_reads_times() {
    for options in [
        "NX XX",
        "XX NX",
        "EX",
        "EX 1 PX 1",
        "EX x PX 1",
        "PX 1 EXAT 1",
        "EX 1 KEEPTTL",
        "KEEPTTL PXAT 1",
        "PERSIST",
        "bogus",
        "EX x bogus",
        "EX 1 2",
    ] {
        refuse(&[(&format!("SET k v {options}"), SYNTAX)]);
    }
    refuse(&[
        ("SET k v EX x", INTEGER),
        ("SET k v EX EX", INTEGER),
        ("SET k v EX 0", "ERR invalid expire time in 'set' command"),
        ("SET k v PXAT -1", "ERR invalid expire time in 'set' command"),
        ("SET k v EX 9223372036854776", "ERR invalid expire time in 'set' command"),
        ("SET k v PX 9223372036854775807", "ERR invalid expire time in 'set' command"),
        ("SETEX k x v", INTEGER),
        ("SETEX k 0 v", "ERR invalid expire time in 'setex' command"),
        ("PSETEX k -1 v", "ERR invalid expire time in 'psetex' command"),
        ("SETEX k 9223372036854775807 v", "ERR invalid expire time in 'setex' command"),
    ]);
    made(&[(
        "SET k v PXAT 9223372036854775807",
        set("None", "At(UnixMillis(9223372036854775807))", "Status"),
    )]);
}

#[test]
fn getex_is_a_read_unless_it_changes_the_expiry() {
    made(&[
        ("GETEX k", read("Get { key: \"k\" }")),
        ("GETEX k PERSIST", write("GetEx { key: \"k\", expiry: Clear }")),
        ("getex k ex 10", write("GetEx { key: \"k\", expiry: In(10000) }")),
        ("GETEX k PX 10", write("GetEx { key: \"k\", expiry: In(10) }")),
        ("GETEX k EXAT 10", write("GetEx { key: \"k\", expiry: At(UnixMillis(10000)) }")),
        ("GETEX k PXAT 10", write("GetEx { key: \"k\", expiry: At(UnixMillis(10)) }")),
        ("GETDEL k", write("GetDel { key: \"k\" }")),
    ]);
    refuse(&[
        ("GETEX k KEEPTTL", SYNTAX),
        ("GETEX k NX", SYNTAX),
        ("GETEX k EX", SYNTAX),
        ("GETEX k PERSIST EX 1", SYNTAX),
        ("GETEX k EX 1 PERSIST", SYNTAX),
        ("GETEX k EX x", INTEGER),
        ("GETEX k EX 0", "ERR invalid expire time in 'getex' command"),
    ]);
}

#[test]
fn values_are_read_and_written_whole_or_in_ranges() {
    made(&[
        ("GET k", read("Get { key: \"k\" }")),
        ("MGET a b a", read("MGet { keys: [\"a\", \"b\", \"a\"] }")),
        ("STRLEN k", read("StrLen { key: \"k\" }")),
        ("GETRANGE k 0 -1", read("GetRange { key: \"k\", start: 0, end: -1 }")),
        ("SUBSTR k -3 2", read("GetRange { key: \"k\", start: -3, end: 2 }")),
        ("APPEND k v", write("Append { key: \"k\", value: b\"v\" }")),
        ("SETRANGE k 5 v", write("SetRange { key: \"k\", offset: 5, value: b\"v\" }")),
        (
            "MSET a 1 b 2",
            write("MSet { pairs: [(\"a\", b\"1\"), (\"b\", b\"2\")], only_if_none: false }"),
        ),
        ("MSETNX a 1", write("MSet { pairs: [(\"a\", b\"1\")], only_if_none: true }")),
    ]);
    refuse(&[
        ("GETRANGE k x y", INTEGER),
        ("GETRANGE k 0 y", INTEGER),
        ("SETRANGE k x v", INTEGER),
        ("SETRANGE k -1 v", "ERR offset is out of range"),
        ("SETRANGE k 536870912 v", "ERR string exceeds maximum allowed size (proto-max-bulk-len)"),
        (
            "SETRANGE k 9223372036854775807 v",
            "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
        ),
        ("MSET a 1 b", "ERR wrong number of arguments for 'mset' command"),
        ("MSETNX a 1 b", "ERR wrong number of arguments for 'msetnx' command"),
    ]);
    made(&[("SETRANGE k 536870911 v", {
        write("SetRange { key: \"k\", offset: 536870911, value: b\"v\" }")
    })]);
}

#[test]
fn an_empty_setrange_writes_nothing_wherever() {
    let made = parse(&[b"setrange", b"k", b"9223372036854775807", b""], &ParseLimits::default());
    assert_eq!(format!("{made:?}"), "Ok(Write(SetRange { key: \"k\", offset: 0, value: b\"\" }))");
}

#[test]
fn a_value_past_the_limit_is_refused() {
    let limits = ParseLimits { bulk_bytes_max: 3, ..ParseLimits::default() };
    assert!(parse(&[b"set", b"k", b"123"], &limits).is_ok());
    for request in [&[&b"set"[..], b"k", b"1234"][..], &[b"append", b"k", b"1234"]] {
        let refused = parse(request, &limits).expect_err("too long");
        assert_eq!(
            refused.to_string(),
            "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
        );
    }
}

#[test]
fn counters_step_by_any_integer_but_the_least() {
    made(&[
        ("INCR k", write("IncrBy { key: \"k\", by: 1 }")),
        ("DECR k", write("IncrBy { key: \"k\", by: -1 }")),
        ("INCRBY k -5", write("IncrBy { key: \"k\", by: -5 }")),
        ("INCRBY k -9223372036854775808", write("IncrBy { key: \"k\", by: -9223372036854775808 }")),
        ("DECRBY k 5", write("IncrBy { key: \"k\", by: -5 }")),
    ]);
    refuse(&[
        ("INCRBY k x", INTEGER),
        ("INCRBY k 1.5", INTEGER),
        ("DECRBY k x", INTEGER),
        ("DECRBY k -9223372036854775808", "ERR decrement would overflow"),
    ]);
}

#[test]
fn keys_are_deleted_counted_renamed_and_copied() {
    made(&[
        ("DEL a b", write("Delete { keys: [\"a\", \"b\"] }")),
        ("UNLINK a", write("Delete { keys: [\"a\"] }")),
        ("EXISTS a a", read("Exists { keys: [\"a\", \"a\"] }")),
        ("TOUCH a", read("Exists { keys: [\"a\"] }")),
        ("TYPE k", read("Type { key: \"k\" }")),
        ("PERSIST k", write("Persist { key: \"k\" }")),
        ("RENAME a b", write("Rename { source: \"a\", target: \"b\", only_if_new: false }")),
        ("RENAMENX a a", write("Rename { source: \"a\", target: \"a\", only_if_new: true }")),
        ("COPY a b", write("Copy { source: \"a\", target: \"b\", replace: false }")),
        ("copy a b db 0 replace", write("Copy { source: \"a\", target: \"b\", replace: true }")),
        ("DBSIZE", read("DbSize")),
        ("RANDOMKEY", read("RandomKey")),
        ("FLUSHALL", write("Flush")),
        ("flushall async", write("Flush")),
        ("FLUSHDB SYNC", write("Flush")),
    ]);
    refuse(&[
        ("COPY a a", "ERR source and destination objects are the same"),
        ("COPY a b DB", SYNTAX),
        ("COPY a b bogus", SYNTAX),
        ("COPY a a bogus", SYNTAX),
        ("COPY a b DB x", INTEGER),
        ("COPY a b DB 1", "ERR DB index is out of range"),
        ("COPY a b DB 1 bogus", "ERR DB index is out of range"),
        (
            "COPY a b DB 2147483648",
            "ERR value is out of range, value must between -2147483648 and 2147483647",
        ),
        ("FLUSHALL bogus", SYNTAX),
        ("FLUSHDB SYNC ASYNC", SYNTAX),
    ]);
}

/// An EXPIRE of `k` with the conditions that hold.
fn expire(expiry: &str, conditions: &[&str]) -> String {
    let [none, some, later, earlier] =
        ["if_none", "if_some", "if_later", "if_earlier"].map(|name| conditions.contains(&name));
    write(&format!(
        "Expire {{ key: \"k\", expiry: {expiry}, condition: ExpiryCondition {{ if_none: {none}, \
         if_some: {some}, if_later: {later}, if_earlier: {earlier} }} }}"
    ))
}

#[test]
fn expiries_stay_relative_or_absolute_as_given() {
    made(&[
        ("EXPIRE k 10", expire("In(10000)", &[])),
        ("PEXPIRE k 10", expire("In(10)", &[])),
        ("EXPIREAT k 10", expire("At(UnixMillis(10000))", &[])),
        ("PEXPIREAT k 10", expire("At(UnixMillis(10))", &[])),
        ("EXPIRE k -1", expire("In(-1000)", &[])),
        ("EXPIREAT k -5", expire("At(UnixMillis(0))", &[])),
        ("PEXPIRE k -9223372036854775808", expire("In(-9223372036854775808)", &[])),
        ("EXPIRE k 10 nx", expire("In(10000)", &["if_none"])),
        ("EXPIRE k 10 XX GT", expire("In(10000)", &["if_some", "if_later"])),
        ("EXPIRE k 10 LT LT", expire("In(10000)", &["if_earlier"])),
    ]);
    let form = |millis: bool, absolute: bool| {
        read(&format!(
            "Ttl {{ key: \"k\", form: TimeForm {{ millis: {millis}, absolute: {absolute} }} }}"
        ))
    };
    made(&[
        ("TTL k", form(false, false)),
        ("PTTL k", form(true, false)),
        ("EXPIRETIME k", form(false, true)),
        ("PEXPIRETIME k", form(true, true)),
    ]);
}

#[test]
fn expire_checks_its_options_before_its_time() {
    const NX: &str = "ERR NX and XX, GT or LT options at the same time are not compatible";
    refuse(&[
        ("EXPIRE k x FOO", "ERR Unsupported option FOO"),
        ("EXPIRE k x NX XX", NX),
        ("EXPIRE k 1 GT NX", NX),
        ("EXPIRE k 1 NX LT GT", NX),
        ("EXPIRE k x GT LT", "ERR GT and LT options at the same time are not compatible"),
        ("EXPIRE k x", INTEGER),
        ("EXPIRE k 9223372036854776", "ERR invalid expire time in 'expire' command"),
        ("EXPIRE k -9223372036854776", "ERR invalid expire time in 'expire' command"),
        ("PEXPIRE k 9223372036854775807", "ERR invalid expire time in 'pexpire' command"),
        ("EXPIREAT k 9223372036854776", "ERR invalid expire time in 'expireat' command"),
    ]);
    assert_eq!(error(&[b"expire", b"k", b"1", b"a\r\nb"]), "ERR Unsupported option a  b");
}

#[test]
fn scan_takes_a_cursor_and_options_in_pairs() {
    let scan = |cursor: u64, pattern: &str, count: u64, type_matches: bool| {
        read(&format!(
            "Scan {{ cursor: {cursor}, pattern: {pattern}, count: {count}, \
             type_matches: {type_matches} }}"
        ))
    };
    made(&[
        ("SCAN 0", scan(0, "None", 10, true)),
        ("SCAN 18446744073709551615", scan(u64::MAX, "None", 10, true)),
        ("scan 7 match a* count 5 type String", scan(7, "Some(b\"a*\")", 5, true)),
        ("SCAN 7 TYPE list", scan(7, "None", 10, false)),
        ("KEYS a?", read("Keys { pattern: b\"a?\" }")),
    ]);
    refuse(&[
        ("SCAN x", "ERR invalid cursor"),
        ("SCAN -1 bogus", "ERR invalid cursor"),
        ("SCAN 18446744073709551616", "ERR invalid cursor"),
        ("SCAN 0 COUNT", SYNTAX),
        ("SCAN 0 COUNT x", INTEGER),
        ("SCAN 0 COUNT 0", SYNTAX),
        ("SCAN 0 COUNT -1", SYNTAX),
        ("SCAN 0 bogus 1", SYNTAX),
        ("SCAN 0 MATCH", SYNTAX),
    ]);
}
