//! Goal: our own commands make what their syntax says, and refuse all else with a text that helps.
//!
//! Method: each request beside the command it makes, written as `Debug` has it, or its refusal;
//! sets are decoded and listed.

mod common;

use bitroster_bitmap::Bitmap;
use bitroster_command::{
    Command, Composite, MergeMode, ParseLimits, WriteCommand, composite::Expression, parse,
};
use bitroster_types::Key;
use common::{composite, error, made, read, refuse, write};

const OFFSET: &str = "ERR bit offset is not an integer or out of range";
const SYNTAX: &str = "ERR syntax error";
const RANGE: &str = "ERR the range ends before it begins";
const LIMIT: &str = "ERR limit is not an integer or out of range";

fn command(line: &str) -> Command {
    let args: Vec<_> = line.split(' ').map(str::as_bytes).collect();
    parse(&args, &ParseLimits::default()).unwrap_or_else(|error| panic!("{line}: {error}"))
}

/// The mode, the set bits and the length in bytes of a merge.
fn merge(line: &str) -> (MergeMode, Vec<u64>, u64) {
    let Command::Write(WriteCommand::Merge { key, mode, bits }) = command(line) else {
        panic!("{line} is no merge")
    };
    assert_eq!(&*key, b"k");
    let set = Bitmap::decode(&bits).expect("a set");
    (mode, set.iter_set(0..u64::MAX).collect(), set.len_bytes())
}

#[test]
fn many_bits_make_one_merge() {
    assert_eq!(merge("BM.SETBITS k 9 0 9"), (MergeMode::Or, vec![0, 9], 2));
    assert_eq!(merge("bm.clearbits k 7"), (MergeMode::AndNot, vec![7], 1));
    assert_eq!(merge("BM.SETRANGE k 3 5"), (MergeMode::Or, vec![3, 4, 5], 1));
    assert_eq!(merge("BM.SETRANGE k 7 8 1"), (MergeMode::Or, vec![7, 8], 2));
    assert_eq!(merge("BM.SETRANGE k 5 5 0"), (MergeMode::AndNot, vec![5], 1));
    assert_eq!(merge("BM.FLIPRANGE k 0 1"), (MergeMode::Xor, vec![0, 1], 1));
    assert_eq!(merge("TR.CLEARBITS k 7"), merge("BM.CLEARBITS k 7"));
    assert_eq!(merge("TR.SETRANGE k 3 5"), merge("BM.SETRANGE k 3 5"));
    assert_eq!(merge("TR.FLIPRANGE k 3 5"), merge("BM.FLIPRANGE k 3 5"));
    assert_eq!(merge("R64.CLEARBITS k 7 1 COUNT"), merge("BM.CLEARBITS k 1 7"));
    let whole = command("BM.SETRANGE k 0 4294967295");
    let Command::Write(WriteCommand::Merge { bits, .. }) = whole else { panic!("no merge") };
    assert_eq!(Bitmap::decode(&bits).unwrap().cardinality(), 1 << 32);
    refuse(&[
        ("BM.SETBITS k", "ERR wrong number of arguments for 'bm.setbits' command"),
        ("BM.SETBITS k 1 x", OFFSET),
        ("BM.SETBITS k 4294967296", OFFSET),
        ("BM.CLEARBITS k -1", OFFSET),
        ("BM.SETRANGE k 5 4", RANGE),
        ("BM.SETRANGE k 0 4294967296", OFFSET),
        ("BM.SETRANGE k 0 1 2", "ERR bit is not an integer or out of range"),
        ("BM.SETRANGE k 0 1 1 1", SYNTAX),
        ("BM.FLIPRANGE k 5 4", RANGE),
        ("BM.GETBITS k 1 x", OFFSET),
        ("R.CLEARBITS k 1 2", "ERR R.CLEARBITS needs COUNT as its last argument"),
        ("R.CLEARBITS k COUNT", "ERR wrong number of arguments for 'r.clearbits' command"),
    ]);
}

#[test]
fn a_range_of_too_many_bits_is_refused() {
    let limits = ParseLimits { bitmap_bits_max: 1 << 42, ..ParseLimits::default() };
    let text = |last: &str| {
        let args: [&[u8]; 4] = [b"BM.FLIPRANGE", b"k", b"1", last.as_bytes()];
        parse(&args, &limits).map(drop).map_err(|error| error.to_string())
    };
    let refusal = "ERR the range is longer than 68719476736 bits".to_owned();
    assert_eq!(text("68719476737"), Err(refusal));
    assert_eq!(text("100"), Ok(()));
}

