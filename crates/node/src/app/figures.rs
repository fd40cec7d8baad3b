//! What INFO, CONFIG and the scrape ask of the node.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use bitroster_command::CommandError;
use bitroster_frontend::{ClusterView, NodeStatus, Spawn as _, SpreadStatus, Status};
use bitroster_placement::slot_of_key;
use bitroster_shard::{GroupStats, Shard, ShardStats};
use bitroster_telemetry::{log, process};
use bitroster_types::GroupId;
use metrics::{Gauge, Unit, describe_gauge, gauge};
use parking_lot::Mutex;
use tracing::{error, info};

use super::{cluster::view::Viewer, memory::Memory, tasks::Tasks, topology::Topology};
use crate::config::{Config, Size, SyncWord};

const NO_DATA: CommandError =
    CommandError::Text("ERR this node keeps no data, or not yet: ask the nodes that do");

/// The node's figures and the settings that it keeps.
pub(crate) struct Figures {
    topology: Topology,
    shard: Arc<OnceLock<Arc<Shard>>>,
    memory: Arc<Memory>,
    tasks: Arc<Tasks>,
    log: log::Handle,
    log_level: Mutex<String>,
    sync: SyncWord,
    data_dir: String,
    run_id: String,
    machine_bytes: u64,
    snapshots: Arc<Snapshots>,
    /// Set once the node is in a cluster.
    viewer: OnceLock<Viewer>,
    gauges: Gauges,
}

/// The last snapshot that a client asked for.
struct Snapshots {
    running: AtomicBool,
    ok: AtomicBool,
    time_secs: AtomicU64,
}

impl Figures {
    pub(crate) fn new(
        config: &Config,
        topology: Topology,
        shard: Arc<OnceLock<Arc<Shard>>>,
        memory: Arc<Memory>,
        tasks: Arc<Tasks>,
        log: log::Handle,
    ) -> Self {
        let (high, low) = (super::data_dir::random_u128(), super::data_dir::random_u128());
        Self {
            topology,
            shard,
            memory,
            tasks,
            log,
            log_level: Mutex::new(config.log.level.clone()),
            sync: config.storage.sync,
            data_dir: config.server.data_dir.clone(),
            run_id: format!("{high:032x}{:08x}", low >> 96),
            machine_bytes: process::machine_bytes(),
            snapshots: Arc::new(Snapshots {
                running: AtomicBool::new(false),
                ok: AtomicBool::new(true),
                time_secs: AtomicU64::new(unix_secs()),
            }),
            viewer: OnceLock::new(),
            gauges: Gauges::new(),
        }
    }

    /// Lets clients see the cluster; later calls change nothing.
    pub(crate) fn see(&self, viewer: Viewer) {
        self.viewer.get_or_init(|| viewer);
    }

    /// Sets the node's gauges; called at a scrape.
    #[expect(clippy::cast_precision_loss, reason = "metrics are floats")]
    pub(crate) fn publish(&self) {
        let status = self.status();
        self.gauges.process.observe();
        self.gauges.allocated.set(status.allocated_bytes as f64);
        self.gauges.limit.set(status.memory_bytes_max as f64);
        self.gauges.dataset.set(status.dataset_bytes as f64);
        self.gauges.keys.set(status.keys as f64);
        self.gauges.log.set(status.log_bytes as f64);
        let SpreadStatus { parts, staged, pending, reserved, enlisted } = status.spread;
        for (gauge, count) in
            self.gauges.spread.iter().zip([parts, staged, pending, reserved, enlisted])
        {
            gauge.set(count as f64);
        }
        self.gauges.tasks.set(self.tasks.running() as f64);
    }
}

/// Of the groups that are led here, each in one place of the cluster.
fn spread(stats: &ShardStats) -> SpreadStatus {
    let led = stats.groups.iter().filter(|group| group.leads && group.id != GroupId::META);
    led.fold(SpreadStatus::default(), |sum, GroupStats { engine, .. }| SpreadStatus {
        parts: sum.parts + engine.parts,
        staged: sum.staged + engine.staged,
        pending: sum.pending + engine.pending,
        reserved: sum.reserved + engine.reserved,
        enlisted: sum.enlisted + engine.enlisted,
    })
}

impl NodeStatus for Figures {
    fn status(&self) -> Status {
        let stats = self.shard.get().map(|shard| shard.stats()).unwrap_or_default();
        let usage = process::Usage::read();
        let (allocated_bytes, allocated_bytes_max) = self.memory.allocated_bytes();
        // The meta group's key is not a client's.
        let data = || stats.groups.iter().filter(|group| group.id != GroupId::META);
        let sum = |field: fn(&bitroster_shard::GroupStats) -> u64| data().map(field).sum();
        Status {
            run_id: self.run_id.clone(),
            allocated_bytes,
            allocated_bytes_max,
            dataset_bytes: sum(|group| group.engine.dataset_bytes),
            resident_bytes: usage.resident_bytes,
            machine_bytes: self.machine_bytes,
            memory_bytes_max: self.memory.limit_bytes(),
            cpu_user_seconds: usage.user_seconds,
            cpu_system_seconds: usage.system_seconds,
            keys: sum(|group| group.engine.keys),
            expires: sum(|group| group.engine.keys_with_expiry),
            spread: spread(&stats),
            groups: self.topology.map().map_or(0, |map| map.groups().len()),
            snapshot_running: self.snapshots.running.load(Relaxed),
            snapshot_time_secs: self.snapshots.time_secs.load(Relaxed),
            snapshot_ok: self.snapshots.ok.load(Relaxed),
            log_bytes: stats.wal.disk_bytes,
        }
    }

