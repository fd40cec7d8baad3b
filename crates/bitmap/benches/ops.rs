//! Operations as commands use them, on 100 million bits of several densities.

use std::hint::black_box;

use bitroster_bitmap::{BitOp, Bitmap};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

/// The allocator of the server.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const BITS: u64 = 100_000_000;

/// A fixed sequence of numbers (SplitMix64). Two seeds' sequences have nothing in common, so that
/// operations find bits that lie independently.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}

fn dense(seed: u64) -> Bitmap {
    let mut numbers = Numbers(seed << 32);
    let words = (0..BITS / 64).flat_map(|_| numbers.next().to_le_bytes());
    Bitmap::from_bytes(&words.collect::<Vec<u8>>())
}

fn sparse(seed: u64, values: u64) -> Bitmap {
    let mut numbers = Numbers(seed << 32);
    let mut value = Bitmap::zeros(BITS / 8);
    for _ in 0..values {
        value.set(numbers.below(BITS), true);
    }
    value
}

fn points(c: &mut Criterion) {
    for (name, mut value) in [
        ("dense", dense(1)),
        ("1 percent", sparse(1, BITS / 100)),
        ("1e-4", sparse(1, BITS / 10_000)),
    ] {
        let mut numbers = Numbers(9);
        let offsets: Vec<u64> = (0..1 << 16).map(|_| numbers.below(BITS)).collect();
        let mut at = 0;
        let mut next = move || {
            at = (at + 1) & 0xFFFF;
            offsets[at]
        };
        c.bench_function(&format!("get/{name}"), |b| b.iter(|| black_box(value.get(next()))));
        let mut bit = false;
        c.bench_function(&format!("set/{name}"), |b| {
            b.iter(|| {
                bit = !bit;
                black_box(value.set(next(), bit))
            });
        });
        c.bench_function(&format!("field u8/{name}"), |b| {
            b.iter(|| black_box(value.field(next(), 8)));
        });
        c.bench_function(&format!("set field u8/{name}"), |b| {
            b.iter(|| value.set_field(next(), 8, 77));
        });
    }
}

fn building(c: &mut Criterion) {
    let mut numbers = Numbers(5);
    let offsets: Vec<u64> = (0..1_000_000).map(|_| numbers.below(BITS)).collect();
    let mut group = c.benchmark_group("build");
    group.sample_size(10);
    group.bench_function("1 M random bits of 100 M", |b| {
        b.iter(|| {
            let mut value = Bitmap::new();
            for offset in &offsets {
                black_box(value.set(*offset, true));
            }
            value
        });
    });
    group.finish();
}

fn combining(c: &mut Criterion) {
    let mut group = c.benchmark_group("combine");
    group.sample_size(20);
    for (name, values) in [
        ("dense", (0..30).map(|i| dense(i + 1)).collect::<Vec<_>>()),
        ("5 percent", (0..30).map(|i| sparse(i + 1, BITS / 20)).collect()),
        ("1 percent", (0..30).map(|i| sparse(i + 1, BITS / 100)).collect()),
        ("1e-4", (0..30).map(|i| sparse(i + 1, BITS / 10_000)).collect()),
        ("1e-6", (0..30).map(|i| sparse(i + 1, BITS / 1_000_000)).collect()),
    ] {
        let all: Vec<&Bitmap> = values.iter().collect();
        for op in [BitOp::And, BitOp::Or] {
            for count in [2, 30] {
                group.bench_function(format!("{op:?} of {count}, count/{name}"), |b| {
                    b.iter(|| Bitmap::combine_count(op, &all[..count], 0..u64::MAX));
                });
            }
            group.bench_function(format!("{op:?} of 2, build/{name}"), |b| {
                b.iter(|| Bitmap::combine(op, &all[..2]));
            });
        }
    }
    group.finish();
}

fn bytes(c: &mut Criterion) {
    let value = dense(3);
    let raw = value.read_bytes(0..u64::MAX);
    let mut group = c.benchmark_group("bytes 12.5 MB");
    group.sample_size(20);
    group.bench_function("from", |b| b.iter(|| Bitmap::from_bytes(&raw)));
    group.bench_function("read", |b| b.iter(|| value.read_bytes(0..u64::MAX)));
    group.bench_function("clone and set", |b| {
        b.iter_batched(
            || value.clone(),
            |mut clone| {
                let old = clone.get(50_000_000);
                clone.set(50_000_000, !old);
                clone
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, points, building, bytes, combining);
criterion_main!(benches);
