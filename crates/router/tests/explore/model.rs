//! What the keyspace is to be: a plain map, changed by the steps of a client's commands.

use std::collections::{BTreeMap, BTreeSet};

use bitroster_bitmap::Bitmap;
use bitroster_command::{
    BitLogic, Command, CommandError, Composite, Existence, Expiry, MergeMode, ReadCommand, Reply,
    SetReply, WriteCommand, composite::Ask,
};
use bitroster_types::Key;

/// A bitmap: its length in bytes and its set bits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Value {
    pub(crate) len: u64,
    pub(crate) bits: BTreeSet<u64>,
}

impl Value {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut bits = BTreeSet::new();
        for (at, byte) in (0_u64..).zip(bytes).filter(|(_, byte)| **byte != 0) {
            bits.extend((0..8).filter(|bit| byte & (0x80 >> bit) != 0).map(|bit| at * 8 + bit));
        }
        Self { len: bytes.len() as u64, bits }
    }
}

/// A key's value and when it expires.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Held {
    pub(crate) value: Value,
    pub(crate) expiry: Option<u64>,
}

/// What a client sees.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Seen {
    Ok,
    Nil,
    Integer(i64),
    Value(Value),
    /// All keys at once, when all is quiet.
    All(BTreeMap<Key, Held>),
    /// The command may or may not have been done.
    Unknown,
    /// Nothing was done.
    NotDone(String),
    Error(String),
}

impl From<Reply> for Seen {
    fn from(reply: Reply) -> Self {
        match reply {
            Reply::Ok => Self::Ok,
            Reply::Nil => Self::Nil,
            Reply::Integer(number) => Self::Integer(number),
            Reply::Bulk(bytes) => Self::Value(Value::of(&bytes)),
            Reply::Error(error) => match *error {
                CommandError::OutcomeUnknown { .. } => Self::Unknown,
                CommandError::NoLeader { .. } | CommandError::Busy(_) => {
                    Self::NotDone(error.to_string())
                }
                error => Self::Error(error.to_string()),
            },
            reply => Self::Error(format!("an odd reply: {reply:?}")),
        }
    }
}

/// A part of a command that takes effect at one instant.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// All of a command of one key.
    Whole(Command),
    /// Takes the value that a COPY, RENAME or BITOP is about to write.
    Load { logic: Option<BitLogic>, sources: Vec<Key> },
    /// Writes it.
    Store { target: Key, to: Store },
    /// Both at the same instant.
    Both(Box<Step>, Box<Step>),
    /// Removes the source of a RENAME. One that has changed since is copied again.
    Remove { source: Key, target: Key },
    /// It is this late for a key.
    Time(Key, u64),
    /// Sees everything.
    Look,
}

/// What is written, and what is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    BitOp,
    Query,
    Copy { replace: bool },
    Rename,
}

/// The steps of a command. `is_split` lets what is read and what is written lie apart.
pub(crate) fn steps(command: &Command, is_split: bool) -> Vec<Step> {
    let (load, target, to) = match command {
        Command::Write(WriteCommand::BitOp { logic, target, sources }) => {
            (Step::Load { logic: Some(*logic), sources: sources.clone() }, target, Store::BitOp)
        }
        Command::Write(WriteCommand::Copy { source, target, replace }) => {
            let load = Step::Load { logic: None, sources: vec![source.clone()] };
            (load, target, Store::Copy { replace: *replace })
        }
        Command::Write(WriteCommand::Rename { source, target, only_if_new: false }) => {
            let load = Step::Load { logic: None, sources: vec![source.clone()] };
            (load, target, Store::Rename)
        }
        Command::Composite(composite) => match &**composite {
            Composite::Query { of, ask: Ask::Store { target } } => {
                let load = Step::Load { logic: Some(BitLogic::Or), sources: of.keys.clone() };
                (load, target, Store::Query)
            }
            other => panic!("the model does not know {other:?}"),
        },
        command => return vec![Step::Whole(command.clone())],
    };
    let store = Step::Store { target: target.clone(), to };
    let mut steps =
        if is_split { vec![load, store] } else { vec![Step::Both(load.into(), store.into())] };
    if let Command::Write(WriteCommand::Rename { source, .. }) = command {
        steps.push(Step::Remove { source: source.clone(), target: target.clone() });
    }
    steps
}

/// Every key, and how late it is for each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Model {
    keys: BTreeMap<Key, Held>,
    times: BTreeMap<Key, u64>,
}

