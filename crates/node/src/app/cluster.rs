//! A node among others.
//!
//! It answers other nodes from its first moment on, finds or founds its cluster, opens its
//! replicas, and then does what the cluster's state says for as long as it runs.
//!
//! | module    | job                                                             |
//! |-----------|-----------------------------------------------------------------|
//! | `disk`    | what a member keeps about the cluster                           |
//! | `lobby`   | before it is a member: finding, founding, joining               |
//! | `meta`    | the cluster's state in the meta group, and changes to it        |
//! | `follow`  | doing what the state says                                       |
//! | `control` | what it answers nodes and operators                             |
//! | `host`    | where it runs and what it has left, for operators               |
//! | `view`    | the cluster as clients are told of it                           |

mod control;
mod courier;
mod disk;
mod follow;
mod host;
mod lobby;
pub(super) mod meta;
pub(super) mod view;

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, OnceLock, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use bitroster_command::{ReadCommand, ReadOp};
use bitroster_placement::{ClusterState, state::ReplicaEntry};
use bitroster_router::{Reading, Router, Spawn, Target, Transport};
use bitroster_rpc::{
    ClusterTransport, Dispatcher, Identity, Links, PeerHost, Services, ShardBackend, StateCell,
};
use bitroster_shard::Shard;
use bitroster_telemetry::{build, log, metric::Recorder};
use bitroster_types::{Deadline, GroupId, NodeId};
use futures_util::future::join_all;
use tokio::{
    net::TcpListener,
    sync::watch,
    time::{sleep, timeout},
};
use tracing::{debug, error, info, warn};

use self::{
    control::Control,
    disk::{Disk, Membership},
    follow::Follower,
    host::Host,
    lobby::{Entered, Lobby},
    meta::Meta,
    view::Viewer,
};
use super::{
    Base, Mode, Serving, banner, bind, finish, patience, router_options, shard_options, tls::Tls,
    topology::Topology, users::ClusterUsers, wait_for_signal,
};
use crate::config::Config;

/// How long one question may take while a router waits for the groups to answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long groups may take to answer before clients are served without them.
const GROUPS_WAIT_MAX: Duration = Duration::from_secs(30);

/// Pause between two rounds of questions.
const PROBE_PAUSE: Duration = Duration::from_millis(100);

/// How long leaders may take to hand over when the node stops.
const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(3);

/// Runs the node until it is told to stop.
///
/// # Errors
///
/// What keeps it from starting, or from closing its log well.
pub(super) async fn run(
    config: Config,
    cores: usize,
    log: log::Handle,
    recorder: Recorder,
    mode: Mode,
) -> anyhow::Result<()> {
    let cell = StateCell::new();
    let base = Base::start(&config, Topology::Followed(cell.clone()), log, recorder, mode).await?;
    let listener = bind(SocketAddr::new(config.cluster.bind, config.cluster.port)).await?;
    let nodes = listener.local_addr()?;
    let address = advertised(&config, nodes);
    let path = PathBuf::from(&config.server.data_dir);
    let keeps_data = config.server.role.keeps_data();
    let disk = if keeps_data { Some(Arc::new(Disk::open(&path)?)) } else { None };
    let tls = base.tls.as_ref().and_then(Tls::of_links);
    let lobby = Arc::new(Lobby::new(&config, address.clone(), cores, disk.clone(), tls.clone())?);
    let surroundings = surroundings(&base, keeps_data.then_some(path));
    let control = control(&base, &lobby, &cell, &surroundings);
    let dispatcher = Arc::new(Dispatcher::new(cell.clone()));
    let (stop, stopping) = watch::channel(false);
    let (serves, serving) = watch::channel(false);
    let (close, closing) = watch::channel(false);
    let host = PeerHost::new();
    control.host.set(Arc::clone(&host)).ok().context("links arrive at one place")?;
    let services = Services {
        control: Arc::clone(&control) as _,
        peers: Arc::clone(&host),
        serving,
        tls: tls.clone(),
    };
    base.tasks.spawn("node-server", Box::pin(serve(listener, services, closing)));

    let entered = tokio::select! {
        entered = lobby.enter() => entered?,
        signal = wait_for_signal() => return signal,
    };
    let (state, node) = state_and_node(&entered);
    cell.offer(Arc::clone(&state));
    let identity = Identity {
        cluster: state.cluster,
        node,
        role: lobby::role_of(config.server.role),
        address,
    };
    let spawn = Arc::clone(&base.tasks) as Arc<dyn Spawn>;
    let links = Links::open_with(identity, cell.clone(), dispatcher.clone(), spawn.clone(), tls);
    host.admit(links.clone());
    base.memory.join(&links, Arc::clone(&host));
    control.links.set(links.clone()).ok().context("links are opened once")?;
    let transport = Arc::new(ClusterTransport::new(links.clone()));
    base.figures.see(viewer(&base, &cell, &links, &transport));
    let transport = transport as Arc<dyn Transport>;
    let meta = Meta::new(Arc::clone(&transport), cell.clone());
    control.meta.set(meta.clone()).ok().context("the meta group is found once")?;
    let router = Router::new((*state.map).clone(), Arc::clone(&transport), router_options(&config))
        .with_spawn(spawn);
    let follow = Box::pin(follow_map(router.clone(), cell.clone(), stopping.clone()));
    base.tasks.spawn("map", follow);

    let ends = Ends { stop, stopping, serves, close };
    let running = Running {
        config,
        cell,
        lobby,
        base,
        links,
        host,
        surroundings,
        meta,
        router,
        transport,
        ends,
    };
    running.run(disk.zip(node), dispatcher, cores, nodes).await
}

