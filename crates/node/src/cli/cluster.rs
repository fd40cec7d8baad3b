//! `bitroster cluster`: looking at a cluster, and changing which nodes hold its replicas.

mod report;

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use bitroster_placement::ClusterState;
use bitroster_proto::internal as wire;
use bitroster_rpc::{LinkTls, client};
use clap::{Args, Subcommand, ValueEnum};
use futures_util::future::join_all;

use self::report::{NodeView, Report};
use crate::{
    app::tls::Tls,
    config::{Config, TlsConfig},
};

/// How often progress is looked at while a change is carried out.
const PROGRESS_PAUSE: Duration = Duration::from_millis(500);

/// What may be asked of a cluster.
#[derive(Debug, Subcommand)]
pub(crate) enum ClusterTask {
    /// Everything at a glance: nodes, groups, leaders, and what is being moved.
    Status(LookArgs),
    /// The nodes, one a line.
    Nodes(LookArgs),
    /// The groups and their replicas, one a line.
    Groups(LookArgs),
    /// Which group owns which slots.
    Slots(LookArgs),
    /// Moves all replicas off a node and then forgets it.
    Remove(RemoveArgs),
    /// Gives a node's replicas to another one: for a node that will not come back.
    Replace(ReplaceArgs),
    /// Spreads replicas and leaders evenly, such as onto nodes that have joined.
    Rebalance(ChangeArgs),
}

/// Arguments of whatever only looks.
#[derive(Debug, Args)]
pub(crate) struct LookArgs {
    /// Node address of any node of the cluster.
    #[arg(
        long,
        default_value = "127.0.0.1:7380",
        value_name = "HOST:PORT",
        env = "BITROSTER_NODE"
    )]
    addr: String,
    /// How the answer is written.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// Milliseconds to wait for each node's answer.
    #[arg(long, default_value_t = 2_000)]
    timeout_ms: u64,
    #[command(flatten)]
    tls: TlsArgs,
}

/// How nodes are reached whose links are TLS.
#[derive(Debug, Args)]
struct TlsArgs {
    /// Connects by TLS, as nodes with `tls.nodes` do.
    #[arg(long, env = "BITROSTER_TLS__NODES")]
    tls: bool,
    /// The nodes' authority.
    #[arg(long, value_name = "FILE", default_value = "", env = "BITROSTER_TLS__CA_FILE")]
    tls_ca: String,
    /// A certificate of that authority.
    #[arg(long, value_name = "FILE", default_value = "", env = "BITROSTER_TLS__CERT_FILE")]
    tls_cert: String,
    /// The certificate's private key.
    #[arg(long, value_name = "FILE", default_value = "", env = "BITROSTER_TLS__KEY_FILE")]
    tls_key: String,
    /// Name that the nodes' certificates have [default: the host of their address]
    #[arg(long, value_name = "NAME", default_value = "", env = "BITROSTER_TLS__NODES_NAME")]
    tls_name: String,
}

/// Arguments of whatever changes the cluster.
#[derive(Debug, Args)]
pub(crate) struct ChangeArgs {
    #[command(flatten)]
    look: LookArgs,
    /// Only says what would be done.
    #[arg(long)]
    dry_run: bool,
    /// Returns once the change is decided, and does not wait until it is carried out.
    #[arg(long)]
    no_wait: bool,
}

/// Arguments of `bitroster cluster remove`.
#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// The node's number.
    node: u64,
    #[command(flatten)]
    change: ChangeArgs,
}

/// Arguments of `bitroster cluster replace`.
#[derive(Debug, Args)]
pub(crate) struct ReplaceArgs {
    /// The number of the node that goes.
    node: u64,
    /// The number of the node that takes its replicas [default: those with fewest]
    #[arg(long = "with", value_name = "NODE")]
    with: Option<u64>,
    #[command(flatten)]
    change: ChangeArgs,
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Runs `bitroster cluster`.
pub(crate) fn run(task: ClusterTask) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        match task {
            ClusterTask::Status(args) => look(&args, Report::status).await,
            ClusterTask::Nodes(args) => look(&args, Report::nodes).await,
            ClusterTask::Groups(args) => look(&args, Report::groups).await,
            ClusterTask::Slots(args) => look(&args, Report::slots).await,
            ClusterTask::Remove(RemoveArgs { node, change }) => {
                let wanted = wire::RemoveNode { node_id: node };
                request(&change, wire::change_request::Change::RemoveNode(wanted)).await
            }
            ClusterTask::Replace(ReplaceArgs { node, with, change }) => {
                let wanted = wire::ReplaceNode { node_id: node, with: with.unwrap_or(0) };
                request(&change, wire::change_request::Change::ReplaceNode(wanted)).await
            }
            ClusterTask::Rebalance(change) => {
                let wanted = wire::Rebalance {};
                request(&change, wire::change_request::Change::Rebalance(wanted)).await
            }
        }
    })
}

