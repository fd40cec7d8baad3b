//! Goal: the log keeps what it is told, refuses what does not fit, and frees what nobody needs.
//!
//! Method: small files on a disk in memory, closed and opened again.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bitroster_wal::testing::{Fault, FaultyDisk, Names, Tear};
use bitroster_wal::{
    Completion, DataDir, EntryRef, Error, Holder, Options, RealFileSystem, RecoveredGroup,
    SyncMode, Wal,
};
use common::*;

#[test]
fn what_was_appended_is_there_after_a_restart() {
    let disk = FaultyDisk::default();
    let (wal, recovered) = open(&disk, &small());
    assert!(recovered.groups.is_empty());
    append(&wal, A, 0, b"zero").unwrap();
    append(&wal, B, 41, b"").unwrap();
    append(&wal, A, 1, b"one").unwrap();
    vote(&wal, C, b"first").unwrap();
    vote(&wal, C, b"second").unwrap();
    wal.save_committed(A, at(0)).unwrap();
    drop(wal);

    let (_wal, recovered) = open(&disk, &small());
    assert_eq!(recovered.torn, None);
    let a = &recovered.groups[&A];
    assert_eq!(a.entries.len(), 2);
    assert_eq!((a.entries[1].position, &a.entries[1].payload[..]), (at(1), &b"one"[..]));
    assert_eq!((a.committed, a.purged, &a.vote), (Some(at(0)), None, &None));
    assert_eq!(indexes(&recovered, B), [41]);
    assert_eq!(recovered.groups[&C].vote.as_deref(), Some(&b"second"[..]));
}

#[test]
fn truncated_and_purged_entries_do_not_come_back() {
    let disk = FaultyDisk::default();
    let (wal, _) = open(&disk, &small());
    for index in 0..10 {
        append(&wal, A, index, b"old").unwrap();
    }
    truncate(&wal, A, Some(6)).unwrap();
    append(&wal, A, 7, b"new").unwrap();
    purge(&wal, A, 3).unwrap();
    purge(&wal, A, 2).unwrap();
    append(&wal, B, 5, b"all of it goes").unwrap();
    truncate(&wal, B, None).unwrap();
    drop(wal);

    let (wal, recovered) = open(&disk, &small());
    assert_eq!(indexes(&recovered, A), [4, 5, 6, 7]);
    assert_eq!(&recovered.groups[&A].entries[3].payload[..], b"new");
    assert_eq!(recovered.groups[&A].purged, Some(at(3)));
    assert!(indexes(&recovered, B).is_empty());
    append(&wal, A, 8, b"goes on").unwrap();
    append(&wal, B, 0, b"begins anew").unwrap();
}

#[test]
fn a_purge_past_the_end_lets_the_log_go_on_after_it() {
    let disk = FaultyDisk::default();
    let (wal, _) = open(&disk, &small());
    append(&wal, A, 0, b"before the snapshot").unwrap();
    purge(&wal, A, 100).unwrap();
    append(&wal, A, 101, b"after").unwrap();
    drop(wal);
    let (wal, recovered) = open(&disk, &small());
    assert_eq!(indexes(&recovered, A), [101]);
    purge(&wal, A, 200).unwrap();
    drop(wal);
    let (wal, recovered) = open(&disk, &small());
    assert!(indexes(&recovered, A).is_empty());
    assert!(matches!(append(&wal, A, 200, b"x"), Err(Error::OutOfOrder { expected: 201, .. })));
    append(&wal, A, 201, b"x").unwrap();
}

#[test]
fn a_call_that_does_not_fit_is_refused_and_queues_nothing() {
    let disk = FaultyDisk::default();
    let (wal, _) = open(&disk, &small());
    append(&wal, A, 5, b"any first index").unwrap();
    let pair = [5, 6].map(|index| EntryRef { position: at(index), payload: b"x" });
    let refused = wal.append(A, pair, Completion::none());
    assert!(matches!(refused, Err(Error::OutOfOrder { expected: 6, found: 5, .. })), "{refused:?}");
    let gap = [6, 8].map(|index| EntryRef { position: at(index), payload: b"x" });
    let refused = wal.append(A, gap, Completion::none());
    assert!(matches!(refused, Err(Error::OutOfOrder { expected: 7, found: 8, .. })), "{refused:?}");
    purge(&wal, A, 5).unwrap();
    assert!(matches!(truncate(&wal, A, Some(4)), Err(Error::OutOfOrder { .. })));
    assert!(matches!(truncate(&wal, A, None), Err(Error::OutOfOrder { .. })));
    assert!(matches!(vote(&wal, A, &[0; 257]), Err(Error::TooLong { max: 256, .. })));
    append(&wal, A, 6, b"the refused calls left no trace").unwrap();
    wal.close().unwrap();
    assert_eq!(append(&wal, A, 7, b"x"), Err(Error::Closed));
    drop(wal);
    assert_eq!(indexes(&open(&disk, &small()).1, A), [6]);
}

