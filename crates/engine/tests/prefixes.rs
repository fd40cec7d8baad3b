//! Goal: what a group tells of the keys below a prefix is what its keys are, page by page, whatever
//! they are called; and memory is the same sum that the engine keeps.
//!
//! Method: a lone group with keys of every kind, a twin that looks at each key by itself, and pages
//! that end in the middle; then three groups with a key over all of them.
//!
//! Mutants killed: a page that forgets where it ended; a key past its expiry that counts; a name
//! without its separator; a part that counts as a key; the bytes of a packed entry without its
//! place.

#![allow(
    clippy::cast_possible_truncation,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "whatever is not as it should be fails the test"
)]

mod common;

use std::collections::BTreeMap;

use bitroster_command::{
    Expiry, Op, Outcome, PartQuery, PrefixCounts, PrefixPage, ReadOp, Reply, SetReply, WriteCommand,
};
use bitroster_types::{UnixMillis, limits::PREFIXES_NAMES_AT_ONCE};
use bytes::Bytes;
use common::{Lone, START, cluster::Cluster, key};

fn ask(prefix: &str, separator: u8, cursor: u64) -> ReadOp {
    ReadOp::Prefixes { prefix: Bytes::copy_from_slice(prefix.as_bytes()), separator, cursor }
}

fn page(outcome: Outcome) -> PrefixPage {
    let Outcome::Reply(Reply::Bulk(bytes)) = outcome else { panic!("{outcome:?}") };
    PrefixPage::decode(&bytes).unwrap()
}

/// All rows by name, and how many pages they took.
fn rows(lone: &mut Lone, prefix: &str, separator: u8) -> (BTreeMap<String, PrefixCounts>, usize) {
    let (mut rows, mut cursor, mut pages) = (BTreeMap::new(), 0, 0);
    loop {
        let page = page(lone.read(&ask(prefix, separator, cursor)));
        assert!(page.rows.is_sorted_by(|a, b| a.name < b.name));
        for row in page.rows {
            assert!(row.spread.is_empty(), "a lone group has all of every key");
            let name = String::from_utf8(row.name.to_vec()).unwrap();
            let sum: &mut PrefixCounts = rows.entry(name).or_default();
            sum.add(&row.counts);
        }
        pages += 1;
        cursor = page.next;
        if cursor == 0 {
            return (rows, pages);
        }
    }
}

fn set(name: &str, value: Vec<u8>, expiry: Expiry) -> WriteCommand {
    let (key, value, reply) = (key(name), Bytes::from(value), SetReply::Status);
    WriteCommand::Set { key, value, existence: None, expiry, reply }
}

fn set_bit(name: &str, offset: u64) -> WriteCommand {
    WriteCommand::SetBit { key: key(name), offset, value: true }
}

/// Memory, bits and length of one key, as BM.INFO sees them.
fn info(lone: &mut Lone, name: &str) -> [u64; 3] {
    let (key, version, query) = (key(name), None, PartQuery::Info);
    let Outcome::Reply(Reply::Array(numbers)) = lone.read(&ReadOp::Part { key, version, query })
    else {
        panic!("no numbers for {name}")
    };
    let number = |at: usize| match numbers[at] {
        Reply::Integer(number) => number as u64,
        ref other => panic!("{other:?}"),
    };
    [number(0), number(1), number(2)]
}

#[test]
fn rows_are_what_their_keys_are_one_by_one() {
    let mut lone = Lone::new();
    let mut names: Vec<String> = (0..40).map(|n| format!("dau:{n}")).collect();
    names.extend((0..40).map(|n| format!("flag:{}:{n}", n % 3)));
    names.extend(["dau", "dau:", "flag:0", ":", "x|y", "\u{e9}:1"].map(str::to_owned));
    for (n, name) in names.iter().enumerate() {
        match n % 4 {
            0 => lone.write(&set(name, vec![0xa5; n % 9 + 1], Expiry::Clear)),
            1 => lone.write(&set(name, vec![0x5a; n % 9 + 1], Expiry::In(60_000))),
            2 => lone.write(&set_bit(name, 70_000 * n as u64)),
            _ => lone.write(&set(name, vec![0xff; 20_000 + n], Expiry::Clear)),
        };
    }
    for (prefix, separator) in
        [("", b':'), ("dau", b':'), ("dau:", b':'), ("flag:", b':'), ("", b'|'), ("none", b':')]
    {
        let mut wanted: BTreeMap<String, PrefixCounts> = BTreeMap::new();
        for (n, name) in names.iter().enumerate().filter(|(_, name)| name.starts_with(prefix)) {
            let end = name.as_bytes()[prefix.len()..].iter().position(|byte| *byte == separator);
            let row = &name[..end.map_or(name.len(), |end| prefix.len() + end + 1)];
            let [bytes, bits, len] = info(&mut lone, name);
            let counts = wanted.entry(row.to_owned()).or_default();
            let plain_bytes = len + name.len() as u64 + 56;
            let expiring = u64::from(n % 4 == 1);
            let more =
                PrefixCounts { keys: 1, expiring, bits, bytes, plain_bytes, ..Default::default() };
            counts.add(&more);
        }
        let (rows, pages) = rows(&mut lone, prefix, separator);
        assert_eq!(pages, 1);
        let found: BTreeMap<String, PrefixCounts> = rows
            .iter()
            .map(|(name, counts)| {
                assert!(counts.other_bytes() < counts.bytes || counts.array_bytes == 0);
                let (array_bytes, dense_bytes, run_bytes) = (0, 0, 0);
                let plain = PrefixCounts { array_bytes, dense_bytes, run_bytes, ..*counts };
                (name.clone(), plain)
            })
            .collect();
        assert_eq!(found, wanted, "below {prefix:?} by {:?}", separator as char);
    }
}

