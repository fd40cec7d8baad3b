//! Goal: a snapshot is there whole or not at all, the newest is the one that counts, and damage is
//! found before a byte of it is handed out.
//!
//! Method: small and large snapshots on a disk in memory; a fault at every operation; every byte
//! flipped.
//!
//! Mutants killed (each was tried): no sync before the rename; no sync of the directory before
//! older snapshots are removed; no checksum of a chunk; no number in a chunk's checksum; no
//! checksum of the header.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use bitroster_types::GroupId;
use bitroster_wal::testing::{Fault, FaultyDisk, Names, Tear};
use bitroster_wal::{DataDir, Error, SnapshotStore};
use common::{A, B};

const CHUNK: usize = 1 << 20;

fn store(disk: &FaultyDisk) -> Result<SnapshotStore, Error> {
    SnapshotStore::open(&DataDir::open(disk.mount(), Path::new("/data"))?)
}

fn write(store: &SnapshotStore, group: GroupId, index: u64, bytes: &[u8]) -> Result<u64, Error> {
    let mut writer = store.create(group, index, &index.to_le_bytes())?;
    let failed = |error: std::io::Error| {
        *error.into_inner().unwrap().downcast::<bitroster_wal::IoFailure>().unwrap()
    };
    for piece in bytes.chunks(70_001) {
        writer.write_all(piece).map_err(failed)?;
    }
    writer.finish()
}

fn read(store: &SnapshotStore, group: GroupId) -> Option<(u64, Vec<u8>)> {
    let mut reader = store.latest(group).unwrap()?;
    assert_eq!(reader.meta(), reader.index().to_le_bytes());
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    assert_eq!(reader.len_bytes(), bytes.len() as u64);
    Some((reader.index(), bytes))
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251).to_le_bytes()[0]).collect()
}

fn files(disk: &FaultyDisk) -> Vec<PathBuf> {
    disk.paths(Path::new("/data/snapshots"))
}

#[test]
fn a_snapshot_of_any_length_reads_back_after_a_power_cut() {
    for len in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 9 * CHUNK + 5] {
        let disk = FaultyDisk::default();
        let bytes = pattern(len);
        assert_eq!(write(&store(&disk).unwrap(), A, 9, &bytes), Ok(len as u64));
        disk.crash(Tear::Lost, Names::Lost);
        assert!(read(&store(&disk).unwrap(), A) == Some((9, bytes)), "{len} bytes");
    }
}

#[test]
fn the_newest_of_each_group_is_kept() {
    let disk = FaultyDisk::default();
    let store = store(&disk).unwrap();
    assert_eq!(read(&store, A), None);
    for (group, index) in [(A, 5), (B, 70), (A, 30), (A, 31)] {
        write(&store, group, index, &index.to_le_bytes()).unwrap();
    }
    assert_eq!(files(&disk).len(), 2);
    assert_eq!(read(&store, A), Some((31, 31_u64.to_le_bytes().to_vec())));
    write(&store, A, 12, b"overtaken while it was written").unwrap();
    assert_eq!(store.groups(), Ok(vec![(A, 31), (B, 70)]));
    assert_eq!(files(&disk).len(), 2);
    store.remove_group(A).unwrap();
    assert_eq!(store.groups(), Ok(vec![(B, 70)]));
}

#[test]
fn a_snapshot_that_is_not_finished_leaves_nothing() {
    let disk = FaultyDisk::default();
    let store = store(&disk).unwrap();
    write(&store, A, 1, b"before").unwrap();
    let mut writer = store.create(A, 2, &2_u64.to_le_bytes()).unwrap();
    writer.write_all(&pattern(3 * CHUNK)).unwrap();
    assert_eq!(writer.len_bytes(), 3 * CHUNK as u64);
    drop(writer);
    assert_eq!(read(&store, A), Some((1, b"before".to_vec())));
    assert_eq!(files(&disk).len(), 1);
    assert!(matches!(store.create(A, 3, &vec![0; CHUNK + 1]), Err(Error::TooLong { .. })));
}

