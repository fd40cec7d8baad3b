//! Goal: what a request costs between the socket and the command parser.
//!
//! Method: decode a buffer of 64 pipelined requests from memory, as a session does, and touch every
//! argument. Criterion reports the time of one request through the throughput in elements.

use std::hint::black_box;

use bitroster_resp::{
    Decoded, Decoder, Encoder, FrameLimits, Limits, ReplySkipper, Version, decode_frame,
    encode_request,
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const REQUESTS: u64 = 64;

fn requests() -> Vec<u8> {
    let mut out = Vec::new();
    for index in 0..REQUESTS {
        let offset = (index * 67_867_967 % 100_000_000).to_string();
        encode_request(&["SETBIT", "active:2026-11-21", &offset, "1"], &mut out);
    }
    out
}

fn replies() -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = Encoder::new(&mut out, Version::Resp2);
    for index in 0..REQUESTS {
        encoder.integer(i64::from(index % 3 == 0));
    }
    out
}

fn decode_all(decoder: &mut Decoder, buf: &[u8]) -> usize {
    let mut rest = buf;
    let mut bytes = 0;
    while let Ok(Decoded::Request { consumed }) = decoder.decode(rest) {
        bytes += decoder.args(rest).iter().map(<[u8]>::len).sum::<usize>();
        rest = &rest[consumed..];
    }
    bytes
}

fn decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("pipeline of 64");
    group.throughput(Throughput::Elements(REQUESTS));
    let buf = requests();
    let mut decoder = Decoder::new(Limits::default());
    group.bench_function("decode SETBIT", |b| {
        b.iter(|| decode_all(&mut decoder, black_box(&buf)));
    });
    let line = "SETBIT active:2026-11-21 12345678 1\r\n".repeat(64).into_bytes();
    group.bench_function("decode inline SETBIT", |b| {
        b.iter(|| decode_all(&mut decoder, black_box(&line)));
    });
    let mut out = Vec::new();
    group.bench_function("encode integers", |b| {
        b.iter(|| {
            out.clear();
            let mut encoder = Encoder::new(&mut out, Version::Resp2);
            for index in 0..64 {
                encoder.integer(black_box(index * 1_000));
            }
            out.len()
        });
    });
    let replies = replies();
    let mut skipper = ReplySkipper::new(FrameLimits::default());
    group.bench_function("skip integer replies", |b| {
        b.iter(|| {
            let mut rest = black_box(replies.as_slice());
            while let Ok(Some(skipped)) = skipper.skip(rest) {
                rest = &rest[skipped.consumed..];
            }
        });
    });
    group.bench_function("decode integer frames", |b| {
        b.iter(|| {
            let mut rest = black_box(replies.as_slice());
            while let Ok(Some((_, consumed))) = decode_frame(rest, FrameLimits::default()) {
                rest = &rest[consumed..];
            }
        });
    });
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
