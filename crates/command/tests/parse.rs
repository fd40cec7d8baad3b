//! Goal: every command is read as Redis reads it, and refused in Redis's words.
//!
//! Method: one table a group: a request, and either the command it makes or the text that refuses
//! it. Order of checks is pinned by requests with two mistakes. Made-up requests must not panic.
//!
//! Mutants killed: an option accepted twice or not at all, checks in another order, `is` that
//! minds the case, seconds not multiplied, a limit off by one.

mod common;

use bitroster_command::{COMMANDS, Command, Expiry, ParseLimits, ReadCommand, WriteCommand, parse};
use bitroster_types::limits::{BITMAP_BITS_MAX, KEY_BYTES_MAX};
use common::{error, made, read, refuse, session, write};
use proptest::prelude::*;

#[test]
fn an_unknown_command_is_refused_as_redis_7_0_does() {
    refuse(&[
        ("NOPE", "ERR unknown command 'NOPE', with args beginning with: "),
        ("nope a bc", "ERR unknown command 'nope', with args beginning with: 'a' 'bc' "),
        ("SETBITS k", "ERR unknown command 'SETBITS', with args beginning with: 'k' "),
    ]);
    let long = "x".repeat(200);
    let cut = "x".repeat(128);
    assert_eq!(
        error(&[long.as_bytes(), long.as_bytes(), b"next"]),
        format!("ERR unknown command '{cut}', with args beginning with: '{cut}' ")
    );
    assert_eq!(
        error(&[b"no\r\npe", b"a\nb\0c"]),
        "ERR unknown command 'no  pe', with args beginning with: 'a b' "
    );
    assert_eq!(error(&[]), "ERR unknown command '', with args beginning with: ");
    assert_eq!(error(&[b""]), "ERR unknown command '', with args beginning with: ");
}

#[test]
fn too_few_or_too_many_arguments_are_refused_for_every_command() {
    for spec in COMMANDS {
        let bound = usize::from(spec.arity.unsigned_abs());
        let text = format!("ERR wrong number of arguments for '{}' command", spec.name);
        let few = vec![spec.name.as_bytes(); bound - 1];
        if few.len() > 1 || bound == 2 {
            assert_eq!(error(&few), text);
        }
        if spec.arity > 0 {
            let name = spec.name.to_ascii_uppercase();
            assert_eq!(error(&vec![name.as_bytes(); bound + 1]), text);
        }
    }
}

#[test]
fn setbit_and_getbit_take_offsets_below_the_limit() {
    made(&[
        ("SETBIT k 0 1", write("SetBit { key: \"k\", offset: 0, value: true }")),
        ("setbit k 4294967295 0", write("SetBit { key: \"k\", offset: 4294967295, value: false }")),
        ("GetBit k 7", read("GetBit { key: \"k\", offset: 7 }")),
    ]);
    for bad in ["-1", "+1", "01", "-0", "1.0", "4294967296", "18446744073709551616", "#1", ""] {
        for request in
            [&[&b"setbit"[..], b"k", bad.as_bytes(), b"2"][..], &[b"getbit", b"k", bad.as_bytes()]]
        {
            assert_eq!(error(request), "ERR bit offset is not an integer or out of range");
        }
    }
    for bad in ["2", "-1", "01", "true", ""] {
        assert_eq!(
            error(&[b"setbit", b"k", b"0", bad.as_bytes()]),
            "ERR bit is not an integer or out of range"
        );
    }
}

#[test]
fn offsets_follow_the_configured_limit() {
    let limits = ParseLimits { bitmap_bits_max: BITMAP_BITS_MAX, ..ParseLimits::default() };
    let last = (BITMAP_BITS_MAX - 1).to_string();
    assert!(parse(&[b"setbit", b"k", last.as_bytes(), b"1"], &limits).is_ok());
    let past = BITMAP_BITS_MAX.to_string();
    assert!(parse(&[b"setbit", b"k", past.as_bytes(), b"1"], &limits).is_err());
    // A field may pass the limit but not the largest bitmap.
    assert!(parse(&[b"bitfield", b"k", b"set", b"u1", last.as_bytes(), b"1"], &limits).is_ok());
    assert!(parse(&[b"bitfield", b"k", b"set", b"u2", last.as_bytes(), b"1"], &limits).is_err());
}

