//! CLUSTER: the little that a client of a single address may want to know.
//!
//! To its clients a Bitroster cluster is one server (`cluster_enabled:0`): any router takes any
//! key, so nobody needs the slots to route by.

use std::fmt::Write as _;

use bitroster_command::{CommandError, Reply};
use bitroster_types::limits::SLOTS;
use bytes::Bytes;

use super::{help, subcommand, unknown_subcommand, wrong_arity};
use crate::server::Shared;

const HELP: &[&str] = &[
    "CLUSTER <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "INFO",
    "    Return information about the cluster.",
    "KEYSLOT <key>",
    "    Return the hash slot for <key>.",
    "MYID",
    "    Return the node id.",
    "HELP",
    "    Print this help.",
];

pub(super) fn run(shared: &Shared, args: &[Bytes]) -> Result<Reply, CommandError> {
    let (name, rest) = subcommand("cluster", args)?;
    match (name.as_str(), rest) {
        ("keyslot", [key]) => Ok(Reply::Integer(i64::from(shared.status.key_slot(key)))),
        ("info", []) => Ok(Reply::Text(info(shared).into())),
        ("myid", []) => Ok(Reply::bulk(shared.status.status().run_id)),
        ("help", []) => Ok(help(HELP)),
        ("nodes" | "slots" | "shards", []) => {
            Err(CommandError::Text("ERR This instance has cluster support disabled"))
        }
        ("keyslot" | "info" | "myid" | "help" | "nodes" | "slots" | "shards", _) => {
            Err(wrong_arity(&format!("cluster|{name}")))
        }
        _ => Err(unknown_subcommand("cluster", args)),
    }
}

fn info(shared: &Shared) -> String {
    let status = shared.status.status();
    let state = if shared.is_ready() { "ok" } else { "fail" };
    let mut out = String::new();
    for (name, value) in [
        ("cluster_enabled", 0),
        ("cluster_slots_assigned", u64::from(SLOTS)),
        ("cluster_slots_ok", if shared.is_ready() { u64::from(SLOTS) } else { 0 }),
        ("cluster_slots_pfail", 0),
        ("cluster_slots_fail", 0),
        ("cluster_known_nodes", 1),
        ("cluster_size", status.groups as u64),
        ("cluster_current_epoch", shared.status.epoch()),
        ("cluster_my_epoch", shared.status.epoch()),
    ] {
        write!(out, "{name}:{value}\r\n").expect("writing to a string does not fail");
    }
    format!("cluster_state:{state}\r\n{out}")
}
