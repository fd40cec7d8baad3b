//! How long a GETBIT waits while another connection sends BITOPs without pause.
//!
//! One client asks each millisecond, or as soon as it was answered. Of a long wait it also counts
//! those who would have asked meanwhile, each with what was left of it (the histogram's correction
//! for coordinated omission): a server that stalls does not look fast by hearing few requests.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};
use hdrhistogram::Histogram;

use super::{
    super::{connection::Connection, load::Random, target::Target},
    READ_KEY, RESULT, Set, VALUE_BYTES,
    report::BesideRow,
};

const PERIOD: Duration = Duration::from_millis(1);
const MEASURED: Duration = Duration::from_secs(4);

/// GETBITs on this thread, BITOPs on another.
///
/// # Errors
///
/// If the server refuses either.
pub(super) fn run(system: &str, target: &Target, set: &Set) -> Result<BesideRow> {
    let alone = getbits(target, &AtomicBool::new(false), MEASURED / 4)?;
    let (stop, failed, done) = (AtomicBool::new(false), AtomicBool::new(false), AtomicU64::new(0));
    let bitops = || -> Result<()> {
        let mut connection = Connection::open(target)?;
        let command = set.command(&["BITOP", "OR", RESULT]);
        while !stop.load(Ordering::Relaxed) {
            connection.call(&command)?;
            done.fetch_add(1, Ordering::Relaxed);
        }
        connection.call(&["DEL", RESULT])?;
        Ok(())
    };
    let latency = thread::scope(|scope| {
        let bitops = scope.spawn(|| {
            let ended = bitops();
            failed.store(ended.is_err(), Ordering::Relaxed);
            ended
        });
        let latency = getbits(target, &failed, MEASURED);
        stop.store(true, Ordering::Relaxed);
        bitops.join().map_err(|_| anyhow!("the thread of the BITOPs panicked"))??;
        latency
    })?;
    let quantile = |quantile| latency.value_at_quantile(quantile);
    Ok(BesideRow {
        system: system.to_owned(),
        bitops: done.load(Ordering::Relaxed),
        alone_p99_us: alone.value_at_quantile(0.99),
        p50_us: quantile(0.5),
        p99_us: quantile(0.99),
        p999_us: quantile(0.999),
        max_us: latency.max(),
    })
}

fn getbits(target: &Target, stop: &AtomicBool, time: Duration) -> Result<Histogram<u64>> {
    let period_us = u64::try_from(PERIOD.as_micros())?;
    let mut connection = Connection::open(target)?;
    let mut latency = Histogram::new_with_bounds(1, 600_000_000, 3)?;
    let mut random = Random::new(0x9e37_79b9);
    let begin = Instant::now();
    while begin.elapsed() < time && !stop.load(Ordering::Relaxed) {
        let offset = (random.next() % (VALUE_BYTES as u64 * 8)).to_string();
        let asked = Instant::now();
        connection.call(&["GETBIT", READ_KEY, &offset])?;
        let took = asked.elapsed();
        latency.record_correct(u64::try_from(took.as_micros())?.max(1), period_us)?;
        thread::sleep(PERIOD.saturating_sub(took));
    }
    Ok(latency)
}
