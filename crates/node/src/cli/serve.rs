//! `bitroster dev` and `bitroster server`: arguments become a configuration, which is run.

use std::{env, path::PathBuf};

use anyhow::{Context as _, anyhow};
use clap::{Args, ValueEnum};

use crate::{
    app::{self, Mode},
    config::{Loaded, Sources, load},
};

/// Where a configuration comes from, on any command line.
#[derive(Debug, Default, Args)]
pub(crate) struct ConfigArgs {
    /// Configuration file (TOML); see `bitroster config example`.
    #[arg(long, value_name = "FILE", env = "BITROSTER_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Sets one field of the configuration; may be repeated.
    #[arg(long = "set", value_name = "TABLE.FIELD=VALUE")]
    pub(crate) set: Vec<String>,
}

/// Arguments of `bitroster dev`.
#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Folder for the data [default: ./bitroster-dev]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Port for clients; 0 chooses a free one [default: 6379]
    #[arg(long)]
    port: Option<u16>,
    /// Shard groups [default: one a core, 1 to 16]
    #[arg(long)]
    groups: Option<u16>,
    /// Port for gRPC clients; 0 chooses a free one [default: 50051]
    #[arg(long)]
    grpc_port: Option<u16>,
    /// Port of the admin HTTP server; 0 chooses a free one [default: 9380]
    #[arg(long)]
    admin_port: Option<u16>,
    /// Serves other machines without a password.
    #[arg(long)]
    insecure: bool,
    /// Fills an empty keyspace with something to look at: ninety days of 100,000 users.
    #[arg(long)]
    demo: bool,
}

/// Arguments of `bitroster server`.
#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// What this node does in the cluster [default: all]
    #[arg(long, value_enum)]
    role: Option<Role>,
    /// Folder for the data [default: ./bitroster-data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Port for clients; 0 chooses a free one [default: 6379]
    #[arg(long)]
    port: Option<u16>,
    /// Port for gRPC clients; 0 chooses a free one [default: 50051]
    #[arg(long)]
    grpc_port: Option<u16>,
    /// Port of the admin HTTP server; 0 chooses a free one [default: 9380]
    #[arg(long)]
    admin_port: Option<u16>,
    /// Port for other nodes [default: 7380]
    #[arg(long)]
    cluster_port: Option<u16>,
    /// A node to ask for the cluster; may be repeated.
    #[arg(long = "seed", value_name = "HOST:PORT")]
    seeds: Vec<String>,
    /// How many shard nodes found the cluster together, once they have found each other.
    #[arg(long, value_name = "NODES")]
    bootstrap_expect: Option<u16>,
    /// Serves other machines without a password.
    #[arg(long)]
    insecure: bool,
}

/// What a node does in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Role {
    /// Serves clients and keeps data.
    All,
    /// Keeps data.
    Shard,
    /// Serves clients.
    Router,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Shard => "shard",
            Self::Router => "router",
        }
    }
}

/// Runs `bitroster dev`.
pub(crate) fn dev(args: DevArgs) -> anyhow::Result<()> {
    let presets = vec![("server.data_dir".to_owned(), "./bitroster-dev".to_owned())];
    let flags = given([
        ("--data-dir", "server.data_dir", args.data_dir),
        ("--port", "server.port", args.port.map(|port| port.to_string())),
        ("--groups", "cluster.groups", args.groups.map(|groups| groups.to_string())),
        ("--grpc-port", "server.grpc_port", args.grpc_port.map(|port| port.to_string())),
        ("--admin-port", "server.admin_port", args.admin_port.map(|port| port.to_string())),
    ]);
    let loaded = gather(&args.config, presets, flags)?;
    app::run(loaded, Mode { insecure: args.insecure, dev: true, demo: args.demo })
}

/// Runs `bitroster server`.
pub(crate) fn server(args: ServerArgs) -> anyhow::Result<()> {
    let seeds = (!args.seeds.is_empty()).then(|| toml_list(&args.seeds));
    let text = |value: Option<u16>| value.map(|value| value.to_string());
    let flags = given([
        ("--role", "server.role", args.role.map(|role| role.name().to_owned())),
        ("--data-dir", "server.data_dir", args.data_dir),
        ("--port", "server.port", text(args.port)),
        ("--grpc-port", "server.grpc_port", text(args.grpc_port)),
        ("--admin-port", "server.admin_port", text(args.admin_port)),
        ("--cluster-port", "cluster.port", text(args.cluster_port)),
        ("--seed", "cluster.seeds", seeds),
        ("--bootstrap-expect", "cluster.bootstrap_expect", text(args.bootstrap_expect)),
    ]);
    let mode = Mode { insecure: args.insecure, ..Mode::default() };
    app::run(gather(&args.config, Vec::new(), flags)?, mode)
}

/// The flags that were given, each with its field and value.
fn given<const N: usize>(
    flags: [(&str, &str, Option<String>); N],
) -> Vec<(String, String, String)> {
    let given = flags
        .into_iter()
        .filter_map(|(flag, key, value)| Some((flag.to_owned(), key.to_owned(), value?)));
    given.collect()
}

fn toml_list(items: &[String]) -> String {
    let items = items.iter().map(|item| toml::Value::String(item.clone())).collect();
    toml::Value::Array(items).to_string()
}

/// Reads file and environment and lays `flags` and `--set` over them.
pub(crate) fn gather(
    args: &ConfigArgs,
    presets: Vec<(String, String)>,
    mut flags: Vec<(String, String, String)>,
) -> anyhow::Result<Loaded> {
    for pair in &args.set {
        let (key, value) = pair
            .split_once('=')
            .ok_or_else(|| anyhow!("--set {pair}: must be TABLE.FIELD=VALUE"))?;
        flags.push(("--set".to_owned(), key.to_owned(), value.to_owned()));
    }
    let file = args.config.clone().map(read).transpose()?;
    let env = env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    load(Sources { presets, file, env: env.collect(), flags }).map_err(|problems| {
        anyhow!("the configuration has {} problem(s):\n  {}", problems.len(), problems.join("\n  "))
    })
}

#[allow(clippy::disallowed_methods, reason = "a configuration file is no data")]
fn read(path: PathBuf) -> anyhow::Result<(PathBuf, String)> {
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read the configuration file {}", path.display()))?;
    Ok((path, text))
}
