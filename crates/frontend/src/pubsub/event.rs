//! What a command did to a key, as keyspace notifications tell it.
//!
//! A session learns from a write and its reply what changed. So only commands that passed through
//! this node are told of, expiries by time are not, and where one reply stands for several keys
//! (`DEL a b` answers 1) all of them are named.

use bitroster_command::{
    Command, Composite, Existence, Expiry, ReadCommand, Reply, SetReply, WriteCommand,
    composite::Ask,
};
use bitroster_types::Key;
use bytes::Bytes;
use smallvec::{SmallVec, smallvec};

use super::notify::Class;

/// When a reply means that something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// Any reply but an error.
    Done,
    /// An integer above 0.
    Positive,
    /// OK, or 1.
    Agreed,
    /// Anything but nil.
    Present,
    /// Nil.
    Missing,
}

impl When {
    fn holds(self, reply: &Reply) -> bool {
        match self {
            Self::Done => !reply.is_error(),
            Self::Positive => matches!(reply, Reply::Integer(1..)),
            Self::Agreed => matches!(reply, Reply::Ok | Reply::Integer(1)),
            Self::Present => !reply.is_error() && *reply != Reply::Nil,
            Self::Missing => *reply == Reply::Nil,
        }
    }
}

/// One event that a reply may confirm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) class: Class,
    pub(crate) name: &'static str,
    pub(crate) key: Key,
    when: When,
}

/// The events of one command.
pub(crate) type Events = SmallVec<[Event; 2]>;

impl Event {
    /// Whether `reply` confirms it.
    pub(crate) fn is_confirmed(&self, reply: &Reply) -> bool {
        self.when.holds(reply)
    }
}

fn string(name: &'static str, key: &Key, when: When) -> Event {
    Event { class: Class::STRING, name, key: key.clone(), when }
}

fn generic(name: &'static str, key: &Key, when: When) -> Event {
    Event { class: Class::GENERIC, name, key: key.clone(), when }
}

/// What `command` may do. Redis: the calls of `notifyKeyspaceEvent`.
pub(crate) fn of(command: &Command) -> Events {
    match command {
        Command::Write(write) => of_write(write),
        Command::Composite(composite) => of_composite(composite),
        Command::Read(ReadCommand::Get { key }) => {
            let class = Class::MISS;
            smallvec![Event { class, name: "keymiss", key: key.clone(), when: When::Missing }]
        }
        Command::Read(_) | Command::Session(_) => Events::new(),
    }
}

fn of_write(write: &WriteCommand) -> Events {
    match write {
        WriteCommand::SetBit { key, .. }
        | WriteCommand::BitField { key, .. }
        | WriteCommand::Touch { key, .. } => smallvec![string("setbit", key, When::Done)],
        WriteCommand::Merge { key, .. } => smallvec![string("setbit", key, When::Positive)],
        WriteCommand::BitOp { target, .. } => smallvec![string("set", target, When::Positive)],
        WriteCommand::Set { key, expiry, existence, reply, .. } => {
            let when = match reply {
                SetReply::Status | SetReply::Changed => When::Agreed,
                SetReply::Old => match existence {
                    None => When::Done,
                    Some(Existence::IfPresent) => When::Present,
                    Some(Existence::IfAbsent) => When::Missing,
                },
            };
            let mut events: Events = smallvec![string("set", key, when)];
            events.extend(of_expiry(key, *expiry, when));
            events
        }
        WriteCommand::GetDel { key } => smallvec![generic("del", key, When::Present)],
        WriteCommand::GetEx { key, expiry } => match expiry {
            Expiry::Clear => smallvec![generic("persist", key, When::Present)],
            Expiry::Keep | Expiry::In(_) | Expiry::At(_) => {
                of_expiry(key, *expiry, When::Present).into_iter().collect()
            }
        },
        WriteCommand::MSet { pairs, .. } => {
            pairs.iter().map(|(key, _)| string("set", key, When::Agreed)).collect()
        }
        WriteCommand::Append { key, .. } => smallvec![string("append", key, When::Done)],
        // An empty value changes nothing, and the reply does not say so.
        WriteCommand::SetRange { value, .. } if value.is_empty() => Events::new(),
        WriteCommand::SetRange { key, .. } => smallvec![string("setrange", key, When::Done)],
        WriteCommand::IncrBy { key, .. } => smallvec![string("incrby", key, When::Done)],
        WriteCommand::Delete { keys } => {
            keys.iter().map(|key| generic("del", key, When::Positive)).collect()
        }
        WriteCommand::Expire { key, .. } => smallvec![generic("expire", key, When::Agreed)],
        WriteCommand::Persist { key } => smallvec![generic("persist", key, When::Agreed)],
        WriteCommand::Rename { source, target, .. } => smallvec![
            generic("rename_from", source, When::Agreed),
            generic("rename_to", target, When::Agreed)
        ],
        WriteCommand::Copy { target, .. } => smallvec![generic("copy_to", target, When::Agreed)],
        WriteCommand::Restore { key, .. } => smallvec![generic("restore", key, When::Agreed)],
        WriteCommand::Flush | WriteCommand::AssignIds { .. } | WriteCommand::DropSpace { .. } => {
            Events::new()
        }
    }
}

