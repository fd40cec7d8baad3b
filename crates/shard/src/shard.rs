//! All replicas of a node: what they share, and how they start and stop.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bitroster_engine::EngineConfig;
use bitroster_telemetry::metric::Page;
use bitroster_types::{GroupId, ReplicaId, SegmentWidth};
use bitroster_wal::{Completion, DataDir, RecoveredGroup, SnapshotStore, Wal};
use bytes::Bytes;
use futures_util::future;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval};

use crate::error::Error;
use crate::fatal::Fatal;
use crate::group::role::Applies;
use crate::group::{Group, GroupHandle, Parts};
use crate::keeper::{Keeper, LogMeter};
use crate::keyspace::Keyspace;
use crate::metrics::{self, Metrics, NodeMetrics};
use crate::options::{GroupSpec, ShardOptions};
use crate::peers::MessageKind;
use crate::pool::Pool;
use crate::raft::log_store::LogStore;
use crate::raft::replica::{self, Founding, Place, Replica};
use crate::raft::snapshot::Snapshots;
use crate::raft::state_machine::StateMachine;

/// How often keys past their expiry are dropped, if nothing else drops them.
const PULSE_INTERVAL: Duration = Duration::from_millis(100);

/// Entries that one round of expiry may take: each drops a bounded number of keys.
const EXPIRY_ENTRIES_MAX: usize = 16;

/// A node's replicas. Stop it with [`Shard::shutdown`]; dropped without, it leaves what a crash
/// would, once its runtime has ended.
#[derive(Debug)]
pub struct Shard {
    options: ShardOptions,
    wal: Arc<Wal>,
    store: SnapshotStore,
    pool: Arc<Pool>,
    wake: Arc<Notify>,
    groups: Arc<Groups>,
    metrics: Arc<NodeMetrics>,
    /// What the log holds of groups that were not started yet.
    recovered: Mutex<BTreeMap<GroupId, RecoveredGroup>>,
    tasks: Mutex<HashMap<GroupId, Tasks>>,
    /// Keeper and pulse: endless.
    services: Mutex<JoinSet<()>>,
    /// Held while groups come and go.
    changes: tokio::sync::Mutex<()>,
    closed: AtomicBool,
}

/// The tasks of one group.
#[derive(Debug, Default)]
struct Tasks {
    /// Proposer and replica: end by themselves when the group is stopped.
    ending: JoinSet<()>,
    /// The read gate: endless.
    endless: JoinSet<()>,
}

/// The groups of a node.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    by_id: RwLock<BTreeMap<GroupId, Arc<Group>>>,
}

impl Groups {
    fn get(&self, id: GroupId) -> Option<Arc<Group>> {
        self.by_id.read().get(&id).cloned()
    }

