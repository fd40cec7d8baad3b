//! CLIENT: names, lists and ends connections.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use bitroster_command::{CommandError, Reply, parse_i64, table::COMMANDS};
use bytes::Bytes;

use super::{help, integer, subcommand, unknown_subcommand, utf8, wrong_arity};
use crate::{client::Client, server::Shared};

const HELP: &[&str] = &[
    "CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "CONSISTENCY [LINEARIZABLE|LEADER|STALE]",
    "    Set what reads of the current connection may miss, or return it and the largest age",
    "    in milliseconds of their answers since it was last asked.",
    "CACHING (YES|NO)",
    "    Refused: there is no tracking.",
    "GETNAME",
    "    Return the name of the current connection.",
    "GETREDIR",
    "    Return -1: there is no tracking.",
    "ID",
    "    Return the ID of the current connection.",
    "INFO",
    "    Return information about the current client connection.",
    "KILL <ip:port> | <option> ...",
    "    Kill connections. Options: ID, ADDR, LADDR, USER, TYPE, MAXAGE, SKIPME.",
    "LIST [options ...]",
    "    Return information about client connections. Options: TYPE, ID.",
    "NO-EVICT (ON|OFF)",
    "    Accepted; nothing is ever evicted.",
    "NO-TOUCH (ON|OFF)",
    "    Accepted; there is no LRU clock.",
    "PAUSE <timeout> [WRITE|ALL]",
    "    Suspend all, or just write, clients of this node for <timeout> milliseconds.",
    "REPLY (ON|OFF|SKIP)",
    "    Control the replies sent to the current connection.",
    "SETINFO <option> <value>",
    "    Set client meta attributes: LIB-NAME, LIB-VER.",
    "SETNAME <name>",
    "    Assign the name <name> to the current connection.",
    "TRACKING (ON|OFF) [...]",
    "    Refused but for OFF: keys are not tracked.",
    "TRACKINGINFO",
    "    Report that tracking is off.",
    "UNBLOCK <clientid> [TIMEOUT|ERROR]",
    "    Answers 0: no command blocks a client.",
    "UNPAUSE",
    "    Stop the current client pause, resuming traffic.",
    "HELP",
    "    Print this help.",
];

const BAD_NAME: CommandError =
    CommandError::Text("ERR Client names cannot contain spaces, newlines or special characters.");

/// Whether this is CLIENT REPLY, which the session itself obeys.
pub(crate) fn is_reply_mode(name: &str, args: &[Bytes]) -> bool {
    name == "client" && args.len() == 2 && args[0].eq_ignore_ascii_case(b"reply")
}

/// Whether this is CLIENT CONSISTENCY, which the session itself obeys.
pub(crate) fn is_consistency(name: &str, args: &[Bytes]) -> bool {
    name == "client" && args.first().is_some_and(|sub| sub.eq_ignore_ascii_case(b"consistency"))
}

/// A name for a connection, as Redis allows it: printable ASCII without spaces, or nothing.
///
/// # Errors
///
/// Redis's refusal.
pub(crate) fn check_name(name: &[u8]) -> Result<String, CommandError> {
    if name.iter().all(u8::is_ascii_graphic) { Ok(utf8(name).to_owned()) } else { Err(BAD_NAME) }
}

pub(super) fn run(shared: &Shared, me: &Client, args: &[Bytes]) -> Result<Reply, CommandError> {
    let (name, rest) = subcommand("client", args)?;
    match (name.as_str(), rest) {
        ("id", []) => Ok(Reply::Integer(integer(me.id))),
        ("getname", []) => {
            let name = me.names.lock().name.clone();
            Ok(if name.is_empty() { Reply::Nil } else { Reply::bulk(name) })
        }
        ("setname", [name]) => {
            me.names.lock().name = check_name(name)?;
            Ok(Reply::Ok)
        }
        ("setinfo", [attribute, value]) => set_info(me, attribute, value),
        ("info", []) => Ok(text(shared, &[me])),
        ("list", options) => list(shared, options),
        ("kill", [addr]) => kill_addr(shared, addr),
        ("kill", options @ [_, _, ..]) => kill(shared, me, options),
        ("no-evict" | "no-touch", [mode]) => on_or_off(mode).map(|_| Reply::Ok),
        ("tracking" | "trackinginfo" | "getredir" | "caching" | "unblock", rest) => {
            untracked(&name, rest)
        }
        ("pause", rest) => shared.pause.pause(rest),
        ("unpause", []) => Ok(shared.pause.unpause()),
        ("reply", [_]) => Err(CommandError::Syntax),
        ("help", []) => Ok(help(HELP)),
        (
            "id" | "getname" | "setname" | "setinfo" | "info" | "kill" | "no-evict" | "no-touch"
            | "unpause" | "reply" | "help",
            _,
        ) => Err(wrong_arity(&format!("client|{name}"))),
        _ => Err(unknown_subcommand("client", args)),
    }
}

