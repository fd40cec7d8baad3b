//! SETBIT at random offsets of one key of 100 M bits, on layouts that differ in their groups.
//!
//! All layouts run at once and take turns, so that a moment's speed is the same for all; those that
//! wait send heartbeats, which are in the figure "others".

use anyhow::{Context as _, Result};

use super::{
    super::{
        BenchArgs,
        bits::{BitRequests, Request},
        connection::Connection,
        load::{Load, Measured},
    },
    HOT_SHAPES,
    report::HotRow,
    servers::{Programs, Running, Shape},
};

/// The key under load.
const KEY: &str = "bench:hot";

/// Measures each depth on each layout, in turn, `rounds` times.
///
/// # Errors
///
/// If a server does not start, or refuses.
#[expect(clippy::print_stderr, reason = "progress")]
pub(super) fn run(args: &BenchArgs, programs: &Programs<'_>) -> Result<Vec<HotRow>> {
    let mut layouts: Vec<(Shape, Running)> = Vec::new();
    for shape in HOT_SHAPES {
        let running = programs.start(*shape)?;
        Connection::open(&running.target)?.call(&["SETBIT", KEY, "99999999", "1"])?;
        layouts.push((*shape, running));
    }
    let (mut rows, mut seed) = (Vec::new(), 0);
    for &pipeline in &args.pipeline {
        let mut runs: Vec<Vec<Measured>> = layouts.iter().map(|_| Vec::new()).collect();
        for _ in 0..args.rounds {
            // Other bits in each round, the same for all layouts: those of others are set.
            seed += 1;
            for ((shape, running), runs) in layouts.iter().zip(&mut runs) {
                let name = shape.name();
                let measured = load(args, running, pipeline, seed)
                    .with_context(|| format!("SETBIT pipeline {pipeline} on {name}"))?;
                eprintln!("SETBIT pipeline {pipeline}: {name} {:.0}/s", measured.rate);
                runs.push(measured);
            }
        }
        let measured = layouts.iter().zip(runs);
        rows.extend(measured.map(|((shape, _), runs)| row(*shape, pipeline, runs)));
    }
    Ok(rows)
}

fn load(args: &BenchArgs, running: &Running, pipeline: usize, seed: u64) -> Result<Measured> {
    let load = Load {
        addresses: &[running.target.address],
        processes: &running.pids(),
        connections: args.connections,
        pipeline,
        warm_up: args.warm_up(),
        measured: args.measured(),
        seed,
    };
    load.run(|| BitRequests::new(Request::SetBit, KEY, pipeline))
}

/// The round of median rate, and the range of all.
fn row(shape: Shape, pipeline: usize, mut runs: Vec<Measured>) -> HotRow {
    runs.sort_by(|a, b| a.rate.total_cmp(&b.rate));
    let median = &runs[runs.len() / 2];
    let micros_each = |seconds: f64| seconds * 1e6 / median.requests as f64;
    HotRow {
        shape,
        pipeline,
        rate: median.rate,
        rate_min: runs[0].rate,
        rate_max: runs[runs.len() - 1].rate,
        p50_us: median.latency_us.value_at_quantile(0.5),
        p99_us: median.latency_us.value_at_quantile(0.99),
        cpu_us: micros_each(median.used.by_process.iter().sum()),
        cpu_us_load: micros_each(median.used.by_load),
        cores_others: median.used.by_others / median.used.elapsed_seconds,
    }
}
