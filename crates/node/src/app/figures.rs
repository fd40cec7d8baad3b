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
use bitroster_telemetry::{build, log, metric::Page, process};
use bitroster_types::GroupId;
use parking_lot::Mutex;
use tracing::{error, info};

use super::{
    cluster::view::Viewer, memory::Memory, runtime::Runtime, tasks::Tasks, topology::Topology,
};
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
    role: &'static str,
    process: process::Metrics,
    runtime: Arc<Runtime>,
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
        runtime: Arc<Runtime>,
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
            role: config.server.role.name(),
            process: process::Metrics::new(),
            runtime,
        }
    }

    /// Lets clients see the cluster; later calls change nothing.
    pub(crate) fn see(&self, viewer: Viewer) {
        self.viewer.get_or_init(|| viewer);
    }

    /// Shows what all nodes have, and what a node with data holds.
    pub(crate) fn publish(&self, page: &mut Page) {
        build::publish(page, self.role);
        log::publish(page);
        self.process.publish(page);
        page.gauge("bitroster_process_allocated_bytes", "Bytes that the allocator has handed out")
            .row(&[], self.memory.allocated_bytes().0);
        self.runtime.publish(page);
        if let Some(shard) = self.shard.get() {
            self.publish_data(&shard.stats(), page);
        }
    }

    fn publish_data(&self, stats: &ShardStats, page: &mut Page) {
        page.gauge("bitroster_store_memory_limit_bytes", "The setting maxmemory; 0 for no limit")
            .row(&[], self.memory.limit_bytes());
        let SpreadStatus { parts, staged, pending, reserved, enlisted } = spread(stats);
        let states = [
            ("parts", parts),
            ("staged", staged),
            ("pending", pending),
            ("reserved", reserved),
            ("enlisted", enlisted),
        ];
        let mut family = page.gauge(
            "bitroster_store_spread",
            "What the groups led here hold of keys that lie in several groups",
        );
        for (state, count) in states {
            family.row(&[("state", state)], count);
        }
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
            expired: sum(|group| group.engine.expired),
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
