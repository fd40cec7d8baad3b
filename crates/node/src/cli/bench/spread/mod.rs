//! Bitmaps that lie spread over groups: what BITOP over thirty days of them takes beside
//! redis-server, how many bytes it moves between processes, how long a GETBIT waits meanwhile, and
//! whether one hot key's SETBITs gain from more groups.
//!
//! The suite starts its servers itself, one layout at a time, and kills them at the end. A
//! redis-server that keeps nothing on disk does each job at the same moment, in turn; the results'
//! counts must agree. Bitroster syncs each write, unless the environment says otherwise.

mod beside;
mod hot;
mod jobs;
mod moved;
mod report;
mod servers;

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use self::{
    moved::Links,
    report::Figures,
    servers::{Programs, Running, Shape},
};
use super::{BenchArgs, algebra::Bits, connection::Connection, cpu};

/// Keys of an operation: a month of days.
const DAYS: usize = 30;
/// 100 M bits.
const VALUE_BYTES: usize = 12_500_000;
/// Where results go.
const RESULT: &str = "result";
/// Another key of 100 M bits, whose bits are read beside the operations.
const READ_KEY: &str = "read";
/// The layouts that do the jobs, one after the other.
const SHAPES: &[Shape] = &[
    Shape::Lone { groups: 1 },
    Shape::Lone { groups: 2 },
    Shape::Lone { groups: 4 },
    Shape::Cluster { groups: 3 },
];
/// The layouts that take turns with the hot key, all at once.
const HOT_SHAPES: &[Shape] = &[
    Shape::Lone { groups: 1 },
    Shape::Lone { groups: 2 },
    Shape::Lone { groups: 4 },
    Shape::Cluster { groups: 1 },
    Shape::Cluster { groups: 3 },
];

/// Arguments of the spread suite.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SpreadArgs {
    /// The Bitroster that the spread suite starts [default: this program]
    #[arg(long, value_name = "PROGRAM")]
    server: Option<PathBuf>,
    /// The redis-server beside it
    #[arg(long, default_value = "redis-server", value_name = "PROGRAM")]
    redis_server: PathBuf,
    /// Where the spread suite's servers keep their data and logs while they run
    #[arg(long, default_value_os_t = env::temp_dir(), value_name = "FOLDER")]
    folder: PathBuf,
}

/// Operands of one density: their name, and the same bytes for every server.
struct Set {
    /// Before the day's number in a key.
    name: &'static str,
    /// Share of set bits.
    density: f64,
    values: Vec<Vec<u8>>,
}

impl Set {
    fn random(name: &'static str, density: f64) -> Self {
        let values = (1..=DAYS as u64).map(|day| {
            let mut value = vec![0; VALUE_BYTES];
            Bits::new(density, day).fill(&mut value);
            value
        });
        Self { name, density, values: values.collect() }
    }

    fn keys(&self) -> Vec<String> {
        (1..=self.values.len()).map(|day| format!("{}:{day}", self.name)).collect()
    }

    /// Bytes of all operands.
    fn bytes(&self) -> u64 {
        self.values.iter().map(|value| value.len() as u64).sum()
    }

    /// A command over all keys: its words, then the keys.
    fn command(&self, words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).chain(self.keys()).collect()
    }
}

/// Measures, prints the table and writes the JSON.
#[expect(clippy::print_stdout, reason = "the table is this command's output")]
pub(super) fn run(args: &BenchArgs) -> Result<()> {
    let this = env::current_exe()?;
    let folder = folder(&args.spread.folder)?;
    let programs = Programs {
        bitroster: args.spread.server.as_deref().unwrap_or(&this),
        redis: &args.spread.redis_server,
        folder: &folder,
    };
    let figures = measure(args, &programs);
    drop(fs::remove_dir(&folder));
    let figures = figures?;
    print!("{}", figures.table()?);
    if let Some(path) = &args.json {
        fs::write(path, serde_json::to_string_pretty(&figures)? + "\n")?;
    }
    Ok(())
}

/// A folder of this run's own.
fn folder(parent: &Path) -> Result<PathBuf> {
    let folder = parent.join(format!("bitroster-spread-{}", std::process::id()));
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

#[expect(clippy::print_stderr, reason = "progress")]
fn measure(args: &BenchArgs, programs: &Programs<'_>) -> Result<Figures> {
    eprintln!("spread: makes the operands");
    let sets = [Set::random("day", 0.5), Set::random("active", 0.05)];
    let redis = programs.start_redis()?;
    load(&redis, &sets)?;
    let mut figures = Figures::new(&redis, sets[0].bytes())?;
    for shape in SHAPES {
        eprintln!("spread: {} loads {} values", shape.name(), sets.len() * DAYS);
        let running = programs.start(*shape)?;
        load(&running, &sets)?;
        each_set(*shape, &running, &redis, &sets, &mut figures)
            .with_context(|| format!("spread on {}", shape.name()))?;
    }
    drop(redis);
    drop(sets);
    figures.hot = hot::run(args, programs)?;
    Ok(figures)
}

/// All but the hot key, on one layout.
fn each_set(
    shape: Shape,
    running: &Running,
    redis: &Running,
    sets: &[Set],
    figures: &mut Figures,
) -> Result<()> {
    let links = match shape {
        Shape::Lone { .. } => None,
        Shape::Cluster { .. } => Some(Links::of(running)?),
    };
    if let Some(links) = &links {
        // The last copies of what was loaded.
        links.wait_quiet()?;
    }
    cpu::wait_rest(&running.pids())?;
    for set in sets {
        figures.jobs.extend(jobs::run(shape, &running.target, &redis.target, set)?);
        if let Some(links) = &links {
            figures.moved.extend(jobs::run_moved(shape, &running.target, links, set)?);
        }
    }
    figures.beside.push(beside::run(&shape.name(), &running.target, &sets[0])?);
    let peer = format!("redis, then ({})", shape.name());
    figures.beside.push(beside::run(&peer, &redis.target, &sets[0])?);
    Ok(())
}

fn load(running: &Running, sets: &[Set]) -> Result<()> {
    let mut connection = Connection::open(&running.target)?;
    connection.call(&[b"SET".as_slice(), READ_KEY.as_bytes(), &sets[0].values[0]])?;
    for set in sets {
        for (key, value) in set.keys().iter().zip(&set.values) {
            connection.call(&[b"SET".as_slice(), key.as_bytes(), value])?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_names_its_words_and_then_every_day() {
        let values = vec![vec![0; 3], vec![0; 4]];
        let set = Set { name: "day", density: 0.5, values };
        let command = set.command(&["BITOP", "AND", RESULT]);
        assert_eq!(command, ["BITOP", "AND", "result", "day:1", "day:2"]);
        assert_eq!(set.bytes(), 7);
    }
}
