//! All replicas of a node: what they share, and how they start and stop.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bitroster_engine::EngineConfig;
use bitroster_types::GroupId;
use bitroster_wal::{DataDir, RecoveredGroup, SnapshotStore, Wal};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval};

use crate::error::Error;
use crate::fatal::Fatal;
use crate::group::{Group, GroupHandle, Parts};
use crate::keeper::{Keeper, LogMeter};
use crate::keyspace::Keyspace;
use crate::metrics::{self, LogMetrics, Metrics};
use crate::options::{GroupSpec, ShardOptions};
use crate::pool::Pool;
use crate::raft::log_store::LogStore;
use crate::raft::replica::{Replica, ReplicaId};
use crate::raft::snapshot::Snapshots;
use crate::raft::state_machine::StateMachine;

/// The number of a group's first replica. Later ones get numbers that were never used.
const FIRST_REPLICA: u64 = 1;

/// How often keys past their expiry are dropped, if nothing else drops them, and how often the
/// log's figures are shown.
const PULSE_INTERVAL: Duration = Duration::from_millis(100);

/// Entries that one round of expiry may take: each drops a bounded number of keys.
const EXPIRY_ENTRIES_MAX: usize = 16;

/// A node's replicas. Stop it with [`Shard::shutdown`]; dropped without, it leaves what a crash
/// would, once its runtime has ended.
#[derive(Debug)]
pub struct Shard {
    groups: Vec<Arc<Group>>,
    by_id: HashMap<GroupId, usize>,
    wal: Arc<Wal>,
    pool: Arc<Pool>,
    /// Start, proposer and watch of each group: end by themselves at shutdown.
    tasks: Mutex<JoinSet<()>>,
    /// Keeper, pulse and read gates: endless.
    services: Mutex<JoinSet<()>>,
}

/// Figures of a shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardStats {
    /// Heavy computations that run or wait.
    pub work_jobs: usize,
    /// The log of all groups.
    pub wal: bitroster_wal::Stats,
    /// Each group, by ascending id.
    pub groups: Vec<GroupStats>,
}

/// Figures of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupStats {
    /// The group.
    pub id: GroupId,
    /// Whether it has recovered and answers.
    pub ready: bool,
    /// Bytes of log kept in memory: all since the last snapshot.
    pub log_bytes: u64,
    /// Bytes of ops that wait for the next entry.
    pub queue_bytes: u64,
    /// Its data.
    pub engine: bitroster_engine::EngineStats,
}

impl Shard {
    /// Opens the log and starts all replicas. Returns once the log is read; the replicas restore
    /// their state and come to lead on their own ([`Shard::wait_ready`]), and answer
    /// [`Error::Loading`] until then.
    ///
    /// Must be called within a Tokio runtime, where all tasks of the shard then run.
    ///
    /// # Errors
    ///
    /// [`Error::Log`] if the directory is in use, damaged or of another version;
    /// [`Error::Option`].
    pub async fn open(options: ShardOptions) -> Result<Self, Error> {
        options.validate()?;
        metrics::describe();
        let ShardOptions { data_dir, file_system, wal, .. } = &options;
        let (data_dir, file_system, wal) = (data_dir.clone(), file_system.clone(), wal.clone());
        let opened = spawn_blocking(move || {
            let data = DataDir::open(file_system, &data_dir)?;
            let snapshots = SnapshotStore::open(&data)?;
            let (wal, recovered) = Wal::open(&data, &wal)?;
            Ok::<_, Error>((wal, recovered, snapshots))
        });
        let (wal, mut recovered, store) = opened.await.map_err(|_| Error::ShuttingDown)??;
        if let Some(torn) = &recovered.torn {
            tracing::info!(path = %torn.path.display(), offset = torn.offset, "torn log end cut");
        }
        let pool = Pool::spawn(options.cpu_threads).map_err(|_| Error::Option {
            option: "cpu_threads",
            problem: "the operating system gives no thread",
        })?;
        let parts = Shared { wal: Arc::new(wal), store, pool, wake: Arc::new(Notify::new()) };
        let mut shard = Self {
            groups: Vec::new(),
            by_id: HashMap::new(),
            wal: parts.wal.clone(),
            pool: parts.pool.clone(),
            tasks: Mutex::default(),
            services: Mutex::default(),
        };
        let mut specs = options.groups.clone();
        specs.sort_unstable_by_key(|spec| spec.id);
        for spec in specs {
            let recovered = recovered.groups.remove(&spec.id).unwrap_or_default();
            shard.add_group(&options, &parts, spec, recovered)?;
        }
        let keeper = Keeper {
            wake: parts.wake,
            groups: shard.groups.clone(),
            wal: parts.wal,
            log_bytes_min: options.snapshot_log_bytes_min,
        };
        let services = shard.services.get_mut();
        services.spawn(keeper.run());
        services.spawn(pulse(shard.groups.clone(), shard.wal.clone()));
        Ok(shard)
    }

