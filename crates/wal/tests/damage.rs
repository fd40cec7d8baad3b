//! Goal: damaged files are told from torn ones. What was synced is never silently lost; what was
//! not is cut; nothing in a file makes recovery panic.
//!
//! Method: make logs on a disk in memory, change their bytes in every way that is feasible, open
//! them.
//!
//! Mutants killed (each was tried): no checksum over the records; no salt in the checksum, or the
//! same salt at each use; no offset in the frame; the bytes beyond the cut are not searched; damage
//! in a full file is cut like a torn end; the header page is not checked; missing files and entries
//! are not noticed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::path::{Path, PathBuf};

use bitroster_wal::testing::{FaultyDisk, Names, Tear};
use bitroster_wal::{Completion, DataDir, EntryRef, Error, Identity, Options};
use common::*;

const HEADER_BYTES: usize = 4096;

/// A log of one file with `entries` of 40 bytes, each synced before the next. The process was
/// killed, so the file has no seal.
fn killed_log(entries: u64) -> (FaultyDisk, PathBuf) {
    let disk = FaultyDisk::default();
    let (wal, _) = open(&disk, &small());
    for index in 0..entries {
        append(&wal, A, index, &[0xEE; 40]).unwrap();
    }
    disk.crash(Tear::Lost, Names::Lost);
    drop(wal);
    let file = disk.paths(wal_dir()).pop().unwrap();
    (disk, file)
}

/// The end of the last byte that is not zero.
fn used_bytes(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|&byte| byte != 0).unwrap() + 1
}

fn recovered_len(disk: &FaultyDisk) -> Result<u64, Error> {
    let (_, recovered) = try_open(disk, &small())?;
    let found = indexes(&recovered, A);
    assert!(found.iter().copied().eq(0..found.len() as u64), "a hole: {found:?}");
    let payloads_are_whole = recovered
        .groups
        .get(&A)
        .is_none_or(|state| state.entries.iter().all(|entry| entry.payload == [0xEE; 40][..]));
    assert!(payloads_are_whole, "a changed payload passed");
    Ok(found.len() as u64)
}

#[test]
fn a_flipped_bit_anywhere_is_refused_or_loses_the_last_entry_only() {
    let (disk, file) = killed_log(4);
    let whole = disk.bytes(&file).unwrap();
    let mut refused = 0;
    for at in (0..used_bytes(&whole)).filter(|&at| !(32..HEADER_BYTES).contains(&at)) {
        let disk = disk.copy();
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        disk.damage(&file, &bytes);
        match recovered_len(&disk) {
            Ok(len) => assert!(len >= 3, "byte {at}: only {len} entries are left"),
            Err(Error::Damaged { path, .. } | Error::Format { path, .. }) => {
                assert_eq!(path, file);
                refused += 1;
            }
            Err(other) => panic!("byte {at}: {other}"),
        }
    }
    assert!(refused > 200, "only {refused} flips were noticed as damage");
}

#[test]
fn a_file_cut_anywhere_leaves_a_prefix() {
    let (disk, file) = killed_log(4);
    let whole = disk.bytes(&file).unwrap();
    let mut last = 0;
    for len in 0..=used_bytes(&whole) {
        let disk = disk.copy();
        disk.damage(&file, &whole[..len]);
        match recovered_len(&disk) {
            Ok(found) => {
                assert!(found >= last, "{len} bytes: {found} entries after {last}");
                last = found;
            }
            Err(error) => {
                assert!(len < HEADER_BYTES, "{len} bytes: {error}");
                assert!(matches!(error, Error::Damaged { .. }), "{len} bytes: {error}");
            }
        }
    }
    assert_eq!(last, 4);
}

#[test]
fn zeros_from_anywhere_on_leave_a_prefix() {
    let (disk, file) = killed_log(4);
    let whole = disk.bytes(&file).unwrap();
    for from in HEADER_BYTES..used_bytes(&whole) {
        let disk = disk.copy();
        let mut bytes = whole.clone();
        bytes[from..].fill(0);
        disk.damage(&file, &bytes);
        recovered_len(&disk).unwrap_or_else(|error| panic!("zeros from {from}: {error}"));
    }
}