    /// Those of now, by ascending id.
    pub(crate) fn all(&self) -> Vec<Arc<Group>> {
        self.by_id.read().values().cloned().collect()
    }
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
    /// Whether its replica here leads.
    pub leads: bool,
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
        let ShardOptions { data_dir, file_system, wal, .. } = &options;
        let (data_dir, file_system, wal) = (data_dir.clone(), file_system.clone(), wal.clone());
        let opened = spawn_blocking(move || {
            let data = DataDir::open(file_system, &data_dir)?;
            let snapshots = SnapshotStore::open(&data)?;
            let (wal, recovered) = Wal::open(&data, &wal)?;
            Ok::<_, Error>((wal, recovered, snapshots))
        });
        let (wal, recovered, store) = opened.await.map_err(|_| Error::ShuttingDown)??;
        if let Some(torn) = &recovered.torn {
            tracing::info!(path = %torn.path.display(), offset = torn.offset, "torn log end cut");
        }
        let pool = Pool::spawn(options.cpu_threads).map_err(|_| Error::Option {
            option: "cpu_threads",
            problem: "the operating system gives no thread",
        })?;
        let specs = options.groups.clone();
        let shard = Self {
            wal: Arc::new(wal),
            store,
            pool,
            wake: Arc::default(),
            groups: Arc::default(),
            metrics: NodeMetrics::new(),
            recovered: Mutex::new(recovered.groups),
            tasks: Mutex::default(),
            services: Mutex::default(),
            changes: tokio::sync::Mutex::default(),
            closed: AtomicBool::new(false),
            options,
        };
        for spec in specs {
            if let Err(error) = shard.add_group(spec).await {
                // Those that run already must not go on; why it fails is told by the first error.
                drop(shard.shutdown().await);
                return Err(error);
            }
        }
        let keeper = Keeper {
            wake: shard.wake.clone(),
            groups: shard.groups.clone(),
            wal: shard.wal.clone(),
            log_bytes_min: shard.options.snapshot_log_bytes_min,
        };
        {
            let mut services = shard.services.lock();
            services.spawn(keeper.run());
            services.spawn(pulse(shard.groups.clone()));
        }
        Ok(shard)
    }

    /// Starts a replica of a group. Returns at once; it restores its state, and finds its group,
    /// on its own. A replica that runs already goes on.
    ///
    /// # Errors
    ///
    /// [`Error::Stopped`] if what the log holds of the group is another replica's, or cannot be
    /// read: [`Shard::remove_group`] drops it. [`Error::Option`] if another replica of the group
    /// runs here, [`Error::ShuttingDown`], [`Error::Log`].
    pub async fn add_group(&self, spec: GroupSpec) -> Result<GroupHandle, Error> {
        let _changes = self.changes.lock().await;
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::ShuttingDown);
        }
        if let Some(group) = self.groups.get(spec.id) {
            if group.replica_id() == spec.replica {
                return Ok(GroupHandle::new(group));
            }
            let problem = "another replica of the group runs here";
            return Err(Error::Option { option: "replica", problem });
        }
        let recovered = self.recovered.lock().remove(&spec.id).unwrap_or_default();
        if recovered.vote.is_none() {
            // A snapshot without a log is what a removal left that was cut short.
            self.remove_snapshots(spec.id).await?;
        }
        self.host(spec, recovered)
    }

    fn host(&self, spec: GroupSpec, recovered: RecoveredGroup) -> Result<GroupHandle, Error> {
        let GroupSpec { id, slots, replica, mut founders, preferred } = spec;
        let options = &self.options;
        let (fatal, timing) = (options.fatal.clone(), options.timing());
        let place = Place { group: id, replica, node: options.node };
        if options.peers.is_none() {
            // There is no way to others.
            founders = vec![(replica, options.node)];
        }
        let metrics = Metrics::new(self.metrics.clone());
        let engine = EngineConfig {
            group: id,
            width: width_of(id, options.width),
            value_bytes_max: options.value_bytes_max,
        };
        let keyspace = Arc::new(Keyspace::new(engine.clone()));
        let limit = options.snapshot_log_bytes_min;
        let meter = LogMeter::new(limit, self.wake.clone());
        let wal = self.wal.clone();
        let log = LogStore::new((id, replica), wal, recovered, meter.clone(), fatal.clone())
            .map_err(|error| Error::Stopped { group: id, reason: error.to_string() })?;
        let snapshots = Snapshots::new(id, self.store.clone(), metrics.clone());
        let (applies, applied) = Applies::new();
        let pool = self.pool.clone();
        let told = (metrics.clone(), applies);
        let state_machine =
            StateMachine::new(id, keyspace.clone(), pool.clone(), snapshots.clone(), told);
        let peers = options.peers.clone();
        let parts = replica::Parts {
            place,
            log,
            snapshots,
            state_machine,
            peers,
            timing,
            engine,
            metrics: metrics.clone(),
        };
        let clock = options.clock.clone();
        let group = Group::new(Parts {
            place,
            slots,
            keyspace,
            pool,
            clock,
            timing,
            meter,
            metrics,
            applied,
        });
        let founding = Founding { founders, preferred };
        let mut tasks = Tasks::default();
        tasks.ending.spawn(group.clone().propose());
        tasks.ending.spawn(run_replica(group.clone(), parts, founding, fatal));
        tasks.endless.spawn(group.clone().confirm_reads());
        self.tasks.lock().insert(id, tasks);
        self.groups.by_id.write().insert(id, group.clone());
        Ok(GroupHandle::new(group))
    }

    /// Stops the replica of a group and drops all that it has on the disk. A group that does not
    /// run here is dropped all the same.
    ///
    /// # Errors
    ///
    /// [`Error::Log`], [`Error::ShuttingDown`].
    pub async fn remove_group(&self, id: GroupId) -> Result<(), Error> {
        let _changes = self.changes.lock().await;
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::ShuttingDown);
        }
        let group = self.groups.by_id.write().remove(&id);
        if let Some(group) = group {
            group.drain().await;
            let tasks = self.tasks.lock().remove(&id).unwrap_or_default();
            stop(&group, tasks).await;
        }
        self.recovered.lock().remove(&id);
        // The log first: a snapshot without one is known to be a remnant.
        let wal = self.wal.clone();
        let removed = spawn_blocking(move || {
            let (done, waiter) = Completion::waiter();
            wal.remove_group(id, done)?;
            waiter.wait().map_err(bitroster_wal::Error::Poisoned)
        });
        removed.await.map_err(|_| Error::ShuttingDown)??;
        self.remove_snapshots(id).await
    }

    async fn remove_snapshots(&self, id: GroupId) -> Result<(), Error> {
        let store = self.store.clone();
        let removed = spawn_blocking(move || store.remove_group(id)).await;
        Ok(removed.map_err(|_| Error::ShuttingDown)??)
    }

    /// Answers a message that came from another node for the replica `replica` of `group`.
    ///
    /// # Errors
    ///
    /// [`Error::NoReplica`] if it is not here; [`Error::Loading`] if it still starts;
    /// [`Error::Malformed`], [`Error::Stopped`].
    ///
    /// # Cancel safety
    ///
    /// A message that is given up half-way may have had its effect.
    pub async fn receive(
        &self,
        group: GroupId,
        replica: ReplicaId,
        kind: MessageKind,
        body: Bytes,
    ) -> Result<Bytes, Error> {
        let found = self.groups.get(group).ok_or(Error::NoReplica { group, replica })?;
        found.receive(replica, kind, body).await
    }

    /// Has other replicas lead the groups that are led here, the furthest of each; waits until
    /// they do, at most `patience`. Meant for the moment before [`Shard::shutdown`].
    pub async fn hand_over(&self, patience: Duration) {
        let groups = self.groups.all();
        future::join_all(groups.iter().map(|group| group.hand_over(patience))).await;
    }

    /// The group with this id, if it has a replica here.
    pub fn group(&self, id: GroupId) -> Option<GroupHandle> {
        self.groups.get(id).map(GroupHandle::new)
    }

    /// The group itself, in place of what callers may do with it.
    pub(crate) fn held(&self, id: GroupId) -> Option<Arc<Group>> {
        self.groups.get(id)
    }

    /// The groups that have a replica here, by ascending id.
    pub fn groups(&self) -> impl Iterator<Item = GroupHandle> + use<> {
        self.groups.all().into_iter().map(GroupHandle::new)
    }

    /// Waits until every group that is here now answers.
    pub async fn wait_ready(&self) {
        for group in self.groups.all() {
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
        for group in self.groups.all() {
            group.snapshot(false).await?;
            group.purged().await?;
        }
        Ok(())
    }

    /// Figures as of now.
    pub fn stats(&self) -> ShardStats {
        let groups = self.groups.all();
        let groups = groups.iter().map(|group| GroupStats {
            id: group.id(),
            ready: group.is_ready(),
            leads: group.leads(),
            log_bytes: group.meter().bytes(),
            queue_bytes: group.queue().bytes() as u64,
            engine: group.engine_stats(),
        });
        ShardStats { work_jobs: self.pool.jobs(), wal: self.wal.stats(), groups: groups.collect() }
    }

    /// Shows what was counted and how the groups are. Walks through data whose count is old and
    /// asks the disk, on a thread for such work, for about a tenth of a second at most.
    pub async fn publish(&self, mut page: Page) -> Page {
        let (groups, root) = (self.groups.all(), self.options.data_dir.clone());
        let (node, wal) = (self.metrics.clone(), self.wal.clone());
        let shown = spawn_blocking(move || {
            metrics::walk(&groups);
            metrics::publish(&groups, &node, &wal, &mut page);
            metrics::publish_disk(&root, &mut page);
            page
        });
        // It ends early only with the runtime, and nobody reads the page then.
        shown.await.unwrap_or_default()
    }

    /// Refuses new writes, commits and answers what waits, stops the replicas and closes the log.
    /// A second call does nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Log`] if the log had failed or fails now.
    pub async fn shutdown(&self) -> Result<(), Error> {
        let _changes = self.changes.lock().await;
        self.closed.store(true, Ordering::Release);
        let groups = self.groups.all();
        future::join_all(groups.iter().map(|group| group.drain())).await;
        self.services.lock().abort_all();
        for group in &groups {
            let tasks = self.tasks.lock().remove(&group.id()).unwrap_or_default();
            stop(group, tasks).await;
        }
        let wal = self.wal.clone();
        let closed = spawn_blocking(move || wal.close()).await;
        closed.map_err(|_| Error::ShuttingDown)?.map_err(Error::from)
    }
}

