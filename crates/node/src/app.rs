//! A running node: what is started, in which order, and how it ends.
//!
//! The order is made for an orchestrator: `/livez` answers first, then clients are told `LOADING`
//! while the log is read, then everything answers. The end is one path, whatever asks for it: no
//! new clients, the last replies, the last entries, a synced log.
//!
//! | module      | job                                                        |
//! |-------------|------------------------------------------------------------|
//! | `tasks`     | starts every task of the process                           |
//! | `lone`      | a node that is a whole cluster by itself                   |
//! | `cluster`   | a node among others                                        |
//! | `data_dir`  | a lone node's identity and map: made once, kept with data  |
//! | `files`     | small files, replaced whole                                |
//! | `transport` | the router's way to the groups of this process             |
//! | `tls`       | certificates: read, read again, and shown                  |
//! | `topology`  | the map, the nodes and the replicas, as known now          |
//! | `figures`   | what INFO, CONFIG and the scrape ask                       |
//! | `memory`    | what the allocator has handed out, and `maxmemory`         |
//! | `runtime`   | how busy the async workers are                             |
//! | `admin`     | the HTTP server for operators                              |
//! | `http`      | the console and its API, at the same address               |
//! | `report`    | what the node says of itself                               |
//! | `demo`      | what `bitroster dev --demo` shows                          |
//! | `users`     | who may do what: where that is kept, and its changes       |
//! | `banner`    | the first lines on stdout                                  |

mod admin;
mod banner;
mod cluster;
mod data_dir;
mod demo;
mod figures;
mod files;
mod finish;
mod http;
mod lone;
mod memory;
mod report;
mod runtime;
mod tasks;
pub(crate) mod tls;
mod topology;
mod transport;
mod users;

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, OnceLock, atomic::AtomicBool},
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail};
use bitroster_command::ParseLimits;
use bitroster_frontend::{
    Frontend, Handshake, Options, Spawn as _, options::is_safe_without_password,
};
use bitroster_router::{Router, RouterOptions};
use bitroster_shard::{Shard, ShardOptions};
use bitroster_telemetry::{log, metric::Recorder, process};
use bitroster_types::limits::BULK_BYTES_MAX;
use bitroster_wal::SyncMode;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::Notify,
    time::sleep,
};
use tracing::{error, info, warn};

use self::{
    banner::Addresses,
    data_dir::Home,
    figures::Figures,
    http::{Console, ConsoleOptions, Sight},
    memory::Memory,
    runtime::Runtime,
    tasks::Tasks,
    tls::Tls,
    topology::Topology,
    users::Users,
};
use crate::config::{Config, Loaded, SyncWord};

/// Most requests to groups that one command has in flight.
const FAN_OUT_MAX: usize = 64;

/// Files that a node has open beside its clients' sockets, about.
const FILES_BESIDE_CLIENTS: u64 = 128;

/// How often a router asks the groups that nobody else asks whether they answer.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);

/// How often it does while a group does not answer.
const PROBE_INTERVAL_MISSING: Duration = Duration::from_millis(500);

/// How a node is run, besides its configuration.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mode {
    /// Whether other machines are served although the user `default` needs no password.
    pub(crate) insecure: bool,
    /// Whether this is `bitroster dev`.
    pub(crate) dev: bool,
    /// Whether an empty keyspace is filled with something to look at.
    pub(crate) demo: bool,
}

