//! CONFIG: what Redis's clients and tools ask about the server's settings.
//!
//! Bitroster's own configuration is a file; CONFIG shows the settings that have a name in Redis
//! and changes those that may change in a running node. Nothing is written back to the file.

mod tunable;

use std::collections::BTreeSet;

use bitroster_command::{CommandError, Reply, glob::glob_match};
use bytes::Bytes;

use super::{help, subcommand, unknown_subcommand, utf8, wrong_arity};
use crate::server::Shared;

const HELP: &[&str] = &[
    "CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "GET <pattern> [<pattern> ...]",
    "    Return parameters matching the glob-like <pattern> and their values.",
    "SET <directive> <value> [<directive> <value> ...]",
    "    Set the configuration <directive> to <value>, until the next start.",
    "RESETSTAT",
    "    Reset statistics reported by the INFO command.",
    "REWRITE",
    "    Refused: settings are not written back.",
    "HELP",
    "    Print this help.",
];

pub(super) fn run(shared: &Shared, args: &[Bytes]) -> Result<Reply, CommandError> {
    let (name, rest) = subcommand("config", args)?;
    match (name.as_str(), rest) {
        ("get", patterns @ [_, ..]) => Ok(get(shared, patterns)),
        ("set", pairs @ [_, _, ..]) if pairs.len().is_multiple_of(2) => set(shared, pairs),
        ("set", [_, _, ..]) => Err(CommandError::Syntax),
        ("resetstat", []) => {
            shared.metrics.reset();
            Ok(Reply::Ok)
        }
        ("rewrite", []) => {
            Err(CommandError::Text("ERR The server is running without a config file"))
        }
        ("help", []) => Ok(help(HELP)),
        ("get" | "set" | "resetstat" | "rewrite" | "help", _) => {
            Err(wrong_arity(&format!("config|{name}")))
        }
        _ => Err(unknown_subcommand("config", args)),
    }
}

/// Settings of Redis's that are always the same here.
const FIXED: &[(&str, &str)] = &[
    ("activedefrag", "no"),
    ("aclfile", ""),
    ("active-expire-effort", "1"),
    ("appendonly", "yes"),
    ("cluster-enabled", "no"),
    ("databases", "1"),
    ("enable-module-command", "no"),
    ("hz", "10"),
    ("io-threads", "1"),
    ("latency-tracking", "yes"),
    ("latency-tracking-info-percentiles", "50 99 99.9"),
    ("lazyfree-lazy-user-del", "no"),
    ("lfu-decay-time", "1"),
    ("lfu-log-factor", "10"),
    ("lua-time-limit", "5000"),
    ("maxmemory-policy", "noeviction"),
    ("maxmemory-samples", "5"),
    ("min-replicas-to-write", "0"),
    ("replica-read-only", "yes"),
    ("replicaof", ""),
    ("save", ""),
    ("slave-read-only", "yes"),
    ("slaveof", ""),
    ("tcp-backlog", "511"),
    ("tcp-keepalive", "0"),
    ("tls-port", "0"),
    ("unixsocket", ""),
];

/// Every setting by Redis's name. The password itself is never shown.
fn settings(shared: &Shared) -> Vec<(&'static str, String)> {
    let own = &shared.settings;
    let mut settings = vec![
        ("bind", own.bind.clone()),
        ("maxclients", own.clients_max().to_string()),
        ("port", own.port.to_string()),
        ("proto-max-bulk-len", own.parse_limits.bulk_bytes_max.to_string()),
        ("protected-mode", if own.is_protected { "yes" } else { "no" }.to_owned()),
        ("requirepass", if own.has_password() { "(hidden)" } else { "" }.to_owned()),
        ("timeout", own.timeout_secs().to_string()),
    ];
    settings.extend(tunable::settings(shared));
    settings.extend(shared.status.settings());
    for (name, value) in FIXED {
        if !settings.iter().any(|(known, _)| known == name) {
            settings.push((name, (*value).to_owned()));
        }
    }
    settings.sort_by_key(|(name, _)| *name);
    settings
}

fn get(shared: &Shared, patterns: &[Bytes]) -> Reply {
    let patterns: Vec<Vec<u8>> = patterns.iter().map(|p| p.to_ascii_lowercase()).collect();
    let matching = settings(shared)
        .into_iter()
        .filter(|(name, _)| patterns.iter().any(|pattern| glob_match(pattern, name.as_bytes())));
    Reply::Map(matching.map(|(name, value)| (Reply::bulk(name), Reply::bulk(value))).collect())
}

/// Changes settings one after the other; names are all checked before the first is changed.
fn set(shared: &Shared, pairs: &[Bytes]) -> Result<Reply, CommandError> {
    let known = settings(shared);
    let mut names = BTreeSet::new();
    for pair in pairs.chunks_exact(2) {
        let name = utf8(&pair[0]).to_ascii_lowercase();
        if !known.iter().any(|(known, _)| *known == name) {
            let given = String::from_utf8_lossy(&pair[0]);
            let given: String = given.chars().take(128).collect();
            return Err(CommandError::Message(format!(
                "ERR Unknown option or number of arguments for CONFIG SET - '{given}'"
            )));
        }
        if !names.insert(name.clone()) {
            return Err(failed(&name, "duplicate parameter"));
        }
    }
    for pair in pairs.chunks_exact(2) {
        let name = utf8(&pair[0]).to_ascii_lowercase();
        change(shared, &name, &pair[1]).map_err(|reason| failed(&name, &reason))?;
    }
    Ok(Reply::Ok)
}

fn failed(name: &str, reason: &str) -> CommandError {
    CommandError::Message(format!(
        "ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}"
    ))
}

fn change(shared: &Shared, name: &str, value: &[u8]) -> Result<(), String> {
    let own = &shared.settings;
    let number = || {
        let parsed = utf8(value).parse::<u64>();
        parsed.map_err(|_| "argument couldn't be parsed into an integer".to_owned())
    };
    match name {
        "timeout" => own.set_timeout_secs(number()?),
        "maxclients" => match usize::try_from(number()?) {
            Ok(clients @ 1..) => own.set_clients_max(clients),
            _ => return Err("argument must be at least 1".to_owned()),
        },
        "requirepass" => own.set_password(value)?,
        _ => {
            let changed = tunable::change(shared, name, utf8(value))
                .or_else(|| shared.status.change_setting(name, utf8(value)))
                .or_else(|| is_same(shared, name, value).then_some(Ok(())));
            return changed.unwrap_or_else(|| Err("can't set immutable config".to_owned()));
        }
    }
    Ok(())
}

/// Whether a setting that never changes has this value already: tools that set what they need do
/// not fail then.
fn is_same(shared: &Shared, name: &str, value: &[u8]) -> bool {
    FIXED.iter().any(|(fixed, _)| *fixed == name)
        && settings(shared)
            .iter()
            .any(|(known, current)| *known == name && current.as_bytes() == value)
}