#[test]
fn kinds_of_containers_are_told_apart() {
    let mut lone = Lone::new();
    let pattern: Vec<u8> =
        (0..8192u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    lone.write(&set("dense", pattern, Expiry::Clear));
    let mut run = vec![0xff; 3000];
    run.extend(vec![0; 3000]);
    lone.write(&set("run", run, Expiry::Clear));
    (0..100).for_each(|n| drop(lone.write(&set_bit("array", n * 601))));
    let (rows, _) = rows(&mut lone, "", b':');
    let kinds = |name: &str| {
        let counts = rows[name];
        [counts.array_bytes, counts.dense_bytes, counts.run_bytes].map(|bytes| bytes > 0)
    };
    assert_eq!(kinds("dense"), [false, true, false]);
    assert_eq!(kinds("run"), [false, false, true]);
    assert_eq!(kinds("array"), [true, false, false]);
}

#[test]
fn a_key_past_its_expiry_counts_no_more() {
    let mut lone = Lone::new();
    lone.write(&set("a:1", vec![1], Expiry::In(500)));
    lone.write(&set("a:2", vec![1], Expiry::Clear));
    assert_eq!(rows(&mut lone, "", b':').0["a:"].keys, 2);
    lone.now = UnixMillis(START.0 + 500);
    lone.op(&bitroster_command::WriteOp::Tick);
    let counts = rows(&mut lone, "", b':').0["a:"];
    assert_eq!((counts.keys, counts.expiring), (1, 0));
}

#[test]
fn more_names_than_a_page_holds_come_on_several() {
    let mut lone = Lone::new();
    let names = PREFIXES_NAMES_AT_ONCE + 500;
    for chunk in (0..names).collect::<Vec<_>>().chunks(500) {
        let pair = |n: &usize| (key(&format!("k{n}")), Bytes::from_static(b"\x01"));
        let pairs = chunk.iter().map(pair).collect();
        lone.write(&WriteCommand::MSet { pairs, only_if_none: false });
    }
    let (rows, pages) = rows(&mut lone, "k", b':');
    assert_eq!((rows.len(), pages), (names, 2));
    assert!(rows.values().all(|counts| (counts.keys, counts.bits) == (1, 1)));
    assert_eq!(
        self::rows(&mut lone, "k", b'1').0.values().map(|it| it.keys).sum::<u64>(),
        names as u64
    );
}

#[test]
fn a_part_is_told_with_its_length_and_is_no_key() {
    let mut cluster = Cluster::new(3);
    for segment in 0..12_u64 {
        cluster.run(&Op::from(set_bit("s:k", segment << 16)));
    }
    let pages: Vec<PrefixPage> = cluster
        .map
        .groups()
        .to_vec()
        .into_iter()
        .map(|group| page(cluster.read(group, &ask("s:", b':', 0))))
        .collect();
    let rows: Vec<_> = pages.iter().flat_map(|page| &page.rows).collect();
    assert!(rows.len() > 1, "several groups hold the key");
    assert_eq!(rows.iter().map(|row| row.counts.keys).sum::<u64>(), 1);
    assert_eq!(rows.iter().map(|row| row.counts.bits).sum::<u64>(), 12);
    let spread: Vec<_> = rows.iter().flat_map(|row| &row.spread).collect();
    assert_eq!(spread.len(), rows.len());
    assert!(spread.iter().all(|part| part.spot == spread[0].spot));
    let len = spread.iter().map(|part| part.len_bytes).max().unwrap();
    assert_eq!(len, (11 << 13) + 1);
    assert!(spread.iter().all(|part| part.held_bytes <= part.len_bytes && part.held_bytes > 0));
}
