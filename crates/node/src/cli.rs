//! Sub-commands and their arguments.
//!
//! What a command found goes to stdout, all else to stderr. `exit` says what the exit codes mean.

mod bench;
mod cluster;
mod config;
mod exit;
mod healthcheck;
mod remote;
mod serve;

use std::{process::ExitCode, sync::LazyLock};

use bitroster_telemetry::build;
use clap::{Parser, Subcommand};

use self::exit::Code;

/// A clustered, sharded bitmap database that any Redis client can use.
#[derive(Debug, Parser)]
#[command(name = "bitroster", version = version(), propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Runs a whole cluster in this process, for development: data in ./bitroster-dev.
    Dev(serve::DevArgs),
    /// Runs a node by its configuration.
    Server(serve::ServerArgs),
    /// Looks at a cluster, and changes which nodes hold its replicas.
    #[command(subcommand)]
    Cluster(cluster::ClusterTask),
    /// Measures a server, beside another one in the same run.
    Bench(Box<bench::BenchArgs>),
    /// Shows and checks configurations.
    #[command(subcommand)]
    Config(config::ConfigTask),
    /// Asks a node's admin address whether it is ready; for containers without curl.
    Healthcheck(healthcheck::HealthcheckArgs),
}

/// What `--version` prints: release and commit.
fn version() -> &'static str {
    static VERSION: LazyLock<String> =
        LazyLock::new(|| format!("{} ({}, {})", build::VERSION, build::COMMIT, build::PROFILE));
    &VERSION
}

/// Runs the command line.
pub(crate) fn run() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Dev(args) => serve::dev(args),
        Task::Server(args) => serve::server(args),
        Task::Cluster(task) => cluster::run(task),
        Task::Bench(args) => bench::run(&args),
        Task::Config(task) => config::run(task),
        Task::Healthcheck(args) => healthcheck::run(&args),
    };
    exit::end(done.map(|()| Code::Done))
}