#[test]
fn queries_ask_one_thing_of_an_expression() {
    let of = "Formula { steps: [Operand(0), Operand(1), And] }, keys: [\"a\", \"b\"] }";
    let query =
        |ask: &str| composite(&format!("Query {{ of: Expression {{ formula: {of}, ask: {ask} }}"));
    let list = |start: u64, limit: u64| {
        let range = format!("({start}, {})", u64::MAX);
        query(&format!("List {{ range: {range}, limit: {limit}, has_cursor: true }}"))
    };
    made(&[
        ("BM.QUERY COUNT a&b", query("Count")),
        ("bm.query list a&b", list(0, 1000)),
        ("BM.QUERY LIST a&b LIMIT 5 CURSOR 7", list(7, 5)),
        ("BM.QUERY SAMPLE a&b", query("Sample { count: 10 }")),
        ("BM.QUERY SAMPLE a&b LIMIT 3", query("Sample { count: 3 }")),
        ("BM.QUERY STORE d a&b", query("Store { target: \"d\" }")),
        ("BM.QUERY COUNT a&b UNIVERSE u", query("Count")),
    ]);
    refuse(&[
        ("BM.QUERY COUNT", "ERR wrong number of arguments for 'bm.query' command"),
        ("BM.QUERY COUNT a b", SYNTAX),
        ("BM.QUERY COUNT a UNIVERSE", SYNTAX),
        ("BM.QUERY COUNT a&", "ERR expression: expected a name at byte 2"),
        ("BM.QUERY COUNT ~a", "ERR '~' outside of an intersection needs UNIVERSE key"),
        ("BM.QUERY LIST a LIMIT 0", LIMIT),
        ("BM.QUERY LIST a LIMIT 1048577", LIMIT),
        ("BM.QUERY LIST a LIMIT", SYNTAX),
        ("BM.QUERY LIST a CURSOR -1", "ERR invalid cursor"),
        ("BM.QUERY SAMPLE a CURSOR 1", SYNTAX),
        ("BM.QUERY STORE d", SYNTAX),
    ]);
    let text = error(&[b"BM.QUERY", b"SUM", b"a"]);
    assert!(text.starts_with("ERR unknown subcommand 'SUM'. Try COUNT expression"), "{text}");
}

#[test]
fn a_complement_takes_its_universe() {
    let Command::Composite(found) = command("BM.QUERY COUNT ~a UNIVERSE u") else {
        panic!("no composite")
    };
    let Composite::Query { of: Expression { keys, .. }, .. } = *found else { panic!("no query") };
    assert_eq!(keys, [Key::new(b"a").unwrap(), Key::new(b"u").unwrap()]);
}

/// A query of the key `k` as it is.
fn ask(ask: &str) -> String {
    let of = "Expression { formula: Formula { steps: [Operand(0)] }, keys: [\"k\"] }";
    composite(&format!("Query {{ of: {of}, ask: {ask} }}"))
}