#[test]
fn a_torn_write_with_a_whole_frame_beyond_is_cut() {
    // Two frames of which neither was synced when the power went, and only the second arrived.
    let disk = FaultyDisk::default();
    let options = Options { sync_mode: interval(3_600_000), ..small() };
    let (wal, _) = open(&disk, &options);
    append(&wal, A, 0, &[0xEE; 40]).unwrap();
    wal.flush().unwrap();
    append(&wal, A, 1, &[0xEE; 40]).unwrap();
    let before = used_bytes(&disk.bytes(&disk.paths(wal_dir())[0]).unwrap());
    append(&wal, A, 2, &[0xEE; 40]).unwrap();
    disk.crash(Tear::Kept, Names::Kept);
    drop(wal);
    let file = &disk.paths(wal_dir())[0];
    let mut bytes = disk.bytes(file).unwrap();
    bytes[before - 1] ^= 1;
    disk.damage(file, &bytes);

    let (wal, recovered) = open(&disk, &options);
    assert_eq!(indexes(&recovered, A), [0]);
    assert_eq!(recovered.torn.map(|torn| torn.path).as_ref(), Some(file));
    append(&wal, A, 1, &[0xEE; 40]).unwrap();
    drop(wal);
    let (_, recovered) = open(&disk, &options);
    assert_eq!(indexes(&recovered, A), [0, 1], "the entry beyond the cut came back");
    assert_eq!(recovered.torn, None);
}

#[test]
fn damage_in_a_full_file_is_refused() {
    let disk = FaultyDisk::default();
    let (wal, _) = open(&disk, &small());
    for index in 0..30 {
        append(&wal, A, index, &[0xEE; 1000]).unwrap();
    }
    drop(wal);
    let paths = disk.paths(wal_dir());
    assert!(paths.len() > 3);
    for file in &paths {
        let whole = disk.bytes(file).unwrap();
        let used = used_bytes(&whole);
        for at in (HEADER_BYTES..used).step_by(61).chain(used - 40..used) {
            let disk = disk.copy();
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            disk.damage(file, &bytes);
            let opened = try_open(&disk, &small());
            let is_last = Some(file) == paths.last();
            match opened {
                Err(Error::Damaged { path, .. }) => assert_eq!(path, *file),
                // The seal of the last file, or its last entry, may be taken for torn.
                Ok((_, recovered)) if is_last => assert!(indexes(&recovered, A).len() >= 29),
                other => panic!("{} byte {at}: {other:?}", file.display()),
            }
        }
    }
}

#[test]
fn a_lost_file_is_refused() {
    let disk = FaultyDisk::default();
    let (wal, _) = open(&disk, &small());
    append(&wal, B, 0, b"to have something purged").unwrap();
    purge(&wal, B, 0).unwrap();
    purge(&wal, A, 9).unwrap();
    for index in 10..40 {
        append(&wal, A, index, &[0xEE; 1000]).unwrap();
    }
    drop(wal);
    let paths = disk.paths(wal_dir());
    for lost in &paths[..paths.len() - 1] {
        let rest = FaultyDisk::default();
        for path in paths.iter().filter(|path| *path != lost) {
            rest.damage(path, &disk.bytes(path).unwrap());
        }
        match try_open(&rest, &small()) {
            Err(Error::Gap { group, expected, .. }) if *lost == paths[0] => {
                assert_eq!((group, expected), (A, 10));
            }
            Err(Error::Damaged { path, .. }) if *lost != paths[0] => assert!(path > *lost),
            opened => panic!("without {}: {opened:?}", lost.display()),
        }
    }
}

#[test]
fn what_an_earlier_use_of_a_file_left_never_comes_back() {
    let disk = FaultyDisk::default();
    let (wal, _) = open(&disk, &small());
    // Frames of one length, so that those of each use start where those of the last did.
    let mut next = 0;
    for _ in 0..6 {
        while files(&wal) < 2 {
            append(&wal, A, next, &[0xEE; 40]).unwrap();
            next += 1;
        }
        purge(&wal, A, next - 1).unwrap();
    }
    assert_eq!(files(&wal), 1);
    append(&wal, A, next, &[0xEE; 40]).unwrap();
    let is_log = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "log");
    let file = disk.paths(wal_dir()).into_iter().rfind(is_log).unwrap();
    let bytes = disk.bytes(&file).unwrap();
    assert!(used_bytes(&bytes) > 7000, "the file was not used before");
    disk.crash(Tear::Lost, Names::Lost);
    drop(wal);
    let (_, recovered) = open(&disk, &small());
    assert_eq!(indexes(&recovered, A), [next]);
    assert_eq!(recovered.torn, None);
}

