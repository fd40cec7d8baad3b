//! How many entries a second the log takes, in a closed loop on the real disk.
//!
//! Each group is a thread that appends `batch` entries, waits for them, and appends the next: what
//! a shard group does under load. Groups purge behind themselves, so files are used again.
//!
//! `cargo bench -p bitroster-wal --bench append -- [DIR] [SECONDS]`; DIR is made and removed.

#![expect(clippy::print_stdout, reason = "the figures are this program's output")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on stops")]

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bitroster_types::GroupId;
use bitroster_wal::{
    Completion, DataDir, EntryRef, Options, Position, RealFileSystem, SyncMode, Wal,
};

const PAYLOAD_BYTES: usize = 100;

struct Case {
    groups: u16,
    batch: u64,
    /// Appends that a group has outstanding.
    depth: usize,
    sync_mode: SyncMode,
}

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| !arg.starts_with("--"));
    let dir = args.next().unwrap_or_else(|| "wal-bench".to_owned());
    let seconds = args.next().map_or(2, |seconds| seconds.parse().unwrap());
    let second = SyncMode::Interval(Duration::from_secs(1));
    let case = |groups, batch, depth, sync_mode| Case { groups, batch, depth, sync_mode };
    for case in [
        case(1, 1, 1, SyncMode::Always),
        case(8, 1, 1, SyncMode::Always),
        case(8, 16, 1, SyncMode::Always),
        case(8, 64, 1, SyncMode::Always),
        case(8, 256, 1, SyncMode::Always),
        case(8, 1, 16, SyncMode::Always),
        case(8, 16, 16, SyncMode::Always),
        case(64, 1, 1, SyncMode::Always),
        case(8, 1, 1, second),
        case(8, 64, 1, second),
    ] {
        run(Path::new(&dir), &case, Duration::from_secs(seconds));
    }
}

fn run(dir: &Path, case: &Case, time: Duration) {
    let options = Options { sync_mode: case.sync_mode, ..Options::default() };
    let data = DataDir::open(Arc::new(RealFileSystem), dir).unwrap();
    let (wal, _) = Wal::open(&data, &options).unwrap();
    let (stop, total) = (AtomicBool::new(false), AtomicU64::new(0));
    let started = Instant::now();
    let shared = (&wal, &stop, &total);
    let mut nanos: Vec<u64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..case.groups)
            .map(|group| scope.spawn(move || work(shared, GroupId(group), case)))
            .collect();
        std::thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let elapsed = started.elapsed().as_secs_f64();
    let stats = wal.stats();
    nanos.sort_unstable();
    let micros = |permille: usize| nanos[(nanos.len() - 1) * permille / 1000] / 1000;
    println!(
        "groups={} batch={} depth={} sync={:?} entries_per_s={:.0} syncs_per_s={:.0} \
         sync_us={:.0} p50_us={} p99_us={} max_us={} files={} disk_mib={}",
        case.groups,
        case.batch,
        case.depth,
        case.sync_mode,
        total.load(Ordering::Relaxed) as f64 / elapsed,
        stats.syncs as f64 / elapsed,
        stats.sync_time.as_secs_f64() * 1e6 / stats.syncs.max(1) as f64,
        micros(500),
        micros(990),
        micros(1000),
        stats.files,
        stats.disk_bytes >> 20,
    );
    drop(wal);
    drop(data);
    std::fs::remove_dir_all(dir).unwrap();
}

/// Appends until told to stop; returns how long each append took, in nanoseconds.
fn work(
    (wal, stop, total): (&Wal, &AtomicBool, &AtomicU64),
    group: GroupId,
    case: &Case,
) -> Vec<u64> {
    let payload = [0xA5; PAYLOAD_BYTES];
    let (mut next, mut nanos, mut outstanding) = (0, Vec::new(), VecDeque::new());
    while !stop.load(Ordering::Relaxed) {
        let started = Instant::now();
        let (done, waiter) = Completion::waiter();
        let entries = (next..next + case.batch).map(|index| EntryRef {
            position: Position { index, term: 1, leader: 0 },
            payload: &payload,
        });
        wal.append(group, entries, done).unwrap();
        next += case.batch;
        outstanding.push_back((waiter, started));
        if outstanding.len() >= case.depth {
            let (waiter, started) = outstanding.pop_front().unwrap();
            waiter.wait().unwrap();
            nanos.push(u64::try_from(started.elapsed().as_nanos()).unwrap());
            total.fetch_add(case.batch, Ordering::Relaxed);
        }
        if next % (100_000 * case.batch) < case.batch {
            let position = Position { index: next - case.batch, term: 1, leader: 0 };
            wal.purge(group, position, Completion::none()).unwrap();
        }
    }
    outstanding.into_iter().for_each(|(waiter, _)| waiter.wait().unwrap());
    nanos
}
