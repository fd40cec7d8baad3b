//! What takes a while or asks a key: DEBUG SLEEP, OBJECT FREQ and its like, SAVE.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use bitroster_command::{Command, CommandError, ReadCommand, Reply};
use bitroster_router::Reading;
use bitroster_types::{Key, limits::DEBUG_SLEEP_SECS_MAX};
use bytes::Bytes;

use super::{help, subcommand, unknown_subcommand, unknown_use, utf8, wrong_arity};
use crate::{client::Client, server::Shared};

const OBJECT_HELP: &[&str] = &[
    "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ENCODING <key>",
    "    Return the kind of internal representation used in order to store the value",
    "    associated with a <key>.",
    "FREQ <key>",
    "    Refused: nothing is evicted, so access is not counted.",
    "IDLETIME <key>",
    "    Return 0: nothing is evicted, so access is not timed.",
    "REFCOUNT <key>",
    "    Return 1.",
    "HELP",
    "    Print this help.",
];

const DEBUG_HELP: &[&str] = &[
    "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "SLEEP <seconds>",
    "    Hold this connection for <seconds>. Decimals allowed. Others go on.",
    "HELP",
    "    Print this help.",
];

const NO_LFU: CommandError = CommandError::Text(
    "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that \
     when switching between policies at runtime LRU and LFU data will take some time to adjust.",
);

const DEBUG_REFUSED: CommandError = CommandError::Text(
    "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you \
    can \
     run it from a local connection, otherwise you need to set this option in the configuration \
     file, and then restart the server.",
);

/// How often SAVE looks whether the snapshot is written.
const SAVE_POLL: Duration = Duration::from_millis(20);

/// Whether a command is answered by [`run`].
pub(crate) fn is_slow(name: &str, args: &[Bytes]) -> bool {
    matches!(name, "save" | "object")
        || name == "debug" && args.first().is_some_and(|sub| sub.eq_ignore_ascii_case(b"sleep"))
}

/// Answers a command that [`is_slow`].
pub(crate) async fn run(shared: &Shared, client: &Client, name: &str, args: &[Bytes]) -> Reply {
    let answer = match name {
        "object" => object(shared, args).await,
        "save" => save(shared).await,
        _ => sleep(shared, client, args).await,
    };
    answer.into()
}

async fn object(shared: &Shared, args: &[Bytes]) -> Result<Reply, CommandError> {
    let (name, rest) = subcommand("object", args)?;
    match (name.as_str(), rest) {
        ("help", []) => Ok(help(OBJECT_HELP)),
        ("freq" | "idletime" | "refcount", [key]) => {
            let key = Key::new(key).ok_or(CommandError::NO_SUCH_KEY)?;
            let exists = Command::Read(ReadCommand::Exists { keys: vec![key] });
            let found = shared.router.run(exists, &Reading::default()).await;
            if found.is_error() {
                Ok(found)
            } else if found == Reply::Integer(0) {
                Ok(Reply::Nil)
            } else if name == "freq" {
                Err(NO_LFU)
            } else {
                Ok(Reply::Integer(i64::from(name == "refcount")))
            }
        }
        ("freq" | "idletime" | "refcount" | "help", _) => {
            Err(wrong_arity(&format!("object|{name}")))
        }
        _ => Err(unknown_subcommand("object", args)),
    }
}

/// SAVE: a snapshot of every group, waited for.
async fn save(shared: &Shared) -> Result<Reply, CommandError> {
    shared.status.start_snapshot()?;
    let mut ticks = tokio::time::interval(SAVE_POLL);
    loop {
        ticks.tick().await;
        let status = shared.status.status();
        if !status.snapshot_running {
            let failed = CommandError::Text("ERR the snapshot failed, see the log");
            return if status.snapshot_ok { Ok(Reply::Ok) } else { Err(failed) };
        }
    }
}

async fn sleep(shared: &Shared, client: &Client, args: &[Bytes]) -> Result<Reply, CommandError> {
    check_debug(shared, client)?;
    let [_, secs] = args else { return Err(unknown_use("debug", args)) };
    let secs: f64 = utf8(secs).parse().unwrap_or(0.0);
    let secs = if secs.is_finite() { secs.clamp(0.0, DEBUG_SLEEP_SECS_MAX) } else { 0.0 };
    tokio::time::sleep(Duration::from_secs_f64(secs)).await;
    Ok(Reply::Ok)
}

/// DEBUG but for SLEEP.
pub(super) fn debug(
    shared: &Shared,
    client: &Client,
    args: &[Bytes],
) -> Result<Reply, CommandError> {
    check_debug(shared, client)?;
    match args {
        [sub] if sub.eq_ignore_ascii_case(b"help") => Ok(help(DEBUG_HELP)),
        _ => Err(unknown_use("debug", args)),
    }
}

/// Only where it is allowed, and to clients of this machine.
fn check_debug(shared: &Shared, client: &Client) -> Result<(), CommandError> {
    let is_allowed = shared.debug_is_local.load(Relaxed) && client.addr.ip().is_loopback();
    if is_allowed { Ok(()) } else { Err(DEBUG_REFUSED) }
}
