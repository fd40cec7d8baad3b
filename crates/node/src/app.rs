//! A running node: what is started, in which order, and how it ends.
//!
//! The order is made for an orchestrator: `/livez` answers first, then clients are told `LOADING`
//! while the log is read, then everything answers. The end is one path, whatever asks for it: no
//! new clients, the last replies, the last entries, a synced log.
//!
//! | module      | job                                                        |
//! |-------------|------------------------------------------------------------|
//! | `tasks`     | starts every task of the process                           |
//! | `data_dir`  | identity and cluster map: made once, kept with the data    |
//! | `transport` | the router's way to the groups of this process             |
//! | `figures`   | what INFO, CONFIG and the scrape ask                       |
//! | `memory`    | what the allocator has handed out, and `maxmemory`         |
//! | `admin`     | the HTTP server for operators                              |
//! | `banner`    | the first lines on stdout                                  |

mod admin;
mod banner;
mod data_dir;
mod figures;
mod memory;
mod tasks;
mod transport;

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, OnceLock},
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail};
use bitroster_command::ParseLimits;
use bitroster_frontend::{Frontend, Options, Spawn as _, options::is_safe_without_password};
use bitroster_placement::ClusterMap;
use bitroster_router::{Router, RouterOptions};
use bitroster_shard::{GroupSpec, Shard, ShardOptions};
use bitroster_telemetry::{build, log, metric::Recorder, process};
use bitroster_types::limits::BULK_BYTES_MAX;
use bitroster_wal::SyncMode;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    time::interval,
};
use tracing::{info, warn};

use self::{
    data_dir::Home, figures::Figures, memory::Memory, tasks::Tasks, transport::LocalTransport,
};
use crate::config::{Config, Loaded, SyncWord};

/// Most requests to groups that one command has in flight.
const FAN_OUT_MAX: usize = 64;

/// Files that a node has open beside its clients' sockets, about.
const FILES_BESIDE_CLIENTS: u64 = 128;

/// How often clean-ups that a dead router left are looked for.
const CLEANUP_INTERVAL: Duration = Duration::from_secs(5);

/// How often histogram samples are moved into their buckets.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Runs a node until it is told to stop.
///
/// # Errors
///
/// What keeps it from starting: addresses in use, a data directory that belongs to another process
/// or does not fit the configuration.
pub(crate) fn run(loaded: Loaded, insecure: bool) -> anyhow::Result<()> {
    check_exposure(&loaded.config, insecure)?;
    let format = loaded.config.log.format.parse().map_err(anyhow::Error::msg)?;
    let log = log::init(&log_filter(&loaded.config.log.level), format)?;
    let recorder = Recorder::install()?;
    build::observe();
    check_open_files(&loaded.config);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores)
        .thread_name("bitroster")
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let home = Home::open(&loaded, cores)?;
    runtime.block_on(async {
        let node = Node::start(loaded.config, home, cores, log, recorder).await?;
        node.wait_for_signal().await?;
        node.stop().await
    })
}

/// Warns where the system would refuse clients before `maxclients` does.
fn check_open_files(config: &Config) {
    let needed = config.server.maxclients as u64 + FILES_BESIDE_CLIENTS;
    if let Some(max) = process::open_files_max().filter(|max| *max < needed) {
        warn!(
            open_files_max = max,
            maxclients = config.server.maxclients,
            "the limit on open files is below what maxclients needs: raise it (ulimit -n)"
        );
    }
}

/// The filter of a level. The raft library tells at `info` what only its authors can use, so it is
/// heard from `warn` on, unless the level names it.
fn log_filter(level: &str) -> String {
    if level.contains("openraft") { level.to_owned() } else { format!("{level},openraft=warn") }
}

