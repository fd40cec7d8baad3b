//! Where this node runs and what it has left, for operators.

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use bitroster_frontend::NodeStatus as _;
use bitroster_proto::internal as wire;
use bitroster_shard::Shard;

use crate::app::{banner::Addresses, figures::Figures};

/// What a node tells of its surroundings.
pub(super) struct Host {
    pub(super) started: Instant,
    pub(super) figures: Arc<Figures>,
    pub(super) shard: Arc<OnceLock<Arc<Shard>>>,
    /// Where the data lies, if there is any.
    pub(super) data_dir: Option<PathBuf>,
    pub(super) admin: String,
    /// Set once clients are served.
    pub(super) clients: OnceLock<Addresses>,
    /// Whether it serves other machines although the first user needs no password.
    pub(super) insecure: bool,
}

impl Host {
    /// As it is now. Asks the kernel for the disk's room.
    pub(super) fn status(&self) -> wire::Host {
        let status = self.figures.status();
        let wal = self.shard.get().map(|shard| shard.stats().wal).unwrap_or_default();
        let clients = self.clients.get().and_then(|at| at.plain.or(at.tls));
        let disk = self.data_dir.as_ref().and_then(|path| rustix::fs::statvfs(path).ok());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(0);
        wire::Host {
            clients: clients.map_or_else(String::new, |address| address.to_string()),
            admin: self.admin.clone(),
            clock_unix_ms: millis(now),
            uptime_ms: millis(self.started.elapsed()),
            memory_bytes: status.allocated_bytes,
            memory_limit_bytes: status.memory_bytes_max,
            log_disk_bytes: status.log_bytes,
            disk_free_bytes: disk
                .as_ref()
                .map_or(0, |disk| disk.f_bavail.saturating_mul(disk.f_frsize)),
            disk_total_bytes: disk.map_or(0, |disk| disk.f_blocks.saturating_mul(disk.f_frsize)),
            syncs: wal.syncs,
            sync_nanos: u64::try_from(wal.sync_time.as_nanos()).unwrap_or(u64::MAX),
            insecure: self.insecure,
        }
    }
}
