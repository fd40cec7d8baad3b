//! Times of point operations and bytes of small keys, on one core.
//!
//! `cargo run --release -p bitroster-engine --example point`

#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "it measures and prints")]

use std::{hint::black_box, time::Instant};

use bitroster_command::{ReadCommand, ReadOp, WriteCommand, WriteOp};
use bitroster_engine::{Engine, EngineConfig};
use bitroster_types::{GroupId, Key, LogIndex, SegmentWidth, Slot, UnixMillis};

/// Operations that are timed together.
const BATCH: usize = 1_000;

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

fn key(name: &str) -> Key {
    Key::new(name.as_bytes()).expect("a short name")
}

fn set(key: Key, offset: u64, value: bool) -> WriteOp {
    WriteOp::Command(WriteCommand::SetBit { key, offset, value })
}

fn get(key: Key, offset: u64) -> ReadOp {
    ReadOp::Command(ReadCommand::GetBit { key, offset })
}

/// The median over batches, so that what else the machine does disturbs little.
fn time<T>(what: &str, ops: &[T], mut run: impl FnMut(&T)) {
    let mut batches: Vec<u128> = ops
        .chunks(BATCH)
        .map(|batch| {
            let start = Instant::now();
            batch.iter().for_each(&mut run);
            start.elapsed().as_nanos() / batch.len() as u128
        })
        .collect();
    batches.sort_unstable();
    println!("op={what:?} ns={}", batches[batches.len() / 2]);
}

fn time_bitmap(engine: &mut Engine, dice: &mut Dice, fill: &str, name: &str) {
    let bits = 100_000_000;
    let ops: Vec<WriteOp> =
        (0..500_000).map(|_| set(key(name), dice.below(bits), dice.below(2) == 0)).collect();
    time(&format!("SETBIT, 100 M bits, {fill} set, random"), &ops, |op| {
        black_box(engine.apply(op));
    });
    let ops: Vec<ReadOp> = (0..500_000).map(|_| get(key(name), dice.below(bits))).collect();
    time(&format!("GETBIT, 100 M bits, {fill} set, random"), &ops, |op| {
        black_box(engine.read(op, NOW));
    });
}

/// What the machine gives at this moment: one step of a walk, each place told by the one before,
/// through as many bytes as the million small keys take.
fn time_chase(dice: &mut Dice) {
    let mut places: Vec<u32> = (0..10_000_000).collect();
    for last in (1..places.len()).rev() {
        let other = dice.below(last as u64);
        places.swap(last, usize::try_from(other).expect("64 bits"));
    }
    let mut at = 0;
    time("a dependent load from 40 MB", &[(); 500_000], |()| {
        at = places[at as usize];
    });
    black_box(at);
}

fn main() {
    let mut engine = Engine::new(EngineConfig::new(GroupId(1), SegmentWidth::DEFAULT));
    engine.begin(LogIndex(1), NOW);
    engine.apply(&WriteOp::Adopt { slots: (0..16_384).filter_map(Slot::new).collect() });
    engine.begin(LogIndex(2), NOW);
    let mut dice = Dice(88_172_645_463_325_252);
    let bits = 100_000_000;

    let fill: Vec<WriteOp> =
        (0..5_000_000).map(|_| set(key("active:2024"), dice.below(bits), true)).collect();
    time("SETBIT, a bitmap of 100 M bits being filled", &fill, |op| {
        black_box(engine.apply(op));
    });
    time_bitmap(&mut engine, &mut dice, "5 %", "active:2024");
    let value: Vec<u8> = (0..bits / 8).map(|_| dice.below(256).to_le_bytes()[0]).collect();
    let fill = WriteCommand::SetRange { key: key("active:2025"), offset: 0, value: value.into() };
    engine.apply(&WriteOp::Command(fill));
    time_bitmap(&mut engine, &mut dice, "50 %", "active:2025");
    time_chase(&mut dice);

    let before = engine.stats().dataset_bytes;
    let keys = 1_000_000;
    let name = |n: u64| key(&format!("permissions:{n}"));
    let ops: Vec<WriteOp> = (0..keys).map(|n| set(name(n), 3, true)).collect();
    time("SETBIT, 1 M new keys", &ops, |op| {
        black_box(engine.apply(op));
    });
    let held = engine.stats().dataset_bytes - before;
    println!("keys={keys} bytes_per_key={:.1}", held as f64 / keys as f64);
    let ops: Vec<WriteOp> = (0..500_000)
        .map(|_| set(name(dice.below(keys)), dice.below(8), dice.below(2) == 0))
        .collect();
    time("SETBIT, 1 M small keys, random", &ops, |op| {
        black_box(engine.apply(op));
    });
    let ops: Vec<ReadOp> =
        (0..500_000).map(|_| get(name(dice.below(keys)), dice.below(8))).collect();
    time("GETBIT, 1 M small keys, random", &ops, |op| {
        black_box(engine.read(op, NOW));
    });

    time("snapshot", &[(); 1_000], |()| {
        black_box(engine.snapshot());
    });
    let snapshot = engine.snapshot();
    let ops: Vec<WriteOp> = (0..20_000)
        .map(|_| set(name(dice.below(keys)), dice.below(8), dice.below(2) == 0))
        .collect();
    time("SETBIT, 1 M small keys, right after a snapshot", &ops, |op| {
        black_box(engine.apply(op));
    });
    let start = Instant::now();
    let mut bytes = Vec::new();
    snapshot.write_to(&mut bytes).expect("memory takes all");
    println!("snapshot_bytes={} write_ms={}", bytes.len(), start.elapsed().as_millis());
    let start = Instant::now();
    let config = EngineConfig::new(GroupId(1), SegmentWidth::DEFAULT);
    black_box(Engine::restore(config, &mut &bytes[..]).expect("its own snapshot"));
    println!("restore_ms={}", start.elapsed().as_millis());
}