/// Runs a node until it is told to stop.
///
/// # Errors
///
/// What keeps it from starting: addresses in use, a data directory that belongs to another process
/// or does not fit the configuration.
pub(crate) fn run(loaded: Loaded, mode: Mode) -> anyhow::Result<()> {
    report::note_start();
    check_exposure(&loaded.config, mode.insecure)?;
    let format = loaded.config.log.format.parse().map_err(anyhow::Error::msg)?;
    let log = log::init(&log_filter(&loaded.config.log.level), format)?;
    let recorder = Recorder::install()?;
    check_open_files(&loaded.config);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(match loaded.config.server.threads {
            0 => cores,
            threads => threads,
        })
        .thread_name("bitroster")
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    if loaded.config.is_clustered() {
        return runtime.block_on(cluster::run(loaded.config, cores, log, recorder, mode));
    }
    let home = Home::open(&loaded, cores)?;
    runtime.block_on(lone::run(loaded.config, home, cores, log, recorder, mode))
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

/// The filter of a level. The raft library tells at `info` what only its authors can use, and warns
/// ten times a second of each peer that is away, so it is heard from `error` on, unless the level
/// names it.
fn log_filter(level: &str) -> String {
    if level.contains("openraft") { level.to_owned() } else { format!("{level},openraft=error") }
}

/// Refuses to serve other machines without a password, unless that is wanted.
fn check_exposure(config: &Config, insecure: bool) -> anyhow::Result<()> {
    let server = &config.server;
    if insecure || !server.role.serves_clients() || !server.requirepass.is_empty() {
        return Ok(());
    }
    let grpc = server.grpc.then_some(("grpc_bind", server.grpc_bind));
    for (field, bind) in [Some(("bind", server.bind)), grpc].into_iter().flatten() {
        if !is_safe_without_password(bind) {
            bail!(
                "server.{field} is {bind}: whoever reaches it could read and write everything; set \
                 server.requirepass, or say --insecure"
            );
        }
    }
    Ok(())
}

/// What every node has, whatever its role.
struct Base {
    tasks: Arc<Tasks>,
    memory: Arc<Memory>,
    shard: Arc<OnceLock<Arc<Shard>>>,
    figures: Arc<Figures>,
    admin: AdminEnd,
    mode: Mode,
    tls: Option<Arc<Tls>>,
}

/// Where the admin server listens, and how it is told to end.
struct AdminEnd {
    address: SocketAddr,
    front: Arc<OnceLock<Frontend>>,
    /// Whether clients are answered by all groups.
    clients_ready: Arc<AtomicBool>,
    end: tokio::sync::oneshot::Sender<()>,
    /// Where the node has one.
    console: Option<Console>,
}

impl Base {
    /// Starts what answers operators from the first moment on.
    async fn start(
        config: &Config,
        topology: Topology,
        log: log::Handle,
        recorder: Recorder,
        mode: Mode,
    ) -> anyhow::Result<Self> {
        let tasks = Arc::new(Tasks::new());
        let memory = Arc::new(Memory::new(config.storage.maxmemory.0));
        let shard = Arc::new(OnceLock::new());
        let runtime = Arc::new(Runtime::current());
        let figures = Arc::new(Figures::new(
            config,
            topology.clone(),
            Arc::clone(&shard),
            Arc::clone(&memory),
            Arc::clone(&tasks),
            Arc::clone(&runtime),
            log,
        ));
        let tls = Tls::open(&config.tls)?;
        if let Some(tls) = &tls {
            let tls = Arc::clone(tls);
            tasks.spawn("certificates", Box::pin(async move { tls.watch().await }));
        }
        let address = SocketAddr::new(config.server.admin_bind, config.server.admin_port);
        let listener = bind(address).await?;
        let address = listener.local_addr()?;
        let front = Arc::new(OnceLock::new());
        let clients_ready = Arc::new(AtomicBool::new(false));
        let (end, ended) = tokio::sync::oneshot::channel();
        let has_console = config.console.enabled && config.server.role.serves_clients();
        let console = has_console.then(|| {
            Console::new(ConsoleOptions {
                role: config.server.role,
                may_write: config.console.write,
                is_dev: mode.dev,
                front: Arc::clone(&front),
                sight: Sight {
                    topology: topology.clone(),
                    figures: Arc::clone(&figures),
                    shard: Arc::clone(&shard),
                    tls: tls.as_ref().and_then(Tls::of_links),
                },
            })
        });
        if let Some(console) = console.clone() {
            tasks.spawn("console", Box::pin(console.sample()));
        }
        let admin = admin::Admin {
            role: config.server.role,
            topology,
            shard: Arc::clone(&shard),
            figures: Arc::clone(&figures),
            front: Arc::clone(&front),
            clients_ready: Arc::clone(&clients_ready),
            recorder: recorder.clone(),
            console: console.clone(),
            tasks: Arc::clone(&tasks),
        };
        tasks.spawn("admin", Box::pin(admin.serve(listener, ended)));
        let watch = Arc::clone(&memory);
        tasks.spawn("memory", Box::pin(async move { watch.watch().await }));
        tasks.spawn("runtime", Box::pin(async move { runtime.watch().await }));
        Ok(Self {
            tasks,
            memory,
            shard,
            figures,
            admin: AdminEnd { address, front, clients_ready, end, console },
            mode,
            tls,
        })
    }

    /// Starts to serve clients through `router`, as the users that `users` keeps; they are told
    /// `LOADING` until [`Frontend::set_ready`].
    async fn serve_clients(
        &self,
        config: &Config,
        router: Router,
        users: Arc<dyn Users>,
    ) -> anyhow::Result<Serving> {
        let listeners = Listeners::bind(config, self.tls.clone()).await?;
        let addresses = listeners.addresses()?;
        let shown = addresses.plain.or(addresses.tls);
        let shown = shown.context("clients have somewhere to connect")?;
        self.tasks.spawn("probe", Box::pin(probe(router.clone())));
        let frontend = Frontend::new(
            router,
            Arc::clone(&self.figures) as _,
            Arc::clone(&self.tasks) as _,
            self.memory.refuses(),
            Options {
                console_port: self.admin.console.as_ref().map(|_| self.admin.address.port()),
                ..frontend_options(config, shown, self.mode.insecure)
            },
        );
        // Before the first client comes: it would be whoever the configuration alone allows.
        let (revision, first) = users.current();
        frontend.follow_users(revision, &first);
        frontend.access().keep_in(Arc::clone(&users).store());
        let follow = users.follow(frontend.clone());
        self.tasks.spawn("users", follow);
        let (listening, clock) = (frontend.clone(), frontend.clone());
        if let Some(listener) = listeners.plain {
            let listening = listening.clone();
            self.tasks.spawn("listener", Box::pin(async move { listening.serve(listener).await }));
        }
        if let Some((listener, tls)) = listeners.tls {
            let serve = async move { listening.serve_tls(listener, tls).await };
            self.tasks.spawn("tls-listener", Box::pin(serve));
        }
        self.tasks.spawn("clock", Box::pin(async move { clock.run_clock().await }));
        if let Some(listener) = listeners.grpc {
            let serving = frontend.clone();
            let tls = self.tls.as_ref().filter(|_| config.tls.clients.has_tls());
            let handshake = tls.map(|tls| Arc::clone(tls) as Arc<dyn Handshake>);
            self.tasks.spawn("grpc", Box::pin(serve_grpc(serving, listener, handshake)));
        }
        if let Some(console) = &self.admin.console {
            console.set_address(shown.to_string());
        }
        self.admin.front.set(frontend.clone()).ok().context("clients are served once")?;
        Ok(Serving { frontend, addresses })
    }
}

/// Clients and where they connect.
struct Serving {
    frontend: Frontend,
    addresses: Addresses,
}

/// The ports for clients, before they are served.
struct Listeners {
    plain: Option<TcpListener>,
    tls: Option<(TcpListener, Arc<Tls>)>,
    grpc: Option<TcpListener>,
}

impl Listeners {
    async fn bind(config: &Config, tls: Option<Arc<Tls>>) -> anyhow::Result<Self> {
        let (server, clients) = (&config.server, config.tls.clients);
        let plain = match clients.has_plain() {
            true => Some(bind(SocketAddr::new(server.bind, server.port)).await?),
            false => None,
        };
        let tls = match tls.filter(|_| clients.has_tls()) {
            Some(tls) => Some((bind(SocketAddr::new(server.bind, config.tls.port)).await?, tls)),
            None => None,
        };
        let grpc = if server.grpc {
            let address = SocketAddr::new(server.grpc_bind, server.grpc_port);
            Some(bind(address).await.context("the gRPC API needs it: server.grpc_port")?)
        } else {
            None
        };
        Ok(Self { plain, tls, grpc })
    }

    fn addresses(&self) -> anyhow::Result<Addresses> {
        Ok(Addresses {
            plain: self.plain.as_ref().map(TcpListener::local_addr).transpose()?,
            tls: self.tls.as_ref().map(|(listener, _)| listener.local_addr()).transpose()?,
            grpc: self.grpc.as_ref().map(TcpListener::local_addr).transpose()?,
        })
    }
}

/// Serves gRPC clients until the front end ends, by TLS where there is a handshake.
async fn serve_grpc(
    frontend: Frontend,
    listener: TcpListener,
    handshake: Option<Arc<dyn Handshake>>,
) {
    if let Err(error) = frontend.serve_grpc(listener, handshake).await {
        error!(%error, "the server for gRPC clients ended");
    }
}

impl Serving {
    /// Ends all sessions, after their last replies.
    async fn stop(&self, config: &Config) {
        let grace = Duration::from_millis(config.server.shutdown_grace_ms);
        let left = self.frontend.shutdown(grace).await;
        if left > 0 {
            warn!(clients = left, ?grace, "clients did not take their last replies in time");
        }
    }
}

/// Told when a client asks the node to stop.
static STOP_WANTED: Notify = Notify::const_new();

/// Waits for SIGTERM, SIGINT, or a client's SHUTDOWN.
async fn wait_for_signal() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let name = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
        () = STOP_WANTED.notified() => "SHUTDOWN",
    };
    info!(signal = name, "stopping");
    Ok(())
}

