//! A disk for tests: it fails on command and forgets what was not synced.

mod faulty_disk;

pub use faulty_disk::{Fault, FaultyDisk, Mount, Names, SyncHold, Tear};
