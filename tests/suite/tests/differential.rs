//! Goal: for random commands of every kind, Bitroster answers what Redis answers.
//!
//! Method: a seeded generator makes commands that crowd around the edges (offsets, negative
//! ranges, borders of segments, wrong arguments, missing and repeated keys) and sends each to
//! Debian's redis-server and to Bitroster; the replies must be equal, and at intervals the whole
//! keyspace, key by key and segment by segment. Once with all of a key in one segment, once with
//! keys of up to 64 segments that lie in four groups. A difference is shrunk to the commands that
//! it needs. What differs on purpose is the list in `tests/differential.md`, and is generated
//! around or compared loosely, as said there; operations that Redis 7.0 lacks have a naive twin
//! here. `SUITE_COMMANDS` makes a run longer, `SUITE_SEED` repeats it.

use std::env;

use bitroster_resp::Frame;
use bitroster_suite::{
    Client, Random, Server,
    commands::{Generator, KEYS, Shape},
    twin::{BATCH, Twin, send_all},
};

/// Settings under which a key of 2^22 bits has 64 segments in four groups.
const SPREAD: &[&str] = &["--groups", "4", "--set", "cluster.segment_width_log2=16"];

/// The shape of keys under [`SPREAD`].
const SPREAD_SHAPE: Shape = Shape { offsets: 1 << 22, segment_bits: 1 << 16 };

/// The shape of keys that lie in one segment of the default width.
const ONE_SEGMENT: Shape = Shape { offsets: 1 << 19, segment_bits: 1 << 20 };

/// How many commands are sent: so many, or what `SUITE_COMMANDS` says.
fn commands(default: usize) -> usize {
    let asked = env::var("SUITE_COMMANDS").ok();
    asked.map_or(default, |text| text.parse().expect("SUITE_COMMANDS is a number"))
}

#[test]
fn keys_of_one_segment_agree_with_redis() {
    let twin = Twin::start(&["--groups", "4"], ONE_SEGMENT);
    twin.compare(commands(60_000), Random::announced(7));
}

#[test]
fn keys_spread_over_groups_agree_with_redis() {
    Twin::start(SPREAD, SPREAD_SHAPE).compare(commands(20_000), Random::announced(8));
}

#[test]
fn operations_that_redis_lacks_agree_with_a_naive_twin_over_spread_keys() {
    let server = Server::bitroster(SPREAD);
    let mut client = server.client();
    let mut generator = Generator::new(Random::announced(9), SPREAD_SHAPE);
    for _ in 0..commands(10_000) / (4 * BATCH) {
        // What they answer is the other tests' business: these only make the keys.
        send_all(&mut client, &generator.batch(BATCH));
        for name in ["DIFF", "DIFF1", "ANDOR", "ONE"] {
            let random = generator.random();
            let sources: Vec<&str> = (0..2 + random.below(3)).map(|_| random.pick(KEYS)).collect();
            let values: Vec<Vec<u8>> = sources.iter().map(|key| value(&mut client, key)).collect();
            let target = random.pick(KEYS);
            let expected = combined(name, &values);
            let count: u64 = expected.iter().map(|byte| u64::from(byte.count_ones())).sum();

            let told = client.call(&[&["BITOPCARD", name], &sources[..]].concat());
            let about = format!("{name} {target:?} {sources:?}");
            assert_eq!(told.expect("an answer"), integer(count), "BITOPCARD {about}");
            let told = client.call(&[&["BITOP", name, target], &sources[..]].concat());
            assert_eq!(told.expect("an answer"), integer(expected.len() as u64), "BITOP {about}");
            let found = value(&mut client, target);
            let same = found.iter().zip(&expected).take_while(|(a, b)| a == b).count();
            assert!(found == expected, "{about}: equal only in the first {same} bytes");
        }
    }
}

fn integer(number: u64) -> Frame {
    Frame::Integer(i64::try_from(number).expect("a small number"))
}

fn value(client: &mut Client, key: &str) -> Vec<u8> {
    let reply = client.call(&["GET", key]).expect("an answer");
    let Frame::Bulk(bytes) = reply else {
        assert_eq!(reply, Frame::Nil, "GET {key:?}");
        return Vec::new();
    };
    bytes.to_vec()
}

/// The operation, byte by byte: the first value against the others.
fn combined(name: &str, values: &[Vec<u8>]) -> Vec<u8> {
    let len = values.iter().map(Vec::len).max().unwrap_or(0);
    let byte = |value: &Vec<u8>, at: usize| value.get(at).copied().unwrap_or(0);
    let combine = |at: usize| {
        let first = byte(&values[0], at);
        let others = values[1..].iter().fold(0, |any, value| any | byte(value, at));
        match name {
            "DIFF" => first & !others,
            "DIFF1" => !first & others,
            "ANDOR" => first & others,
            _ => {
                let step = |(once, twice): (u8, u8), value| {
                    let next = byte(value, at);
                    (once ^ next, twice | (once & next))
                };
                // Odd counts above one have been seen twice on the way.
                let (odd, twice) = values.iter().fold((0, 0), step);
                odd & !twice
            }
        }
    };
    (0..len).map(combine).collect()
}

#[test]
fn a_scan_returns_every_key_that_stays() {
    let server = Server::bitroster(&["--groups", "4"]);
    let mut client = server.client();
    for number in 0..3000 {
        client.words(&format!("SETBIT key:{number} 3 1")).expect("an answer");
    }
    let mut other = server.client();
    let (mut cursor, mut found, mut calls) = ("0".to_owned(), Vec::new(), 0);
    loop {
        let reply = client.words(&format!("SCAN {cursor} COUNT 100 MATCH key:*")).expect("a page");
        let Frame::Array(parts) = reply else { panic!("SCAN answered {reply:?}") };
        let (Frame::Bulk(next), Frame::Array(keys)) = (&parts[0], &parts[1]) else {
            panic!("SCAN answered {parts:?}")
        };
        found.extend(keys.iter().map(|key| format!("{key:?}")));
        // Keys come and go between the pages.
        other.words(&format!("SETBIT new:{calls} 1 1")).expect("an answer");
        other.words(&format!("DEL new:{}", calls / 2)).expect("an answer");
        calls += 1;
        cursor = String::from_utf8_lossy(next).into_owned();
        if cursor == "0" {
            break;
        }
        assert!(calls < 3000, "the scan does not end");
    }
    found.sort();
    found.dedup();
    assert_eq!(found.len(), 3000);
    assert!(calls > 10, "COUNT is not heeded: {calls} pages");
}
