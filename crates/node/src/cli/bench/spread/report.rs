//! The suite's figures, as tables and as JSON, and the goals.

use std::{env, fmt::Write as _};

use anyhow::Result;
use serde::Serialize;

use super::{
    super::connection::Connection,
    servers::{Running, Shape},
};

/// How many times as fast as redis-server the job should be.
const RATIO_MIN: f64 = 5.0;
/// Percent of the operands' bytes that BITOP should move between processes, at the most.
const BITOP_PERCENT_MAX: f64 = 2.0;
/// As much for BITOPCARD, which need not move a result.
const BITOPCARD_PERCENT_MAX: f64 = 0.1;

/// All figures of a run.
#[derive(Serialize)]
pub(super) struct Figures {
    cores: usize,
    /// Version and options of the peer.
    redis: String,
    /// Settings from the environment that decide how Bitroster runs.
    environment: Vec<String>,
    /// Of all operands of one density.
    operand_bytes: u64,
    pub(super) jobs: Vec<JobRow>,
    pub(super) moved: Vec<MovedRow>,
    pub(super) beside: Vec<BesideRow>,
    pub(super) hot: Vec<HotRow>,
}

/// Milliseconds of a job and of its three commands.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Job {
    pub(super) total_ms: f64,
    bitop_ms: f64,
    bitcount_ms: f64,
    del_ms: f64,
}

/// One operation on one layout, beside redis-server; medians.
#[derive(Serialize)]
pub(super) struct JobRow {
    pub(super) shape: Shape,
    pub(super) density: f64,
    pub(super) operation: &'static str,
    pub(super) ours: Job,
    pub(super) redis: Job,
    /// How many times as long redis-server took.
    pub(super) ratio: f64,
    /// The same count in one command.
    pub(super) bitopcard_ms: f64,
}

/// Bytes that one command moves between processes; means.
#[derive(Serialize)]
pub(super) struct MovedRow {
    pub(super) shape: Shape,
    pub(super) density: f64,
    pub(super) command: &'static str,
    pub(super) operation: &'static str,
    /// By the kernel's count, without what an idle time of the same length takes.
    pub(super) bytes: f64,
    /// Of the operands' bytes.
    pub(super) percent: f64,
    /// What that idle time took.
    pub(super) idle_bytes: f64,
    /// By the nodes' own count, without an idle time's.
    pub(super) counted_bytes: f64,
}

/// GETBIT's latency beside BITOPs without pause.
#[derive(Serialize)]
pub(super) struct BesideRow {
    pub(super) system: String,
    /// How many were done meanwhile.
    pub(super) bitops: u64,
    /// Without BITOPs.
    pub(super) alone_p99_us: u64,
    pub(super) p50_us: u64,
    pub(super) p99_us: u64,
    pub(super) p999_us: u64,
    pub(super) max_us: u64,
}

/// SETBITs of one key on one layout; those of the round of median rate.
#[derive(Serialize)]
pub(super) struct HotRow {
    pub(super) shape: Shape,
    pub(super) pipeline: usize,
    /// Requests answered a second, and the worst and best round's.
    pub(super) rate: f64,
    pub(super) rate_min: f64,
    pub(super) rate_max: f64,
    /// From sending a batch to its last reply.
    pub(super) p50_us: u64,
    pub(super) p99_us: u64,
    /// Of the processors for a request: the servers', and the load generator's.
    pub(super) cpu_us: f64,
    pub(super) cpu_us_load: f64,
    /// Cores that neither kept busy: disturbance.
    pub(super) cores_others: f64,
}

impl Job {
    pub(super) fn of_us(bitop: f64, bitcount: f64, del: f64) -> Self {
        let total_ms = (bitop + bitcount + del) / 1e3;
        let (bitop_ms, bitcount_ms, del_ms) = (bitop / 1e3, bitcount / 1e3, del / 1e3);
        Self { total_ms, bitop_ms, bitcount_ms, del_ms }
    }

