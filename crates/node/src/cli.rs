//! Sub-commands and their arguments.
//!
//! What a command found goes to stdout, all else to stderr. `exit` says what the exit codes mean.

mod bench;
mod cluster;
mod completion;
mod config;
mod doctor;
mod exit;
mod export;
mod healthcheck;
mod import;
mod node;
mod output;
mod query;
mod remote;
mod repl;
mod serve;
mod top;

use std::{process::ExitCode, sync::LazyLock};

use bitroster_telemetry::build;
use clap::{CommandFactory as _, Parser, Subcommand};

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
    /// Runs commands on a server: one, a file of them, or in a dialogue.
    Cli(repl::CliArgs),
    /// Counts, lists, samples or stores what an expression over bitmaps holds.
    Query(query::QueryArgs),
    /// Shows live what a cluster or a server does.
    Top(top::TopArgs),
    /// Looks for what may go wrong, and says what to do about it.
    Doctor(doctor::DoctorArgs),
    /// Looks at a cluster, and changes which nodes hold its replicas.
    #[command(subcommand)]
    Cluster(cluster::ClusterTask),
    /// Copies the bitmaps of a live Redis into a server, or one from a file.
    Import(Box<import::ImportArgs>),
    /// Writes bitmaps into files: Roaring, CSV or raw bytes.
    Export(Box<export::ExportArgs>),
    /// Measures a server, beside another one in the same run.
    Bench(Box<bench::BenchArgs>),
    /// Shows and checks configurations.
    #[command(subcommand)]
    Config(config::ConfigTask),
    /// Asks a node's admin address whether it is ready; for containers without curl.
    Healthcheck(healthcheck::HealthcheckArgs),
    /// Prints a script that completes this program's arguments in a shell.
    Completion(completion::CompletionArgs),
    /// Writes the manual pages.
    Man(completion::ManArgs),
    /// Prints release and commit.
    Version(completion::VersionArgs),
}

/// What `--version` prints: release and commit.
fn version() -> &'static str {
    static VERSION: LazyLock<String> =
        LazyLock::new(|| format!("{} ({}, {})", build::VERSION, build::commit(), build::PROFILE));
    &VERSION
}

/// Runs the command line.
pub(crate) fn run() -> ExitCode {
    let done = |done: anyhow::Result<()>| done.map(|()| Code::Done);
    exit::end(match Cli::parse().task {
        Task::Dev(args) => done(serve::dev(args)),
        Task::Server(args) => done(serve::server(args)),
        Task::Cli(args) => repl::run(args),
        Task::Query(args) => query::run(&args),
        Task::Top(args) => top::run(&args),
        Task::Doctor(args) => doctor::run(&args),
        Task::Import(args) => import::run(&args),
        Task::Export(args) => export::run(&args),
        Task::Cluster(task) => cluster::run(task),
        Task::Bench(args) => done(bench::run(&args)),
        Task::Config(task) => config::run(task),
        Task::Healthcheck(args) => healthcheck::run(&args),
        Task::Completion(args) => completion::completion(&args, Cli::command()),
        Task::Man(args) => completion::man(&args, Cli::command()),
        Task::Version(args) => completion::version(&args),
    })
}
