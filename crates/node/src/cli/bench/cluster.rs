//! SETBIT and GETBIT of a cluster beside what its peers do for the same promise, all systems on the
//! same cores, taking turns.
//!
//! A write counts when a majority has it on disk: Bitroster promises that by itself, redis-server
//! with two replicas is asked to by one WAIT behind each batch, etcd by its puts. Reads are
//! Bitroster's linearizable GETBIT through a router and a lone redis-server's.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::{
    BenchArgs,
    bits::{BitRequests, Request},
    connection::Connection,
    etcd::Puts,
    load::{Load, Measured},
    system::{Kind, System},
};

/// The key under load: a bitmap of 100 M bits.
const KEY: &str = "bench:hot";

/// Rows of the table: a name, and who is asked what.
const ROWS: &[(&str, &[(Kind, Request)])] = &[
    (
        "SETBIT",
        &[
            (Kind::Bitroster, Request::SetBit),
            (Kind::RedisWait, Request::SetBitAndWait),
            // What a batch of etcd's is made of follows from its kind.
            (Kind::Etcd, Request::SetBit),
        ],
    ),
    ("GETBIT", &[(Kind::Bitroster, Request::GetBit), (Kind::Redis, Request::GetBit)]),
];

/// What Bitroster should reach: row, pipeline, of whom, how many times as much; with no peer the
/// figure is requests a second.
const GOALS: &[(&str, usize, Option<Kind>, f64)] = &[
    ("SETBIT", 1, Some(Kind::Etcd), 4.0),
    ("SETBIT", 1, Some(Kind::RedisWait), 1.0),
    ("SETBIT", 16, Some(Kind::RedisWait), 2.0),
    ("SETBIT", 64, None, 400_000.0),
    ("GETBIT", 1, Some(Kind::Redis), 0.5),
    ("GETBIT", 16, Some(Kind::Redis), 0.5),
    ("GETBIT", 64, Some(Kind::Redis), 0.5),
];

/// A round is measured again, of all systems, if others kept more cores than this busy beside one.
/// What a peer leaves to threads of the kernel comes to as much as 0.13.
const OTHERS_CORES_MAX: f64 = 0.15;

/// How often a round is measured at most; if all were disturbed the least disturbed one counts.
const ROUND_TRIES_MAX: usize = 3;

/// All figures of a run.
#[derive(Serialize)]
struct Figures {
    cores: usize,
    connections: usize,
    rounds: usize,
    seconds: f64,
    rows: Vec<Row>,
    goals: Vec<Goal>,
}

/// One system's figures for one request and depth; those of the round of median rate.
#[derive(Serialize)]
struct Row {
    request: &'static str,
    pipeline: usize,
    system: Kind,
    /// Requests answered a second, and the worst and best round's.
    rate: f64,
    rate_min: f64,
    rate_max: f64,
    /// From sending a batch to its last reply.
    p50_us: u64,
    p99_us: u64,
    p999_us: u64,
    /// Seconds of the processors for a million requests: the system's, each process's in the order
    /// given, and the load generator's.
    cpu_seconds: f64,
    cpu_seconds_by_process: Vec<f64>,
    cpu_seconds_load: f64,
    /// Cores that neither the system nor the load kept busy, at most in any round that counts:
    /// disturbance.
    cores_others: f64,
    /// Rounds measured, with those that do not count.
    rounds_measured: usize,
}

#[derive(Serialize)]
struct Goal {
    name: String,
    wanted: f64,
    measured: f64,
}

/// Measures, prints the table and writes the JSON.
#[expect(clippy::print_stdout, reason = "the table is this command's output")]
pub(super) fn run(args: &BenchArgs) -> Result<()> {
    for system in &args.system {
        if system.kind != Kind::Etcd {
            Connection::open(&system.targets[0])?.call(&["SETBIT", KEY, "99999999", "1"])?;
        }
    }
    let (mut rows, mut seed) = (Vec::new(), 0);
    for (name, asked) in ROWS {
        for &pipeline in &args.pipeline {
            rows.extend(measure(args, name, asked, pipeline, &mut seed)?);
        }
    }
    let goals = goals(&rows);
    let figures = Figures {
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        connections: args.connections,
        rounds: args.rounds,
        seconds: args.seconds,
        rows,
        goals,
    };
    print!("{}", figures.table()?);
    if let Some(path) = &args.json {
        std::fs::write(path, serde_json::to_string_pretty(&figures)? + "\n")?;
    }
    Ok(())
}