fn of_expiry(key: &Key, expiry: Expiry, when: When) -> Option<Event> {
    matches!(expiry, Expiry::In(_) | Expiry::At(_)).then(|| generic("expire", key, when))
}

fn of_composite(composite: &Composite) -> Events {
    match composite {
        Composite::Query { ask: Ask::Store { target }, .. }
        | Composite::Window { ask: Ask::Store { target }, .. } => {
            smallvec![string("set", target, When::Positive)]
        }
        Composite::SetNames { key, .. } => smallvec![string("setbit", key, When::Positive)],
        Composite::Import { key, mode, .. } => {
            let name = if mode.is_some() { "setbit" } else { "set" };
            smallvec![string(name, key, When::Positive)]
        }
        // The keys of these are known to the router alone.
        Composite::Mark { .. } | Composite::Purge { .. } => Events::new(),
        Composite::Query { .. }
        | Composite::Window { .. }
        | Composite::GetBits { .. }
        | Composite::Rank { .. }
        | Composite::Compare { .. }
        | Composite::Info { .. }
        | Composite::Retention { .. }
        | Composite::TopK { .. }
        | Composite::Online { .. }
        | Composite::Export { .. }
        | Composite::SpaceList
        | Composite::Prefixes { .. }
        | Composite::Dump { .. }
        | Composite::MemoryUsage { .. }
        | Composite::ObjectEncoding { .. } => Events::new(),
    }
}

/// The channels and messages that tell of an event.
pub(crate) fn messages(event: &Event, classes: Class) -> Vec<(Bytes, Bytes)> {
    if !classes.tells(event.class) {
        return Vec::new();
    }
    let told = classes.messages(event.name, event.key.as_bytes());
    told.into_iter().map(|(channel, message)| (channel.into(), message.into())).collect()
}

#[cfg(test)]
mod tests {
    use bitroster_command::{ParseLimits, parse};

    use super::*;

    /// What listeners to everything hear of a request that was answered so.
    fn heard(request: &str, reply: &Reply) -> Vec<String> {
        let args: Vec<&[u8]> = request.split(' ').map(str::as_bytes).collect();
        let command = parse(&args, &ParseLimits::default()).unwrap();
        let classes = Class::parse("EAm").unwrap();
        let confirmed = of(&command).into_iter().filter(|event| event.is_confirmed(reply));
        let told: Vec<_> = confirmed.flat_map(|event| messages(&event, classes)).collect();
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        told.iter()
            .map(|(channel, message)| {
                format!("{} {}", text(channel).trim_start_matches("__keyevent@0__:"), text(message))
            })
            .collect()
    }

    #[test]
    fn a_reply_says_what_happened() {
        assert_eq!(heard("SETBIT k 1 1", &Reply::Integer(0)), ["setbit k"]);
        assert_eq!(heard("SET k v EX 5", &Reply::Ok), ["set k", "expire k"]);
        assert!(heard("SET k v NX", &Reply::Nil).is_empty());
        assert_eq!(heard("SET k v NX GET", &Reply::Nil), ["set k"]);
        assert!(heard("SET k v NX GET", &Reply::bulk("old")).is_empty());
        assert!(heard("SETNX k v", &Reply::Integer(0)).is_empty());
        assert_eq!(heard("GETSET k v", &Reply::Nil), ["set k"]);
        assert_eq!(heard("DEL a b", &Reply::Integer(1)), ["del a", "del b"]);
        assert!(heard("DEL a b", &Reply::Integer(0)).is_empty());
        assert_eq!(heard("RENAME a b", &Reply::Ok), ["rename_from a", "rename_to b"]);
        assert_eq!(heard("BITOP AND d a b", &Reply::Integer(4)), ["set d"]);
        assert_eq!(heard("GET k", &Reply::Nil), ["keymiss k"]);
        assert!(heard("GET k", &Reply::bulk("v")).is_empty());
        assert!(heard("SETRANGE k 0 ", &Reply::Integer(3)).is_empty());
        assert_eq!(heard("EXPIRE k 5", &Reply::Integer(1)), ["expire k"]);
    }

    #[test]
    fn classes_that_are_off_are_not_told() {
        let key = Key::new(b"k").unwrap();
        let event = string("set", &key, When::Done);
        let count = |letters| messages(&event, Class::parse(letters).unwrap()).len();
        assert_eq!((count("Kg"), count("K$"), count("KE$")), (0, 1, 2));
    }
}