/// What is said of caches that clients keep, of which the server knows nothing, and of blocked
/// clients, of which there are none.
fn untracked(name: &str, args: &[Bytes]) -> Result<Reply, CommandError> {
    match (name, args) {
        ("tracking", [mode, ..]) => {
            if on_or_off(mode)? {
                Err(CommandError::Text("ERR CLIENT TRACKING is not supported"))
            } else {
                Ok(Reply::Ok)
            }
        }
        ("trackinginfo", []) => Ok(Reply::Map(vec![
            (Reply::bulk("flags"), Reply::Set(vec![Reply::bulk("off")])),
            (Reply::bulk("redirect"), Reply::Integer(-1)),
            (Reply::bulk("prefixes"), Reply::Array(Vec::new())),
        ])),
        ("getredir", []) => Ok(Reply::Integer(-1)),
        ("caching", [mode]) => match mode.to_ascii_lowercase().as_slice() {
            b"yes" | b"no" => Err(CommandError::Text(
                "ERR CLIENT CACHING can be called only when the client is in tracking mode with \
                 OPTIN or OPTOUT mode enabled",
            )),
            _ => Err(CommandError::Syntax),
        },
        ("unblock", [id, reason @ ..]) if reason.len() <= 1 => {
            let is_known = |reason: &Bytes| {
                reason.eq_ignore_ascii_case(b"timeout") || reason.eq_ignore_ascii_case(b"error")
            };
            if !reason.iter().all(is_known) {
                return Err(CommandError::Text(
                    "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR",
                ));
            }
            parse_i64(id).map(|_| Reply::Integer(0)).ok_or(CommandError::NotAnInteger)
        }
        _ => Err(wrong_arity(&format!("client|{name}"))),
    }
}

fn on_or_off(mode: &[u8]) -> Result<bool, CommandError> {
    if mode.eq_ignore_ascii_case(b"on") {
        Ok(true)
    } else if mode.eq_ignore_ascii_case(b"off") {
        Ok(false)
    } else {
        Err(CommandError::Syntax)
    }
}

fn set_info(me: &Client, attribute: &[u8], value: &[u8]) -> Result<Reply, CommandError> {
    let attribute = String::from_utf8_lossy(attribute);
    let lower = attribute.to_ascii_lowercase();
    if !matches!(lower.as_str(), "lib-name" | "lib-ver") {
        return Err(CommandError::Message(format!("ERR Unrecognized option '{attribute}'")));
    }
    let value = check_name(value).map_err(|_| {
        CommandError::Message(format!(
            "ERR {lower} cannot contain spaces, newlines or special characters."
        ))
    })?;
    let mut names = me.names.lock();
    if lower == "lib-name" {
        names.library = value;
    } else {
        names.library_version = value;
    }
    Ok(Reply::Ok)
}

/// Lines of CLIENT LIST.
fn text(shared: &Shared, clients: &[&Client]) -> Reply {
    let mut out = String::new();
    for client in clients {
        let last = usize::from(client.last_command.load(Relaxed));
        let command = COMMANDS.get(last).map_or("NULL", |spec| spec.name);
        client.describe(shared.now_secs(), command, &client.user_name(), &mut out);
        out.push('\n');
    }
    Reply::Text(out.into())
}

fn list(shared: &Shared, options: &[Bytes]) -> Result<Reply, CommandError> {
    let clients = shared.clients.all();
    let all: Vec<&Client> = clients.iter().map(Arc::as_ref).collect();
    match options {
        [] => Ok(text(shared, &all)),
        [option, kind] if option.eq_ignore_ascii_case(b"type") => {
            let kind = ClientKind::parse(kind)?;
            let chosen: Vec<&Client> = all.into_iter().filter(|c| kind.has(c)).collect();
            Ok(text(shared, &chosen))
        }
        [option, ids @ ..] if option.eq_ignore_ascii_case(b"id") && !ids.is_empty() => {
            let ids: Vec<u64> = ids.iter().map(|id| client_id(id)).collect::<Result<_, _>>()?;
            let chosen: Vec<&Client> =
                all.into_iter().filter(|client| ids.contains(&client.id)).collect();
            Ok(text(shared, &chosen))
        }
        _ => Err(CommandError::Syntax),
    }
}