#[test]
fn a_removed_group_is_gone_and_may_begin_anew() {
    let disk = FaultyDisk::default();
    let (wal, _) = open(&disk, &small());
    append(&wal, A, 9, b"old replica").unwrap();
    vote(&wal, A, b"old vote").unwrap();
    wal.remove_group(A, Completion::none()).unwrap();
    append(&wal, A, 0, b"new replica").unwrap();
    wal.remove_group(B, Completion::none()).unwrap();
    drop(wal);
    let (_wal, recovered) = open(&disk, &small());
    assert_eq!(indexes(&recovered, A), [0]);
    assert_eq!(recovered.groups[&A].vote, None);
    assert!(!recovered.groups.contains_key(&B));
}

#[test]
fn a_committed_hint_rides_on_the_next_record_and_costs_no_write() {
    let disk = FaultyDisk::default();
    let (wal, _) = open(&disk, &small());
    append(&wal, A, 0, b"x").unwrap();
    let writes = disk.writes();
    wal.save_committed(A, at(0)).unwrap();
    assert_eq!(disk.writes(), writes);
    append(&wal, A, 1, b"x").unwrap();
    assert_eq!(disk.writes(), writes + 1);
    disk.crash(Tear::Lost, Names::Lost);
    drop(wal);
    assert_eq!(open(&disk, &small()).1.groups[&A].committed, Some(at(0)));
}

#[test]
fn an_entry_larger_than_a_file_gets_a_file_of_its_own() {
    let disk = FaultyDisk::default();
    let (wal, _) = open(&disk, &small());
    let large = vec![0xAB; 100_000];
    append(&wal, A, 0, b"small").unwrap();
    append(&wal, A, 1, &large).unwrap();
    append(&wal, A, 2, b"small").unwrap();
    disk.crash(Tear::Lost, Names::Lost);
    drop(wal);
    let (wal, recovered) = open(&disk, &small());
    assert_eq!(indexes(&recovered, A), [0, 1, 2]);
    assert_eq!(recovered.groups[&A].entries[1].payload, large);
    purge(&wal, A, 2).unwrap();
    for index in 3..50 {
        append(&wal, A, index, &[0; 1000]).unwrap();
        purge(&wal, A, index).unwrap();
    }
    wal.flush().unwrap();
    assert!(wal.stats().disk_bytes <= 4 * (8 << 10), "the long file is not kept as a spare");
}

#[test]
fn files_are_freed_and_used_again_once_every_group_has_purged() {
    let disk = FaultyDisk::default();
    let (wal, _) = open(&disk, &small());
    vote(&wal, C, b"a vote in the first file").unwrap();
    for index in 0..100 {
        append(&wal, A, index, &[1; 500]).unwrap();
        append(&wal, B, index, &[2; 500]).unwrap();
    }
    let full = files(&wal);
    assert!(full > 20, "{full} files");
    purge(&wal, A, 99).unwrap();
    assert_eq!(files(&wal), full, "the other group holds them");
    assert_eq!(wal.holders().first().map(|holder| holder.group), Some(B));
    let Holder { group, index } = wal.holders()[0];
    purge(&wal, group, index).unwrap();
    assert!(files(&wal) < full, "the oldest file went");
    purge(&wal, B, 99).unwrap();
    assert_eq!(files(&wal), 1);
    assert_eq!(wal.holders(), []);
    assert_eq!(wal.stats().disk_bytes, 3 * (8 << 10), "two spares are kept");
    for index in 100..200 {
        append(&wal, A, index, &[3; 500]).unwrap();
    }
    drop(wal);
    let (_wal, recovered) = open(&disk, &small());
    assert_eq!(indexes(&recovered, A), (100..200).collect::<Vec<_>>());
    assert!(indexes(&recovered, B).is_empty());
    assert_eq!(recovered.groups[&C].vote.as_deref(), Some(&b"a vote in the first file"[..]));
}

#[test]
fn a_truncated_entry_does_not_hold_its_file() {
    let disk = FaultyDisk::default();
    let (wal, _) = open(&disk, &small());
    for index in 0..40 {
        append(&wal, A, index, &[1; 500]).unwrap();
    }
    truncate(&wal, A, Some(9)).unwrap();
    append(&wal, A, 10, b"from here on it goes another way").unwrap();
    purge(&wal, A, 10).unwrap();
    assert_eq!(files(&wal), 1, "entries 11 to 39 are gone, though never purged");
    drop(wal);
    assert!(indexes(&open(&disk, &small()).1, A).is_empty());
}