/// Refuses to serve other machines without a password, unless that is wanted.
fn check_exposure(config: &Config, insecure: bool) -> anyhow::Result<()> {
    let bind = config.server.bind;
    if !insecure && config.server.requirepass.is_empty() && !is_safe_without_password(bind) {
        bail!(
            "server.bind is {bind}: whoever reaches it could read and write everything; set \
             server.requirepass, or say --insecure"
        );
    }
    Ok(())
}

/// What the parts of a node share.
struct Node {
    config: Config,
    tasks: Arc<Tasks>,
    shard: Arc<Shard>,
    frontend: Frontend,
    /// Told when the admin server is to end.
    admin_end: tokio::sync::oneshot::Sender<()>,
}

impl Node {
    async fn start(
        config: Config,
        home: Home,
        cores: usize,
        log: log::Handle,
        recorder: Recorder,
    ) -> anyhow::Result<Self> {
        let tasks = Arc::new(Tasks::new());
        let memory = Arc::new(Memory::new(config.storage.maxmemory.0));
        let transport = Arc::new(LocalTransport::default());
        let shard = Arc::new(OnceLock::new());
        let figures = Figures::new(
            &config,
            home.map.clone(),
            Arc::clone(&shard),
            Arc::clone(&memory),
            Arc::clone(&tasks),
            log,
        );
        let figures = Arc::new(figures);
        let router = Router::new(
            ClusterMap::clone(&home.map),
            Arc::clone(&transport) as _,
            router_options(&config),
        );
        let clients = bind(SocketAddr::new(config.server.bind, config.server.port)).await?;
        let operators =
            bind(SocketAddr::new(config.server.admin_bind, config.server.admin_port)).await?;
        let addresses = banner::Addresses {
            clients: clients.local_addr()?,
            operators: operators.local_addr()?,
        };
        let frontend = Frontend::new(
            router.clone(),
            Arc::clone(&figures) as _,
            Arc::clone(&tasks) as _,
            memory.is_over(),
            frontend_options(&config, addresses.clients),
        );
        let (admin_end, admin_ended) = tokio::sync::oneshot::channel();
        let admin = admin::Admin {
            shard: Arc::clone(&shard),
            figures,
            frontend: frontend.clone(),
            recorder: recorder.clone(),
        };
        tasks.spawn("admin", Box::pin(admin.serve(operators, admin_ended)));
        start_services(&tasks, &frontend, &memory, recorder, clients);

        let opened = Arc::new(
            Shard::open(shard_options(&config, &home, cores))
                .await
                .with_context(|| format!("cannot open {}", home.path.display()))?,
        );
        transport.connect(opened.groups());
        shard.set(Arc::clone(&opened)).ok().context("the shard is opened once")?;
        opened.wait_ready().await;
        frontend.set_ready();
        let cleanups = finish_cleanups(router, Arc::clone(&opened));
        tasks.spawn("cleanups", Box::pin(cleanups));
        banner::print(&config, &home, &addresses);
        info!(
            version = build::VERSION,
            commit = build::COMMIT,
            clients = %addresses.clients,
            admin = %addresses.operators,
            data_dir = %home.path.display(),
            groups = home.map.groups().len(),
            "ready"
        );
        Ok(Self { config, tasks, shard: opened, frontend, admin_end })
    }

    /// Waits for SIGTERM or SIGINT.
    async fn wait_for_signal(&self) -> anyhow::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        info!(signal = name, "stopping");
        Ok(())
    }

    /// Ends the node: last replies, last entries, synced log.
    async fn stop(self) -> anyhow::Result<()> {
        let grace = Duration::from_millis(self.config.server.shutdown_grace_ms);
        let left = self.frontend.shutdown(grace).await;
        if left > 0 {
            warn!(clients = left, ?grace, "clients did not take their last replies in time");
        }
        self.shard.shutdown().await.context("the log could not be closed well")?;
        // The admin server may have ended by itself.
        self.admin_end.send(()).ok();
        info!(tasks = self.tasks.running(), "stopped");
        Ok(())
    }
}

