//! Set-up shared by the tests: small files, and calls that wait.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test file uses its part")]

pub mod model;

use std::path::Path;

use bitroster_types::GroupId;
use bitroster_wal::testing::FaultyDisk;
use bitroster_wal::{
    Completion, DataDir, EntryRef, Error, IoFailure, Options, Position, Recovered, SyncMode, Wal,
};

pub const A: GroupId = GroupId(1);
pub const B: GroupId = GroupId(2);
pub const C: GroupId = GroupId(300);

/// The directory of the log on a [`FaultyDisk`].
pub fn wal_dir() -> &'static Path {
    Path::new("/data/wal")
}

/// Files of 8 KiB, made when they are needed: every disk operation has its fixed place.
pub fn small() -> Options {
    Options { file_bytes: 8 << 10, prepare_ahead: false, ..Options::default() }
}

pub fn interval(millis: u64) -> SyncMode {
    SyncMode::Interval(std::time::Duration::from_millis(millis))
}

pub fn try_open(disk: &FaultyDisk, options: &Options) -> Result<(Wal, Recovered), Error> {
    let data = DataDir::open(disk.mount(), Path::new("/data"))?;
    Wal::open(&data, options)
}

pub fn open(disk: &FaultyDisk, options: &Options) -> (Wal, Recovered) {
    try_open(disk, options).unwrap_or_else(|error| panic!("open: {error}"))
}

pub fn at(index: u64) -> Position {
    Position { index, term: index / 10 + 1, leader: 7 }
}

/// Appends one entry and waits for it.
pub fn append(wal: &Wal, group: GroupId, index: u64, payload: &[u8]) -> Result<(), Error> {
    let (done, waiter) = Completion::waiter();
    wal.append(group, [EntryRef { position: at(index), payload }], done)?;
    waited(waiter.wait())
}

pub fn vote(wal: &Wal, group: GroupId, vote: &[u8]) -> Result<(), Error> {
    let (done, waiter) = Completion::waiter();
    wal.save_vote(group, vote, done)?;
    waited(waiter.wait())
}

pub fn truncate(wal: &Wal, group: GroupId, index: Option<u64>) -> Result<(), Error> {
    let (done, waiter) = Completion::waiter();
    wal.truncate_after(group, index, done)?;
    waited(waiter.wait())
}

pub fn purge(wal: &Wal, group: GroupId, index: u64) -> Result<(), Error> {
    let (done, waiter) = Completion::waiter();
    wal.purge(group, at(index), done)?;
    waited(waiter.wait())
}

pub fn waited(result: Result<(), IoFailure>) -> Result<(), Error> {
    result.map_err(Error::Poisoned)
}

/// The indexes of a group's live entries.
pub fn indexes(recovered: &Recovered, group: GroupId) -> Vec<u64> {
    recovered.groups.get(&group).map_or_else(Vec::new, |state| {
        state.entries.iter().map(|entry| entry.position.index).collect()
    })
}

/// The log's files, once the thread is done with all calls before.
pub fn files(wal: &Wal) -> u64 {
    wal.flush().unwrap();
    wal.stats().files
}
