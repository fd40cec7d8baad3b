//! SETBIT and GETBIT at each pipeline depth, on one key of 100 M bits.

use anyhow::Result;

use super::{
    BenchArgs,
    bits::{BitRequests, Request},
    connection::Connection,
    load::Load,
    report::{Cell, Report},
};

/// The key under load.
const KEY: &str = "bench:hot";

/// Measures every depth and request on every target, in turn, `rounds` times.
#[expect(clippy::print_stderr, reason = "progress")]
pub(super) fn run(args: &BenchArgs, report: &mut Report) -> Result<()> {
    let targets = args.targets();
    let mut seed = 0;
    for target in &targets {
        Connection::open(target)?.call(&["SETBIT", KEY, "99999999", "1"])?;
    }
    for request in [Request::SetBit, Request::GetBit] {
        for &pipeline in &args.pipeline {
            let name = format!("{} pipeline {pipeline}", request.name());
            let mut runs = vec![Vec::new(); targets.len()];
            for _ in 0..args.rounds {
                // Other bits in each round, the same for all targets: those of others are set.
                seed += 1;
                for (at, target) in targets.iter().enumerate() {
                    let measured = Load {
                        addresses: &[target.address],
                        processes: &[],
                        connections: args.connections,
                        pipeline,
                        warm_up: args.warm_up(),
                        measured: args.measured(),
                        seed,
                    }
                    .run(|| BitRequests::new(request, KEY, pipeline))?;
                    eprintln!("{name}: {} {:.0}/s", target.url, measured.rate);
                    runs[at].push((measured.rate, measured.latency_us));
                }
            }
            let cells = runs.into_iter().map(|mut runs| {
                runs.sort_by(|a, b| a.0.total_cmp(&b.0));
                let (rate, latency) = &runs[runs.len() / 2];
                Cell::of(*rate)
                    .with("p50_us", latency.value_at_quantile(0.5) as f64)
                    .with("p99_us", latency.value_at_quantile(0.99) as f64)
                    .with("min", runs[0].0)
                    .with("max", runs[runs.len() - 1].0)
            });
            report.higher_is_better("ops", &name, "replies/s", cells.collect());
        }
    }
    for target in &targets {
        Connection::open(target)?.call(&["DEL", KEY])?;
    }
    Ok(())
}