/// What the node tells of where it runs; `data_dir` where it keeps data.
fn surroundings(base: &Base, data_dir: Option<PathBuf>) -> Arc<Host> {
    Arc::new(Host {
        started: Instant::now(),
        figures: Arc::clone(&base.figures),
        shard: Arc::clone(&base.shard),
        data_dir,
        admin: base.admin.address.to_string(),
        clients: OnceLock::new(),
        insecure: base.mode.insecure,
    })
}

/// What answers other nodes, before it is in a cluster.
fn control(
    base: &Base,
    lobby: &Arc<Lobby>,
    cell: &StateCell,
    surroundings: &Arc<Host>,
) -> Arc<Control> {
    Arc::new(Control {
        lobby: Arc::clone(lobby),
        cell: cell.clone(),
        shard: Arc::clone(&base.shard),
        figures: Arc::clone(&base.figures),
        meta: OnceLock::new(),
        links: OnceLock::new(),
        host: OnceLock::new(),
        surroundings: Arc::clone(surroundings),
    })
}

/// What clients of the node may see of the cluster.
fn viewer(
    base: &Base,
    cell: &StateCell,
    links: &Links,
    transport: &Arc<ClusterTransport>,
) -> Viewer {
    Viewer {
        cell: cell.clone(),
        links: links.clone(),
        transport: Arc::clone(transport),
        shard: Arc::clone(&base.shard),
    }
}

/// The cluster's state, and the node's number where it keeps data.
fn state_and_node(entered: &Entered) -> (Arc<ClusterState>, Option<NodeId>) {
    match entered {
        Entered::Member(Membership { state, node, .. }) => (Arc::new(state.clone()), Some(*node)),
        Entered::Router(state) => (Arc::new(state.clone()), None),
    }
}

/// Where other nodes reach this one.
fn advertised(config: &Config, listening: SocketAddr) -> String {
    match config.cluster.advertise.as_str() {
        "" => listening.to_string(),
        advertise => advertise.to_owned(),
    }
}

/// Serves other nodes until told to close.
async fn serve(listener: TcpListener, services: Services, mut closing: watch::Receiver<bool>) {
    let closed = async move {
        // A sender that is gone is an end as well.
        drop(closing.wait_for(|close| *close).await);
    };
    if let Err(error) = bitroster_rpc::serve(listener, services, closed).await {
        error!(%error, "the server for other nodes ended");
    }
}

/// What parts of the node are told when.
struct Ends {
    /// To do nothing more about the cluster's state.
    stop: watch::Sender<bool>,
    stopping: watch::Receiver<bool>,
    /// What `grpc.health` answers.
    serves: watch::Sender<bool>,
    /// To end the server for other nodes.
    close: watch::Sender<bool>,
}

