//! Commands of channels and messages.

use super::{ALL_KEYS, CommandSpec, Flags, Group, Keys, NO_KEYS, ONE_KEY, row};
use crate::parse::{Parser, channel as parse, session::admin};

/// SUBSCRIBE's and its relatives'.
const LISTEN: Flags = Flags::PUBSUB.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE);
/// PUBLISH's.
const SEND: Flags = Flags::PUBSUB.and(Flags::LOADING).and(Flags::STALE).and(Flags::FAST);

const fn channel(
    name: &'static str,
    arity: i8,
    flags: Flags,
    keys: Keys,
    parser: Parser,
) -> CommandSpec {
    row(name, arity, flags, keys, Group::PubSub, parser).since("2.0.0")
}

pub(super) const ROWS: &[CommandSpec] = &[
    channel("psubscribe", -2, LISTEN, NO_KEYS, parse::psubscribe)
        .costs("O(N) where N is the number of patterns")
        .help("pattern [pattern ...]", "Starts to receive messages of channels by patterns."),
    channel("publish", 3, SEND, NO_KEYS, parse::publish)
        .costs("O(N+M) where N is the number of receivers and M the number of patterns")
        .help("channel message", "Sends a message to a channel."),
    channel("pubsub", -2, LISTEN, NO_KEYS, admin)
        .since("2.8.0")
        .costs("Depends on subcommand.")
        .holds(&["channels", "help", "numpat", "numsub", "shardchannels", "shardnumsub"])
        .help("subcommand [argument ...]", "Asks things of channels."),
    channel("punsubscribe", -1, LISTEN, NO_KEYS, parse::punsubscribe)
        .costs("O(N) where N is the number of patterns")
        .help("[pattern [pattern ...]]", "Stops receiving messages of channels by patterns."),
    channel("spublish", 3, SEND, ONE_KEY, parse::publish)
        .since("7.0.0")
        .costs("O(N) where N is the number of receivers")
        .help("shardchannel message", "Sends a message to a shard channel."),
    channel("ssubscribe", -2, LISTEN, ALL_KEYS, parse::ssubscribe)
        .since("7.0.0")
        .costs("O(N) where N is the number of channels")
        .help("shardchannel [shardchannel ...]", "Starts to receive messages of shard channels."),
    channel("subscribe", -2, LISTEN, NO_KEYS, parse::subscribe)
        .costs("O(N) where N is the number of channels")
        .help("channel [channel ...]", "Starts to receive messages of channels."),
    channel("sunsubscribe", -1, LISTEN, ALL_KEYS, parse::sunsubscribe)
        .since("7.0.0")
        .costs("O(N) where N is the number of channels")
        .help("[shardchannel [shardchannel ...]]", "Stops receiving messages of shard channels."),
    channel("unsubscribe", -1, LISTEN, NO_KEYS, parse::unsubscribe)
        .costs("O(N) where N is the number of channels")
        .help("[channel [channel ...]]", "Stops receiving messages of channels."),
];
