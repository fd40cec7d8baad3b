//! Checks of the machine that this runs on: what a node here would have.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Seek as _, Write as _},
    path::Path,
    time::{Duration, Instant},
};

use bitroster_telemetry::process;
use bitroster_types::limits::CLIENTS_MAX_DEFAULT;

use super::Check;
use crate::cli::output::{bytes, seconds};

/// Syncs that are measured, and the time after which no more are begun.
const PROBES: usize = 50;
const PROBE_TIME_MAX: Duration = Duration::from_secs(5);

/// Bytes written before each sync: a small entry of the log.
const PROBE_BYTES: usize = 4 << 10;

/// The file that is written; its name tells whose it is if it should stay.
const PROBE_NAME: &str = ".bitroster-doctor";

/// A slow sync from which writes are slow, and from which leaders lose their groups.
const SYNC_SECONDS: (f64, f64) = (0.02, 0.2);

/// Files beside clients' sockets, about.
const FILES_BESIDE_CLIENTS: u64 = 128;

/// All of them; of the disk where a folder is named.
pub(super) fn checks(data_dir: Option<&Path>, clients_max: Option<usize>) -> Vec<Check> {
    let mut checks = vec![open_files(clients_max.unwrap_or(CLIENTS_MAX_DEFAULT))];
    let kernel = |path: &str| fs::read_to_string(path).ok();
    checks.extend(kernel("/proc/sys/vm/overcommit_memory").map(|text| overcommit(&text)));
    checks.extend(
        kernel("/sys/kernel/mm/transparent_hugepage/enabled").map(|text| huge_pages(&text)),
    );
    if let Some(path) = data_dir {
        checks.push(sync_time(path));
        checks.push(room(path));
    }
    checks
}

fn open_files(clients_max: usize) -> Check {
    let needed = clients_max as u64 + FILES_BESIDE_CLIENTS;
    match process::open_files_max() {
        Some(most) if most < needed => Check::warn(
            "open files",
            format!("{most} files may be open; {clients_max} clients need {needed}"),
            "raise it where the node starts: LimitNOFILE= of systemd, ulimits of Docker, ulimit -n",
        ),
        Some(most) => Check::pass("open files", format!("{most} files may be open")),
        None => Check::pass("open files", "there is no limit"),
    }
}

/// Bitroster never forks, so only the strict mode is in its way.
fn overcommit(text: &str) -> Check {
    let mode = text.trim();
    if mode == "2" {
        let found = "vm.overcommit_memory is 2: allocations fail before memory runs out";
        return Check::warn("overcommit", found, "sysctl vm.overcommit_memory=1, or 0");
    }
    Check::pass("overcommit", format!("vm.overcommit_memory is {mode}"))
}

fn huge_pages(text: &str) -> Check {
    let mode = text.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    let mode = mode.map_or("unknown", |(mode, _)| mode);
    if mode == "always" {
        let found = "transparent huge pages are always on: memory is handed back late";
        let remedy = "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled";
        return Check::warn("huge pages", found, remedy);
    }
    Check::pass("huge pages", format!("transparent huge pages are on {mode}"))
}

fn sync_time(folder: &Path) -> Check {
    let at = folder.display();
    let mut times = match measure(folder) {
        Ok(times) => times,
        Err(error) => {
            let found = format!("cannot write to {at}: {error}");
            return Check::fail(
                "sync",
                found,
                "run as the user of the node, on its data directory",
            );
        }
    };
    times.sort_by(f64::total_cmp);
    let median = times[times.len() / 2];
    let slow = times[times.len() - 1 - times.len() / 20];
    let found = format!(
        "a sync in {at} takes {} in the middle, {} of the slow ones ({} measured)",
        seconds(median),
        seconds(slow),
        times.len()
    );
    let remedy = "every write waits for a sync: use a local disk with power-loss protection";
    match slow {
        slow if slow >= SYNC_SECONDS.1 => Check::fail("sync", found, remedy),
        slow if slow >= SYNC_SECONDS.0 => Check::warn("sync", found, remedy),
        _ => Check::pass("sync", found),
    }
}

/// Seconds of each sync of a file that is written as a log is. At least one.
fn measure(folder: &Path) -> io::Result<Vec<f64>> {
    /// Removes the file whatever happens.
    struct Probe<'a>(&'a Path, File);

    impl Drop for Probe<'_> {
        fn drop(&mut self) {
            // It may be gone already, and there is nobody to tell.
            drop(fs::remove_file(self.0));
        }
    }

    let path = folder.join(PROBE_NAME);
    let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
    let mut probe = Probe(&path, file);
    // As the log does: the length is known before, so that a sync writes no metadata.
    probe.1.write_all(&vec![0; PROBE_BYTES * PROBES])?;
    probe.1.sync_all()?;
    probe.1.rewind()?;
    let (begun, mut times) = (Instant::now(), Vec::with_capacity(PROBES));
    while times.len() < PROBES && (times.is_empty() || begun.elapsed() < PROBE_TIME_MAX) {
        probe.1.write_all(&[1; PROBE_BYTES])?;
        let started = Instant::now();
        probe.1.sync_data()?;
        times.push(started.elapsed().as_secs_f64());
    }
    Ok(times)
}

fn room(folder: &Path) -> Check {
    let Ok(disk) = rustix::fs::statvfs(folder) else {
        let found = format!("the disk of {} does not tell its size", folder.display());
        return Check::warn("disk", found, "look at it with df");
    };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let total = disk.f_blocks.saturating_mul(disk.f_frsize);
    let found = format!("{} of {} left at {}", bytes(free), bytes(total), folder.display());
    let remedy = "a node whose disk is full stops: make room, or take a larger disk";
    match free.saturating_mul(100) / total.max(1) {
        0..5 => Check::fail("disk", found, remedy),
        5..10 => Check::warn("disk", found, remedy),
        _ => Check::pass("disk", found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Verdict;

    #[test]
    fn the_kernels_settings_are_read() {
        assert_eq!(overcommit("1\n").verdict, Verdict::Pass);
        assert_eq!(overcommit("2\n").verdict, Verdict::Warn);
        assert_eq!(huge_pages("always [madvise] never\n").verdict, Verdict::Pass);
        assert_eq!(huge_pages("[always] madvise never\n").verdict, Verdict::Warn);
    }

    #[test]
    fn a_disk_is_measured_and_nothing_stays_on_it() {
        let folder = tempfile::tempdir().unwrap();
        let times = measure(folder.path()).unwrap();
        assert!(!times.is_empty() && times.iter().all(|time| *time > 0.0));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let check = sync_time(&folder.path().join("absent"));
        assert_eq!(check.verdict, Verdict::Fail);
    }
}
