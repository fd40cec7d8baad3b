//! Goal: what only the inside can show: a heavy op leaves the readers alone, reads that may not be
//! answered alone ask the majority, and a disk that fails stops everything.
//!
//! Method: shards over a disk in memory; the one thread of the work pool is kept busy until told.
//! Mutant killed: completing an append before its sync (`raft/log_store.rs`).

use std::sync::atomic::AtomicU64;
use std::sync::mpsc;

use bitroster_command::{BitLogic, Expiry, ReadCommand, ReadOp, Reply, SetReply, WriteCommand};
use bitroster_types::limits::WORK_JOBS_MAX;
use bitroster_types::{Consistency, Deadline, Key, NodeId, UnixMillis};
use bitroster_wal::testing::{Fault, FaultyDisk};

use super::*;
use crate::fatal::Fatal;
use crate::options::{GroupSpec, ShardOptions};
use crate::shard::{Shard, start_failed};

async fn open(disk: &FaultyDisk, fatal: Fatal) -> (Shard, GroupHandle) {
    let slots = (0..SLOTS).filter_map(Slot::new).collect();
    let id = GroupId(1);
    let mut options = ShardOptions::new("/data", vec![GroupSpec::alone(id, slots, NodeId(1))]);
    options.file_system = disk.mount();
    options.cpu_threads = 1;
    options.fatal = fatal;
    let shard = Shard::open(options).await.unwrap();
    shard.wait_ready().await;
    let group = shard.group(id).unwrap();
    (shard, group)
}

async fn open_quiet() -> (Shard, GroupHandle) {
    open(&FaultyDisk::default(), Fatal::new(|error| panic!("{error}"))).await
}

fn soon() -> Deadline {
    Deadline::at(Instant::now() + Duration::from_secs(30))
}

fn key(name: &str) -> Key {
    Key::new(name.as_bytes()).unwrap()
}

fn batch(command: WriteCommand) -> OpBatch {
    let mut batch = OpBatch::new();
    batch.push_write(&WriteOp::Command(command));
    batch
}

fn get_bit(name: &str) -> ReadOp {
    ReadOp::Command(ReadCommand::GetBit { key: key(name), offset: 7 })
}

fn integer(number: i64) -> Outcome {
    Outcome::Reply(Reply::Integer(number))
}