#[test]
fn a_fault_at_any_operation_leaves_the_snapshot_before_or_the_one_after() {
    let (old, short, long) = (pattern(10), pattern(1000), pattern(9 * CHUNK + 3));
    let crashes = [
        (Tear::Lost, Names::Lost, &long),
        (Tear::Short, Names::Kept, &short),
        (Tear::Zeroed, Names::Half, &short),
        (Tear::Scattered, Names::Scattered, &short),
        (Tear::Lost, Names::Kept, &short),
        (Tear::Kept, Names::Kept, &short),
    ];
    for fault in [Fault::Transient, Fault::Persistent] {
        for (tear, names, new) in crashes {
            let mut n = 0;
            loop {
                let case = format!("operation {n}, {fault:?}, {tear:?}, {names:?}");
                let disk = FaultyDisk::default();
                let first = store(&disk).unwrap();
                write(&first, A, 1, &old).unwrap();
                disk.fail_at(disk.operations() + n, fault);
                let written = write(&first, A, 2, new);
                let met = disk.met_fault();
                disk.crash(tear, names);
                drop(first);
                let found = read(&store(&disk).unwrap(), A);
                let is_new =
                    found.as_ref().is_some_and(|(index, bytes)| *index == 2 && bytes == new);
                assert!(is_new || found == Some((1, old.clone())), "{case}: neither is there");
                assert!(is_new || written.is_err(), "{case}: lost after it was finished");
                let third = store(&disk).unwrap();
                write(&third, A, 3, &old).unwrap();
                assert_eq!(files(&disk).len(), 1, "{case}");
                if !met {
                    break;
                }
                n += 1;
            }
            assert!(n >= 7, "only {n} operations");
        }
    }
}

#[test]
fn no_flipped_bit_and_no_cut_passes() {
    let disk = FaultyDisk::default();
    let first = store(&disk).unwrap();
    let bytes = pattern(300);
    write(&first, A, 7, &bytes).unwrap();
    let file = files(&disk).remove(0);
    let whole = disk.bytes(&file).unwrap();
    let attempt = |changed: &[u8]| -> Result<Vec<u8>, ErrorKind> {
        disk.damage(&file, changed);
        let kind = |error: Error| std::io::Error::from(error).kind();
        let mut reader = first.latest(A).map_err(kind)?.expect("the file is there");
        let mut read = Vec::new();
        reader.read_to_end(&mut read).map_err(|error| error.kind())?;
        Ok(read)
    };
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at % 8);
        assert_eq!(attempt(&changed), Err(ErrorKind::InvalidData), "byte {at}");
    }
    for len in 0..whole.len() {
        assert_eq!(attempt(&whole[..len]), Err(ErrorKind::InvalidData), "cut to {len}");
    }
    assert_eq!(attempt(&whole), Ok(bytes));
}

#[test]
fn chunks_cannot_change_places_and_groups_cannot_change_files() {
    let disk = FaultyDisk::default();
    let first = store(&disk).unwrap();
    let mut bytes = vec![1; CHUNK];
    bytes.extend(vec![2; CHUNK]);
    write(&first, A, 7, &bytes).unwrap();
    let file = files(&disk).remove(0);
    let whole = disk.bytes(&file).unwrap();
    let (head, rest) = whole.split_at(48);
    let (one, rest) = rest.split_at(CHUNK + 8);
    let (two, foot) = rest.split_at(CHUNK + 8);
    disk.damage(&file, &[head, two, one, foot].concat());
    let mut sink = Vec::new();
    let error = first.latest(A).unwrap().unwrap().read_to_end(&mut sink).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert!(sink.is_empty(), "bytes of a chunk out of place were handed out");

    disk.damage(&file.with_file_name("00002-00000000000000000007.snap"), &whole);
    assert!(matches!(first.latest(B), Err(Error::Damaged { .. })));
}

#[test]
fn a_damaged_newest_snapshot_is_not_passed_over() {
    let disk = FaultyDisk::default();
    let first = store(&disk).unwrap();
    write(&first, A, 1, b"old").unwrap();
    let old = files(&disk).remove(0);
    disk.damage(&old.with_file_name("00001-00000000000000000002.snap"), b"BITRSNAP and no more");
    assert!(matches!(first.latest(A), Err(Error::Damaged { .. })));
}
