//! `bitroster cluster`: looking at a cluster, and changing which nodes hold its replicas.

mod gather;
mod report;

use std::time::Duration;

use anyhow::Context as _;
use bitroster_proto::internal as wire;
use bitroster_rpc::{Error, client};
use clap::{Args, Subcommand};

pub(crate) use self::{
    gather::{Door, Entry},
    report::Report,
};
use super::{
    exit::{Code, Failing as _},
    output::{self, OutputArgs, Style},
};

/// How often progress is looked at while a change is carried out.
const PROGRESS_PAUSE: Duration = Duration::from_millis(500);

/// How long a change may take to be decided, at the least.
const CHANGE_PATIENCE: Duration = Duration::from_secs(15);

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
    #[command(flatten)]
    output: OutputArgs,
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

/// Runs `bitroster cluster`.
pub(crate) fn run(task: ClusterTask) -> anyhow::Result<Code> {
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
    fn door(&self) -> anyhow::Result<Door> {
        let TlsArgs { tls, tls_ca, tls_cert, tls_key, tls_name } = &self.tls;
        let timeout = Duration::from_millis(self.timeout_ms.max(1));
        let entry = Entry { tls: *tls, ca: tls_ca, cert: tls_cert, key: tls_key, name: tls_name };
        Door::open(&entry, timeout)
    }
}

/// Prints what a cluster looks like; its exit code tells whether all is as it should be.
async fn look(args: &LookArgs, table: fn(&Report, Style) -> String) -> anyhow::Result<Code> {
    let report = args.door()?.gather(&args.addr).await?;
    if args.output.is_json() {
        output::print_json(&report.json())?;
    } else {
        output::print(table(&report, args.output.style()))?;
    }
    Ok(if report.problems().is_empty() { Code::Done } else { Code::Bad })
}

/// Asks for a change, and shows how it is carried out.
async fn request(args: &ChangeArgs, change: wire::change_request::Change) -> anyhow::Result<Code> {
    let door = args.look.door()?;
    // A change is written to the meta group, which may just be electing a leader.
    let mut node = door.patient(CHANGE_PATIENCE).connect(&args.look.addr).await?;
    let request = wire::ChangeRequest { change: Some(change), dry_run: args.dry_run };
    let reply = client::answer(node.change(request).await);
    let code = reply.as_ref().err().map_or(Code::Done, code_of);
    let reply = reply.failing(code)?;
    for line in &reply.lines {
        output::print(format!("{line}\n"))?;
    }
    if reply.lines.is_empty() {
        output::print("nothing to change\n")?;
    }
    if !args.dry_run && !args.no_wait {
        wait_for(args, &door, reply.revision).await;
    }
    Ok(Code::Done)
}

/// What a refused change means: it does not fit the cluster as it is.
fn code_of(error: &Error) -> Code {
    match error {
        Error::Refused { .. } => Code::Conflict,
        Error::Address { .. }
        | Error::Unreachable { .. }
        | Error::Listener(_)
        | Error::Server(_) => Code::Unreachable,
    }
}

/// Waits until a change is carried out, and says on stderr how far it is.
#[expect(clippy::print_stderr, reason = "progress belongs beside the output")]
async fn wait_for(args: &ChangeArgs, door: &Door, revision: u64) {
    let mut told = None;
    loop {
        let report = door.gather(&args.look.addr).await;
        if let Ok(report) = &report {
            let left = report.moves();
            if report.state.revision >= revision && left.is_empty() {
                return;
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
