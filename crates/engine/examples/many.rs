//! Times of id spaces, presence and merges, and what a name costs, on one core.
//!
//! `cargo run --release -p bitroster-engine --example many [millions of names]`

#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "it measures and prints")]

use std::{hint::black_box, time::Instant};

use bitroster_bitmap::Bitmap;
use bitroster_command::{MergeMode, ReadCommand, ReadOp, WriteCommand, WriteOp};
use bitroster_engine::{Engine, EngineConfig};
use bitroster_types::{GroupId, Key, LogIndex, SegmentWidth, Slot, UnixMillis};
use bytes::Bytes;

/// Names of one request.
const BATCH: u64 = 1_000;

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

fn key(name: &str) -> Key {
    Key::new(name.as_bytes()).expect("a short name")
}

fn mixed(n: u64) -> u64 {
    let n = (n ^ n >> 31).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (n ^ n >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9)
}

fn uuid(n: u64) -> Bytes {
    let text = format!("{:016x}{:016x}", mixed(n), mixed(!n));
    let (a, b, c) = (&text[..8], &text[8..12], &text[12..16]);
    format!("{a}-{b}-{c}-{}-{}", &text[16..20], &text[20..]).into()
}

fn batch(first: u64) -> Vec<Bytes> {
    (first..first + BATCH).map(uuid).collect()
}

fn assign(first: u64) -> WriteOp {
    WriteOp::Command(WriteCommand::AssignIds { space: key("users"), names: batch(first) })
}

/// The median over calls that do `parts` each, so that what else the machine does disturbs little.
fn time<T>(what: &str, parts: u64, ops: impl Iterator<Item = T>, mut run: impl FnMut(&T)) {
    let one = |op| {
        let start = Instant::now();
        run(&op);
        start.elapsed().as_nanos()
    };
    let mut calls: Vec<u128> = ops.map(one).collect();
    calls.sort_unstable();
    println!("op={what:?} ns={}", calls[calls.len() / 2] / u128::from(parts));
}

fn spaces(engine: &mut Engine, names: u64) {
    let firsts = || (0..names / BATCH).map(|n| n * BATCH);
    let before = engine.stats().dataset_bytes;
    time("new UUID", BATCH, firsts().map(assign), |op| {
        black_box(engine.apply(op));
    });
    let bytes = engine.stats().dataset_bytes - before;
    println!(
        "names={names} bytes={bytes} bytes_of_name={}.{:02}",
        bytes / names,
        bytes * 100 / names % 100
    );
    let some = || (0..200).map(|n| mixed(n) % (names / BATCH) * BATCH);
    time("known UUID", BATCH, some().map(assign), |op| {
        black_box(engine.apply(op));
    });
    let find =
        |first| ReadOp::Command(ReadCommand::FindIds { space: key("users"), names: batch(first) });
    time("number of a UUID", BATCH, some().map(find), |op| {
        black_box(engine.read(op, NOW));
    });
    let name = |first| {
        let ids = (first..first + BATCH).map(|n| mixed(n) % names).collect();
        ReadOp::Command(ReadCommand::FindNames { space: key("users"), ids })
    };
    time("name of a number", BATCH, some().map(name), |op| {
        black_box(engine.read(op, NOW));
    });
    let mut held = Vec::new();
    time("snapshot", 1, 0..20, |_| held.push(engine.snapshot()));
    let one = |n| {
        let names = vec![uuid(names + n)];
        WriteOp::Command(WriteCommand::AssignIds { space: key("users"), names })
    };
    time("first new name after a snapshot", 1, std::iter::once(one(0)), |op| {
        black_box(engine.apply(op));
    });
    time("next new names after a snapshot", 1, (1..1_000).map(one), |op| {
        black_box(engine.apply(op));
    });
}

fn presence(engine: &mut Engine) {
    let touch = |n| {
        let id = mixed(n) % 2_000_000;
        WriteOp::Command(WriteCommand::Touch { key: key("online"), id, ttl_secs: 30 })
    };
    time("touch, 2 M ids", 1, (0..1_000_000).map(touch), |op| {
        black_box(engine.apply(op));
    });
}

fn merges(engine: &mut Engine) {
    for bits in [1, 100, 10_000] {
        for mode in [MergeMode::Or, MergeMode::AndNot] {
            let merge = |n: u64| {
                let offsets: Vec<u64> =
                    (0..bits).map(|m| mixed(n * bits + m) % 100_000_000).collect();
                let mut set = Vec::new();
                Bitmap::from_offsets(&offsets).encode(&mut set);
                WriteOp::Command(WriteCommand::Merge { key: key("day"), mode, bits: set.into() })
            };
            let what = format!("{mode:?} of {bits} bits, 100 M");
            time(&what, bits, (0..200_000 / bits).map(merge), |op| {
                black_box(engine.apply(op));
            });
        }
    }
}

fn main() {
    let millions = std::env::args().nth(1).and_then(|arg| arg.parse().ok()).unwrap_or(5);
    let mut engine = Engine::new(EngineConfig::new(GroupId(1), SegmentWidth::DEFAULT));
    engine.begin(LogIndex(1), NOW);
    engine.apply(&WriteOp::Adopt { slots: (0..16_384).filter_map(Slot::new).collect() });
    spaces(&mut engine, millions * 1_000_000);
    presence(&mut engine);
    merges(&mut engine);
}