#[test]
fn a_frame_in_another_file_or_place_does_not_pass() {
    let (disk, file) = killed_log(3);
    let whole = disk.bytes(&file).unwrap();
    let used = used_bytes(&whole);
    // The same frames once more, right behind: none of them says that it belongs there.
    let mut bytes = whole.clone();
    let end = used.next_multiple_of(8);
    bytes.copy_within(HEADER_BYTES..used, end);
    disk.damage(&file, &bytes);
    assert_eq!(recovered_len(&disk).unwrap(), 3);

    let (disk, file) = killed_log(3);
    let other = file.with_file_name("00000000000000000002.log");
    disk.damage(&other, &whole);
    let opened = try_open(&disk, &small());
    assert!(matches!(opened, Err(Error::Damaged { ref path, .. }) if *path == other), "{opened:?}");
}

#[test]
fn random_bytes_in_the_directory_never_panic() {
    let (disk, file) = killed_log(3);
    let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
    for round in 0..300 {
        let disk = disk.copy();
        let mut bytes = disk.bytes(&file).unwrap();
        for _ in 0..8 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(round);
            let at = usize::try_from(seed >> 33).unwrap() % bytes.len();
            bytes[at] = (seed >> 20).to_le_bytes()[0];
        }
        disk.damage(&file, &bytes);
        disk.damage(&wal_dir().join("00000000000000000009.spare"), &bytes);
        disk.damage(&wal_dir().join("new.tmp"), &bytes[..100]);
        disk.damage(&wal_dir().join("notes.txt"), b"not ours");
        drop(try_open(&disk, &small()));
    }
}

#[test]
fn another_format_is_told_from_damage() {
    let (disk, file) = killed_log(1);
    let mut bytes = disk.bytes(&file).unwrap();
    bytes[8] = 2;
    disk.damage(&file, &bytes);
    let opened = try_open(&disk, &small());
    assert!(matches!(opened, Err(Error::Format { found: 2, supported: 1, .. })), "{opened:?}");
}

#[test]
fn the_identity_is_written_once_and_checked() {
    let disk = FaultyDisk::default();
    let root = Path::new("/data");
    let open = || DataDir::open(disk.mount(), root).unwrap();
    let identity = Identity { cluster: u128::MAX / 3, node: 7 };
    let data = open();
    assert_eq!(data.identity(), Ok(None));
    data.create_identity(&identity).unwrap();
    let again = data.create_identity(&Identity { cluster: 1, node: 1 });
    assert!(matches!(again, Err(Error::IdentityExists { .. })), "{again:?}");
    disk.crash(Tear::Lost, Names::Lost);
    drop(data);
    let data = open();
    assert_eq!(data.identity(), Ok(Some(identity)));
    let path = root.join("identity");
    let whole = disk.bytes(&path).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        disk.damage(&path, &bytes);
        assert!(data.identity().is_err(), "byte {at} of {:?}", String::from_utf8_lossy(&bytes));
    }
    for len in 0..whole.len() {
        disk.damage(&path, &whole[..len]);
        assert!(data.identity().is_err(), "cut to {len}");
    }
}

#[test]
fn an_option_out_of_range_is_refused() {
    let disk = FaultyDisk::default();
    for file_bytes in [0, 4096, 8193, 2 << 30] {
        let opened = try_open(&disk, &Options { file_bytes, ..small() });
        assert!(matches!(opened, Err(Error::Option { option: "file_bytes", .. })), "{opened:?}");
    }
    let opened = try_open(&disk, &Options { pending_bytes_max: 0, ..small() });
    assert!(matches!(opened, Err(Error::Option { .. })), "{opened:?}");
}

#[test]
fn a_longer_entry_than_allowed_is_refused() {
    let disk = FaultyDisk::default();
    let (wal, _) = open(&disk, &small());
    let payload = vec![0; (1 << 30) + 1];
    let entry = EntryRef { position: at(0), payload: &payload };
    let refused = wal.append(A, [entry], Completion::none());
    assert!(matches!(refused, Err(Error::TooLong { .. })), "{refused:?}");
}
