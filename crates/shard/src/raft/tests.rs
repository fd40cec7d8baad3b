//! Goal: the log and the state machine keep openraft's contract, and a log that is opened again is
//! what it was.
//!
//! Method: openraft's own suite over a disk in memory; then random calls against a naive log, with
//! a close and a reopen between any two.

use std::path::Path;
use std::sync::Arc;

use bitroster_engine::EngineConfig;
use bitroster_types::{GroupId, ReplicaId, SegmentWidth};
use bitroster_wal::testing::FaultyDisk;
use bitroster_wal::{DataDir, Options, SnapshotStore, Wal};
use openraft::storage::{RaftLogReader, RaftLogStorage, RaftLogStorageExt};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::type_config::TypeConfigExt;
use openraft::{EntryPayload, StorageError};
use tokio::sync::Notify;

use super::log_store::LogStore;
use super::snapshot::Snapshots;
use super::state_machine::StateMachine;
use super::types::{Entry, LogId, Proposal, TypeConfig, Vote};
use crate::fatal::Fatal;
use crate::group::role::Applies;
use crate::keeper::LogMeter;
use crate::keyspace::Keyspace;
use crate::metrics::{Metrics, NodeMetrics};
use crate::pool::Pool;

const GROUP: GroupId = GroupId(7);

struct Disks;

fn open(disk: &FaultyDisk) -> (LogStore, StateMachine) {
    let data = DataDir::open(disk.mount(), Path::new("/data")).unwrap();
    let options = Options { file_bytes: 16 << 10, ..Options::default() };
    let (wal, mut recovered) = Wal::open(&data, &options).unwrap();
    let snapshots = SnapshotStore::open(&data).unwrap();
    let metrics = Metrics::new(NodeMetrics::new());
    let meter = LogMeter::new(u64::MAX, Arc::new(Notify::new()));
    let fatal = Fatal::new(|error| panic!("{error}"));
    let recovered = recovered.groups.remove(&GROUP).unwrap_or_default();
    let log = LogStore::new((GROUP, ReplicaId(1)), Arc::new(wal), recovered, meter, fatal).unwrap();
    let config =
        EngineConfig { group: GROUP, width: SegmentWidth::DEFAULT, value_bytes_max: 1 << 20 };
    let keyspace = Arc::new(Keyspace::new(config));
    let pool = Pool::spawn(1).unwrap();
    let snapshots = Snapshots::new(GROUP, snapshots, metrics.clone());
    (log, StateMachine::new(GROUP, keyspace, pool, snapshots, (metrics, Applies::new().0)))
}

impl StoreBuilder<TypeConfig, LogStore, StateMachine> for Disks {
    async fn build(&self) -> Result<((), LogStore, StateMachine), StorageError<TypeConfig>> {
        let (log, state_machine) = open(&FaultyDisk::default());
        Ok(((), log, state_machine))
    }
}

#[test]
fn the_stores_pass_openrafts_own_suite() {
    TypeConfig::run(async {
        Suite::test_all(Disks).await.unwrap();
    });
}

/// What a log should hold.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    entries: Vec<Entry>,
    purged: Option<LogId>,
    vote: Option<Vote>,
}

impl Model {
    fn last(&self) -> Option<LogId> {
        self.entries.last().map(|entry| entry.log_id).or(self.purged)
    }

    fn next(&self) -> u64 {
        self.last().map_or(0, |last| last.index + 1)
    }
}

async fn held(log: &mut LogStore) -> Model {
    let state = log.get_log_state().await.unwrap();
    let model = Model {
        entries: log.try_get_log_entries(..).await.unwrap(),
        purged: state.last_purged_log_id,
        vote: log.read_vote().await.unwrap(),
    };
    assert_eq!(state.last_log_id, model.last());
    assert_eq!(log.promised(), model.vote.map_or(0, |vote| vote.leader_id.term));
    model
}

/// A small generator: the same numbers for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

async fn step(log: &mut LogStore, model: &mut Model, random: &mut Random, term: &mut u64) {
    match random.below(10) {
        0..=5 => {
            let entries: Vec<_> = (0..random.below(5))
                .map(|at| {
                    let payload = vec![1; usize::try_from(random.below(900)).unwrap() + 1];
                    Entry {
                        log_id: LogId::new_term_index(*term, model.next() + at),
                        payload: EntryPayload::Normal(Proposal(payload.into())),
                    }
                })
                .collect();
            model.entries.extend(entries.iter().cloned());
            log.blocking_append(entries).await.unwrap();
        }
        6 => {
            *term += 1;
            let vote = Vote::new(*term, random.below(3));
            log.save_vote(&vote).await.unwrap();
            model.vote = Some(vote);
        }
        7 | 8 if !model.entries.is_empty() => {
            let keep = usize::try_from(random.below(model.entries.len() as u64 + 1)).unwrap();
            model.entries.truncate(keep);
            log.truncate_after(model.last()).await.unwrap();
        }
        _ if !model.entries.is_empty() => {
            let cut = usize::try_from(random.below(model.entries.len() as u64)).unwrap();
            model.purged = Some(model.entries[cut].log_id);
            model.entries.drain(..=cut);
            log.purge(model.purged.unwrap()).await.unwrap();
        }
        _ => {}
    }
}

#[tokio::test]
async fn a_log_that_is_opened_again_holds_what_it_held() {
    for seed in 1..=30 {
        let disk = FaultyDisk::default();
        let (mut model, mut term) = (Model::default(), 1);
        let mut random = Random(seed);
        for _ in 0..8 {
            let (mut log, state_machine) = open(&disk);
            drop(state_machine);
            assert_eq!(held(&mut log).await, model, "after reopening, seed {seed}");
            for _ in 0..random.below(12) {
                step(&mut log, &mut model, &mut random, &mut term).await;
                assert_eq!(held(&mut log).await, model, "seed {seed}");
            }
        }
    }
}
