//! Counting and AND-counting of dense values beyond the caches, beside the plain speed of reading.
//!
//! The goal is 85 % of what the machine reads: compare `read/1 stream` with `count` and
//! `read/2 streams` with `and count`.

use std::hint::black_box;

use bitroster_bitmap::{BitOp, Bitmap};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// The allocator of the server.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Bytes of each operand: far more than the caches hold.
const BYTES: usize = 128 << 20;

/// Pseudo-random bytes: every container becomes dense.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed;
    let mut out = Vec::with_capacity(bytes);
    while out.len() < bytes {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        out.extend_from_slice(&(state ^ (state >> 29)).to_le_bytes());
    }
    out
}

/// Reads every word, as fast as portable code can.
fn read(bytes: &[u8]) -> u64 {
    let mut sums = [0u64; 16];
    for block in bytes.as_chunks::<128>().0 {
        for (sum, word) in sums.iter_mut().zip(block.as_chunks::<8>().0) {
            *sum ^= u64::from_ne_bytes(*word);
        }
    }
    sums.iter().fold(0, |a, b| a ^ b)
}

fn beyond_the_caches(c: &mut Criterion) {
    let (a, b) = (noise(1, BYTES), noise(2, BYTES));
    let (x, y) = (Bitmap::from_bytes(&a), Bitmap::from_bytes(&b));
    let mut group = c.benchmark_group("dense 128 MiB");
    group.sample_size(10);
    group.throughput(Throughput::Bytes(BYTES as u64));
    group.bench_function("read/1 stream", |bench| bench.iter(|| black_box(read(&a))));
    group.bench_function("count", |bench| {
        bench.iter(|| count_all(&x));
    });
    group.throughput(Throughput::Bytes(2 * BYTES as u64));
    group.bench_function("read/2 streams", |bench| {
        bench.iter(|| {
            let blocks = a.chunks(8192).zip(b.chunks(8192));
            black_box(blocks.fold(0, |acc, (a, b)| acc ^ read(a) ^ read(b)))
        });
    });
    group.bench_function("and count", |bench| {
        bench.iter(|| Bitmap::combine_count(BitOp::And, &[&x, &y], 0..u64::MAX));
    });
    group.finish();
}

/// Counts half of every container, so that kept cardinalities do not help, and both halves count.
fn count_all(value: &Bitmap) -> u64 {
    let bits = value.len_bytes() * 8;
    (0..bits).step_by(32_768).map(|start| value.count(start..start + 32_768)).sum()
}

criterion_group!(benches, beyond_the_caches);
criterion_main!(benches);