    fn start_snapshot(&self) -> Result<(), CommandError> {
        let shard = self.shard.get().cloned().ok_or(NO_DATA)?;
        let snapshots = Arc::clone(&self.snapshots);
        if snapshots.running.swap(true, Relaxed) {
            return Err(CommandError::Text("ERR Background save already in progress"));
        }
        let task = async move {
            let done = shard.snapshot_all().await;
            snapshots.ok.store(done.is_ok(), Relaxed);
            match done {
                Ok(()) => {
                    snapshots.time_secs.store(unix_secs(), Relaxed);
                    info!("snapshots of all groups written");
                }
                Err(error) => error!(%error, "a snapshot failed"),
            }
            snapshots.running.store(false, Relaxed);
        };
        self.tasks.spawn("snapshot", Box::pin(task));
        Ok(())
    }

    fn stop(&self) -> Result<(), CommandError> {
        super::STOP_WANTED.notify_one();
        Ok(())
    }

    fn snapshot_time_secs(&self) -> u64 {
        self.snapshots.time_secs.load(Relaxed)
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        let appendfsync = match self.sync {
            SyncWord::Always => "always",
            SyncWord::Interval => "everysec",
        };
        vec![
            ("appendfsync", appendfsync.to_owned()),
            ("dir", self.data_dir.clone()),
            ("loglevel", self.log_level.lock().clone()),
            ("maxmemory", self.memory.limit_bytes().to_string()),
        ]
    }

    fn change_setting(&self, name: &str, value: &str) -> Option<Result<(), String>> {
        let changed = match name {
            "maxmemory" => value
                .parse::<Size>()
                .map(|size| self.memory.set_limit_bytes(size.0))
                .map_err(|_| "argument must be a memory value".to_owned()),
            "loglevel" => {
                // Redis's words for levels that have other names here.
                let level = match value {
                    "notice" | "verbose" => "info",
                    "warning" => "warn",
                    "nothing" => "off",
                    other => other,
                };
                let changed = self
                    .log
                    .set_level(&super::log_filter(level))
                    .map_err(|error| error.to_string());
                changed.map(|()| *self.log_level.lock() = level.to_owned())
            }
            _ => return None,
        };
        Some(changed)
    }

    fn key_slot(&self, key: &[u8]) -> u16 {
        slot_of_key(key).number()
    }

    fn epoch(&self) -> u64 {
        self.topology.map().map_or(0, |map| map.epoch())
    }

    fn cluster(&self) -> ClusterView {
        self.viewer.get().map_or_else(ClusterView::default, Viewer::view)
    }
}

fn unix_secs() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The node's own metrics.
struct Gauges {
    spread: [Gauge; 5],
    process: process::Metrics,
    allocated: Gauge,
    limit: Gauge,
    dataset: Gauge,
    keys: Gauge,
    log: Gauge,
    tasks: Gauge,
}

impl Gauges {
    fn new() -> Self {
        let bytes = |name, help| describe_gauge!(name, Unit::Bytes, help);
        bytes("bitroster_node_memory_allocated_bytes", "Bytes that the allocator has handed out");
        bytes("bitroster_node_memory_limit_bytes", "maxmemory; 0 for no limit");
        bytes("bitroster_node_dataset_bytes", "Bytes that keys and bitmaps take");
        bytes("bitroster_node_log_disk_bytes", "Bytes that the log takes on disk");
        describe_gauge!("bitroster_node_keys", "Keys of all groups of this node");
        describe_gauge!(
            "bitroster_node_spread",
            "Keys over several groups, of the groups that this node leads: parts that it holds, \
             parts that are staged, changes that are pending, changes that are reserved, leaves \
             that were given not long ago"
        );
        describe_gauge!("bitroster_node_tasks", "Tasks that have not ended");
        Self {
            spread: ["parts", "staged", "pending", "reserved", "enlisted"]
                .map(|state| gauge!("bitroster_node_spread", "state" => state)),
            process: process::Metrics::new(),
            allocated: gauge!("bitroster_node_memory_allocated_bytes"),
            limit: gauge!("bitroster_node_memory_limit_bytes"),
            dataset: gauge!("bitroster_node_dataset_bytes"),
            keys: gauge!("bitroster_node_keys"),
            log: gauge!("bitroster_node_log_disk_bytes"),
            tasks: gauge!("bitroster_node_tasks"),
        }
    }
}