impl LookArgs {
    fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms.max(1))
    }

    /// What this program shows to nodes; `None` where their links are plain.
    fn tls(&self) -> anyhow::Result<Option<Arc<dyn LinkTls>>> {
        let TlsArgs { tls, tls_ca, tls_cert, tls_key, tls_name } = &self.tls;
        if !tls {
            return Ok(None);
        }
        let config = TlsConfig {
            nodes: true,
            ca_file: tls_ca.clone(),
            cert_file: tls_cert.clone(),
            key_file: tls_key.clone(),
            nodes_name: tls_name.clone(),
            ..Config::default().tls
        };
        Ok(Tls::open(&config)?.as_ref().and_then(Tls::of_links))
    }
}

#[expect(clippy::print_stdout, reason = "the answer is this command's output")]
async fn look(args: &LookArgs, table: fn(&Report) -> String) -> anyhow::Result<()> {
    let report = gather(args).await?;
    match args.output {
        Output::Table => print!("{}", table(&report)),
        Output::Json => println!("{:#}", report.json()),
    }
    Ok(())
}

/// Asks one node for the state and all nodes what they see.
async fn gather(args: &LookArgs) -> anyhow::Result<Report> {
    let (timeout, tls) = (args.timeout(), args.tls()?);
    let tls = tls.as_deref();
    let asked = async {
        let mut node = client::connect_with(&args.addr, timeout, tls).await?;
        anyhow::Ok(client::answer(node.state(wire::StateRequest {}).await)?.state)
    };
    let bytes = asked.await.with_context(|| format!("no answer from {}", args.addr))?;
    if bytes.is_empty() {
        bail!("the node at {} is not in a cluster yet", args.addr);
    }
    let state = ClusterState::decode(&bytes)?;
    let nodes = state.nodes.iter().map(|(id, entry)| async {
        let (id, address) = (*id, entry.address.clone());
        NodeView { id, status: status_of(&address, timeout, tls).await.ok(), address }
    });
    let nodes = join_all(nodes).await;
    let mut routers: Vec<String> = nodes
        .iter()
        .filter_map(|node| node.status.as_ref())
        .flat_map(|status| status.routers.iter().cloned())
        .collect();
    routers.sort_unstable();
    routers.dedup();
    Ok(Report { state, nodes, routers })
}

async fn status_of(
    address: &str,
    timeout: Duration,
    tls: Option<&dyn LinkTls>,
) -> anyhow::Result<wire::StatusReply> {
    let mut node = client::connect_with(address, timeout, tls).await?;
    Ok(client::answer(node.status(wire::StatusRequest {}).await)?)
}

/// Asks for a change, and shows how it is carried out.
#[expect(clippy::print_stdout, reason = "the answer is this command's output")]
async fn request(args: &ChangeArgs, change: wire::change_request::Change) -> anyhow::Result<()> {
    // A change is written to the meta group, which may just be electing a leader.
    let patience = args.look.timeout().max(Duration::from_secs(15));
    let tls = args.look.tls()?;
    let mut node = client::connect_with(&args.look.addr, patience, tls.as_deref()).await?;
    let request = wire::ChangeRequest { change: Some(change), dry_run: args.dry_run };
    let reply = client::answer(node.change(request).await)?;
    for line in &reply.lines {
        println!("{line}");
    }
    if reply.lines.is_empty() {
        println!("nothing to change");
    }
    if args.dry_run || args.no_wait {
        return Ok(());
    }
    wait_for(args, reply.revision).await
}

/// Waits until a change is carried out, and says on stderr how far it is.
#[expect(clippy::print_stderr, reason = "progress belongs beside the output")]
async fn wait_for(args: &ChangeArgs, revision: u64) -> anyhow::Result<()> {
    let mut told = None;
    loop {
        let report = gather(&args.look).await;
        if let Ok(report) = &report {
            let left = report.moves();
            if report.state.revision >= revision && left.is_empty() {
                return Ok(());
            }
            if told.as_ref() != Some(&left) {
                for line in &left {
                    eprintln!("{line}");
                }
                told = Some(left);
            }
        }
        tokio::time::sleep(PROGRESS_PAUSE).await;
    }
}