#[test]
fn restarts_do_not_pile_up_files() {
    let disk = FaultyDisk::default();
    for index in 0..20 {
        let (wal, recovered) = open(&disk, &small());
        assert_eq!(indexes(&recovered, A), (0..index).collect::<Vec<_>>());
        append(&wal, A, index, b"x").unwrap();
        vote(&wal, B, b"v").unwrap();
        if index % 2 == 0 {
            disk.crash(Tear::Kept, Names::Kept);
        }
        drop(wal);
        assert!(disk.paths(wal_dir()).len() <= 5, "{:?}", disk.paths(wal_dir()));
    }
}

#[test]
fn appends_of_many_groups_share_a_sync() {
    const GROUPS: u16 = 8;
    const EACH: u64 = 50;
    let disk = FaultyDisk::default();
    let options = Options { file_bytes: 1 << 20, ..small() };
    let (wal, _) = open(&disk, &options);
    let before = disk.syncs();
    let done = Arc::new(AtomicUsize::new(0));
    let hold = disk.hold_syncs();
    append_counted(&wal, GROUPS, 0, &done);
    hold.wait_for_sync();
    for index in 1..EACH {
        append_counted(&wal, GROUPS, index, &done);
    }
    assert_eq!(done.load(Ordering::SeqCst), 0, "nothing is acknowledged before its sync");
    drop(hold);
    wal.flush().unwrap();
    assert_eq!(done.load(Ordering::SeqCst), usize::from(GROUPS) * usize::try_from(EACH).unwrap());
    let syncs = disk.syncs() - before;
    assert!(syncs <= 4, "{syncs} syncs for {} appends", u64::from(GROUPS) * EACH);
}

fn append_counted(wal: &Wal, groups: u16, index: u64, done: &Arc<AtomicUsize>) {
    for group in 0..groups {
        let done = Arc::clone(done);
        let completion = Completion::call(move |result| {
            result.unwrap();
            done.fetch_add(1, Ordering::SeqCst);
        });
        let entry = EntryRef { position: at(index), payload: b"payload" };
        wal.append(bitroster_types::GroupId(group), [entry], completion).unwrap();
    }
}

#[test]
fn in_interval_mode_an_answer_does_not_wait_for_the_sync() {
    let disk = FaultyDisk::default();
    let options = Options { sync_mode: interval(3_600_000), ..small() };
    let (wal, _) = open(&disk, &options);
    let hold = disk.hold_syncs();
    for index in 0..5 {
        append(&wal, A, index, b"x").unwrap();
    }
    drop(hold);
    let killed = disk.copy();
    let (_, recovered) = open(&killed, &options);
    assert_eq!(indexes(&recovered, A), [0, 1, 2, 3, 4], "a killed process loses nothing");

    wal.flush().unwrap();
    append(&wal, A, 5, b"not synced").unwrap();
    disk.crash(Tear::Lost, Names::Lost);
    drop(wal);
    let (_, recovered) = open(&disk, &options);
    assert_eq!(indexes(&recovered, A), [0, 1, 2, 3, 4], "a power cut loses what was not synced");
}

#[test]
fn in_interval_mode_the_sync_comes_without_another_call() {
    let disk = FaultyDisk::default();
    let (wal, _) = open(&disk, &Options { sync_mode: interval(1), ..small() });
    let hold = disk.hold_syncs();
    append(&wal, A, 0, b"x").unwrap();
    hold.wait_for_sync();
    drop(hold);
}

#[test]
fn in_interval_mode_an_idle_log_frees_what_was_purged() {
    let disk = FaultyDisk::default();
    let (wal, _) = open(&disk, &Options { sync_mode: interval(20), ..small() });
    for index in 0..30 {
        append(&wal, A, index, &[1; 1000]).unwrap();
    }
    wal.flush().unwrap();
    assert!(wal.stats().files > 3);
    purge(&wal, A, 29).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while wal.stats().files > 1 {
        assert!(Instant::now() < deadline, "{:?}", wal.stats());
        std::thread::yield_now();
    }
}

#[test]
fn an_interval_past_all_time_is_allowed() {
    let disk = FaultyDisk::default();
    let sync_mode = SyncMode::Interval(Duration::MAX);
    let (wal, _) = open(&disk, &Options { sync_mode, ..small() });
    append(&wal, A, 0, b"x").unwrap();
    append(&wal, A, 1, b"x").unwrap();
    wal.close().unwrap();
}