/// A node that is in a cluster.
struct Running {
    config: Config,
    cell: StateCell,
    lobby: Arc<Lobby>,
    base: Base,
    links: Links,
    /// Where links of other nodes arrive.
    host: Arc<PeerHost>,
    surroundings: Arc<Host>,
    meta: Meta,
    router: Router,
    transport: Arc<dyn Transport>,
    ends: Ends,
}

impl Running {
    /// Opens replicas and clients' port as the role asks, and runs until told to stop.
    async fn run(
        self,
        member: Option<(Arc<Disk>, NodeId)>,
        dispatcher: Arc<Dispatcher>,
        cores: usize,
        nodes: SocketAddr,
    ) -> anyhow::Result<()> {
        let shard = match &member {
            Some((disk, node)) => Some(self.open_shard(disk, *node, &dispatcher, cores).await?),
            None => None,
        };
        let serving = if self.config.server.role.serves_clients() {
            let users = ClusterUsers::new(self.cell.clone(), self.meta.clone());
            let users = Arc::new(users);
            Some(self.base.serve_clients(&self.config, self.router.clone(), users).await?)
        } else {
            None
        };
        if let Some(serving) = &serving {
            courier::connect(&serving.frontend, &self.host, &self.links);
            self.surroundings.clients.get_or_init(|| serving.addresses);
        }
        let ready = async {
            // A group that is lost must not keep the others from being served.
            if let Some(shard) = &shard
                && timeout(GROUPS_WAIT_MAX, self.wait_for_replicas(shard)).await.is_err()
            {
                warn!("some replicas of this node do not answer yet");
            }
            if let Some(serving) = &serving {
                if timeout(GROUPS_WAIT_MAX, self.wait_for_groups()).await.is_err() {
                    warn!("some groups do not answer; clients are served all the same");
                }
                serving.frontend.set_ready();
                self.base.admin.clients_ready.store(true, Relaxed);
            }
        };
        let stopped_early = tokio::select! {
            () = ready => false,
            signal = wait_for_signal() => { signal?; true },
        };
        if !stopped_early {
            self.ends.serves.send_replace(true);
            self.tell(member.as_ref().map(|(disk, node)| (disk, *node)), nodes, serving.as_ref());
            wait_for_signal().await?;
        }
        self.end(shard, serving).await
    }

    /// Opens the replicas that the disk knows; the rest follows from the state.
    async fn open_shard(
        &self,
        disk: &Arc<Disk>,
        node: NodeId,
        dispatcher: &Dispatcher,
        cores: usize,
    ) -> anyhow::Result<Arc<Shard>> {
        let state = self.cell.current().context("a member has a state")?;
        let mut options = shard_options(&self.config, disk.path(), cores);
        options.node = node;
        options.width = state.map.width();
        options.peers = Some(Arc::new(self.links.clone()));
        let kept = disk.replicas()?;
        let hosted = state.hosted(node).filter(|(group, it)| kept.get(group) == Some(&it.id));
        let spec = |(group, it): (GroupId, ReplicaEntry)| follow::spec(&state, node, group, it.id);
        options.groups = hosted.map(spec).collect();
        disk.unlock();
        let shard = Shard::open(options).await;
        let path = disk.path();
        let shard = shard.with_context(|| format!("cannot open {}", path.display()))?;
        let shard = Arc::new(shard);
        dispatcher.attach(Arc::new(ShardBackend::new(Arc::clone(&shard))));
        self.base.shard.set(Arc::clone(&shard)).ok().context("the shard is opened once")?;
        let (tasks, stopping) = (&self.base.tasks, &self.ends.stopping);
        let watch = follow::watch_meta(shard.clone(), self.cell.clone(), stopping.clone());
        tasks.spawn("meta", Box::pin(watch));
        let follower = Follower::new(
            node,
            Arc::clone(&shard),
            Arc::clone(disk),
            self.cell.clone(),
            self.meta.clone(),
            self.links.clone(),
        );
        tasks.spawn("follower", Box::pin(follower.run(stopping.clone())));
        tasks.spawn("announce", Box::pin(announce(self.lobby.clone(), self.meta.clone())));
        let finish = finish::run(self.router.clone(), Arc::clone(&shard), patience(&self.config));
        tasks.spawn("finish", Box::pin(finish));
        Ok(shard)
    }

