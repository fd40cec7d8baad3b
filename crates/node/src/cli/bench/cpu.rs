//! What processes, and the machine as a whole, used of the processors' time, from `/proc`.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

/// Ticks a second in `/proc`: `USER_HZ`, 100 on every Linux that Rust's std supports but Alpha.
const TICKS_A_SECOND: f64 = 100.0;

/// Processes are at rest that used so little of a core so many times in a row, for as long each:
/// heartbeats and timers. One that waits for the disk looks the same, but not for so long.
const REST_CORES: f64 = 0.2;
const REST_TIME: Duration = Duration::from_secs(1);
const REST_TIMES: usize = 3;
const REST_TRIES: usize = 60;

/// Waits until processes have done what they do after they have answered, such as snapshots.
///
/// # Errors
///
/// If they have not within a minute, or one is gone.
pub(super) fn wait_rest(processes: &[u32]) -> Result<()> {
    let mut quiet = 0;
    for _ in 0..REST_TRIES {
        let meter = Meter::start(processes)?;
        thread::sleep(REST_TIME);
        let used = meter.stop()?;
        let is_quiet = used.by_process.iter().sum::<f64>() < REST_CORES * used.elapsed_seconds;
        quiet = if is_quiet { quiet + 1 } else { 0 };
        if quiet == REST_TIMES {
            return Ok(());
        }
    }
    bail!("the servers do not come to rest")
}

/// The processors' time between two moments, in seconds.
#[derive(Clone, Debug)]
pub(super) struct Used {
    /// How long it was.
    pub(super) elapsed_seconds: f64,
    /// By each process, in the order given.
    pub(super) by_process: Vec<f64>,
    /// By the load generator itself.
    pub(super) by_load: f64,
    /// By everything else on the machine, and by other machines on the same processors: what
    /// disturbed the measurement.
    pub(super) by_others: f64,
}

/// A measurement that has begun.
pub(super) struct Meter {
    processes: Vec<u32>,
    started: Instant,
    at_start: Moment,
}

struct Moment {
    by_process: Vec<f64>,
    by_load: f64,
    by_all: f64,
}

impl Meter {
    /// # Errors
    ///
    /// If a process is gone.
    pub(super) fn start(processes: &[u32]) -> Result<Self> {
        let (processes, at_start) = (processes.to_vec(), Moment::read(processes)?);
        Ok(Self { processes, started: Instant::now(), at_start })
    }

    /// # Errors
    ///
    /// If a process is gone.
    pub(super) fn stop(self) -> Result<Used> {
        let elapsed_seconds = self.started.elapsed().as_secs_f64();
        let (start, end) = (self.at_start, Moment::read(&self.processes)?);
        let pairs = end.by_process.iter().zip(&start.by_process);
        let by_process: Vec<f64> = pairs.map(|(end, start)| end - start).collect();
        let by_load = end.by_load - start.by_load;
        let ours = by_load + by_process.iter().sum::<f64>();
        let by_others = (end.by_all - start.by_all - ours).max(0.0);
        Ok(Used { elapsed_seconds, by_process, by_load, by_others })
    }
}

impl Moment {
    fn read(processes: &[u32]) -> Result<Self> {
        let by_process = processes
            .iter()
            .map(|pid| process_seconds(&fs::read_to_string(format!("/proc/{pid}/stat"))?))
            .collect::<Result<_>>()
            .context("a measured process is gone")?;
        let by_load = process_seconds(&fs::read_to_string("/proc/self/stat")?)?;
        let by_all = machine_seconds(&fs::read_to_string("/proc/stat")?)?;
        Ok(Self { by_process, by_load, by_all })
    }
}

/// User and system time of a process and its threads, from its `stat` (proc(5), fields 14 and 15).
fn process_seconds(stat: &str) -> Result<f64> {
    // The name, field 2, is in brackets and may hold anything.
    let (_, fields) = stat.rsplit_once(')').context("a process's stat without its name")?;
    let ticks = fields.split_ascii_whitespace().skip(11).take(2).map(str::parse::<u64>);
    Ok(ticks.sum::<Result<u64, _>>()? as f64 / TICKS_A_SECOND)
}

/// All processors' time that was neither idle nor waiting for disks: also what a hypervisor gave to
/// others, since it was not there to be used.
fn machine_seconds(stat: &str) -> Result<f64> {
    let line = stat.lines().next().and_then(|line| line.strip_prefix("cpu "));
    let fields = line.context("/proc/stat without the sum of all processors")?;
    let ticks = fields.split_ascii_whitespace().map(str::parse::<u64>);
    let ticks = ticks.collect::<Result<Vec<_>, _>>()?;
    // user, nice, system, idle, iowait, irq, softirq, steal.
    let busy = ticks.iter().take(8).sum::<u64>() - ticks.iter().skip(3).take(2).sum::<u64>();
    Ok(busy as f64 / TICKS_A_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_whose_name_has_brackets_and_spaces_is_read() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 100 0 0 0 250 150 7 7 20 0 4 0 100";
        assert_eq!(process_seconds(stat).unwrap(), 4.0);
    }

    #[test]
    fn waiting_for_disks_is_not_busy_but_stolen_time_is() {
        let stat = "cpu  100 20 300 9000 5000 30 50 10 0 0\ncpu0 1 2 3\n";
        assert_eq!(machine_seconds(stat).unwrap(), 5.1);
    }

    #[test]
    fn the_time_of_this_process_grows_and_is_not_the_others() {
        let meter = Meter::start(&[]).unwrap();
        let (until, mut sum) = (Instant::now() + std::time::Duration::from_millis(60), 0u64);
        while Instant::now() < until {
            sum = sum.wrapping_mul(31).wrapping_add(7);
        }
        let used = meter.stop().unwrap();
        assert!(used.by_load > 0.0 && used.elapsed_seconds >= 0.06, "{used:?} {sum}");
    }
}