/// One depth on every system that is there, in turn, `rounds` times; a round that others disturb is
/// measured again. `seed` is that of the last round.
#[expect(clippy::print_stderr, reason = "progress")]
fn measure(
    args: &BenchArgs,
    name: &'static str,
    asked: &[(Kind, Request)],
    pipeline: usize,
    seed: &mut u64,
) -> Result<Vec<Row>> {
    let there: Vec<(&System, Request)> = asked
        .iter()
        .filter_map(|(kind, request)| {
            args.system.iter().find(|system| system.kind == *kind).map(|system| (system, *request))
        })
        .collect();
    let mut runs: Vec<Vec<Measured>> = there.iter().map(|_| Vec::new()).collect();
    let mut rounds_measured = 0;
    for _ in 0..args.rounds {
        let mut calmest: Option<(f64, Vec<Measured>)> = None;
        for _ in 0..ROUND_TRIES_MAX {
            // Other bits in each round, the same for all systems: those of other rounds are set.
            *seed += 1;
            let mut round = Vec::new();
            for (system, request) in &there {
                let what = format!("{name} pipeline {pipeline}: {}", system.kind.name());
                let measured = load(args, system, *request, pipeline, *seed);
                let measured = measured.with_context(|| what.clone())?;
                let (rate, others) = (measured.rate, measured.others());
                eprintln!("{what} {rate:.0}/s, {others:.2} cores elsewhere");
                round.push(measured);
            }
            rounds_measured += 1;
            let others = round.iter().map(Measured::others).fold(0.0, f64::max);
            if calmest.as_ref().is_none_or(|(least, _)| others < *least) {
                calmest = Some((others, round));
            }
            if others <= OTHERS_CORES_MAX {
                break;
            }
        }
        let (_, counted) = calmest.context("no round was measured")?;
        runs.iter_mut().zip(counted).for_each(|(runs, measured)| runs.push(measured));
    }
    let rows = there.iter().zip(runs);
    let row = |((system, _), runs): (&(&System, Request), Vec<Measured>)| {
        row((name, pipeline), system, runs, rounds_measured)
    };
    Ok(rows.map(row).collect())
}

fn load(
    args: &BenchArgs,
    system: &System,
    request: Request,
    pipeline: usize,
    seed: u64,
) -> Result<Measured> {
    let addresses = system.addresses();
    let load = Load {
        addresses: &addresses,
        processes: &system.processes,
        connections: args.connections,
        pipeline,
        warm_up: args.warm_up(),
        measured: args.measured(),
        seed,
    };
    match system.kind {
        Kind::Etcd => load.run(|| Puts::new(addresses[0], pipeline)),
        Kind::Bitroster | Kind::RedisWait | Kind::Redis => {
            load.run(|| BitRequests::new(request, KEY, pipeline))
        }
    }
}