/// Starts the tasks that run for as long as the process.
fn start_services(
    tasks: &Arc<Tasks>,
    frontend: &Frontend,
    memory: &Arc<Memory>,
    recorder: Recorder,
    clients: TcpListener,
) {
    let (listening, clock) = (frontend.clone(), frontend.clone());
    tasks.spawn("listener", Box::pin(async move { listening.serve(clients).await }));
    tasks.spawn("clock", Box::pin(async move { clock.run_clock().await }));
    let memory = Arc::clone(memory);
    tasks.spawn("memory", Box::pin(async move { memory.watch().await }));
    tasks.spawn(
        "upkeep",
        Box::pin(async move {
            let mut ticks = interval(UPKEEP_INTERVAL);
            loop {
                ticks.tick().await;
                recorder.upkeep();
            }
        }),
    );
}

/// Finishes, at start and now and then, what a router left half done when it died.
async fn finish_cleanups(router: Router, shard: Arc<Shard>) {
    let mut ticks = interval(CLEANUP_INTERVAL);
    loop {
        ticks.tick().await;
        for group in shard.groups() {
            let pending = group.pending_retired();
            if !pending.is_empty() {
                info!(group = %group.id(), keys = pending.len(), "finishing clean-ups");
                router.finish_cleanups(pending, group.id()).await;
            }
        }
    }
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

fn router_options(config: &Config) -> RouterOptions {
    RouterOptions {
        request_timeout: Duration::from_millis(config.server.request_timeout_ms),
        fan_out_max: FAN_OUT_MAX,
        value_bytes_max: config.limits.proto_max_bulk_len.0,
    }
}

fn frontend_options(config: &Config, address: SocketAddr) -> Options {
    let password = config.server.requirepass.clone();
    Options {
        bind: address.ip().to_string(),
        port: address.port(),
        clients_max: config.server.maxclients,
        timeout_secs: config.server.timeout,
        password: (!password.is_empty()).then_some(password),
        parse_limits: ParseLimits {
            bitmap_bits_max: config.limits.bitmap_max_bits,
            bulk_bytes_max: usize::try_from(config.limits.proto_max_bulk_len.0)
                .unwrap_or(usize::MAX),
        },
    }
}

fn shard_options(config: &Config, home: &Home, cores: usize) -> ShardOptions {
    let map = &home.map;
    let groups = map.groups().iter().map(|&id| GroupSpec { id, slots: map.slots_of(id) });
    let mut options = ShardOptions::new(PathBuf::from(&home.path), groups.collect());
    options.node = home.identity.node;
    options.width = map.width();
    options.wal.sync_mode = match config.storage.sync {
        SyncWord::Always => SyncMode::Always,
        SyncWord::Interval => {
            SyncMode::Interval(Duration::from_millis(config.storage.sync_interval_ms))
        }
    };
    options.snapshot_log_bytes_min = config.storage.snapshot_log_bytes.0;
    // Never the setting, which may be changed between two starts: entries are applied again at the
    // second and must come out as at the first.
    options.value_bytes_max = BULK_BYTES_MAX as u64;
    options.cpu_threads = cores;
    options
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, load};

    #[test]
    fn the_largest_value_that_clients_may_send_is_no_matter_of_what_the_log_means() {
        let dir = tempfile::tempdir().unwrap();
        let set = |key: &str, value: &str| ("--set".to_owned(), key.to_owned(), value.to_owned());
        let flags = vec![
            set("server.data_dir", dir.path().to_str().unwrap()),
            set("limits.proto_max_bulk_len", "1mb"),
        ];
        let loaded = load(Sources { flags, ..Sources::default() }).unwrap();
        let home = Home::open(&loaded, 2).unwrap();
        let options = shard_options(&loaded.config, &home, 2);
        assert_eq!(options.value_bytes_max, BULK_BYTES_MAX as u64);
        assert_eq!(router_options(&loaded.config).value_bytes_max, 1 << 20);
    }
}
