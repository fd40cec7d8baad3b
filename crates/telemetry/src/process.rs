//! Memory, processor time and open files of this process, read from `/proc/self`.

use std::{
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::metric::Page;

/// Clock ticks a second in `/proc/self/stat`; the same on every Linux that we know (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// What the kernel says of this process; zeros where it cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Resident memory, in bytes.
    pub resident_bytes: u64,
    /// Largest resident memory so far, in bytes.
    pub resident_bytes_max: u64,
    /// Processor time in user mode, in seconds, all threads together.
    pub user_seconds: f64,
    /// Processor time in the kernel, in seconds, all threads together.
    pub system_seconds: f64,
    /// Threads.
    pub threads: u64,
}

impl Usage {
    /// Asks the kernel. Cost: reads two small files of `/proc`.
    pub fn read() -> Self {
        Self::parse(&read("/proc/self/status"), &read("/proc/self/stat"))
    }

    fn parse(status: &str, stat: &str) -> Self {
        let field = |name: &str| -> u64 {
            status
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .and_then(|rest| rest.split_ascii_whitespace().next())
                .and_then(|number| number.parse().ok())
                .unwrap_or(0)
        };
        // The second field is the program's name in brackets and may hold spaces.
        let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        let ticks = |index: usize| -> f64 {
            let number = after_name.split(' ').nth(index).and_then(|word| word.parse().ok());
            number.unwrap_or(0.0) / TICKS_PER_SECOND
        };
        Self {
            resident_bytes: field("VmRSS:") * 1024,
            resident_bytes_max: field("VmHWM:") * 1024,
            user_seconds: ticks(11),
            system_seconds: ticks(12),
            threads: field("Threads:"),
        }
    }
}

/// Files that this process has open. Cost: lists a folder with one name for each.
#[allow(clippy::disallowed_methods, reason = "/proc is a face of the kernel, not a disk")]
pub fn open_files() -> u64 {
    fs::read_dir("/proc/self/fd").map_or(0, |names| names.count() as u64)
}

/// How many files this process may open; `None` where there is no limit or it cannot be read.
pub fn open_files_max() -> Option<u64> {
    let text = read("/proc/self/limits");
    let row = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    row.split_ascii_whitespace().next()?.parse().ok()
}

/// Memory of this machine, in bytes; 0 where the kernel does not tell.
pub fn machine_bytes() -> u64 {
    let text = read("/proc/meminfo");
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kibibytes = total.and_then(|rest| rest.split_ascii_whitespace().next()?.parse().ok());
    kibibytes.unwrap_or(0_u64) * 1024
}

#[allow(clippy::disallowed_methods, reason = "/proc is a face of the kernel, not a disk")]
fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The `process_*` metrics, by their customary names.
#[derive(Clone, Copy, Debug)]
pub struct Metrics {
    start_seconds: f64,
}

impl Metrics {
    /// Notes the time as the start of the process.
    pub fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start_seconds: now.as_secs_f64() }
    }

    /// Reads `/proc` and shows what it says.
    pub fn publish(&self, page: &mut Page) {
        let usage = Usage::read();
        let cpu = usage.user_seconds + usage.system_seconds;
        page.counter("process_cpu_seconds_total", "Processor time spent, user and system")
            .row(&[], cpu);
        page.gauge("process_resident_memory_bytes", "Resident memory")
            .row(&[], usage.resident_bytes);
        page.gauge("process_open_fds", "Open files and sockets").row(&[], open_files());
        if let Some(max) = open_files_max() {
            page.gauge("process_max_fds", "Most files and sockets that may be open").row(&[], max);
        }
        page.gauge("process_threads", "Threads of the operating system").row(&[], usage.threads);
        page.gauge("process_start_time_seconds", "When the process started")
            .row(&[], self.start_seconds);
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_although_the_name_holds_spaces_and_brackets() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\nThreads:\t7\n";
        let stat = "42 (a b) c) S 1 1 1 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 7 0 1 1 1";
        let usage = Usage::parse(status, stat);
        assert_eq!(usage.resident_bytes, 1 << 20);
        assert_eq!(usage.resident_bytes_max, 2 << 20);
        assert_eq!(usage.threads, 7);
        assert!((usage.user_seconds - 2.5).abs() < 1e-9);
        assert!((usage.system_seconds - 0.5).abs() < 1e-9);
    }

    #[test]
    fn a_running_process_uses_memory_and_files() {
        let usage = Usage::read();
        assert!(usage.resident_bytes > 0 && usage.threads > 0);
        assert!(open_files() > 2);
        assert!(open_files_max().is_none_or(|max| max > open_files()));
        assert!(machine_bytes() > usage.resident_bytes);
    }

    #[test]
    fn unreadable_files_count_as_zero() {
        assert_eq!(Usage::parse("", ""), Usage::default());
    }
}
