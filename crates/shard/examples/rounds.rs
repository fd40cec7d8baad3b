//! How many rounds a second one group makes on the real disk, and how many ops go in each.
//!
//! `cargo run --release -p bitroster-shard --example rounds -- DIR WRITERS OPS [SECONDS] [GROUPS]`:
//! WRITERS tasks, each in a closed loop with batches of OPS `SETBIT`s over 100 000 keys. The data
//! directory must be new; remove it afterwards.

#![expect(clippy::print_stdout, reason = "prints its figures")]

use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bitroster_command::OpBatch;
use bitroster_shard::{GroupSpec, Shard, ShardOptions};
use bitroster_types::limits::SLOTS;
use bitroster_types::{Deadline, GroupId, Key, NodeId, Slot};

const KEYS: u64 = 100_000;

fn main() {
    let args: Vec<_> = env::args().skip(1).collect();
    let number = |at: usize, default: u64| {
        args.get(at).map_or(default, |text| text.parse().expect("a number"))
    };
    let dir = args.first().expect("usage: rounds DIR WRITERS OPS [SECONDS] [GROUPS]").clone();
    let (writers, ops) = (number(1, 50), number(2, 1));
    let (seconds, groups) = (number(3, 5), number(4, 1));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(run(dir, writers, ops, Duration::from_secs(seconds), groups));
}

async fn run(dir: String, writers: u64, ops: u64, time: Duration, groups: u64) {
    let specs = (1..=groups)
        .map(|id| {
            let slots = (0..SLOTS).filter_map(Slot::new).collect();
            GroupSpec::alone(GroupId(u16::try_from(id).expect("few groups")), slots, NodeId(1))
        })
        .collect();
    let shard = Shard::open(ShardOptions::new(dir, specs)).await.expect("a new directory");
    shard.wait_ready().await;
    let handles: Vec<_> = shard.groups().collect();
    let stop = Arc::new(AtomicBool::new(false));
    let (batches, nanos) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let before = shard.stats().wal;
    let started = Instant::now();
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let group = handles[usize::try_from(writer % groups).expect("small")].clone();
            let (stop, batches, nanos) = (stop.clone(), batches.clone(), nanos.clone());
            tokio::spawn(async move {
                let mut seed = writer + 1;
                while !stop.load(Ordering::Relaxed) {
                    let mut batch = OpBatch::new();
                    for _ in 0..ops {
                        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        let name = format!("key:{}", (seed >> 33) % KEYS);
                        let key = Key::new(name.as_bytes()).expect("a short name");
                        batch.push_set_bit(&key, (seed >> 20) % 4096, true);
                    }
                    let asked = Instant::now();
                    let deadline = Deadline::at(asked + Duration::from_secs(10));
                    group.write(batch, deadline).await.expect("an outcome");
                    let took = u64::try_from(asked.elapsed().as_nanos()).expect("short");
                    nanos.fetch_add(took, Ordering::Relaxed);
                    batches.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    tokio::time::sleep(time).await;
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.expect("no panic");
    }
    let elapsed = started.elapsed();
    let after = shard.stats().wal;
    let batches = batches.load(Ordering::Relaxed);
    let rate = |count: u64| u128::from(count) * 1_000_000_000 / elapsed.as_nanos();
    println!(
        "ops_per_second={} batches_per_second={} latency_mean_us={} syncs_per_second={} \
         batches_per_sync={} sync_mean_us={}",
        rate(batches * ops),
        rate(batches),
        nanos.load(Ordering::Relaxed) / batches.max(1) / 1000,
        rate(after.syncs - before.syncs),
        batches / (after.syncs - before.syncs).max(1),
        ((after.sync_time - before.sync_time)
            / u32::try_from(after.syncs - before.syncs).unwrap_or(1).max(1))
        .as_micros(),
    );
    shard.shutdown().await.expect("a clean end");
}
