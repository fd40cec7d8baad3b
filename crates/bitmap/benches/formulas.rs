//! What the commands of sets ask of 100 million ids: a retention matrix, expressions, merges,
//! presence.

use std::hint::black_box;

use bitroster_bitmap::{BitOp, Bitmap, Formula, MergeOp, Step, count_all};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

/// The allocator of the server.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const BITS: u64 = 100_000_000;

/// Days of a retention matrix.
const DAYS: u16 = 30;

/// A fixed sequence of numbers.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((u128::from(self.0 ^ (self.0 >> 31)) * u128::from(bound)) >> 64) as u64
    }
}

/// About one bit in `one_in` set, of all bits.
fn random(seed: u64, one_in: u64) -> Bitmap {
    let mut numbers = Numbers(seed);
    if one_in <= 2 {
        let words = (0..BITS / 64).flat_map(|_| numbers.below(u64::MAX).to_le_bytes());
        return Bitmap::from_bytes(&words.collect::<Vec<u8>>());
    }
    let offsets: Vec<u64> = (0..BITS / one_in).map(|_| numbers.below(BITS)).collect();
    Bitmap::from_offsets(&offsets)
}

fn formula(steps: &[Step]) -> Formula {
    Formula::new(steps.to_vec(), 60).expect("a balanced formula")
}

/// Every cohort with every later return: 465 pairs over 60 operands.
fn pairs() -> Vec<Formula> {
    let pairs = (0..DAYS).flat_map(|cohort| (cohort..DAYS).map(move |day| (cohort, DAYS + day)));
    pairs.map(|(a, b)| formula(&[Step::Operand(a), Step::Operand(b), Step::And])).collect()
}

fn retention(c: &mut Criterion) {
    let mut group = c.benchmark_group("retention 30 x 30");
    group.sample_size(10);
    for (name, one_in) in [("dense", 2), ("1 in 30", 30), ("1 percent", 100), ("1e-4", 10_000)] {
        let values: Vec<Bitmap> = (1..=60).map(|seed| random(seed, one_in)).collect();
        let operands: Vec<&Bitmap> = values.iter().collect();
        let formulas = pairs();
        group.bench_function(format!("together/{name}"), |b| {
            b.iter(|| count_all(black_box(&formulas), &operands, &(0..u64::MAX)));
        });
        group.bench_function(format!("one by one/{name}"), |b| {
            b.iter(|| -> u64 { formulas.iter().map(|f| f.count(&operands, 0..u64::MAX)).sum() });
        });
    }
    group.finish();
}

fn expressions(c: &mut Criterion) {
    let (a, b, o, x) = (Step::Operand(0), Step::Operand(1), Step::Or, Step::AndNot);
    let mixed =
        formula(&[a, b, o, Step::Operand(2), Step::Operand(3), o, Step::And, Step::Operand(4), x]);
    let mut week = vec![a];
    (1..7).for_each(|day| week.extend([Step::Operand(day), o]));
    let week = formula(&week);
    let mut group = c.benchmark_group("expression");
    group.sample_size(10);
    for (name, one_in) in [("dense", 2), ("1 percent", 100)] {
        let values: Vec<Bitmap> = (1..=7).map(|seed| random(seed, one_in)).collect();
        let operands: Vec<&Bitmap> = values.iter().collect();
        let all = 0..u64::MAX;
        group.bench_function(format!("((a | b) & (c | d)) - e, count/{name}"), |bench| {
            bench.iter(|| mixed.count(&operands, all.clone()));
        });
        group.bench_function(format!("((a | b) & (c | d)) - e, build/{name}"), |bench| {
            bench.iter(|| mixed.evaluate(&operands, all.clone()));
        });
        group.bench_function(format!("union of 7, count/{name}"), |bench| {
            bench.iter(|| week.count(&operands, all.clone()));
        });
        group.bench_function(format!("union of 7, first 10/{name}"), |bench| {
            bench.iter(|| week.first(&operands, all.clone(), 10));
        });
        group.bench_function(format!("((a | b) & (c | d)) - e, last 10/{name}"), |bench| {
            bench.iter(|| mixed.last(&operands, all.clone(), 10));
        });
        group.bench_function(format!("union of 7, in 100 steps/{name}"), |bench| {
            bench.iter(|| week.histogram(&operands, 0..BITS, BITS / 100));
        });
    }
    group.finish();
}

fn merging(c: &mut Criterion) {
    let mut group = c.benchmark_group("merge");
    group.sample_size(10);
    for (name, one_in) in [("dense", 2), ("1 percent", 100)] {
        let (own, set) = (random(1, one_in), random(2, one_in));
        for op in [MergeOp::Or, MergeOp::AndNot, MergeOp::Xor] {
            group.bench_function(format!("{op:?} of all/{name}"), |b| {
                b.iter_batched(
                    || own.clone(),
                    |mut own| own.merge(op, &set),
                    BatchSize::PerIteration,
                );
            });
        }
        let mut numbers = Numbers(7);
        let offsets: Vec<u64> = (0..100).map(|_| numbers.below(BITS)).collect();
        let mut own = Bitmap::combine(BitOp::Or, &[&own, &set]);
        group.bench_function(format!("100 offsets, Xor/{name}"), |b| {
            b.iter(|| own.merge(MergeOp::Xor, &Bitmap::from_offsets(&offsets)));
        });
    }
    group.finish();
}

fn presence(c: &mut Criterion) {
    let mut value = Bitmap::zeros(1);
    let mut numbers = Numbers(3);
    let mut bytes = Vec::new();
    for _ in 0..BITS / 32 {
        let end = 1_700_000_000 + u32::try_from(numbers.below(600)).unwrap_or(0);
        bytes.extend(end.to_be_bytes());
    }
    value.write_bytes(0, &bytes);
    let mut group = c.benchmark_group("presence of 3.1 M ids");
    group.sample_size(20);
    group.bench_function("count", |b| b.iter(|| value.fields_above(0..u64::MAX, 1_700_000_300)));
    group.bench_function("first 1000", |b| {
        b.iter(|| value.fields_above_list(0..u64::MAX, 1_700_000_300, 1000));
    });
    group.bench_function("all", |b| {
        b.iter(|| value.fields_above_list(0..u64::MAX, 1_700_000_300, u64::MAX));
    });
    group.finish();
}

criterion_group!(benches, retention, expressions, merging, presence);
criterion_main!(benches);
