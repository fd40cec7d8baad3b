//! Goal: a small key costs less than in Redis, and what the engine says it holds is what it holds.
//!
//! Method: an allocator that counts, in the size classes of the one that nodes use; fills of
//! several shapes; deletion of all of it.
//!
//! Mutants killed: a bitmap whose growth is not counted.

// A counting allocator cannot be written without it.
#![allow(unsafe_code, clippy::print_stdout)]
#![allow(
    clippy::cast_lossless,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "whatever is not as it should be fails the test"
)]

mod common;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use bitroster_bitmap::Bitmap;
use bitroster_command::{Expiry, MergeMode, SetReply, WriteCommand};
use bytes::Bytes;
use common::{Lone, cluster::codec, key};

struct Counting;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
}

/// jemalloc's size class.
fn class(bytes: usize) -> usize {
    match bytes {
        0..=8 => 8,
        9..=128 => bytes.next_multiple_of(16),
        _ => bytes.next_multiple_of(1 << ((bytes - 1).ilog2() - 2)),
    }
}

// SAFETY: hands everything to the system's allocator and only counts.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.with(|held| held.set(held.get().wrapping_add(class(layout.size()))));
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.with(|held| held.set(held.get().wrapping_sub(class(layout.size()))));
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn held() -> usize {
    HELD.with(Cell::get)
}

/// What a fill costs by the allocator and by the engine, beyond an empty engine's bytes.
fn cost(fill: impl FnOnce(&mut Lone)) -> (f64, f64, Lone) {
    let mut lone = Lone::new();
    // The table of slots is made as it is touched, and not counted: it is the same for all.
    for n in 0..4_000 {
        set(&mut lone, &format!("k{n}"), b"", Expiry::Clear);
        lone.write(&WriteCommand::Delete { keys: vec![key(&format!("k{n}"))] });
    }
    let before = (held(), lone.engine.stats().dataset_bytes);
    fill(&mut lone);
    let held = held().wrapping_sub(before.0);
    let said = lone.engine.stats().dataset_bytes - before.1;
    (held as f64, said as f64, lone)
}

fn set(lone: &mut Lone, name: &str, value: &'static [u8], expiry: Expiry) {
    let value = Bytes::from_static(value);
    let reply = SetReply::Status;
    lone.write(&WriteCommand::Set { key: key(name), value, existence: None, expiry, reply });
}

fn assert_honest(what: &str, held: f64, said: f64) {
    let ratio = said / held;
    println!("{what}: {held} bytes held, {said} said, ratio {ratio:.3}");
    assert!((0.9..1.1).contains(&ratio), "{what}: {held} bytes held, {said} said");
}

const KEYS: u32 = 100_000;

#[test]
fn a_small_key_costs_less_than_half_of_what_redis_takes() {
    let (held, said, mut lone) = cost(|lone| {
        for n in 0..KEYS {
            set(lone, &format!("permissions:{n}"), b"\x80", Expiry::Clear);
        }
    });
    assert_honest("small keys", held, said);
    // The pages of few keys weigh more here than among a million: 6 keys a page, not 61.
    assert!(held / f64::from(KEYS) < 60.0, "{} bytes a key", held / f64::from(KEYS));
    for n in 0..KEYS {
        lone.write(&WriteCommand::Delete { keys: vec![key(&format!("permissions:{n}"))] });
    }
    let stats = lone.engine.stats();
    assert_eq!((stats.keys, stats.dataset_bytes), (0, 0));
}

#[test]
fn keys_that_share_a_slot_cost_no_more() {
    let (held, said, _lone) = cost(|lone| {
        for n in 0..KEYS / 4 {
            set(lone, &format!("{{tag}}:{n}"), b"\x80", Expiry::Clear);
        }
    });
    assert_honest("keys of one slot", held, said);
    assert!(held / f64::from(KEYS / 4) < 50.0, "{} bytes a key", held / f64::from(KEYS / 4));
}

#[test]
fn expiries_are_counted() {
    let (held, said, _lone) = cost(|lone| {
        for n in 0..KEYS / 4 {
            set(lone, &format!("k{n}"), b"\x80", Expiry::In(1_000 + i64::from(n)));
        }
    });
    assert_honest("keys with an expiry", held, said);
}

#[test]
fn bitmaps_are_counted_as_they_grow_and_shrink() {
    let (held, said, mut lone) = cost(|lone| {
        let mut state = 1u64;
        for n in 0..60_000u64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(n);
            let offset = (state >> 33) % if n % 2 == 0 { 1 << 17 } else { 1 << 30 };
            let key = key(&format!("b{}", n % 7));
            lone.write(&WriteCommand::SetBit { key, offset, value: true });
        }
    });
    assert_honest("bitmaps", held, said);
    lone.write(&WriteCommand::Delete { keys: (0..7).map(|n| key(&format!("b{n}"))).collect() });
    assert_eq!(lone.engine.stats().dataset_bytes, 0);
}

#[test]
fn one_far_bit_costs_hundreds_of_bytes() {
    let (held, said, _lone) = cost(|lone| {
        let offset = (1 << 32) - 1;
        lone.write(&WriteCommand::SetBit { key: key("far"), offset, value: true });
    });
    assert!(held < 800.0 && said < 800.0, "{held} bytes held, {said} said");
}

#[test]
fn a_uuid_and_its_number_cost_at_most_32_bytes() {
    let uuid = |n: u64| {
        let text = format!("{:016x}{n:016x}", n.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let (a, b, c) = (&text[..8], &text[8..12], &text[12..16]);
        Bytes::from(format!("{a}-{b}-{c}-{}-{}", &text[16..20], &text[20..]))
    };
    // After each of these fills the pages are as empty as they ever are, or as full.
    for names in [70_000, 100_000, 200_000, 400_000] {
        let (held, said, mut lone) = cost(|lone| {
            for first in (0..names).step_by(1_000) {
                let names = (first..first + 1_000).map(uuid).collect();
                lone.write(&WriteCommand::AssignIds { space: key("users"), names });
            }
        });
        assert_honest("names", held, said);
        assert!(held / (names as f64) < 32.0, "{} bytes a name", held / names as f64);
        lone.write(&WriteCommand::DropSpace { space: key("users") });
        assert_eq!(lone.engine.stats().dataset_bytes, 0);
    }
}

#[test]
fn merged_bits_and_presence_are_counted() {
    let (held, said, mut lone) = cost(|lone| {
        for n in 0..300u64 {
            let offsets: Vec<u64> = (0..n).map(|m| (n * 977 + m * m * 31) % 3_000_000).collect();
            let mode = match n % 3 {
                0 => MergeMode::Xor,
                1 => MergeMode::AndNot,
                _ => MergeMode::Or,
            };
            let bits = codec(&Bitmap::from_offsets(&offsets));
            lone.write(&WriteCommand::Merge { key: key(&format!("m{}", n % 5)), mode, bits });
            lone.write(&WriteCommand::Touch { key: key("online"), id: n * 1_013, ttl_secs: 9 });
        }
    });
    assert_honest("merged bits", held, said);
    let keys = ["m0", "m1", "m2", "m3", "m4", "online"].map(key).to_vec();
    lone.write(&WriteCommand::Delete { keys });
    assert_eq!(lone.engine.stats().dataset_bytes, 0);
}