#[test]
fn offsets_of_one_key_are_listed_by_place_and_by_rank() {
    let list = |range: (u64, u64), limit: u64, has_cursor: bool| {
        ask(&format!("List {{ range: {range:?}, limit: {limit}, has_cursor: {has_cursor} }}"))
    };
    made(&[
        ("BM.SCAN k 0", list((0, u64::MAX), 1000, true)),
        ("BM.SCAN k 5 COUNT 7", list((5, u64::MAX), 7, true)),
        ("BM.SCAN k 5 MATCHRANGE 10 20 COUNT 7", list((10, 21), 7, true)),
        ("BM.SCAN k 15 MATCHRANGE 10 20", list((15, 21), 1000, true)),
        ("BM.SCAN k 30 MATCHRANGE 10 20", list((21, 21), 1000, true)),
        ("TR.SCAN k 0", list((0, u64::MAX), 10, true)),
        ("BM.RANGE k 3 5", list((3, 6), 1 << 20, false)),
        ("BM.RANGE k 3 5 LIMIT 2", list((3, 6), 2, false)),
        ("TR.RANGE k 3 3", list((3, 4), 1 << 20, false)),
        ("BM.SELECT k -1", ask("Select { rank: -1, count: None }")),
        ("BM.SELECT k 0 COUNT 3", ask("Select { rank: 0, count: Some(3) }")),
        ("BITRANGEINTARRAY k 2 4", ask("Select { rank: 2, count: Some(3) }")),
        ("R.RANGEINTARRAY k 0 0", ask("Select { rank: 0, count: Some(1) }")),
        ("R64.RANGEINTARRAY k 0 0", ask("Select { rank: 0, count: Some(1) }")),
        ("BM.MIN k", ask("Edge { last: false }")),
        ("BM.MAX k", ask("Edge { last: true }")),
        ("BM.DENSITY k 0 100 10", ask("Density { range: (0, 100), parts: 10 }")),
    ]);
    refuse(&[
        ("BM.SCAN k x", "ERR invalid cursor"),
        ("BM.SCAN k 0 COUNT 0", LIMIT),
        ("BM.SCAN k 0 COUNT", SYNTAX),
        ("BM.SCAN k 0 MATCHRANGE 1", SYNTAX),
        ("BM.SCAN k 0 MATCHRANGE 2 1", RANGE),
        ("BM.SCAN k 0 MATCH x", SYNTAX),
        ("BM.RANGE k 5 3", RANGE),
        ("BM.RANGE k -1 3", OFFSET),
        ("BM.RANGE k 1 3 LIMIT x", LIMIT),
        ("BM.RANGE k 1 3 COUNT 1", SYNTAX),
        ("BM.SELECT k x", "ERR value is not an integer or out of range"),
        ("BM.SELECT k 1 COUNT 0", LIMIT),
        ("BITRANGEINTARRAY k 2 1", RANGE),
        ("BITRANGEINTARRAY k -1 1", "ERR value is not an integer or out of range"),
        ("BITRANGEINTARRAY k 0 1048576", "ERR the range is longer than 1048576 offsets"),
        ("BM.DENSITY k 5 5 1", RANGE),
        ("BM.DENSITY k 0 5 0", "ERR parts is not an integer or out of range"),
        ("BM.DENSITY k 0 5 65537", "ERR parts is not an integer or out of range"),
        ("BM.DENSITY k x 5 1", OFFSET),
    ]);
}

#[test]
fn ranks_comparisons_and_figures_name_their_keys() {
    let compare = |a: &str, b: &str, relation: &str| {
        composite(&format!("Compare {{ a: \"{a}\", b: \"{b}\", relation: {relation} }}"))
    };
    made(&[
        ("BM.RANK k 9", composite("Rank { key: \"k\", offset: 9, absent: 0 }")),
        ("TR.RANK k 9", composite("Rank { key: \"k\", offset: 9, absent: -1 }")),
        ("BM.GETBITS k 1 2", composite("GetBits { key: \"k\", offsets: [1, 2] }")),
        ("BM.CONTAINS a b", compare("a", "b", "Contains")),
        ("TR.CONTAINS a b", compare("b", "a", "Contains")),
        ("R.CONTAINS a b", compare("a", "b", "Intersects")),
        ("R.CONTAINS a b ALL", compare("a", "b", "Contains")),
        ("R64.CONTAINS a b all_strict", compare("a", "b", "ContainsStrictly")),
        ("R.CONTAINS a b EQ", compare("a", "b", "Equal")),
        ("BM.INTERSECTS a b", compare("a", "b", "Intersects")),
        ("BM.JACCARD a b", compare("a", "b", "Jaccard { none: 0 }")),
        ("TR.JACCARD a b", compare("a", "b", "Jaccard { none: 0 }")),
        ("R.JACCARD a b", compare("a", "b", "Jaccard { none: -1 }")),
        ("BM.INFO k", composite("Info { key: \"k\" }")),
        ("MEMORY USAGE k", composite("MemoryUsage { key: \"k\" }")),
        ("memory usage k samples 0", composite("MemoryUsage { key: \"k\" }")),
        ("OBJECT ENCODING k", composite("ObjectEncoding { key: \"k\" }")),
        ("DUMP k", composite("Dump { key: \"k\" }")),
    ]);
    refuse(&[
        ("BM.RANK k x", OFFSET),
        ("R.CONTAINS a b ANY", SYNTAX),
        ("MEMORY USAGE", "ERR wrong number of arguments for 'memory|usage' command"),
        ("MEMORY USAGE k SAMPLES", SYNTAX),
        ("MEMORY USAGE k SAMPLES -1", SYNTAX),
        ("MEMORY USAGE k SAMPLES x", "ERR value is not an integer or out of range"),
        ("MEMORY USAGE k COUNT 1", SYNTAX),
        ("OBJECT ENCODING", "ERR wrong number of arguments for 'object|encoding' command"),
    ]);
}