    /// Waits until every replica that is to be here answers.
    async fn wait_for_replicas(&self, shard: &Shard) {
        let node = self.lobby.membership().map(|member| member.node);
        loop {
            let hosted = match (self.cell.current(), node) {
                (Some(state), Some(node)) => state.hosted(node).map(|(group, _)| group).collect(),
                _ => Vec::new(),
            };
            let is_ready =
                |group: &GroupId| shard.group(*group).is_some_and(|handle| handle.is_ready());
            if hosted.iter().all(is_ready) {
                return;
            }
            sleep(PROBE_PAUSE).await;
        }
    }

    /// Waits until every group answers a linearizable read.
    async fn wait_for_groups(&self) {
        loop {
            let map = self.router.map();
            let probes = map.groups().iter().map(|group| {
                let to = Target { group: *group, epoch: map.epoch() };
                let deadline = Deadline::at(Instant::now() + PROBE_TIMEOUT);
                async move {
                    let op = ReadOp::Command(ReadCommand::DbSize);
                    let reading = Reading::default();
                    self.transport.read(to, op, &reading, deadline).await.is_ok()
                }
            });
            if join_all(probes).await.into_iter().all(|answered| answered) {
                return;
            }
            sleep(PROBE_PAUSE).await;
        }
    }

    fn tell(
        &self,
        member: Option<(&Arc<Disk>, NodeId)>,
        nodes: SocketAddr,
        serving: Option<&Serving>,
    ) {
        let node = member.map_or(0, |(_, node)| node.0);
        let groups = self.base.shard.get().map_or(0, |shard| shard.groups().count());
        let banner = banner::Banner {
            console: self.base.admin.console.is_some(),
            clients: serving.map(|serving| serving.addresses).unwrap_or_default(),
            operators: self.base.admin.address,
            nodes: Some((nodes, node)),
            data: member.map(|(disk, _)| (disk.path().display().to_string(), groups)),
        };
        banner.print(&self.config);
        info!(
            version = build::VERSION,
            commit = build::commit(),
            cluster = %self.links.identity().cluster,
            node,
            address = self.links.identity().address,
            admin = %self.base.admin.address,
            groups,
            "ready"
        );
    }

    /// Ends the node: last replies, leads handed over, last entries, synced log.
    async fn end(self, shard: Option<Arc<Shard>>, serving: Option<Serving>) -> anyhow::Result<()> {
        self.ends.serves.send_replace(false);
        if let Some(serving) = &serving {
            serving.stop(&self.config).await;
        }
        self.ends.stop.send_replace(true);
        if let Some(shard) = shard {
            shard.hand_over(HAND_OVER_TIMEOUT).await;
            shard.shutdown().await.context("the log could not be closed well")?;
        }
        self.links.close();
        self.ends.close.send_replace(true);
        // The admin server may have ended by itself.
        self.base.admin.end.send(()).ok();
        info!(tasks = self.base.tasks.running(), "stopped");
        Ok(())
    }
}

/// Has the router follow the map, for as long as the node runs.
async fn follow_map(router: Router, cell: StateCell, mut stop: watch::Receiver<bool>) {
    let mut states = cell.subscribe();
    loop {
        if let Some(state) = cell.current() {
            router.follow(Arc::clone(&state.map));
        }
        tokio::select! {
            changed = states.changed() => if changed.is_err() { return },
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// Tells the cluster where this node is, if that is not what it knows.
async fn announce(lobby: Arc<Lobby>, meta: Meta) {
    let me = lobby.me().clone();
    loop {
        let told = meta
            .change(|state| {
                let knows = state.nodes.values().any(|node| node.token == me.token);
                // One that was removed does not come back under its old token.
                Ok(if knows { state.join(me.token, &me.address).1 } else { None })
            })
            .await;
        match told {
            Ok(_) => return,
            Err(error) => debug!(error = format!("{error:#}"), "the address is not told yet"),
        }
        sleep(PROBE_PAUSE).await;
    }
}
