//! GETBIT's latency while BITOPs over 512 MiB run.
//!
//! Open loop: a GETBIT is due every millisecond whether or not the one before was answered, and
//! its latency counts from when it was due. A server that stalls cannot hide behind a client that
//! waits.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};
use hdrhistogram::Histogram;

use super::{
    BenchArgs,
    algebra::Bits,
    connection::Connection,
    report::{Cell, Report},
    target::Target,
};

const OPERAND_BYTES: u64 = 512 << 20;
const PERIOD: Duration = Duration::from_millis(1);
const MEASURED: Duration = Duration::from_secs(10);

/// Measures every target, alone and beside back-to-back BITOPs.
#[expect(clippy::print_stderr, reason = "progress")]
pub(super) fn run(args: &BenchArgs, report: &mut Report) -> Result<()> {
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for target in args.targets() {
        eprintln!("stall: {} loads two operands of 512 MiB", target.url);
        let mut connection = Connection::open(&target)?;
        connection.call(&["SETBIT", "bench:small", "70000", "1"])?;
        for (seed, key) in [(1, "bench:big:1"), (2, "bench:big:2")] {
            let mut bits = Bits::new(0.5, seed);
            connection.write_value(key, OPERAND_BYTES, |chunk| bits.fill(chunk))?;
        }
        let quiet = getbits(&target, &AtomicBool::new(false), MEASURED / 3)?;
        alone.push(Some(cell(&quiet)));
        let (latency, bitops) = beside_bitops(&target)?;
        beside.push(Some(cell(&latency).with("bitops", bitops as f64)));
        connection.call(&["DEL", "bench:big:1", "bench:big:2", "bench:result", "bench:small"])?;
    }
    report.lower_is_better("stall", "GETBIT p99, alone", "us", alone);
    report.lower_is_better("stall", "GETBIT p99, beside 512 MiB BITOPs", "us", beside);
    Ok(())
}

fn cell(latency: &Histogram<u64>) -> Cell {
    Cell::of(latency.value_at_quantile(0.99) as f64)
        .with("p50_us", latency.value_at_quantile(0.5) as f64)
        .with("p999_us", latency.value_at_quantile(0.999) as f64)
        .with("max_us", latency.max() as f64)
}

/// GETBITs on this thread, BITOPs on another; how many of the latter were done.
fn beside_bitops(target: &Target) -> Result<(Histogram<u64>, u64)> {
    let (stop, failed, done) = (AtomicBool::new(false), AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let bitops = scope.spawn(|| -> Result<()> {
            let mut connection = Connection::open(target)?;
            while !stop.load(Ordering::Relaxed) {
                let command = ["BITOP", "AND", "bench:result", "bench:big:1", "bench:big:2"];
                if let Err(error) = connection.call(&command) {
                    failed.store(true, Ordering::Relaxed);
                    return Err(error);
                }
                done.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
        let latency = getbits(target, &failed, MEASURED);
        stop.store(true, Ordering::Relaxed);
        bitops.join().map_err(|_| anyhow!("the thread of the BITOPs panicked"))??;
        Ok((latency?, done.load(Ordering::Relaxed)))
    })
}

fn getbits(target: &Target, stop: &AtomicBool, time: Duration) -> Result<Histogram<u64>> {
    let mut connection = Connection::open(target)?;
    let mut latency = Histogram::new_with_bounds(1, 600_000_000, 3)?;
    let begin = Instant::now();
    let mut due = begin;
    while begin.elapsed() < time && !stop.load(Ordering::Relaxed) {
        if let Some(wait) = due.checked_duration_since(Instant::now()) {
            thread::sleep(wait);
        }
        connection.call(&["GETBIT", "bench:small", "70000"])?;
        let took = u64::try_from(due.elapsed().as_micros())?;
        latency.saturating_record(took.max(1));
        due += PERIOD;
    }
    Ok(latency)
}