#[test]
fn operations_of_other_modules_store_an_expression_or_count_it() {
    let stored = |steps: &str, keys: &str| {
        let of =
            format!("Expression {{ formula: Formula {{ steps: [{steps}] }}, keys: [{keys}] }}");
        composite(&format!("Query {{ of: {of}, ask: Store {{ target: \"d\" }} }}"))
    };
    let both = |step: &str| stored(&format!("Operand(0), Operand(1), {step}"), "\"a\", \"b\"");
    made(&[
        ("TR.BITOP d AND a b", both("And")),
        ("TR.BITOP d DIFF a b", both("AndNot")),
        ("R.BITOP OR d a b", both("Or")),
        ("R64.BITOP XOR d a b", both("Xor")),
        ("R.BITOP DIFF1 d b a", both("AndNot")),
        ("R.BITOP ANDOR d a b", stored("Operand(1), Operand(0), And", "\"a\", \"b\"")),
        ("R.BITOP OR d a", stored("Operand(0)", "\"a\"")),
        ("TR.BITOPCARD DIFF a b", read("BitOpCard { logic: Diff, sources: [\"a\", \"b\"] }")),
        ("TR.BITCOUNT k", read("BitCount { key: \"k\", range: None }")),
        (
            "TR.BITCOUNT k 3 9",
            read(
                "BitCount { key: \"k\", range: Some(IndexRange { start: 3, end: 9, unit: Bit }) }",
            ),
        ),
        ("R.BITCOUNT k", read("BitCount { key: \"k\", range: None }")),
        (
            "R.BITPOS k 0",
            read("BitPos { key: \"k\", bit: false, start: None, end: None, unit: Byte }"),
        ),
        ("R.GETBIT k 1", read("GetBit { key: \"k\", offset: 1 }")),
        ("TR.SETBIT k 1 1", write("SetBit { key: \"k\", offset: 1, value: true }")),
    ]);
    refuse(&[
        ("TR.BITOP d NOT a", "ERR TR.BITOP does not have this operation here; see BITOP"),
        ("TR.BITOP d ONE a b", "ERR TR.BITOP does not have this operation here; see BITOP"),
        ("TR.BITOP d NAND a", SYNTAX),
        ("TR.BITOPCARD NOT a", "ERR TR.BITOPCARD does not have this operation here; see BITOP"),
        (
            "TR.BITOPCARD DIFF a",
            "ERR TR.BITOPCARD DIFF must be called with at least two source keys.",
        ),
        ("R.BITOP NOT d a", "ERR R.BITOP does not have this operation here; see BITOP"),
        ("R.BITOP DIFF d a", "ERR R.BITOP DIFF must be called with at least two source keys."),
        ("TR.BITCOUNT k 9 3", RANGE),
        ("TR.BITCOUNT k 9", SYNTAX),
        ("TR.BITCOUNT k -1 3", OFFSET),
        ("R.BITPOS k 2", "ERR The bit argument must be 1 or 0."),
        ("R.BITPOS k x", "ERR value is not an integer or out of range"),
        ("R.BITCOUNT k 0 1", "ERR wrong number of arguments for 'r.bitcount' command"),
    ]);
}

#[test]
fn top_k_takes_keys_or_a_pattern() {
    let of = "Expression { formula: Formula { steps: [Operand(0)] }, keys: [\"a\"] }";
    let top = |among: &str| composite(&format!("TopK {{ of: {of}, k: 3, among: {among} }}"));
    made(&[
        ("BM.TOPK a 3 KEYS y x y", top("Keys([\"x\", \"y\"])")),
        ("BM.TOPK a 3 UNIVERSE u MATCH p*", top("Match(b\"p*\")")),
    ]);
    refuse(&[
        ("BM.TOPK a 0 KEYS x", "ERR k is not an integer or out of range"),
        ("BM.TOPK a 3 KEYS", "ERR wrong number of arguments for 'bm.topk' command"),
        ("BM.TOPK a 3 UNIVERSE u KEYS", SYNTAX),
        ("BM.TOPK a 3 x y", SYNTAX),
        ("BM.TOPK a 3 MATCH p x", SYNTAX),
        ("BM.TOPK (a 3 KEYS x", "ERR expression: expected an operator or ')' at byte 2"),
    ]);
}

#[test]
fn top_k_leaves_room_for_the_steps_of_a_candidate() {
    let line = |operands: usize| {
        let text = vec!["a"; operands].join("|");
        format!("BM.TOPK {text} 3 KEYS x")
    };
    assert!(matches!(command(&line(2047)), Command::Composite(_)));
    let refusal = "ERR expression: 4095 steps; the limit of BM.TOPK is 4094";
    refuse(&[(&line(2048), refusal)]);
}