#[test]
fn bitcount_takes_a_whole_range_or_none() {
    made(&[
        ("BITCOUNT k", read("BitCount { key: \"k\", range: None }")),
        (
            "BITCOUNT k 0 -1",
            read(
                "BitCount { key: \"k\", range: Some(IndexRange { start: 0, end: -1, unit: Byte \
                 }) }",
            ),
        ),
        (
            "bitcount k -5 2 bIt",
            read(
                "BitCount { key: \"k\", range: Some(IndexRange { start: -5, end: 2, unit: Bit }) }",
            ),
        ),
    ]);
    refuse(&[
        ("BITCOUNT k 0", "ERR syntax error"),
        ("BITCOUNT k a", "ERR syntax error"),
        ("BITCOUNT k a 1", "ERR value is not an integer or out of range"),
        ("BITCOUNT k 0 b bogus", "ERR value is not an integer or out of range"),
        ("BITCOUNT k 0 1 bogus", "ERR syntax error"),
        ("BITCOUNT k 0 1 BIT x", "ERR syntax error"),
    ]);
}

#[test]
fn bitpos_checks_the_bit_then_the_start_then_the_unit_then_the_end() {
    made(&[
        (
            "BITPOS k 1",
            read("BitPos { key: \"k\", bit: true, start: None, end: None, unit: Byte }"),
        ),
        (
            "BITPOS k 0 2",
            read("BitPos { key: \"k\", bit: false, start: Some(2), end: None, unit: Byte }"),
        ),
        (
            "bitpos k 0 2 -1 BIT",
            read("BitPos { key: \"k\", bit: false, start: Some(2), end: Some(-1), unit: Bit }"),
        ),
    ]);
    refuse(&[
        ("BITPOS k x", "ERR value is not an integer or out of range"),
        ("BITPOS k 2", "ERR The bit argument must be 1 or 0."),
        ("BITPOS k 2 x", "ERR The bit argument must be 1 or 0."),
        ("BITPOS k 1 0 BIT", "ERR value is not an integer or out of range"),
        ("BITPOS k 1 x 0 bogus", "ERR value is not an integer or out of range"),
        ("BITPOS k 1 0 x bogus", "ERR syntax error"),
        ("BITPOS k 1 0 x BIT", "ERR value is not an integer or out of range"),
        ("BITPOS k 1 x 1 BIT more", "ERR syntax error"),
    ]);
}

#[test]
fn bitop_and_bitopcard_know_eight_operations() {
    for (name, logic) in [
        ("AND", "And"),
        ("or", "Or"),
        ("Xor", "Xor"),
        ("DIFF", "Diff"),
        ("diff1", "Diff1"),
        ("ANDOR", "AndOr"),
        ("one", "One"),
    ] {
        made(&[
            (
                &format!("BITOP {name} d a b"),
                write(&format!(
                    "BitOp {{ logic: {logic}, target: \"d\", sources: [\"a\", \"b\"] }}"
                )),
            ),
            (
                &format!("BITOPCARD {name} a b"),
                read(&format!("BitOpCard {{ logic: {logic}, sources: [\"a\", \"b\"] }}")),
            ),
        ]);
    }
    made(&[("BITOP not d a", write("BitOp { logic: Not, target: \"d\", sources: [\"a\"] }"))]);
    refuse(&[
        ("BITOP NAND d a b", "ERR syntax error"),
        ("BITOP not d a b", "ERR BITOP NOT must be called with a single source key."),
        ("BITOP diff d a", "ERR BITOP DIFF must be called with at least two source keys."),
        ("BITOP DIFF1 d a", "ERR BITOP DIFF1 must be called with at least two source keys."),
        ("BITOP AndOr d a", "ERR BITOP ANDOR must be called with at least two source keys."),
        ("BITOPCARD NOT a b", "ERR BITOPCARD NOT must be called with a single source key."),
        ("BITOPCARD ANDOR a", "ERR BITOPCARD ANDOR must be called with at least two source keys."),
        ("BITOPCARD x a", "ERR syntax error"),
    ]);
}

#[test]
fn bitfield_without_a_write_is_a_read() {
    made(&[
        ("BITFIELD k", read("BitFieldRo { key: \"k\", fields: [] }")),
        ("BITFIELD k OVERFLOW SAT", read("BitFieldRo { key: \"k\", fields: [] }")),
        (
            "BITFIELD k get u8 0 overflow fail GET i64 #2",
            read(
                "BitFieldRo { key: \"k\", fields: [\
                 Field { kind: FieldType { signed: false, width: 8 }, offset: 0 }, \
                 Field { kind: FieldType { signed: true, width: 64 }, offset: 128 }] }",
            ),
        ),
        (
            "BITFIELD_RO k OVERFLOW WRAP GET u63 5",
            read(
                "BitFieldRo { key: \"k\", fields: [\
                 Field { kind: FieldType { signed: false, width: 63 }, offset: 5 }] }",
            ),
        ),
        ("BITFIELD_RO k", read("BitFieldRo { key: \"k\", fields: [] }")),
    ]);
}

