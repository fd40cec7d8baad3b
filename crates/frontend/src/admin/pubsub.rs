//! PUBSUB: who listens at this node.

use bitroster_command::{CommandError, Reply};
use bytes::Bytes;

use super::{help, integer, subcommand, unknown_subcommand, unknown_use, wrong_arity};
use crate::pubsub::{Kind, PubSub};

const HELP: &[&str] = &[
    "PUBSUB <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CHANNELS [<pattern>]",
    "    Return the currently active channels matching a <pattern> (default: '*').",
    "NUMPAT",
    "    Return number of subscriptions to patterns.",
    "NUMSUB [<channel> ...]",
    "    Return the number of subscribers for the specified channels, excluding",
    "    pattern subscriptions(default: no channels).",
    "SHARDCHANNELS [<pattern>]",
    "    Return the currently active shard level channels matching a <pattern> (default: '*').",
    "SHARDNUMSUB [<shardchannel> ...]",
    "    Return the number of subscribers for the specified shard level channel(s)",
    "HELP",
    "    Print this help.",
];

pub(super) fn run(pubsub: &PubSub, args: &[Bytes]) -> Result<Reply, CommandError> {
    let (name, rest) = subcommand("pubsub", args)?;
    match (name.as_str(), rest) {
        ("channels", [] | [_]) => Ok(channels(pubsub, Kind::Channel, rest)),
        ("shardchannels", [] | [_]) => Ok(channels(pubsub, Kind::Shard, rest)),
        ("numsub", names) => Ok(counts(pubsub, Kind::Channel, names)),
        ("shardnumsub", names) => Ok(counts(pubsub, Kind::Shard, names)),
        ("numpat", []) => Ok(Reply::Integer(integer(pubsub.len(Kind::Pattern) as u64))),
        ("help", []) => Ok(help(HELP)),
        ("channels" | "shardchannels", _) => Err(unknown_use("pubsub", args)),
        ("numpat" | "help", _) => Err(wrong_arity(&format!("pubsub|{name}"))),
        _ => Err(unknown_subcommand("pubsub", args)),
    }
}

fn channels(pubsub: &PubSub, kind: Kind, pattern: &[Bytes]) -> Reply {
    let names = pubsub.active(kind, pattern.first().map(AsRef::as_ref));
    Reply::Array(names.into_iter().map(Reply::Bulk).collect())
}

/// Names and counts in turn, in both protocols, as Redis has it.
fn counts(pubsub: &PubSub, kind: Kind, names: &[Bytes]) -> Reply {
    let pair = |name: &Bytes| {
        let count = Reply::Integer(integer(pubsub.count(kind, name) as u64));
        [Reply::Bulk(name.clone()), count]
    };
    Reply::Array(names.iter().flat_map(pair).collect())
}
