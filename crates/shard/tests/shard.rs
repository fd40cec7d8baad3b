//! Goal: what a group acknowledged stays, whatever ends the process; replies are right while many
//! write at once; a caller whose deadline passes learns whether anything may have been applied.
//!
//! Method: shards over a disk in memory that can be held, killed or cut off, each in a runtime of
//! its own that is dropped where a process would die.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bitroster_command::{
    BitLogic, Expiry, OpBatch, Outcome, ReadCommand, ReadOp, Reply, SetReply, WriteCommand, WriteOp,
};
use bitroster_shard::{Error, Fatal, GroupHandle, GroupSpec, Shard, ShardOptions};
use bitroster_types::limits::{GROUP_PROPOSALS_MAX, SLOTS};
use bitroster_types::{Consistency, Deadline, GroupId, Key, NodeId, ReplicaId, Slot, UnixMillis};
use bitroster_wal::testing::{FaultyDisk, Names, Tear};
use tokio::runtime::{Builder, Runtime};

const ONE: GroupId = GroupId(1);

fn options(disk: &FaultyDisk, groups: u16) -> ShardOptions {
    let groups = (1..=groups)
        .map(|id| {
            let slots = (0..SLOTS).filter_map(Slot::new).collect();
            GroupSpec::alone(GroupId(id), slots, NodeId(1))
        })
        .collect();
    let mut options = ShardOptions::new("/data", groups);
    options.file_system = disk.mount();
    options.wal.file_bytes = 64 << 10;
    options.cpu_threads = 1;
    options.fatal = Fatal::new(|error| panic!("{error}"));
    options
}

/// A process: what runs in it ends when it is dropped.
struct Process {
    runtime: Runtime,
    shard: Option<Shard>,
}

impl Process {
    fn start(options: ShardOptions) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let shard = runtime.block_on(async {
            let shard = Shard::open(options).await.unwrap();
            shard.wait_ready().await;
            shard
        });
        Self { runtime, shard: Some(shard) }
    }

    fn shard(&self) -> &Shard {
        self.shard.as_ref().unwrap()
    }

    fn group(&self, id: GroupId) -> GroupHandle {
        self.shard().group(id).unwrap()
    }

    fn write(&self, batch: OpBatch) -> Vec<Outcome> {
        self.runtime.block_on(self.group(ONE).write(batch, soon())).unwrap()
    }

    fn read(&self, command: ReadCommand) -> Outcome {
        self.runtime
            .block_on(self.group(ONE).read(
                ReadOp::Command(command),
                Consistency::Linearizable,
                soon(),
            ))
            .unwrap()
    }

    fn stop(self) {
        self.runtime.block_on(self.shard().shutdown()).unwrap();
    }
}

fn soon() -> Deadline {
    Deadline::at(Instant::now() + Duration::from_secs(30))
}

fn key(name: &str) -> Key {
    Key::new(name.as_bytes()).unwrap()
}

fn set_bit(name: &str, offset: u64, value: bool) -> OpBatch {
    let mut batch = OpBatch::new();
    batch.push_set_bit(&key(name), offset, value);
    batch
}

fn command(command: WriteCommand) -> OpBatch {
    let mut batch = OpBatch::new();
    batch.push_write(&WriteOp::Command(command));
    batch
}

fn set(name: &str, value: &[u8], expiry: Expiry) -> OpBatch {
    command(WriteCommand::Set {
        key: key(name),
        value: value.to_vec().into(),
        existence: None,
        expiry,
        reply: SetReply::Status,
    })
}

fn get_bit(name: &str, offset: u64) -> ReadCommand {
    ReadCommand::GetBit { key: key(name), offset }
}

fn count(name: &str) -> ReadCommand {
    ReadCommand::BitCount { key: key(name), range: None }
}

fn integer(number: i64) -> Outcome {
    Outcome::Reply(Reply::Integer(number))
}

#[test]
fn a_write_is_read_back_at_once_and_after_a_restart() {
    let disk = FaultyDisk::default();
    let process = Process::start(options(&disk, 1));
    assert_eq!(process.write(set_bit("k", 7, true)), [integer(0)]);
    assert_eq!(process.write(set_bit("k", 7, true)), [integer(1)]);
    let now = process.group(ONE).read_now(&ReadOp::Command(get_bit("k", 7)));
    assert_eq!(now.unwrap_or_else(|| process.read(get_bit("k", 7))), integer(1));
    process.stop();

    let process = Process::start(options(&disk, 1));
    assert_eq!(process.read(get_bit("k", 7)), integer(1));
    assert_eq!(process.read(get_bit("k", 8)), integer(0));
    process.stop();
}