#[test]
fn overflow_holds_for_the_operations_after_it() {
    made(&[(
        "BITFIELD k SET u8 0 255 OVERFLOW sat INCRBY i5 #1 -3 OVERFLOW FAIL GET u1 9",
        write(
            "BitField { key: \"k\", ops: [\
             FieldOp { field: Field { kind: FieldType { signed: false, width: 8 }, offset: 0 }, \
             action: Set(255), overflow: Wrap }, \
             FieldOp { field: Field { kind: FieldType { signed: true, width: 5 }, offset: 5 }, \
             action: IncrBy(-3), overflow: Sat }, \
             FieldOp { field: Field { kind: FieldType { signed: false, width: 1 }, offset: 9 }, \
             action: Get, overflow: Fail }] }",
        ),
    )]);
}

#[test]
fn bitfield_refuses_in_order_of_name_type_offset_value() {
    const TYPE: &str = "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not \
                        supported but i64 is.";
    for bad in ["u64", "i65", "u0", "i0", "U8", "u08", "u-1", "u", "8", "x8", "u256", "u+1"] {
        refuse(&[(&format!("BITFIELD k GET {bad} x"), TYPE)]);
    }
    const OFFSET: &str = "ERR bit offset is not an integer or out of range";
    for bad in ["x", "-1", "#", "#-1", "#x", "4294967296", "#536870912", "#2305843009213693952"] {
        refuse(&[(&format!("BITFIELD k SET u8 {bad} x"), OFFSET)]);
    }
    refuse(&[
        ("BITFIELD k SET u8 0 x", "ERR value is not an integer or out of range"),
        (
            "BITFIELD k INCRBY u8 0 9223372036854775808",
            "ERR value is not an integer or out of range",
        ),
        ("BITFIELD k GET u8", "ERR syntax error"),
        ("BITFIELD k SET u99 0", "ERR syntax error"),
        ("BITFIELD k bogus u8 0", "ERR syntax error"),
        ("BITFIELD k OVERFLOW", "ERR syntax error"),
        ("BITFIELD k OVERFLOW bogus", "ERR Invalid OVERFLOW type specified"),
        ("BITFIELD k GET u8 0 GET", "ERR syntax error"),
        ("BITFIELD_RO k SET u8 0 1", "ERR BITFIELD_RO only supports the GET subcommand"),
        ("BITFIELD_RO k INCRBY u8 0 abc", "ERR value is not an integer or out of range"),
        ("BITFIELD_RO k SET u8 0 1 GET u99 0", TYPE),
    ]);
    // The first bit of a field may be the last of all.
    assert!(
        parse(&[b"bitfield", b"k", b"set", b"u8", b"4294967295", b"1"], &ParseLimits::default())
            .is_ok()
    );
}

#[test]
fn a_session_answers_what_touches_no_key() {
    made(&[
        ("PING", session("Ping { message: None }")),
        ("ping hi", session("Ping { message: Some(b\"hi\") }")),
        ("ECHO hi", session("Echo { message: b\"hi\" }")),
        ("HELLO", session("Hello { version: None, auth: None, name: None }")),
        ("HELLO 3", session("Hello { version: Some(3), auth: None, name: None }")),
        (
            "hello 2 setname n auth u p",
            session("Hello { version: Some(2), auth: Some((b\"u\", b\"p\")), name: Some(b\"n\") }"),
        ),
        ("AUTH p", session("Auth { user: None, password: b\"p\" }")),
        ("AUTH u p", session("Auth { user: Some(b\"u\"), password: b\"p\" }")),
        ("SELECT 0", session("Select { index: 0 }")),
        ("SELECT -3", session("Select { index: -3 }")),
        ("QUIT", session("Quit")),
        ("quit now", session("Quit")),
        ("RESET", session("Reset")),
        ("MULTI", session("Multi")),
        ("EXEC", session("Exec")),
        ("DISCARD", session("Discard")),
        ("WATCH a b", session("Watch { keys: [\"a\", \"b\"] }")),
        ("UNWATCH", session("Unwatch")),
        ("TIME", session("Time")),
        ("WAIT 1 100", session("Wait { replicas: 1, timeout_ms: 100 }")),
        ("INFO", session("Info { sections: [] }")),
        ("INFO Server CPU", session("Info { sections: [\"server\", \"cpu\"] }")),
        ("CLIENT SETNAME Me", session("Admin { name: \"client\", args: [b\"SETNAME\", b\"Me\"] }")),
        ("COMMAND", session("Admin { name: \"command\", args: [] }")),
        ("config get x", session("Admin { name: \"config\", args: [b\"get\", b\"x\"] }")),
        ("CLUSTER INFO", session("Admin { name: \"cluster\", args: [b\"INFO\"] }")),
        ("BGSAVE", session("Admin { name: \"bgsave\", args: [] }")),
        ("LASTSAVE", session("Admin { name: \"lastsave\", args: [] }")),
    ]);
}