/// Asks the groups that nobody else asks whether they answer, for ever.
async fn probe(router: Router) {
    loop {
        let pause = if router.probe().await { PROBE_INTERVAL } else { PROBE_INTERVAL_MISSING };
        sleep(pause).await;
    }
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

/// How long a change that is being prepared may be somebody's: far longer than its request.
fn patience(config: &Config) -> Duration {
    2 * Duration::from_millis(config.server.request_timeout_ms)
}

fn router_options(config: &Config) -> RouterOptions {
    RouterOptions {
        request_timeout: Duration::from_millis(config.server.request_timeout_ms),
        fan_out_max: FAN_OUT_MAX,
        value_bytes_max: config.limits.proto_max_bulk_len.0,
    }
}

fn frontend_options(config: &Config, address: SocketAddr, insecure: bool) -> Options {
    let password = config.server.requirepass.clone();
    Options {
        bind: address.ip().to_string(),
        port: address.port(),
        clients_max: config.server.maxclients,
        timeout_secs: config.server.timeout,
        password: (!password.is_empty()).then_some(password),
        is_protected: !insecure,
        parse_limits: ParseLimits {
            bitmap_bits_max: config.limits.bitmap_max_bits,
            bulk_bytes_max: usize::try_from(config.limits.proto_max_bulk_len.0)
                .unwrap_or(usize::MAX),
        },
        console_port: None,
    }
}

/// Options of the replicas of this node; groups, node and width are the caller's.
fn shard_options(config: &Config, path: PathBuf, cores: usize) -> ShardOptions {
    let mut options = ShardOptions::new(path, Vec::new());
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
    options.heartbeat_ms = config.cluster.heartbeat_ms;
    options.election_timeout_ms_min = config.cluster.election_timeout_ms;
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
        let options = shard_options(&loaded.config, dir.path().to_owned(), 2);
        assert_eq!(options.value_bytes_max, BULK_BYTES_MAX as u64);
        assert_eq!(router_options(&loaded.config).value_bytes_max, 1 << 20);
    }
}
