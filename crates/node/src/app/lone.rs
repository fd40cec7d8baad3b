//! A node that is a whole cluster by itself: no other nodes, no messages, groups of one replica.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use anyhow::Context as _;
use bitroster_router::{Router, Spawn as _};
use bitroster_shard::{GroupSpec, Shard, ShardOptions};
use bitroster_telemetry::{build, log, metric::Recorder};
use bitroster_types::NodeId;
use tracing::info;

use super::{
    Base, Mode, banner, data_dir::Home, demo, finish, patience, router_options, shard_options,
    topology::Topology, transport::LocalTransport, users::FileUsers, wait_for_signal,
};
use crate::config::Config;

/// Runs the node until it is told to stop.
///
/// # Errors
///
/// What keeps it from starting, or from closing its log well.
pub(super) async fn run(
    config: Config,
    home: Home,
    cores: usize,
    log: log::Handle,
    recorder: Recorder,
    mode: Mode,
) -> anyhow::Result<()> {
    let topology = Topology::Fixed(Arc::clone(&home.map));
    let base = Base::start(&config, topology, log, recorder, mode).await?;
    let transport = Arc::new(LocalTransport::default());
    let router =
        Router::new((*home.map).clone(), Arc::clone(&transport) as _, router_options(&config))
            .with_spawn(Arc::clone(&base.tasks) as _);
    let users = Arc::new(FileUsers::open(&home.path)?);
    let serving = base.serve_clients(&config, router.clone(), users).await?;
    let opened = Arc::new(
        Shard::open(options(&config, &home, cores))
            .await
            .with_context(|| format!("cannot open {}", home.path.display()))?,
    );
    transport.connect(opened.groups());
    base.shard.set(Arc::clone(&opened)).ok().context("the shard is opened once")?;
    opened.wait_ready().await;
    serving.frontend.set_ready();
    base.admin.clients_ready.store(true, Relaxed);
    let finish = finish::run(router, Arc::clone(&opened), patience(&config));
    base.tasks.spawn("finish", Box::pin(finish));
    if mode.demo {
        demo::load(&serving.frontend).await?;
    }
    let banner = banner::Banner {
        console: base.admin.console.is_some(),
        clients: serving.addresses,
        operators: base.admin.address,
        nodes: None,
        data: Some((home.path.display().to_string(), home.map.groups().len())),
    };
    banner.print(&config);
    info!(
        version = build::VERSION,
        commit = build::commit(),
        clients = told(serving.addresses.plain),
        clients_tls = told(serving.addresses.tls),
        admin = %base.admin.address,
        data_dir = %home.path.display(),
        groups = home.map.groups().len(),
        "ready"
    );
    wait_for_signal().await?;
    serving.stop(&config).await;
    opened.shutdown().await.context("the log could not be closed well")?;
    // The admin server may have ended by itself.
    base.admin.end.send(()).ok();
    info!(tasks = base.tasks.running(), "stopped");
    Ok(())
}

/// An address for the log.
fn told(address: Option<SocketAddr>) -> String {
    address.map_or_else(|| "none".to_owned(), |address| address.to_string())
}

fn options(config: &Config, home: &Home, cores: usize) -> ShardOptions {
    let map = &home.map;
    let node = NodeId(home.identity.node);
    let groups = map.groups().iter().map(|&id| GroupSpec::alone(id, map.slots_of(id), node));
    let mut options = shard_options(config, PathBuf::from(&home.path), cores);
    options.groups = groups.collect();
    options.node = node;
    options.width = map.width();
    options
}