#[tokio::test]
async fn a_heavy_combination_does_not_hold_up_reads() {
    let (shard, group) = open_quiet().await;
    for name in ["a", "b"] {
        let set = WriteCommand::Set {
            key: key(name),
            value: vec![1; 1 << 20].into(),
            existence: None,
            expiry: Expiry::Clear,
            reply: SetReply::Status,
        };
        group.write(batch(set), soon()).await.unwrap();
    }
    // The only thread of the pool waits for us.
    let (release, gate) = mpsc::channel::<()>();
    let pool = group.group.pool.clone();
    let blocker = tokio::spawn({
        let pool = pool.clone();
        async move {
            let room = pool.admit(1, 1).unwrap();
            pool.run(room, 1, soon(), move || gate.recv()).await
        }
    });
    let combine = WriteCommand::BitOp {
        logic: BitLogic::And,
        target: key("c"),
        sources: vec![key("a"), key("b")],
    };
    let combination = tokio::spawn({
        let group = group.clone();
        async move { group.write(batch(combine), soon()).await }
    });
    while pool.jobs() < 2 {
        tokio::task::yield_now().await;
    }
    assert!(group.group.serving.load(Ordering::Acquire));
    for _ in 0..100 {
        assert_eq!(group.read_now(&get_bit("a")), Some(integer(1)));
        assert_eq!(
            group.read(get_bit("c"), Consistency::Linearizable, soon()).await.unwrap(),
            integer(0)
        );
    }
    assert!(!combination.is_finished());
    release.send(()).unwrap();
    assert!(blocker.await.unwrap().is_ok());
    assert_eq!(combination.await.unwrap().unwrap(), [integer(1 << 20)]);
    assert_eq!(
        group.read(get_bit("c"), Consistency::Linearizable, soon()).await.unwrap(),
        integer(1)
    );
    shard.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_heavy_read_is_refused_when_too_many_wait_and_a_light_one_is_not() {
    let (shard, group) = open_quiet().await;
    let set = WriteCommand::Set {
        key: key("a"),
        value: vec![1; 1 << 20].into(),
        existence: None,
        expiry: Expiry::Clear,
        reply: SetReply::Status,
    };
    group.write(batch(set), soon()).await.unwrap();
    let pool = group.group.pool.clone();
    let (release, gate) = mpsc::channel::<()>();
    let (begun, begins) = mpsc::channel();
    let room = pool.admit(1, 1).unwrap();
    let job = move || {
        begun.send(()).unwrap();
        gate.recv()
    };
    let mut blocker = Box::pin(pool.run(room, 1, soon(), job));
    assert!(futures_util::poll!(&mut blocker).is_pending());
    begins.recv().unwrap();
    let get = || ReadOp::Command(ReadCommand::Get { key: key("a") });
    let mut waits = Box::pin(group.read(get(), Consistency::Leader, soon()));
    assert!(futures_util::poll!(&mut waits).is_pending());
    assert_eq!(pool.jobs(), 2);
    let others = pool.admit(WORK_JOBS_MAX - 2, 1).unwrap();
    let refused = group.read(get(), Consistency::Leader, soon()).await.unwrap_err();
    assert!(matches!(refused, Error::Busy { .. }), "{refused}");
    assert!(refused.to_string().contains(&WORK_JOBS_MAX.to_string()), "{refused}");
    let mut both = OpBatch::new();
    both.push_read(&get_bit("a"));
    both.push_read(&get());
    let refused =
        group.read_batch(both.clone(), Consistency::Leader, &[], soon()).await.unwrap_err();
    assert!(matches!(refused, Error::Busy { .. }), "{refused}");
    let light = group.read(get_bit("a"), Consistency::Leader, soon()).await;
    assert_eq!(light.unwrap(), integer(1));
    // The client that waits goes: nothing is left of its read.
    drop((waits, others));
    assert_eq!(pool.jobs(), 1);
    let mut answered = Box::pin(group.read_batch(both, Consistency::Leader, &[], soon()));
    assert!(futures_util::poll!(&mut answered).is_pending());
    release.send(()).unwrap();
    assert!(blocker.await.is_ok());
    assert_eq!(answered.await.unwrap().outcomes.decode().unwrap().len(), 2);
    shard.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_replica_that_does_not_lead_alone_asks_the_majority() {
    let (shard, group) = open_quiet().await;
    let mut bit = OpBatch::new();
    bit.push_set_bit(&key("a"), 7, true);
    group.write(bit, soon()).await.unwrap();
    group.group.stop_serving_alone();
    assert_eq!(group.read_now(&get_bit("a")), None);
    let reads = (0..50).map(|_| group.read(get_bit("a"), Consistency::Linearizable, soon()));
    for outcome in futures_util::future::join_all(reads).await {
        assert_eq!(outcome.unwrap(), integer(1));
    }
    shard.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_disk_that_fails_stops_the_replica_and_leaves_the_write_unknown() {
    let disk = FaultyDisk::default();
    let (told, stopped) = mpsc::channel();
    let fatal = Fatal::new(move |error| told.send(error.clone()).unwrap());
    let (_shard, group) = open(&disk, fatal).await;
    disk.fail_at(disk.operations(), Fault::Persistent);
    let mut bit = OpBatch::new();
    bit.push_set_bit(&key("a"), 7, true);
    let error = group.write(bit, soon()).await.unwrap_err();
    assert!(matches!(error, Error::OutcomeUnknown { .. }), "{error}");
    let cause = stopped.recv().unwrap();
    assert!(matches!(cause, Error::Stopped { group: GroupId(1), .. }), "{cause}");
    assert!(stopped.try_recv().is_err(), "told once");
}

#[tokio::test]
async fn a_shard_that_is_stopped_while_it_starts_ends() {
    let disk = FaultyDisk::default();
    let slots = vec![];
    let mut options =
        ShardOptions::new("/data", vec![GroupSpec::alone(GroupId(1), slots, NodeId(1))]);
    options.file_system = disk.mount();
    let shard = Shard::open(options).await.unwrap();
    shard.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_bit_is_read_without_the_clock_until_a_key_has_an_expiry() {
    let (time, asked) = (Arc::new(AtomicU64::new(1)), Arc::new(AtomicU64::new(0)));
    let slots = (0..SLOTS).filter_map(Slot::new).collect();
    let mut options =
        ShardOptions::new("/data", vec![GroupSpec::alone(GroupId(1), slots, NodeId(1))]);
    options.file_system = FaultyDisk::default().mount();
    options.clock = Arc::new({
        let (time, asked) = (time.clone(), asked.clone());
        move || {
            asked.fetch_add(1, Ordering::Relaxed);
            UnixMillis(time.load(Ordering::Relaxed))
        }
    });
    let shard = Shard::open(options).await.unwrap();
    shard.wait_ready().await;
    let group = shard.group(GroupId(1)).unwrap();
    let mut bit = OpBatch::new();
    bit.push_set_bit(&key("a"), 7, true);
    group.write(bit, soon()).await.unwrap();
    let before = asked.load(Ordering::Relaxed);
    assert_eq!(group.read_now(&get_bit("a")), Some(integer(1)));
    assert_eq!(asked.load(Ordering::Relaxed), before);
    let set = WriteCommand::Set {
        key: key("a"),
        value: vec![1].into(),
        existence: None,
        expiry: Expiry::At(UnixMillis(50)),
        reply: SetReply::Status,
    };
    group.write(batch(set), soon()).await.unwrap();
    assert_eq!(group.read_now(&get_bit("a")), Some(integer(1)));
    time.store(50, Ordering::Relaxed);
    assert_ne!(group.read_now(&get_bit("a")), Some(integer(1)));
    assert_eq!(
        group.read(get_bit("a"), Consistency::Linearizable, soon()).await.unwrap(),
        integer(0)
    );
    shard.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_replica_that_cannot_start_ends_the_process_unless_that_is_wanted() {
    let (shard, group) = open_quiet().await;
    let (told, stopped) = mpsc::channel();
    let fatal = Fatal::new(move |error| told.send(error.to_string()).unwrap());
    start_failed(&group.group, &fatal, &Error::NoLeader { group: GroupId(1), leader: None });
    assert!(stopped.try_recv().unwrap().contains("no leader of group 1"));
    shard.shutdown().await.unwrap();
    start_failed(&group.group, &Fatal::new(|error| panic!("{error}")), &Error::ShuttingDown);
}