/// Stops a group whose writes are answered.
async fn stop(group: &Group, mut tasks: Tasks) {
    tasks.endless.abort_all();
    group.shutdown().await;
    // A replica that is only now restored sees the closed queue and stops by itself.
    while tasks.ending.join_next().await.is_some() {}
}

/// Restores a replica, starts it, and follows it until it stops.
async fn run_replica(group: Arc<Group>, parts: replica::Parts, founding: Founding, fatal: Fatal) {
    let replica = match Replica::open(parts).await {
        Ok(replica) => replica,
        Err(error) => return fatal.stop(group.id(), &error),
    };
    let starting = async {
        if let Err(error) = group.start(replica.clone(), founding).await {
            start_failed(&group, &fatal, &error);
        }
        group.settle().await;
    };
    tokio::select! {
        () = replica.watch(&fatal, |role| group.set_role(role)) => {}
        () = starting => {}
    }
}

/// A replica did not join its group: that would never answer, and the node wait for it for ever.
/// At shutdown that is all right.
pub(crate) fn start_failed(group: &Group, fatal: &Fatal, error: &Error) {
    if group.queue().is_closed() {
        tracing::debug!(group = %group.id(), %error, "replica ended while it started");
    } else {
        fatal.stop(group.id(), error);
    }
}

/// Drops keys past their expiry. Never returns.
async fn pulse(groups: Arc<Groups>) {
    let mut timer = interval(PULSE_INTERVAL);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        timer.tick().await;
        for group in groups.all() {
            for _ in 0..EXPIRY_ENTRIES_MAX {
                if !group.expiry_due() || group.tick().await.is_err() {
                    break;
                }
            }
        }
    }
}

/// The width of a group's segments. The meta group owns the one slot of its one key, whose value,
/// the cluster's state, must fit in the first segment however narrow those of bitmaps are.
fn width_of(group: GroupId, width: SegmentWidth) -> SegmentWidth {
    if group == GroupId::META {
        std::cmp::max_by_key(width, SegmentWidth::DEFAULT, |width| width.bits())
    } else {
        width
    }
}