    /// Each figure's median, on its own.
    pub(super) fn median(jobs: &[Self]) -> Self {
        let of = |field: fn(&Self) -> f64| median(jobs.iter().map(field).collect());
        Self {
            total_ms: of(|job| job.total_ms),
            bitop_ms: of(|job| job.bitop_ms),
            bitcount_ms: of(|job| job.bitcount_ms),
            del_ms: of(|job| job.del_ms),
        }
    }
}

/// The middle one; of an even number, the upper of the two.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

impl JobRow {
    fn is_met(&self) -> bool {
        self.ratio >= RATIO_MIN
    }
}

impl MovedRow {
    fn percent_max(&self) -> f64 {
        if self.command == "BITOPCARD" { BITOPCARD_PERCENT_MAX } else { BITOP_PERCENT_MAX }
    }

    fn is_met(&self) -> bool {
        self.percent < self.percent_max()
    }
}

impl Figures {
    /// No figures yet.
    ///
    /// # Errors
    ///
    /// If the peer does not tell its version.
    pub(super) fn new(redis: &Running, operand_bytes: u64) -> Result<Self> {
        let info = Connection::open(&redis.target)?.text(&["INFO", "server"])?;
        let version = info.lines().find_map(|line| line.strip_prefix("redis_version:"));
        let version = version.unwrap_or("of unknown version").trim();
        let environment = env::vars()
            .filter(|(name, _)| name.starts_with("BITROSTER_") && name.contains("__"))
            .map(|(name, value)| format!("{name}={value}"));
        Ok(Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            redis: format!("redis-server {version} --save \"\" --appendonly no"),
            environment: environment.collect(),
            operand_bytes,
            jobs: Vec::new(),
            moved: Vec::new(),
            beside: Vec::new(),
            hot: Vec::new(),
        })
    }

    /// For people.
    ///
    /// # Errors
    ///
    /// None in practice: text takes all that is written.
    pub(super) fn table(&self) -> Result<String> {
        let mut text = String::new();
        let bytes = self.operand_bytes as f64 / 1e6;
        writeln!(text, "30 keys of 100 M bits: {bytes:.0} MB, each density; {} cores", self.cores)?;
        writeln!(text, "redis: {}, in turn on the same cores", self.redis)?;
        for each in &self.environment {
            writeln!(text, "{each}")?;
        }
        self.write_jobs(&mut text)?;
        self.write_moved(&mut text)?;
        self.write_beside(&mut text)?;
        self.write_hot(&mut text)?;
        self.write_goals(&mut text)?;
        Ok(text)
    }

    fn write_jobs(&self, text: &mut String) -> Result<()> {
        writeln!(
            text,
            "\n{:<22}{:<10}{:>9}{:>9}{:>9}{:>9}{:>10}{:>8}{:>8}{:>11}{:>8}",
            "BITOP+BITCOUNT+DEL",
            "bits set",
            "ms",
            "BITOP",
            "BITCOUNT",
            "DEL",
            "redis ms",
            "ratio",
            "goal",
            "BITOPCARD",
            "ratio"
        )?;
        for row in &self.jobs {
            writeln!(
                text,
                "{:<22}{:<10}{:>9.2}{:>9.2}{:>9.2}{:>9.2}{:>10.1}{:>8.2}{:>8}{:>11.2}{:>8.2}",
                row.shape.name(),
                format!("{} {}", row.operation, share(row.density)),
                row.ours.total_ms,
                row.ours.bitop_ms,
                row.ours.bitcount_ms,
                row.ours.del_ms,
                row.redis.total_ms,
                row.ratio,
                verdict(row.is_met()),
                row.bitopcard_ms,
                row.redis.total_ms / row.bitopcard_ms
            )?;
        }
        Ok(())
    }

    fn write_moved(&self, text: &mut String) -> Result<()> {
        writeln!(
            text,
            "\n{:<22}{:<18}{:>12}{:>10}{:>8}{:>8}{:>12}{:>14}",
            "bytes between nodes",
            "",
            "bytes",
            "percent",
            "wanted",
            "goal",
            "while idle",
            "own counter"
        )?;
        for row in &self.moved {
            let what = format!("{} {} {}", row.command, row.operation, share(row.density));
            writeln!(
                text,
                "{:<22}{what:<18}{:>12.0}{:>10.4}{:>8}{:>8}{:>12.0}{:>14.0}",
                row.shape.name(),
                row.bytes,
                row.percent,
                format!("< {}", row.percent_max()),
                verdict(row.is_met()),
                row.idle_bytes,
                row.counted_bytes
            )?;
        }
        Ok(())
    }

    fn write_beside(&self, text: &mut String) -> Result<()> {
        writeln!(
            text,
            "\n{:<34}{:>10}{:>10}{:>10}{:>10}{:>12}{:>8}",
            "GETBIT beside BITOP OR 50 %",
            "p50 us",
            "p99 us",
            "p99.9 us",
            "max us",
            "alone p99",
            "BITOPs"
        )?;
        for row in &self.beside {
            writeln!(
                text,
                "{:<34}{:>10}{:>10}{:>10}{:>10}{:>12}{:>8}",
                row.system,
                row.p50_us,
                row.p99_us,
                row.p999_us,
                row.max_us,
                row.alone_p99_us,
                row.bitops
            )?;
        }
        Ok(())
    }

    fn write_hot(&self, text: &mut String) -> Result<()> {
        writeln!(
            text,
            "\n{:<22}{:<14}{:>10}{:>14}{:>9}{:>9}{:>10}{:>10}{:>8}",
            "SETBIT of one key",
            "",
            "per s",
            "to one group",
            "p50 us",
            "p99 us",
            "cpu us/op",
            "load us",
            "others"
        )?;
        for row in &self.hot {
            let ratio = self.to_one_group(row).map_or("-".to_owned(), |to| format!("{to:.2}"));
            writeln!(
                text,
                "{:<22}{:<14}{:>10.0}{ratio:>14}{:>9}{:>9}{:>10.2}{:>10.2}{:>8.2}",
                row.shape.name(),
                format!("pipeline {}", row.pipeline),
                row.rate,
                row.p50_us,
                row.p99_us,
                row.cpu_us,
                row.cpu_us_load,
                row.cores_others
            )?;
        }
        Ok(())
    }

    /// How many times the rate of one group in the same place.
    fn to_one_group(&self, row: &HotRow) -> Option<f64> {
        let one = row.shape.with_one_group();
        let same = |other: &&HotRow| other.shape == one && other.pipeline == row.pipeline;
        self.hot.iter().find(same).map(|other| row.rate / other.rate)
    }

    fn write_goals(&self, text: &mut String) -> Result<()> {
        writeln!(text)?;
        let met = self.jobs.iter().filter(|row| row.is_met()).count();
        let least = self.jobs.iter().map(|row| row.ratio).min_by(f64::total_cmp);
        if let Some(least) = least {
            let all = self.jobs.len();
            let verdict = verdict(met == all);
            writeln!(
                text,
                "goal: the job {RATIO_MIN} times as fast as redis, worst {least:.2}, \
                 {met} of {all}: {verdict}"
            )?;
        }
        for command in ["BITOP", "BITOPCARD"] {
            let rows: Vec<_> = self.moved.iter().filter(|row| row.command == command).collect();
            let met = rows.iter().filter(|row| row.is_met()).count();
            let most = rows.iter().max_by(|a, b| a.percent.total_cmp(&b.percent));
            let Some(most) = most else { continue };
            let (all, verdict) = (rows.len(), verdict(met == rows.len()));
            writeln!(
                text,
                "goal: {command} moves less than {} % of the operands' bytes, worst {:.4} %, \
                 {met} of {all}: {verdict}",
                most.percent_max(),
                most.percent
            )?;
        }
        Ok(())
    }
}