#[test]
fn session_commands_are_refused_in_redis_words() {
    refuse(&[
        ("PING a b", "ERR wrong number of arguments for 'ping' command"),
        ("HELLO x", "ERR Protocol version is not an integer or out of range"),
        ("HELLO 4", "NOPROTO unsupported protocol version"),
        ("HELLO 1 bogus", "NOPROTO unsupported protocol version"),
        ("HELLO 3 bogus", "ERR Syntax error in HELLO option 'bogus'"),
        ("HELLO 3 AUTH u", "ERR Syntax error in HELLO option 'AUTH'"),
        ("HELLO 3 SETNAME", "ERR Syntax error in HELLO option 'SETNAME'"),
        ("AUTH a b c", "ERR syntax error"),
        ("SELECT x", "ERR value is not an integer or out of range"),
        (
            "SELECT 2147483648",
            "ERR value is out of range, value must between -2147483648 and 2147483647",
        ),
        ("WAIT x x", "ERR value is not an integer or out of range"),
        ("WAIT 1 x", "ERR timeout is not an integer or out of range"),
        ("WAIT 1 -1", "ERR timeout is negative"),
    ]);
    assert_eq!(
        error(&[b"hello", b"3", b"setname", b"a b"]),
        "ERR Client names cannot contain spaces, newlines or special characters."
    );
}

#[test]
fn a_key_past_the_limit_is_refused_by_length() {
    let key = vec![b'k'; KEY_BYTES_MAX + 1];
    let text = "ERR key of 65537 bytes is longer than 65536";
    assert_eq!(error(&[b"setbit", &key, b"0", b"1"]), text);
    assert_eq!(error(&[b"mset", b"a", b"1", &key, b"2"]), text);
    assert_eq!(error(&[b"rename", b"a", &key]), text);
    assert!(parse(&[b"get", &key[1..]], &ParseLimits::default()).is_ok());
    assert!(parse(&[b"get", b""], &ParseLimits::default()).is_ok());
}

#[test]
fn keys_and_values_hold_any_bytes() {
    let bytes: Vec<u8> = (0..=255).collect();
    let made = parse(&[b"set", &bytes, &bytes], &ParseLimits::default());
    let Ok(Command::Write(WriteCommand::Set { key, value, expiry, .. })) = made else {
        panic!("{made:?}");
    };
    assert_eq!((key.as_bytes(), &value[..], expiry), (&bytes[..], &bytes[..], Expiry::Clear));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5000))]

    #[test]
    fn made_up_requests_never_panic(
        row in 0..COMMANDS.len(),
        args in prop::collection::vec(
            prop_oneof![
                "[A-Za-z]{1,8}",
                "-?[0-9]{1,20}",
                prop::sample::select(vec!["EX", "NX", "GET", "u8", "#1", "SET", "COUNT", "DB", ""])
                    .prop_map(str::to_owned),
            ],
            0..8,
        ),
    ) {
        let mut request = vec![COMMANDS[row].name.as_bytes()];
        request.extend(args.iter().map(String::as_bytes));
        match parse(&request, &ParseLimits::default()) {
            Ok(_) => prop_assert!(COMMANDS[row].takes(request.len())),
            Err(error) => prop_assert!(!error.to_string().contains(['\r', '\n'])),
        }
    }

    #[test]
    fn every_offset_below_the_limit_is_taken(offset in 0..1_u64 << 32, key in "[a-z:]{0,30}") {
        let text = offset.to_string();
        let made = parse(
            &[b"getbit", key.as_bytes(), text.as_bytes()],
            &ParseLimits::default(),
        );
        let Ok(Command::Read(ReadCommand::GetBit { key: found, offset: at })) = made else {
            return Err(TestCaseError::fail(format!("{made:?}")));
        };
        prop_assert_eq!((found.as_bytes(), at), (key.as_bytes(), offset));
    }
}
