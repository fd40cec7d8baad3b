//! What a session answers about the server: CLIENT, COMMAND, CONFIG, CLUSTER, INFO and the like.
//!
//! Texts and shapes are Redis's, because clients, exporters and tools read them.

mod absent;
pub(crate) mod client;
mod cluster;
mod command;
mod config;
pub(crate) mod info;
mod latency;
pub(crate) mod later;
mod memory;
pub(crate) mod pause;
mod pubsub;
pub(crate) mod replication;
mod slowlog;
mod stop;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bitroster_command::{CommandError, Reply};
use bytes::Bytes;

use crate::{client::Client, server::Shared};

/// Answers the command `name` of the table, `args` being all that follows the name.
pub(crate) fn run(shared: &Shared, client: &Client, name: &str, args: &[Bytes]) -> Reply {
    let answer = match name {
        "client" => client::run(shared, client, args),
        "command" => command::run(args),
        "config" => config::run(shared, args),
        "cluster" => cluster::run(shared, args),
        "bgsave" => match args {
            [] => start_snapshot(shared, "Background saving started"),
            [word] if word.eq_ignore_ascii_case(b"schedule") => {
                start_snapshot(shared, "Background saving started")
            }
            _ => Err(CommandError::Syntax),
        },
        "lastsave" => Ok(Reply::Integer(integer(shared.status.snapshot_time_secs()))),
        "role" if args.is_empty() => Ok(replication::role(&shared.status.cluster())),
        "slowlog" => slowlog::run(&shared.slowlog, args),
        "latency" => latency::run(shared, args),
        "memory" => memory::run(shared, args),
        "pubsub" => pubsub::run(&shared.pubsub, args),
        "module" => absent::module(args),
        "function" => absent::function(args),
        "script" => absent::script(args),
        "debug" => later::debug(shared, client, args),
        "shutdown" => stop::run(shared, args),
        "bgrewriteaof" => start_snapshot(shared, "Background append only file rewriting started"),
        // There is one database, and slots that move are never the client's affair.
        "swapdb" => Ok(Reply::Ok),
        "readonly" | "readwrite" | "asking" => Err(cluster::NOT_BY_CLIENTS),
        "waitaof" => replication::wait_disks(shared, args),
        other => Err(CommandError::Message(format!("ERR '{other}' is not served here"))),
    };
    answer.into()
}

fn start_snapshot(shared: &Shared, done: &'static str) -> Result<Reply, CommandError> {
    shared.status.start_snapshot().map(|()| Reply::Status(done))
}

/// TIME: seconds and microseconds of the Unix time.
pub(crate) fn time() -> Reply {
    let now = unix_time();
    Reply::Array(vec![
        Reply::bulk(now.as_secs().to_string()),
        Reply::bulk(now.subsec_micros().to_string()),
    ])
}

pub(crate) fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "ratios are for people")]
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// The sub-command in lower case, and what follows it.
fn subcommand<'a>(name: &str, args: &'a [Bytes]) -> Result<(String, &'a [Bytes]), CommandError> {
    let Some((first, rest)) = args.split_first() else {
        return Err(wrong_arity(name));
    };
    Ok((String::from_utf8_lossy(first).to_ascii_lowercase(), rest))
}

fn wrong_arity(name: &str) -> CommandError {
    CommandError::Message(format!("ERR wrong number of arguments for '{name}' command"))
}

/// The refusal of a sub-command that the table does not know; the name is cut as Redis cuts it.
fn unknown_subcommand(name: &str, args: &[Bytes]) -> CommandError {
    let given = args.first().map(|given| String::from_utf8_lossy(given)).unwrap_or_default();
    let given: String = given.chars().take(128).collect();
    let name = name.to_ascii_uppercase();
    CommandError::Message(format!("ERR unknown subcommand '{given}'. Try {name} HELP."))
}

/// As [`unknown_subcommand`], where Redis does not tell a wrong name from wrong arguments.
fn unknown_use(name: &str, args: &[Bytes]) -> CommandError {
    let given = args.first().map(|given| String::from_utf8_lossy(given)).unwrap_or_default();
    let given: String = given.chars().take(128).collect();
    let name = name.to_ascii_uppercase();
    CommandError::Message(format!(
        "ERR unknown subcommand or wrong number of arguments for '{given}'. Try {name} HELP."
    ))
}

/// The lines of a HELP sub-command.
fn help(lines: &[&'static str]) -> Reply {
    Reply::Array(lines.iter().map(|line| Reply::Status(line)).collect())
}

/// `text` as a string, or nothing where it is not UTF-8.
fn utf8(text: &[u8]) -> &str {
    std::str::from_utf8(text).unwrap_or_default()
}