impl Model {
    /// Takes a step: what comes of it, what the command has loaded by now, and what the client is
    /// told, if this is the step that decides it.
    pub(crate) fn after(
        &self,
        step: &Step,
        loaded: &Option<Held>,
    ) -> (Self, Option<Held>, Option<Seen>) {
        let mut model = self.clone();
        let mut loaded = loaded.clone();
        let seen = match step {
            Step::Whole(command) => Some(model.run(command)),
            Step::Load { logic, sources } => {
                loaded = model.load(*logic, sources);
                None
            }
            Step::Store { target, to } => Some(model.store(target, *to, loaded.as_ref())),
            Step::Both(load, store) => {
                let (model, loaded, _) = self.after(load, &loaded);
                return model.after(store, &loaded);
            }
            Step::Remove { source, .. } => {
                model.keys.remove(source);
                None
            }
            Step::Time(key, time) => {
                model.times.insert(key.clone(), *time);
                model.reap(key);
                None
            }
            Step::Look => Some(Seen::All(model.keys.clone())),
        };
        (model, loaded, seen)
    }

    /// What has to be done again before a step can be taken: the copy of a source that has changed.
    pub(crate) fn again(&self, step: &Step, loaded: &Option<Held>) -> Option<Step> {
        let Step::Remove { source, target } = step else { return None };
        let held = self.keys.get(source);
        (held.is_some() && held != loaded.as_ref()).then(|| {
            let load = Step::Load { logic: None, sources: vec![source.clone()] };
            let store = Step::Store { target: target.clone(), to: Store::Rename };
            Step::Both(load.into(), store.into())
        })
    }

    fn reap(&mut self, key: &Key) {
        let now = self.times.get(key).copied().unwrap_or(0);
        if self.keys.get(key).is_some_and(|held| held.expiry.is_some_and(|at| at <= now)) {
            self.keys.remove(key);
        }
    }

    fn load(&self, logic: Option<BitLogic>, sources: &[Key]) -> Option<Held> {
        let Some(logic) = logic else { return self.keys.get(&sources[0]).cloned() };
        let of = |key| self.keys.get(key).map(|held: &Held| held.value.clone()).unwrap_or_default();
        let (first, others) = sources.split_first().unwrap();
        let mut value = of(first);
        for other in others.iter().map(of) {
            value.len = value.len.max(other.len);
            match logic {
                BitLogic::Or => value.bits.extend(&other.bits),
                BitLogic::And => value.bits.retain(|bit| other.bits.contains(bit)),
                logic => panic!("the model knows no {logic:?}"),
            }
        }
        (value.len > 0).then_some(Held { value, expiry: None })
    }

    fn store(&mut self, target: &Key, to: Store, loaded: Option<&Held>) -> Seen {
        if let Store::Copy { replace: false } = to
            && self.keys.contains_key(target)
        {
            return Seen::Integer(0);
        }
        if let Some(held) = loaded {
            self.keys.insert(target.clone(), held.clone());
            self.reap(target);
        }
        match (to, loaded) {
            (Store::BitOp, Some(held)) => Seen::Integer(held.value.len.cast_signed()),
            (Store::Query, Some(held)) => {
                Seen::Integer(i64::try_from(held.value.bits.len()).unwrap())
            }
            (Store::BitOp | Store::Query, None) => {
                self.keys.remove(target);
                Seen::Integer(0)
            }
            (Store::Copy { .. }, held) => Seen::Integer(held.is_some().into()),
            (Store::Rename, Some(_)) => Seen::Ok,
            (Store::Rename, None) => Seen::Error(CommandError::NO_SUCH_KEY.to_string()),
        }
    }

    /// Runs a command of one key.
    pub(crate) fn run(&mut self, command: &Command) -> Seen {
        match command {
            Command::Read(read) => self.read(read),
            Command::Write(write) => self.write(write),
            Command::Composite(_) | Command::Session(_) => panic!("not about keys"),
        }
    }