/// The round of median rate, and the range of all.
fn row(
    (request, pipeline): (&'static str, usize),
    system: &System,
    mut runs: Vec<Measured>,
    rounds_measured: usize,
) -> Row {
    runs.sort_by(|a, b| a.rate.total_cmp(&b.rate));
    let median = &runs[runs.len() / 2];
    let millions = median.requests as f64 / 1e6;
    let quantile = |quantile| median.latency_us.value_at_quantile(quantile);
    Row {
        request,
        pipeline,
        system: system.kind,
        rate: median.rate,
        rate_min: runs[0].rate,
        rate_max: runs[runs.len() - 1].rate,
        p50_us: quantile(0.5),
        p99_us: quantile(0.99),
        p999_us: quantile(0.999),
        cpu_seconds: median.used.by_process.iter().sum::<f64>() / millions,
        cpu_seconds_by_process: median.used.by_process.iter().map(|s| s / millions).collect(),
        cpu_seconds_load: median.used.by_load / millions,
        cores_others: runs.iter().map(Measured::others).fold(0.0, f64::max),
        rounds_measured,
    }
}

/// The goals whose figures were measured.
fn goals(rows: &[Row]) -> Vec<Goal> {
    let rate = |request: &str, pipeline, kind| {
        let same =
            |row: &&Row| row.request == request && row.pipeline == pipeline && row.system == kind;
        rows.iter().find(same).map(|row| row.rate)
    };
    let measured = |(request, pipeline, peer, wanted): &(&str, usize, Option<Kind>, f64)| {
        let ours = rate(request, *pipeline, Kind::Bitroster)?;
        let (name, measured) = match peer {
            None => (format!("{request} pipeline {pipeline} a second"), ours),
            Some(peer) => {
                let name = format!("{request} pipeline {pipeline} to {}", peer.name());
                (name, ours / rate(request, *pipeline, *peer)?)
            }
        };
        Some(Goal { name, wanted: *wanted, measured })
    };
    GOALS.iter().filter_map(measured).collect()
}

impl Measured {
    /// Cores that were kept busy by what was not measured.
    fn others(&self) -> f64 {
        self.used.by_others / self.used.elapsed_seconds
    }
}

impl Figures {
    /// For people.
    fn table(&self) -> Result<String> {
        let mut text = String::new();
        writeln!(
            text,
            "{:<20}{:<12}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}{:>8}",
            "measured",
            "system",
            "per s",
            "p50 us",
            "p99 us",
            "p99.9 us",
            "cpu s/M",
            "load s/M",
            "others"
        )?;
        for row in &self.rows {
            let name = format!("{} pipeline {}", row.request, row.pipeline);
            writeln!(
                text,
                "{name:<20}{:<12}{:>10.0}{:>10}{:>10}{:>10}{:>10.2}{:>10.2}{:>8.2}",
                row.system.name(),
                row.rate,
                row.p50_us,
                row.p99_us,
                row.p999_us,
                row.cpu_seconds,
                row.cpu_seconds_load,
                row.cores_others
            )?;
        }
        for goal in &self.goals {
            let verdict = if goal.measured >= goal.wanted { "met" } else { "missed" };
            let Goal { name, wanted, measured } = goal;
            let places = if *wanted >= 1000.0 { 0 } else { 2 };
            writeln!(
                text,
                "goal: {name} {measured:.places$}, wanted {wanted:.places$}: {verdict}"
            )?;
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(request: &'static str, pipeline: usize, system: Kind, rate: f64) -> Row {
        Row {
            request,
            pipeline,
            system,
            rate,
            rate_min: rate,
            rate_max: rate,
            p50_us: 1,
            p99_us: 2,
            p999_us: 3,
            cpu_seconds: 0.0,
            cpu_seconds_by_process: Vec::new(),
            cpu_seconds_load: 0.0,
            cores_others: 0.0,
            rounds_measured: 0,
        }
    }

    #[test]
    fn a_goal_compares_bitroster_with_the_peer_at_the_same_depth() {
        let rows = [
            row("SETBIT", 1, Kind::Bitroster, 30.0),
            row("SETBIT", 1, Kind::RedisWait, 20.0),
            row("SETBIT", 16, Kind::RedisWait, 5.0),
            row("SETBIT", 64, Kind::Bitroster, 500_000.0),
        ];
        let found: Vec<_> =
            goals(&rows).into_iter().map(|goal| (goal.name, goal.measured)).collect();
        let wanted = [
            ("SETBIT pipeline 1 to redis-wait".to_owned(), 1.5),
            ("SETBIT pipeline 64 a second".to_owned(), 500_000.0),
        ];
        assert_eq!(found, wanted);
    }
}
