//! `bitroster bench`: measures a server, beside another one in the same run.
//!
//! Figures of one machine and one moment mean little; ratios of two servers that took turns mean
//! more. Every suite therefore lets the targets take turns, cell by cell, and reports medians over
//! rounds. Progress goes to stderr, the table to stdout, and `--json FILE` keeps everything.

mod algebra;
mod bits;
mod cluster;
mod connection;
mod cpu;
mod etcd;
mod load;
mod memory;
mod ops;
mod report;
mod spread;
mod stall;
mod surface;
mod system;
mod target;

use std::{path::PathBuf, time::Duration};

use clap::ValueEnum;

use self::{report::Report, system::System, target::Target};

/// Arguments of `bitroster bench`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct BenchArgs {
    /// The server to measure
    #[arg(long, default_value = "redis://127.0.0.1:6379", value_name = "URL")]
    url: Target,
    /// Another server, measured in turn with the first; the ratios are to this one
    #[arg(long, value_name = "URL")]
    compare: Option<Target>,
    /// What to measure
    #[arg(long, value_enum, value_delimiter = ',', default_value = "ops")]
    suite: Vec<Suite>,
    /// A system of the cluster suite (bitroster, redis-wait, redis, etcd): where its clients
    /// connect, in turn, and its processes; such as etcd=127.0.0.1:2379@17,18. May be repeated
    #[arg(long, value_name = "KIND=HOST:PORT,...[@PID,...]")]
    system: Vec<System>,
    #[command(flatten)]
    spread: spread::SpreadArgs,
    /// Connections of the ops, cluster and spread suites
    #[arg(long, default_value_t = 50)]
    connections: usize,
    /// Requests in flight on each connection of the ops, cluster and spread suites
    #[arg(long, value_delimiter = ',', default_value = "1,16,64")]
    pipeline: Vec<usize>,
    /// Sizes of the algebra suite's operands, in bytes
    #[arg(long, value_delimiter = ',', default_value = "1048576,12500000,536870912")]
    size: Vec<u64>,
    /// Operands of the algebra suite; more than eight are left out above 64 MiB
    #[arg(long, value_delimiter = ',', default_value = "2,7,30")]
    operands: Vec<usize>,
    /// Shares of set bits in the algebra suite's operands
    #[arg(long, value_delimiter = ',', default_value = "0.5,0.01,0.0001")]
    density: Vec<f64>,
    /// Measured seconds of each cell of the ops, cluster and spread suites
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Seconds before each such cell that do not count
    #[arg(long, default_value_t = 0.7)]
    warm_up: f64,
    /// How often each cell of the ops, cluster and spread suites is measured; the median counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Names that the surface suite gives numbers to
    #[arg(long, default_value_t = 10_000_000)]
    names: u64,
    /// Allow the suites that empty the servers (memory, surface)
    #[arg(long)]
    flush: bool,
    /// Where to write all figures as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Suite {
    /// SETBIT and GETBIT at each pipeline depth
    Ops,
    /// BITCOUNT, BITOP and BITOPCARD over operands of each size and density
    Algebra,
    /// Bytes that data sets take; empties the servers, needs --flush
    Memory,
    /// GETBIT's latency while 512 MiB BITOPs run
    Stall,
    /// Commands of our own beside what is done without them; empties the servers, needs --flush
    Surface,
    /// A cluster's SETBIT and GETBIT beside those of its peers, with the processors' time that each
    /// takes; alone, on the systems named by --system
    Cluster,
    /// BITOP over thirty keys that are spread over groups beside redis-server, the bytes it moves
    /// between processes, and SETBIT of one hot key; alone, on servers that it starts itself
    Spread,
}

impl BenchArgs {
    fn measured(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    fn warm_up(&self) -> Duration {
        Duration::from_secs_f64(self.warm_up)
    }

    fn targets(&self) -> Vec<Target> {
        [Some(self.url.clone()), self.compare.clone()].into_iter().flatten().collect()
    }
}

/// Measures and reports.
///
/// # Errors
///
/// If a server cannot be reached, or answers what it should not.
#[expect(clippy::print_stdout, reason = "the table is this command's output")]
pub(crate) fn run(args: &BenchArgs) -> anyhow::Result<()> {
    let needs_flush = [Suite::Memory, Suite::Surface].iter().any(|one| args.suite.contains(one));
    anyhow::ensure!(
        args.flush || !needs_flush,
        "the memory and surface suites empty the servers: say --flush"
    );
    if args.suite.contains(&Suite::Cluster) {
        anyhow::ensure!(args.suite.len() == 1, "the cluster suite runs alone");
        return cluster::run(args);
    }
    if args.suite.contains(&Suite::Spread) {
        anyhow::ensure!(args.suite.len() == 1, "the spread suite runs alone");
        return spread::run(args);
    }
    let mut report = Report::new(&args.targets())?;
    for suite in &args.suite {
        match suite {
            Suite::Ops => ops::run(args, &mut report)?,
            Suite::Algebra => algebra::run(args, &mut report)?,
            Suite::Memory => memory::run(args, &mut report)?,
            Suite::Stall => stall::run(args, &mut report)?,
            Suite::Surface => surface::run(args, &mut report)?,
            Suite::Cluster | Suite::Spread => unreachable!("they run alone, above"),
        }
    }
    print!("{}", report.table());
    if let Some(path) = &args.json {
        std::fs::write(path, report.json()?)?;
    }
    Ok(())
}