    fn read(&self, read: &ReadCommand) -> Seen {
        let value = |key: &Key| self.keys.get(key).map(|held| &held.value);
        let length = |len: usize| Seen::Integer(i64::try_from(len).unwrap());
        match read {
            ReadCommand::GetBit { key, offset } => {
                Seen::Integer(value(key).is_some_and(|value| value.bits.contains(offset)).into())
            }
            ReadCommand::BitCount { key, range: None } => {
                length(value(key).map_or(0, |value| value.bits.len()))
            }
            ReadCommand::Get { key } => value(key).cloned().map_or(Seen::Nil, Seen::Value),
            ReadCommand::StrLen { key } => {
                Seen::Integer(value(key).map_or(0, |value| value.len.cast_signed()))
            }
            ReadCommand::Exists { keys } => {
                length(keys.iter().filter(|key| value(key).is_some()).count())
            }
            ReadCommand::Ttl { key, .. } => Seen::Integer(match self.keys.get(key) {
                None => -2,
                Some(held) => held.expiry.map_or(-1, u64::cast_signed),
            }),
            other => panic!("the model does not know {other:?}"),
        }
    }

    fn write(&mut self, write: &WriteCommand) -> Seen {
        match write {
            WriteCommand::SetBit { key, offset, value } => {
                let held = &mut self.keys.entry(key.clone()).or_default().value;
                held.len = held.len.max(offset / 8 + 1);
                let old =
                    if *value { !held.bits.insert(*offset) } else { held.bits.remove(offset) };
                Seen::Integer(old.into())
            }
            WriteCommand::Delete { keys } => {
                let gone = keys.iter().filter(|key| self.keys.remove(*key).is_some()).count();
                Seen::Integer(i64::try_from(gone).unwrap())
            }
            WriteCommand::GetDel { key } => {
                self.keys.remove(key).map_or(Seen::Nil, |held| Seen::Value(held.value))
            }
            WriteCommand::Set { key, value, existence, expiry, reply } => {
                self.set(key, value, *existence, *expiry, *reply)
            }
            WriteCommand::Expire { key, expiry, .. } => {
                let Some(held) = self.keys.get_mut(key) else { return Seen::Integer(0) };
                held.expiry = expiry_of(*expiry, None);
                self.reap(key);
                Seen::Integer(1)
            }
            WriteCommand::Persist { key } => {
                let held = self.keys.get_mut(key);
                Seen::Integer(held.is_some_and(|held| held.expiry.take().is_some()).into())
            }
            WriteCommand::Merge { key, mode, bits } => self.merge(key, *mode, bits),
            other => panic!("the model does not know {other:?}"),
        }
    }

    fn merge(&mut self, key: &Key, mode: MergeMode, bits: &[u8]) -> Seen {
        let set = Bitmap::decode(bits).unwrap();
        if mode == MergeMode::AndNot && !self.keys.contains_key(key) {
            return Seen::Integer(0);
        }
        let held = &mut self.keys.entry(key.clone()).or_default().value;
        if mode != MergeMode::AndNot {
            held.len = held.len.max(set.len_bytes());
        }
        let mut changed = 0;
        for bit in set.iter_set(0..u64::MAX) {
            let is_set = held.bits.contains(&bit);
            changed += match mode {
                MergeMode::Or => i64::from(held.bits.insert(bit)),
                MergeMode::AndNot => i64::from(held.bits.remove(&bit)),
                MergeMode::Xor if is_set => i64::from(held.bits.remove(&bit)),
                MergeMode::Xor => i64::from(held.bits.insert(bit)),
            };
        }
        Seen::Integer(changed)
    }

    fn set(
        &mut self,
        key: &Key,
        value: &[u8],
        existence: Option<Existence>,
        expiry: Expiry,
        reply: SetReply,
    ) -> Seen {
        let old = self.keys.get(key).cloned();
        let is_done = match existence {
            Some(Existence::IfAbsent) => old.is_none(),
            Some(Existence::IfPresent) => old.is_some(),
            None => true,
        };
        if is_done {
            let expiry = expiry_of(expiry, old.as_ref().and_then(|held| held.expiry));
            self.keys.insert(key.clone(), Held { value: Value::of(value), expiry });
            self.reap(key);
        }
        match reply {
            SetReply::Status => {
                if is_done {
                    Seen::Ok
                } else {
                    Seen::Nil
                }
            }
            SetReply::Changed => Seen::Integer(is_done.into()),
            SetReply::Old => old.map_or(Seen::Nil, |held| Seen::Value(held.value)),
        }
    }
}

/// When a value expires; relative times would depend on the clock on the wall.
fn expiry_of(expiry: Expiry, old: Option<u64>) -> Option<u64> {
    match expiry {
        Expiry::Clear => None,
        Expiry::Keep => old,
        Expiry::At(time) => Some(time.0),
        Expiry::In(_) => panic!("scenarios name instants"),
    }
}
