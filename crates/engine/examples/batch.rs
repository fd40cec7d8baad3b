//! Times of numbered batches, on one core: what they cost beside the ops they hold.
//!
//! `cargo run --release -p bitroster-engine --example batch`

#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "it measures and prints")]

use std::{hint::black_box, time::Instant};

use bitroster_command::{
    Op, OpBatch, OpReader, Outcome, OutcomeBatch, OutcomeWriter, Reply, WriteOp,
};
use bitroster_engine::{Batch, Engine, EngineConfig};
use bitroster_types::{GroupId, Key, LogIndex, SegmentWidth, SessionId, Slot, UnixMillis};

/// Batches that are timed together.
const ROUNDS: usize = 200;

/// The median of several rounds, for one op.
fn time<T>(what: &str, per: usize, mut set_up: impl FnMut() -> T, mut run: impl FnMut(T)) {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let input = set_up();
            let start = Instant::now();
            run(input);
            start.elapsed().as_secs_f64() * 1e9 / per as f64
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    println!("op={what:?} ns={:.1}", rounds[ROUNDS / 2]);
}

fn set_bits(keys: &[Key], ops: usize) -> OpBatch {
    let mut batch = OpBatch::new();
    for n in 0..ops {
        batch.push_set_bit(&keys[n % keys.len()], n as u64 * 37 % 100_000, true);
    }
    batch
}

fn apply(engine: &mut Engine, mut reader: OpReader) -> OutcomeWriter {
    let mut outcomes = OutcomeWriter::new();
    while let Some(op) = reader.next_op().expect("made above") {
        let Op::Write(op) = op else { continue };
        outcomes.push(&engine.apply(&op));
    }
    outcomes
}

/// Applies the numbered batches of an entry one op at a time.
fn apply_numbered(engine: &mut Engine, mut reader: OpReader) {
    while let Some(op) = reader.next_op().expect("made above") {
        let Op::Write(WriteOp::Numbered(batch)) = op else { continue };
        let fresh = engine.begin_batch(batch.session, batch.number, batch.answered);
        assert_eq!(fresh, Batch::Fresh);
        let outcomes = apply(engine, batch.ops.into_reader()).finish();
        engine.end_batch(batch.session, batch.number, outcomes);
    }
}

fn main() {
    let mut engine = Engine::new(EngineConfig::new(GroupId(1), SegmentWidth::DEFAULT));
    engine.begin(LogIndex(1), UnixMillis(1));
    engine.apply(&WriteOp::Adopt { slots: (0..16_384).filter_map(Slot::new).collect() });
    engine.apply(&WriteOp::OpenSession);
    let name = |n: u32| Key::new(format!("k{n}").as_bytes()).expect("a short name");
    let keys: Vec<Key> = (0..64).map(name).collect();
    let mut number = 0;
    for ops in [1, 16, 1000] {
        let plain = set_bits(&keys, ops);
        let mut numbered = || {
            let mut batch = OpBatch::new();
            number += 1;
            batch.push_numbered(SessionId(1), number, number - 1, &plain);
            batch
        };
        time(
            &format!("write a batch of {ops} SETBIT"),
            ops,
            || (),
            |()| {
                black_box(set_bits(&keys, ops));
            },
        );
        time(&format!("number a batch of {ops}"), ops, &mut numbered, |batch| {
            let mut copy = OpBatch::new();
            copy.push_numbered(SessionId(1), 2, 1, &batch_ops(batch));
            black_box(copy);
        });
        time(&format!("check a received batch of {ops}"), ops, &mut numbered, |batch| {
            let checked = OpBatch::from_encoded(batch.count(), batch.into_bytes());
            black_box(checked.expect("made above"));
        });
        time(
            &format!("apply {ops}"),
            ops,
            || plain.clone().into_reader(),
            |reader| {
                black_box(apply(&mut engine, reader).finish());
            },
        );
        time(
            &format!("apply {ops}, numbered"),
            ops,
            || numbered().into_reader(),
            |reader| {
                apply_numbered(&mut engine, reader);
            },
        );
        time_outcomes(ops);
    }
}

fn time_outcomes(ops: usize) {
    let outcomes: Vec<Outcome> =
        (0..ops).map(|n| Reply::Integer(i64::from(n % 2 == 0)).into()).collect();
    let write = || {
        let mut writer = OutcomeWriter::new();
        outcomes.iter().for_each(|outcome| writer.push(outcome));
        writer.finish()
    };
    time(
        &format!("write {ops} outcomes"),
        ops,
        || (),
        |()| {
            black_box(write());
        },
    );
    time(&format!("read {ops} outcomes"), ops, write, |batch: OutcomeBatch| {
        black_box(batch.decode().expect("made above"));
    });
}

/// The ops within a numbered batch, as they were received.
fn batch_ops(batch: OpBatch) -> OpBatch {
    match batch.into_reader().next_op() {
        Ok(Some(Op::Write(WriteOp::Numbered(batch)))) => batch.ops,
        other => panic!("not a numbered batch: {other:?}"),
    }
}