#[test]
fn what_was_acknowledged_survives_a_power_cut_at_any_moment() {
    for (tear, names) in [
        (Tear::Lost, Names::Lost),
        (Tear::Short, Names::Half),
        (Tear::Scattered, Names::Scattered),
        (Tear::Kept, Names::Kept),
    ] {
        let disk = FaultyDisk::default();
        for round in 0..4_i64 {
            let process = Process::start(options(&disk, 1));
            assert_eq!(process.read(count("k")), integer(round * 50), "{tear:?} {names:?}");
            for bit in 0..50 {
                let offset = u64::try_from(round * 50 + bit).unwrap();
                assert_eq!(process.write(set_bit("k", offset, true)), [integer(0)]);
            }
            disk.crash(tear, names);
            process.runtime.shutdown_background();
            drop(process.shard);
        }
    }
}

#[test]
fn batches_of_many_writers_get_their_own_outcomes() {
    const WRITERS: u64 = 20;
    const ROUNDS: u64 = 30;
    let process = Process::start(options(&FaultyDisk::default(), 1));
    let group = process.group(ONE);
    process.runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for writer in 0..WRITERS {
            let group = group.clone();
            tasks.spawn(async move {
                for round in 0..ROUNDS {
                    let mut batch = set_bit("k", writer * ROUNDS + round, true);
                    batch.append(set_bit("k", writer * ROUNDS + round, true));
                    batch.push_read(&ReadOp::Command(get_bit("k", writer * ROUNDS + round)));
                    batch.push_read(&ReadOp::Command(get_bit("k", writer * ROUNDS + round)));
                    let outcomes = group.write(batch, soon()).await.unwrap();
                    assert_eq!(outcomes, [integer(0), integer(1), integer(1), integer(1)]);
                }
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
    });
    assert_eq!(process.read(count("k")), integer(i64::try_from(WRITERS * ROUNDS).unwrap()));
    process.stop();
}

#[test]
fn groups_share_syncs() {
    const GROUPS: u16 = 6;
    const ROUNDS: u64 = 60;
    let disk = FaultyDisk::default();
    let process = Process::start(options(&disk, GROUPS));
    let before = process.shard().stats().wal.syncs;
    let log_bytes = || {
        let groups = process.shard().stats().groups;
        groups.into_iter().map(|group| group.log_bytes).collect::<Vec<_>>()
    };
    process.runtime.block_on(async {
        // Held until every group has appended: what the first one's sync leaves behind goes
        // together.
        for round in 0..ROUNDS {
            let hold = disk.hold_syncs();
            let lengths = log_bytes();
            let writes: Vec<_> = process
                .shard()
                .groups()
                .map(|group| {
                    let batch = set_bit("k", round, true);
                    tokio::spawn(async move { group.write(batch, soon()).await.unwrap() })
                })
                .collect();
            while log_bytes().iter().zip(&lengths).any(|(now, then)| now <= then) {
                tokio::task::yield_now().await;
            }
            drop(hold);
            for write in writes {
                assert_eq!(write.await.unwrap(), [integer(0)]);
            }
        }
    });
    let syncs = process.shard().stats().wal.syncs - before;
    let writes = ROUNDS * u64::from(GROUPS);
    assert!(syncs <= writes / 2, "{syncs} syncs for {writes} writes");
    process.stop();
}

#[test]
fn a_snapshot_takes_the_place_of_the_log() {
    let disk = FaultyDisk::default();
    let process = Process::start(options(&disk, 2));
    for bit in 0..100 {
        process.write(set_bit("k", bit, true));
    }
    let log_bytes = process.shard().stats().groups[0].log_bytes;
    process.runtime.block_on(process.shard().snapshot_all()).unwrap();
    assert!(process.shard().stats().groups[0].log_bytes < log_bytes / 10);
    process.write(set_bit("k", 100, true));
    // Nothing new for the second group: the first one's next snapshot stands alone.
    process.runtime.block_on(process.shard().snapshot_all()).unwrap();
    process.write(set_bit("k", 101, true));
    disk.crash(Tear::Lost, Names::Lost);
    process.runtime.shutdown_background();
    drop(process.shard);

    let process = Process::start(options(&disk, 2));
    assert_eq!(process.read(count("k")), integer(102));
    assert_eq!(process.write(set_bit("k", 101, false)), [integer(1)]);
    process.stop();
}

#[test]
fn a_log_that_outgrows_its_limit_brings_a_snapshot_about() {
    let disk = FaultyDisk::default();
    let mut small = options(&disk, 1);
    small.snapshot_log_bytes_min = 20_000;
    let process = Process::start(small);
    let snapshots = Path::new("/data/snapshots");
    let mut bit = 0;
    while disk.paths(snapshots).is_empty() || process.shard().stats().groups[0].log_bytes > 20_000 {
        process.write(set_bit("k", bit, true));
        bit += 1;
        assert!(bit < 100_000, "no snapshot after {bit} writes");
    }
    process.stop();

    let process = Process::start(options(&disk, 1));
    assert_eq!(process.read(count("k")), integer(i64::try_from(bit).unwrap()));
    process.stop();
}

#[test]
fn a_write_in_the_log_at_its_deadline_is_unknown_and_one_in_the_queue_is_not_applied() {
    let disk = FaultyDisk::default();
    let process = Process::start(options(&disk, 1));
    let group = process.group(ONE);
    let hold = disk.hold_syncs();
    let outcomes = process.runtime.block_on(async {
        let deadline = Deadline::at(Instant::now() + Duration::from_millis(200));
        // More than may be in flight: the last ones wait in the queue.
        let mut writes: Vec<_> =
            (0..8).map(|bit| Box::pin(group.write(set_bit("k", bit, true), deadline))).collect();
        for (count, write) in writes.iter_mut().enumerate() {
            assert!(futures_util::poll!(write).is_pending());
            // Each of the first in an entry of its own.
            while count < GROUP_PROPOSALS_MAX && process.shard().stats().groups[0].queue_bytes > 0 {
                tokio::task::yield_now().await;
            }
        }
        let outcomes = futures_util::future::join_all(writes).await;
        outcomes.into_iter().map(Result::unwrap_err).collect::<Vec<_>>()
    });
    drop(hold);
    let unknown = outcomes.iter().filter(|error| matches!(error, Error::OutcomeUnknown { .. }));
    let unknown = unknown.count();
    let refused = outcomes.iter().filter(|error| matches!(error, Error::Busy { .. })).count();
    assert_eq!(unknown + refused, 8, "{outcomes:?}");
    assert!(unknown > 0 && refused > 0, "{unknown} unknown, {refused} refused");
    // What was unknown turns out applied; what was refused never is.
    process.write(set_bit("k", 99, true));
    assert_eq!(process.read(count("k")), integer(i64::try_from(unknown).unwrap() + 1));
    process.stop();
}

#[test]
fn a_dropped_write_is_committed_all_the_same() {
    let disk = FaultyDisk::default();
    let process = Process::start(options(&disk, 1));
    let group = process.group(ONE);
    process.runtime.block_on(async {
        let mut write = Box::pin(group.write(set_bit("k", 3, true), soon()));
        // Handed over; it is rarely answered by now.
        drop(futures_util::poll!(&mut write));
    });
    assert_eq!(process.write(set_bit("k", 3, true)), [integer(1)]);
    process.stop();
}

#[test]
fn a_group_that_is_stopped_refuses_and_has_answered_what_it_took() {
    let process = Process::start(options(&FaultyDisk::default(), 1));
    let group = process.group(ONE);
    process.runtime.block_on(async {
        let taken: Vec<_> =
            (0..10).map(|bit| Box::pin(group.write(set_bit("k", bit, true), soon()))).collect();
        let mut taken = futures_util::future::join_all(taken);
        assert!(futures_util::poll!(&mut taken).is_pending());
        process.shard().shutdown().await.unwrap();
        for outcome in taken.await {
            assert_eq!(outcome.unwrap(), [integer(0)]);
        }
        assert!(group.write(set_bit("k", 1, true), soon()).await.is_err());
        assert_eq!(group.read_now(&ReadOp::Command(get_bit("k", 1))), None);
    });
}

#[test]
fn a_key_seen_expired_is_dropped_by_a_tick_and_stays_gone() {
    let disk = FaultyDisk::default();
    let time = Arc::new(AtomicU64::new(1_000));
    let clock = time.clone();
    let mut timed = options(&disk, 1);
    timed.clock = Arc::new(move || UnixMillis(clock.load(Ordering::Relaxed)));
    let process = Process::start(timed);
    let expiry = Expiry::At(UnixMillis(2_000));
    assert_eq!(process.write(set("k", b"v", expiry)), [Outcome::Reply(Reply::Ok)]);
    let get = || ReadCommand::Get { key: key("k") };
    assert_eq!(process.read(get()), Outcome::Reply(Reply::bulk("v")));
    time.store(2_500, Ordering::Relaxed);
    assert_eq!(process.read(get()), Outcome::Reply(Reply::Nil));
    time.store(1_500, Ordering::Relaxed);
    assert_eq!(process.read(get()), Outcome::Reply(Reply::Nil));
    assert_eq!(process.shard().stats().groups[0].engine.keys, 0);
    process.stop();
}

#[test]
fn a_heavy_combination_gives_what_it_should() {
    let process = Process::start(options(&FaultyDisk::default(), 1));
    let (a, b) = (vec![0b1100_u8; 1 << 20], vec![0b1010_u8; 1 << 20]);
    for (name, value) in [("a", a), ("b", b)] {
        assert_eq!(process.write(set(name, &value, Expiry::Clear)), [Outcome::Reply(Reply::Ok)]);
    }
    let mut batch = command(WriteCommand::BitOp {
        logic: BitLogic::And,
        target: key("c"),
        sources: vec![key("a"), key("b")],
    });
    batch.push_read(&ReadOp::Command(count("c")));
    let set = i64::from(1 << 20);
    assert_eq!(process.write(batch), [integer(set), integer(set)]);
    assert_eq!(process.read(count("c")), integer(set));
    process.stop();
}

#[test]
fn a_batch_of_reads_is_answered_in_order_with_light_and_heavy_ones_mixed() {
    let disk = FaultyDisk::default();
    let process = Process::start(options(&disk, 1));
    process.write(set("long", &vec![0xFF; 1 << 20], Expiry::Clear));
    process.write(set("short", b"a", Expiry::At(UnixMillis(1))));
    let mut reads = OpBatch::new();
    for op in [get_bit("long", 3), count("long"), get_bit("none", 0), count("short")] {
        reads.push_read(&ReadOp::Command(op));
    }
    let group = process.group(ONE);
    for consistency in Consistency::ALL {
        let answered = process
            .runtime
            .block_on(group.read_batch(reads.clone(), consistency, &[], soon()))
            .unwrap();
        let expected = [integer(1), integer(8 << 20), integer(0), integer(0)];
        assert_eq!(answered.outcomes.decode().unwrap(), expected, "{consistency:?}");
        assert_eq!(answered.age, Duration::ZERO);
    }
    let mut mixed = reads.clone();
    mixed.push_set_bit(&key("k"), 1, true);
    let refused = group.read_batch(mixed, Consistency::Linearizable, &[], soon());
    let error = process.runtime.block_on(refused).unwrap_err();
    assert!(matches!(error, Error::Malformed { .. }), "{error:?}");
    process.stop();
}

#[test]
fn the_log_of_another_replica_is_refused_until_it_is_removed() {
    let disk = FaultyDisk::default();
    let process = Process::start(options(&disk, 2));
    process.write(set_bit("k", 7, true));
    process.runtime.block_on(process.shard().snapshot_all()).unwrap();
    process.stop();

    let mut other = options(&disk, 2);
    other.groups[0].replica = ReplicaId(9);
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let error = runtime.block_on(Shard::open(other)).unwrap_err();
    assert!(matches!(error, Error::Stopped { group: ONE, .. }), "{error:?}");
    drop(runtime);

    // A node that is told so starts without the group, drops it and begins anew.
    let mut without = options(&disk, 2);
    let mut spec = without.groups.remove(0);
    spec.replica = ReplicaId(9);
    spec.founders = vec![(ReplicaId(9), NodeId(1))];
    let process = Process::start(without);
    process.runtime.block_on(async {
        process.shard().remove_group(ONE).await.unwrap();
        let group = process.shard().add_group(spec.clone()).await.unwrap();
        process.shard().wait_ready().await;
        assert_eq!(process.shard().add_group(spec.clone()).await.unwrap().id(), ONE);
        let other = GroupSpec { replica: ReplicaId(10), ..spec.clone() };
        assert!(matches!(process.shard().add_group(other).await, Err(Error::Option { .. })));
        assert_eq!(group.replica(), ReplicaId(9));
    });
    assert_eq!(process.read(count("k")), integer(0));
    assert_eq!(process.write(set_bit("k", 1, true)), [integer(0)]);
    process.stop();

    let mut again = options(&disk, 2);
    again.groups[0] = spec;
    let process = Process::start(again);
    assert_eq!(process.read(get_bit("k", 1)), integer(1));
    process.stop();
}