fn verdict(is_met: bool) -> &'static str {
    if is_met { "met" } else { "missed" }
}

fn share(density: f64) -> String {
    format!("{:.0} %", density * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures() -> Figures {
        Figures {
            cores: 2,
            redis: "redis-server 7".to_owned(),
            environment: Vec::new(),
            operand_bytes: 375_000_000,
            jobs: Vec::new(),
            moved: Vec::new(),
            beside: Vec::new(),
            hot: Vec::new(),
        }
    }

    fn job_row(ratio: f64) -> JobRow {
        let (ours, redis) = (Job::of_us(1e3, 0.0, 0.0), Job::of_us(ratio * 1e3, 0.0, 0.0));
        let (shape, operation) = (Shape::Lone { groups: 1 }, "AND");
        JobRow { shape, density: 0.5, operation, ours, redis, ratio, bitopcard_ms: 1.0 }
    }

    fn moved_row(command: &'static str, percent: f64) -> MovedRow {
        MovedRow {
            shape: Shape::Cluster { groups: 3 },
            density: 0.05,
            command,
            operation: "OR",
            bytes: percent * 3_750_000.0,
            percent,
            idle_bytes: 0.0,
            counted_bytes: 0.0,
        }
    }

    fn hot_row(shape: Shape, pipeline: usize, rate: f64) -> HotRow {
        HotRow {
            shape,
            pipeline,
            rate,
            rate_min: rate,
            rate_max: rate,
            p50_us: 1,
            p99_us: 2,
            cpu_us: 3.0,
            cpu_us_load: 4.0,
            cores_others: 0.0,
        }
    }

    #[test]
    fn a_goal_is_missed_if_one_row_misses_it_and_tells_the_worst() {
        let mut figures = figures();
        figures.jobs = vec![job_row(7.0), job_row(4.99)];
        figures.moved = vec![moved_row("BITOP", 1.5), moved_row("BITOPCARD", 0.05)];
        let table = figures.table().unwrap();
        let goals: Vec<&str> = table.lines().filter(|line| line.starts_with("goal:")).collect();
        assert_eq!(goals.len(), 3);
        assert!(goals[0].ends_with("worst 4.99, 1 of 2: missed"), "{}", goals[0]);
        assert!(goals[1].ends_with("worst 1.5000 %, 1 of 1: met"), "{}", goals[1]);
        assert!(goals[2].contains("less than 0.1 %") && goals[2].ends_with("met"), "{}", goals[2]);
    }

    #[test]
    fn bitopcard_is_held_to_less_than_bitop() {
        assert!(moved_row("BITOP", 1.9).is_met());
        assert!(!moved_row("BITOP", 2.0).is_met());
        assert!(!moved_row("BITOPCARD", 0.1).is_met());
    }

    #[test]
    fn the_hot_keys_rate_is_compared_with_one_group_in_the_same_place_at_the_same_depth() {
        let mut figures = figures();
        figures.hot = vec![
            hot_row(Shape::Lone { groups: 1 }, 16, 100.0),
            hot_row(Shape::Cluster { groups: 1 }, 16, 50.0),
            hot_row(Shape::Lone { groups: 1 }, 64, 1.0),
            hot_row(Shape::Lone { groups: 4 }, 16, 180.0),
            hot_row(Shape::Cluster { groups: 3 }, 16, 100.0),
        ];
        let ratios: Vec<_> = figures.hot.iter().map(|row| figures.to_one_group(row)).collect();
        assert_eq!(ratios, [Some(1.0), Some(1.0), Some(1.0), Some(1.8), Some(2.0)]);
    }

    #[test]
    fn a_jobs_median_is_each_commands_own() {
        let jobs = [(1.0, 30.0, 2.0), (2.0, 10.0, 9.0), (3.0, 20.0, 1.0)]
            .map(|(bitop, bitcount, del)| Job::of_us(bitop * 1e3, bitcount * 1e3, del * 1e3));
        let median = Job::median(&jobs);
        assert_eq!((median.bitop_ms, median.bitcount_ms, median.del_ms), (2.0, 20.0, 2.0));
        assert_eq!(median.total_ms, 24.0);
    }
}