    fn add_group(
        &mut self,
        options: &ShardOptions,
        shared: &Shared,
        spec: GroupSpec,
        recovered: RecoveredGroup,
    ) -> Result<(), Error> {
        let GroupSpec { id, slots } = spec;
        let metrics = Metrics::new(id);
        let config = EngineConfig {
            group: id,
            width: options.width,
            value_bytes_max: options.value_bytes_max,
        };
        let keyspace = Arc::new(Keyspace::new(config));
        let limit = options.snapshot_log_bytes_min;
        let meter = LogMeter::new(limit, shared.wake.clone(), metrics.log_bytes.clone());
        let fatal = options.fatal.clone();
        let log = LogStore::new(id, shared.wal.clone(), recovered, meter.clone(), fatal.clone())
            .map_err(|error| Error::Stopped { group: id, reason: error.to_string() })?;
        let snapshots = Snapshots::new(id, shared.store.clone(), metrics.clone());
        let state_machine = StateMachine::new(
            id,
            keyspace.clone(),
            shared.pool.clone(),
            snapshots,
            metrics.clone(),
        );
        let pool = shared.pool.clone();
        let clock = options.clock.clone();
        let group = Group::new(Parts { id, slots, keyspace, pool, clock, meter, metrics });
        let replica = ReplicaId { replica: FIRST_REPLICA, node: options.node };
        let tasks = self.tasks.get_mut();
        tasks.spawn(group.clone().propose());
        tasks.spawn(run_replica(group.clone(), replica, log, state_machine, fatal));
        self.services.get_mut().spawn(group.clone().confirm_reads());
        self.by_id.insert(id, self.groups.len());
        self.groups.push(group);
        Ok(())
    }

    /// The group with this id, if it has a replica here.
    pub fn group(&self, id: GroupId) -> Option<GroupHandle> {
        self.by_id.get(&id).map(|&at| GroupHandle::new(self.groups[at].clone()))
    }

    /// The groups that have a replica here, by ascending id.
    pub fn groups(&self) -> impl Iterator<Item = GroupHandle> + '_ {
        self.groups.iter().cloned().map(GroupHandle::new)
    }

    /// Waits until every group answers.
    pub async fn wait_ready(&self) {
        for group in &self.groups {
            group.wait_ready().await;
        }
    }

    /// Writes a snapshot of every group, one after another, and waits until they are durable and
    /// the log that they cover is dropped.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`] if a replica stops meanwhile, [`Error::Loading`].
    pub async fn snapshot_all(&self) -> Result<(), Error> {
        for group in &self.groups {
            group.snapshot().await?;
            group.purged().await?;
        }
        Ok(())
    }

    /// Figures as of now.
    pub fn stats(&self) -> ShardStats {
        let groups = self.groups.iter().map(|group| GroupStats {
            id: group.id(),
            ready: group.is_ready(),
            log_bytes: group.meter().bytes(),
            queue_bytes: group.queue().bytes() as u64,
            engine: group.engine_stats(),
        });
        ShardStats { work_jobs: self.pool.jobs(), wal: self.wal.stats(), groups: groups.collect() }
    }

    /// Refuses new writes, commits and answers what waits, stops the replicas and closes the log.
    /// A second call does nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Log`] if the log had failed or fails now.
    pub async fn shutdown(&self) -> Result<(), Error> {
        for group in &self.groups {
            group.queue().close();
        }
        for group in &self.groups {
            group.queue().idle().await;
        }
        self.services.lock().abort_all();
        for group in &self.groups {
            group.shutdown().await;
        }
        // A replica that is only now restored sees the closed queue and stops by itself.
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        while tasks.join_next().await.is_some() {}
        let wal = self.wal.clone();
        let closed = spawn_blocking(move || wal.close()).await;
        closed.map_err(|_| Error::ShuttingDown)?.map_err(Error::from)
    }
}

/// What all groups share.
struct Shared {
    wal: Arc<Wal>,
    store: SnapshotStore,
    pool: Arc<Pool>,
    wake: Arc<Notify>,
}

/// Restores a replica, starts it, and follows it until it stops.
async fn run_replica(
    group: Arc<Group>,
    id: ReplicaId,
    log: LogStore,
    state_machine: StateMachine,
    fatal: Fatal,
) {
    let replica = match Replica::open(group.id(), id, log, state_machine).await {
        Ok(replica) => replica,
        Err(error) => return fatal.stop(group.id(), &error),
    };
    if let Err(error) = group.start(replica.clone()).await {
        start_failed(&group, &fatal, &error);
    }
    replica.watch(&fatal, |serving| group.set_serving(serving)).await;
}

/// A replica did not come to lead: its group would never answer, and the node wait for it for ever.
/// At shutdown that is all right.
pub(crate) fn start_failed(group: &Group, fatal: &Fatal, error: &Error) {
    if group.queue().is_closed() {
        tracing::debug!(group = %group.id(), %error, "replica ended while it started");
    } else {
        fatal.stop(group.id(), error);
    }
}

/// Drops keys past their expiry and shows the log's figures. Never returns.
async fn pulse(groups: Vec<Arc<Group>>, wal: Arc<Wal>) {
    let log = LogMetrics::new();
    let mut timer = interval(PULSE_INTERVAL);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        timer.tick().await;
        log.show(&wal.stats());
        for group in &groups {
            for _ in 0..EXPIRY_ENTRIES_MAX {
                if !group.expiry_due() || group.tick().await.is_err() {
                    break;
                }
            }
        }
    }
}
