//! What a session answers by itself.

use bitroster_types::Key;
use bytes::Bytes;

/// A request about the connection, the server or a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionCommand {
    /// `PING [message]`
    Ping {
        /// What to echo.
        message: Option<Bytes>,
    },
    /// `ECHO message`
    Echo {
        /// What to echo.
        message: Bytes,
    },
    /// `HELLO [version [AUTH user password] [SETNAME name]]`
    Hello {
        /// The protocol asked for.
        version: Option<i64>,
        /// User and password.
        auth: Option<(Bytes, Bytes)>,
        /// The connection's name.
        name: Option<Bytes>,
    },
    /// `AUTH [user] password`
    Auth {
        /// The user; `default` where absent.
        user: Option<Bytes>,
        /// The password.
        password: Bytes,
    },
    /// `SELECT index`
    Select {
        /// The database.
        index: i64,
    },
    /// `QUIT`
    Quit,
    /// `RESET`
    Reset,
    /// `MULTI`
    Multi,
    /// `EXEC`
    Exec,
    /// `DISCARD`
    Discard,
    /// `WATCH key [key ...]`
    Watch {
        /// The keys.
        keys: Vec<Key>,
    },
    /// `UNWATCH`
    Unwatch,
    /// `TIME`
    Time,
    /// `WAIT replicas timeout`
    Wait {
        /// Replicas asked for.
        replicas: i64,
        /// Milliseconds.
        timeout_ms: i64,
    },
    /// `INFO [section ...]`
    Info {
        /// The sections, lower case.
        sections: Vec<String>,
    },
    /// `SUBSCRIBE channel [channel ...]`, `PSUBSCRIBE`, `SSUBSCRIBE`
    Subscribe {
        /// Channels or patterns; at least one.
        channels: Vec<Bytes>,
        /// They are glob patterns.
        patterned: bool,
        /// They are shard channels.
        sharded: bool,
    },
    /// `UNSUBSCRIBE [channel ...]`, `PUNSUBSCRIBE`, `SUNSUBSCRIBE`
    Unsubscribe {
        /// Channels or patterns; none: all of their kind.
        channels: Vec<Bytes>,
        /// They are glob patterns.
        patterned: bool,
        /// They are shard channels.
        sharded: bool,
    },
    /// `PUBLISH channel message`, `SPUBLISH`
    Publish {
        /// The channel.
        channel: Bytes,
        /// The message.
        message: Bytes,
        /// It is a shard channel.
        sharded: bool,
    },
    /// A command whose sub-commands the session interprets: CLIENT, COMMAND, CONFIG, CLUSTER,
    /// BGSAVE and the like.
    Admin {
        /// The command's name, lower case, as in the table.
        name: &'static str,
        /// All arguments after the name.
        args: Vec<Bytes>,
    },
}
