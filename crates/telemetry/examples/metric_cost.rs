//! What counting costs: nanoseconds an event, the best of many rounds.
//!
//! `cargo run --release -p bitroster-telemetry --example metric_cost`
#![expect(clippy::print_stdout, reason = "a measuring program")]

use std::{
    hint::black_box,
    sync::{
        Arc, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use bitroster_telemetry::metric::Histogram;

/// Events of one round.
const EVENTS: u32 = 20_000;

/// Rounds of one measurement.
const ROUNDS: usize = 200;

fn measure(what: &str, mut event: impl FnMut(u64)) {
    let round = |_| {
        let started = Instant::now();
        (0..u64::from(EVENTS)).for_each(&mut event);
        started.elapsed().as_secs_f64() * 1e9 / f64::from(EVENTS)
    };
    let best = (0..ROUNDS).map(round).fold(f64::MAX, f64::min);
    println!("{what}: {best:.1} ns");
}

fn main() {
    let (durations, counts) = (Histogram::of_seconds(), Histogram::of_counts());
    measure("a duration in a histogram", |n| durations.record(black_box(40_000 + n * 13)));
    measure("a count in a histogram", |n| counts.record(black_box(n % 64)));
    measure("two looks at the clock", |_| {
        black_box(Instant::now().elapsed());
    });
    // As the router counts a request to a group: found among eight, six cells and a duration.
    let group = |number: u16| (number, Arc::new((Histogram::of_seconds(), AtomicU64::new(0))));
    let groups = RwLock::new((1..=8).map(group).collect::<Vec<_>>());
    measure("a request to a group", |n| {
        let wanted = black_box(u16::try_from(1 + n % 8).unwrap_or(1));
        let groups = groups.read().expect("nobody panics");
        let place = groups.binary_search_by_key(&wanted, |(number, _)| *number).unwrap_or(0);
        let group = Arc::clone(&groups[place].1);
        drop(groups);
        let started = Instant::now();
        let (durations, cell) = &*group;
        for _ in 0..3 {
            cell.fetch_add(1, Relaxed);
        }
        durations.record_time(started.elapsed());
    });
}