#[test]
fn a_failed_write_or_sync_stops_the_log_for_good() {
    for skipped in [0, 1] {
        let disk = FaultyDisk::default();
        let (wal, _) = open(&disk, &small());
        append(&wal, A, 0, b"kept").unwrap();
        disk.fail_at(disk.operations() + skipped, Fault::Transient);
        assert!(matches!(append(&wal, A, 1, b"lost"), Err(Error::Poisoned(_))));
        assert!(matches!(append(&wal, A, 2, b"refused"), Err(Error::Poisoned(_))));
        assert!(matches!(wal.save_committed(A, at(0)), Err(Error::Poisoned(_))));
        assert!(matches!(wal.flush(), Err(Error::Poisoned(_))));
        assert!(wal.failure().is_some());
        assert!(matches!(wal.close(), Err(Error::Poisoned(_))));
    }
}

#[test]
fn a_full_log_makes_callers_wait_and_a_failure_wakes_them() {
    let disk = FaultyDisk::default();
    let options = Options { pending_bytes_max: 100, ..small() };
    let (wal, _) = open(&disk, &options);
    let wal = Arc::new(wal);
    let hold = disk.hold_syncs();
    let entry = |index| [EntryRef { position: at(index), payload: &[0; 200] }];
    wal.append(A, entry(0), Completion::none()).unwrap();
    assert!(wal.pending_bytes() > 200);
    let waiting = std::thread::spawn({
        let wal = Arc::clone(&wal);
        move || wal.append(A, entry(1), Completion::none())
    });
    hold.wait_for_sync();
    disk.fail_at(disk.operations(), Fault::Persistent);
    drop(hold);
    assert!(matches!(waiting.join().unwrap(), Err(Error::Poisoned(_))));
}

#[test]
fn a_completion_may_use_the_log() {
    let disk = FaultyDisk::default();
    let (wal, _) = open(&disk, &Options { pending_bytes_max: 1, ..small() });
    let wal = Arc::new(wal);
    let (done, waiter) = Completion::waiter();
    let inner = Arc::clone(&wal);
    let entry = EntryRef { position: at(0), payload: b"x" };
    let outer = Completion::call(move |result| {
        result.unwrap();
        inner.save_vote(A, b"from within", done).unwrap();
    });
    wal.append(A, [entry], outer).unwrap();
    waiter.wait().unwrap();
}

#[test]
fn the_last_handle_may_be_dropped_by_a_completion() {
    let disk = FaultyDisk::default();
    let (wal, _) = open(&disk, &small());
    let wal = Arc::new(wal);
    let (told, hear) = std::sync::mpsc::channel();
    let inner = Arc::clone(&wal);
    let hold = disk.hold_syncs();
    let done = Completion::call(move |_| {
        drop(inner);
        told.send(()).unwrap();
    });
    wal.save_vote(A, b"v", done).unwrap();
    hold.wait_for_sync();
    drop(wal);
    drop(hold);
    hear.recv().unwrap();
}

#[test]
fn one_process_at_a_time_opens_a_data_directory() {
    let dir = tempfile::tempdir().unwrap();
    let data = DataDir::open(Arc::new(RealFileSystem), dir.path()).unwrap();
    let refused = DataDir::open(Arc::new(RealFileSystem), dir.path());
    assert!(matches!(refused, Err(Error::InUse { .. })), "{refused:?}");
    let (wal, _) = Wal::open(&data, &small()).unwrap();
    drop(data);
    assert!(DataDir::open(Arc::new(RealFileSystem), dir.path()).is_err(), "the log keeps the lock");
    drop(wal);
    DataDir::open(Arc::new(RealFileSystem), dir.path()).unwrap();
}

#[test]
fn the_real_disk_keeps_what_many_threads_append() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { file_bytes: 64 << 10, ..Options::default() };
    let reopen = || {
        let data = DataDir::open(Arc::new(RealFileSystem), &dir.path().join("a/b")).unwrap();
        Wal::open(&data, &options).unwrap()
    };
    let (wal, _) = reopen();
    std::thread::scope(|scope| {
        for group in 0..4 {
            let wal = &wal;
            scope.spawn(move || {
                let group = bitroster_types::GroupId(group);
                for index in 0..200 {
                    append(wal, group, index, &[0xCD; 300]).unwrap();
                    if index % 50 == 49 {
                        purge(wal, group, index - 20).unwrap();
                    }
                }
            });
        }
    });
    let stats = wal.stats();
    assert!(stats.syncs > 0 && stats.frame_bytes > 4 * 200 * 300, "{stats:?}");
    drop(wal);
    let (_wal, recovered) = reopen();
    for group in 0..4 {
        let state: &RecoveredGroup = &recovered.groups[&bitroster_types::GroupId(group)];
        assert_eq!(state.purged.map(|purged| purged.index), Some(179));
        assert!(state.entries.iter().map(|entry| entry.position.index).eq(180..200));
    }
}