/// What Redis calls a client's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClientKind {
    Normal,
    PubSub,
    /// Replicas and masters: nodes do not come as clients.
    Nobody,
}

impl ClientKind {
    fn parse(kind: &[u8]) -> Result<Self, CommandError> {
        let kind = String::from_utf8_lossy(kind);
        match kind.to_ascii_lowercase().as_str() {
            "normal" => Ok(Self::Normal),
            "pubsub" => Ok(Self::PubSub),
            "master" | "replica" | "slave" => Ok(Self::Nobody),
            _ => Err(CommandError::Message(format!("ERR Unknown client type '{kind}'"))),
        }
    }

    fn has(self, client: &Client) -> bool {
        match self {
            Self::Normal => !client.listener.is_listening(),
            Self::PubSub => client.listener.is_listening(),
            Self::Nobody => false,
        }
    }
}

fn client_id(text: &[u8]) -> Result<u64, CommandError> {
    match utf8(text).parse() {
        Ok(id) => Ok(id),
        Err(_) => Err(CommandError::Text("ERR Invalid client ID")),
    }
}

/// The old form: by address, one client, OK or an error.
fn kill_addr(shared: &Shared, addr: &[u8]) -> Result<Reply, CommandError> {
    let addr = utf8(addr);
    let victim = shared.clients.all().into_iter().find(|client| client.addr.to_string() == addr);
    victim.map_or(Err(CommandError::Text("ERR No such client")), |client| {
        client.end();
        Ok(Reply::Ok)
    })
}

/// What CLIENT KILL's options say of a victim.
#[derive(Default)]
struct Filter {
    id: Option<u64>,
    addr: Option<String>,
    local_addr: Option<String>,
    user: Option<String>,
    age_secs_min: Option<u64>,
    kind: Option<ClientKind>,
    takes_me: bool,
}

impl Filter {
    fn parse(shared: &Shared, options: &[Bytes]) -> Result<Self, CommandError> {
        let mut filter = Self::default();
        for pair in options.chunks(2) {
            let [option, value] = pair else {
                return Err(CommandError::Syntax);
            };
            let text = utf8(value).to_owned();
            match utf8(option).to_ascii_lowercase().as_str() {
                "id" => {
                    let id = client_id(value).ok().filter(|id| *id > 0);
                    let refusal = CommandError::Text("ERR client-id should be greater than 0");
                    filter.id = Some(id.ok_or(refusal)?);
                }
                "addr" => filter.addr = Some(text),
                "laddr" => filter.local_addr = Some(text),
                "type" => filter.kind = Some(ClientKind::parse(value)?),
                "user" if shared.access().rules_of(value).is_some() => filter.user = Some(text),
                "user" => {
                    return Err(CommandError::Message(format!("ERR No such user '{text}'")));
                }
                "maxage" => {
                    let secs = text.parse().map_err(|_| CommandError::NotAnInteger)?;
                    filter.age_secs_min = Some(secs);
                }
                "skipme" if text.eq_ignore_ascii_case("yes") => filter.takes_me = false,
                "skipme" if text.eq_ignore_ascii_case("no") => filter.takes_me = true,
                _ => return Err(CommandError::Syntax),
            }
        }
        Ok(filter)
    }

    fn matches(&self, client: &Client, me: &Client, now_secs: u64) -> bool {
        self.kind.is_none_or(|kind| kind.has(client))
            && (self.takes_me || client.id != me.id)
            && self.id.is_none_or(|id| id == client.id)
            && self.user.as_ref().is_none_or(|user| *user == client.user_name())
            && self.addr.as_ref().is_none_or(|addr| *addr == client.addr.to_string())
            && self.local_addr.as_ref().is_none_or(|addr| *addr == client.local_addr.to_string())
            && self
                .age_secs_min
                .is_none_or(|secs| now_secs.saturating_sub(client.since_secs) >= secs)
    }
}

/// The new form: by options, any number of clients, how many there were.
fn kill(shared: &Shared, me: &Client, options: &[Bytes]) -> Result<Reply, CommandError> {
    let filter = Filter::parse(shared, options)?;
    let mut count = 0;
    for client in shared.clients.all() {
        if filter.matches(&client, me, shared.now_secs()) {
            client.end();
            count += 1;
        }
    }
    Ok(Reply::Integer(count))
}
