//! Who does what to which keys, and what may go wrong meanwhile.

use std::collections::{BTreeMap, BTreeSet};

use bitroster_bitmap::{Bitmap, Formula, Step as FormulaStep};
use bitroster_command::{
    BitLogic, Command, Composite, Existence, Expiry, ExpiryCondition, MergeMode, ReadCommand,
    SetReply, TimeForm, WriteCommand, WriteOp,
    composite::{Ask, Expression},
};
use bitroster_engine::{Engine, EngineConfig};
use bitroster_placement::{ClusterMap, slot_of, slot_of_key};
use bitroster_types::{
    GroupId, Key, LogIndex, Segment, SegmentWidth, Slot, UnixMillis,
    limits::SHORT_RESULT_OPERANDS_MIN,
};
use bytes::Bytes;

use super::{
    model::{Model, Step, Value, steps},
    world::{World, cut},
};

/// Segments of one container: the smallest there are.
const WIDTH: SegmentWidth = SegmentWidth::from_log2(16).unwrap();

/// The time at which everything begins: later than a router's clock on the wall, so that none takes
/// an expiry for over.
pub(crate) const START: u64 = 4_000_000_000_000;

/// How many keys and later segments there are.
const NAMES: usize = 16;
const SEGMENTS: u32 = 16;

fn names() -> impl Iterator<Item = Key> {
    (0..).map(|at: u32| Key::new(format!("k{at}").as_bytes()).unwrap())
}

/// Clients at work at the same time.
#[derive(Clone)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) map: ClusterMap,
    pub(crate) config: BTreeMap<GroupId, EngineConfig>,
    /// What is there when they begin.
    pub(crate) base: BTreeMap<GroupId, Vec<u8>>,
    pub(crate) model: Model,
    pub(crate) keys: Vec<Key>,
    pub(crate) clients: Vec<Vec<Command>>,
    /// The steps of each command of each client.
    pub(crate) steps: Vec<Vec<Vec<Step>>>,
    /// The commands' texts, for people.
    pub(crate) names: Vec<Vec<String>>,
    /// The steps of time, by jump and key.
    pub(crate) time_steps: Vec<Vec<Step>>,
    /// The bits that any command names.
    pub(crate) bits: BTreeSet<u64>,
    /// Most faults of one execution.
    pub(crate) faults: u32,
    /// Times that the clocks of all groups jump to.
    pub(crate) jumps: Vec<u64>,
    /// How often home's leaders may set out to finish what is pending while clients are at work.
    pub(crate) finishers: u32,
    /// Whether those take what routers are at work on for old.
    pub(crate) is_hasty: bool,
    /// Whether a copy may be of an earlier moment than it appears at.
    pub(crate) is_split: bool,
}

impl Scenario {
    /// An empty cluster of this many groups without clients.
    pub(crate) fn new(name: &'static str, groups: u16) -> Self {
        let groups: Vec<GroupId> = (1..=groups).map(GroupId).collect();
        let map = ClusterMap::plan(&groups, WIDTH);
        // The slots that scenarios use: a state is then a few hundred bytes.
        let mut slots: Vec<Slot> = names().take(NAMES).map(|key| slot_of_key(&key)).collect();
        slots.extend((1..=SEGMENTS).map(|segment| slot_of(b"", Segment(segment))));
        slots.sort_unstable();
        slots.dedup();
        let (mut base, mut config) = (BTreeMap::new(), BTreeMap::new());
        for group in groups {
            let one = EngineConfig { group, width: WIDTH, value_bytes_max: 1 << 20 };
            let mut engine = Engine::new(one.clone());
            engine.begin(LogIndex(1), UnixMillis(START));
            let slots = slots.iter().copied().filter(|slot| map.owner(*slot) == group).collect();
            engine.apply(&WriteOp::Adopt { slots });
            engine.end();
            base.insert(group, bytes_of(&engine));
            config.insert(group, one);
        }
        Self {
            name,
            map,
            config,
            base,
            model: Model::default(),
            keys: Vec::new(),
            clients: Vec::new(),
            steps: Vec::new(),
            names: Vec::new(),
            time_steps: Vec::new(),
            bits: BTreeSet::new(),
            faults: 0,
            jumps: Vec::new(),
            finishers: 0,
            is_hasty: false,
            is_split: false,
        }
    }

    /// A key whose home is this group; `nth` tells keys of one home apart.
    pub(crate) fn key(&mut self, home: u16, nth: usize) -> Key {
        let mut keys = names().take(NAMES).filter(|key| self.map.home(key) == GroupId(home));
        let key = keys.nth(nth).unwrap();
        if !self.keys.contains(&key) {
            self.keys.push(key.clone());
        }
        key
    }

    /// The first bit of a later segment of this group.
    pub(crate) fn bit_in(&self, group: u16) -> u64 {
        let lies_there = |segment: &u32| self.map.group_of(b"k", Segment(*segment)).0 == group;
        WIDTH.start_of(Segment((1..=SEGMENTS).find(lies_there).unwrap()))
    }

    /// The first bit of the last segment: two keys that reach it are together as long as operands
    /// must be for groups to be asked for short results.
    pub(crate) fn last_bit(&self) -> u64 {
        let bit = WIDTH.start_of(Segment(SEGMENTS));
        assert!(2 * (bit / 8 + 1) >= SHORT_RESULT_OPERANDS_MIN);
        bit
    }

    /// Does this before everything else.
    pub(crate) fn after(mut self, commands: impl IntoIterator<Item = Command>) -> Self {
        for command in commands {
            let mut world = World::new(&self);
            world.run_alone(command.clone());
            let base = world.engines().map(|(group, engine)| (group, bytes_of(engine))).collect();
            let mut loaded = None;
            for step in steps(&command, false) {
                (self.model, loaded, _) = self.model.after(&step, &loaded);
            }
            self.base = base;
            self.bits.extend(bits_of(&command));
        }
        self
    }

    /// Adds a client that does this, one after the other.
    pub(crate) fn client(mut self, commands: impl IntoIterator<Item = Command>) -> Self {
        self.clients.push(commands.into_iter().collect());
        self
    }

    /// Lets so much go wrong in one execution.
    pub(crate) fn faults(mut self, faults: u32) -> Self {
        self.faults = faults;
        self
    }

    /// Lets the clocks jump to this many milliseconds after the start.
    pub(crate) fn jump(mut self, millis: u64) -> Self {
        self.jumps.push(START + millis);
        self
    }

    /// Lets what is copied be read earlier than it is written.
    pub(crate) fn split(mut self) -> Self {
        self.is_split = true;
        self
    }

    /// Works out what every execution needs.
    pub(crate) fn prepare(&mut self) {
        let commands = self.clients.iter().flatten();
        self.bits.extend(commands.flat_map(bits_of));
        let is_split = self.is_split;
        let steps_of = |commands: &Vec<Command>| {
            commands.iter().map(|command| steps(command, is_split)).collect()
        };
        self.steps = self.clients.iter().map(steps_of).collect();
        let names_of = |(at, commands): (usize, &Vec<Command>)| {
            commands.iter().map(|command| format!("client {at}: {}", cut(command))).collect()
        };
        self.names = self.clients.iter().enumerate().map(names_of).collect();
        let at = |time: &u64| self.keys.iter().map(|key| Step::Time(key.clone(), *time)).collect();
        self.time_steps = self.jumps.iter().map(at).collect();
    }
}

/// The bits that a command names.
fn bits_of(command: &Command) -> Vec<u64> {
    match command {
        Command::Read(ReadCommand::GetBit { offset, .. })
        | Command::Write(WriteCommand::SetBit { offset, .. }) => vec![*offset],
        Command::Write(WriteCommand::Merge { bits, .. }) => {
            Bitmap::decode(bits).unwrap().iter_set(0..u64::MAX).collect()
        }
        Command::Write(WriteCommand::Set { value, .. }) => {
            Value::of(value).bits.into_iter().collect()
        }
        _ => Vec::new(),
    }
}

/// An engine's whole state.
pub(crate) fn bytes_of(engine: &Engine) -> Vec<u8> {
    let mut bytes = Vec::new();
    engine.snapshot().write_to(&mut bytes).unwrap();
    bytes
}

pub(crate) fn set_bit(key: &Key, offset: u64) -> Command {
    Command::Write(WriteCommand::SetBit { key: key.clone(), offset, value: true })
}

pub(crate) fn get_bit(key: &Key, offset: u64) -> Command {
    Command::Read(ReadCommand::GetBit { key: key.clone(), offset })
}

pub(crate) fn get(key: &Key) -> Command {
    Command::Read(ReadCommand::Get { key: key.clone() })
}

pub(crate) fn count(key: &Key) -> Command {
    Command::Read(ReadCommand::BitCount { key: key.clone(), range: None })
}

pub(crate) fn length(key: &Key) -> Command {
    Command::Read(ReadCommand::StrLen { key: key.clone() })
}

pub(crate) fn exists(key: &Key) -> Command {
    Command::Read(ReadCommand::Exists { keys: vec![key.clone()] })
}

pub(crate) fn expiry_time(key: &Key) -> Command {
    let form = TimeForm { millis: true, absolute: true };
    Command::Read(ReadCommand::Ttl { key: key.clone(), form })
}

pub(crate) fn delete(key: &Key) -> Command {
    Command::Write(WriteCommand::Delete { keys: vec![key.clone()] })
}

pub(crate) fn get_delete(key: &Key) -> Command {
    Command::Write(WriteCommand::GetDel { key: key.clone() })
}

/// A value with exactly these bits, which are multiples of eight.
fn value_of(bits: &[u64]) -> Bytes {
    let len = bits.iter().max().map_or(0, |last| last / 8 + 1);
    let mut value = vec![0; usize::try_from(len).unwrap()];
    for bit in bits {
        value[usize::try_from(bit / 8).unwrap()] |= 0x80_u8 >> (bit % 8);
    }
    value.into()
}

pub(crate) fn set(key: &Key, bits: &[u64]) -> Command {
    let (existence, expiry, reply) = (None, Expiry::Clear, SetReply::Status);
    Command::Write(WriteCommand::Set {
        key: key.clone(),
        value: value_of(bits),
        existence,
        expiry,
        reply,
    })
}

pub(crate) fn set_if_absent(key: &Key, bits: &[u64]) -> Command {
    let (existence, expiry, reply) = (Some(Existence::IfAbsent), Expiry::Clear, SetReply::Status);
    Command::Write(WriteCommand::Set {
        key: key.clone(),
        value: value_of(bits),
        existence,
        expiry,
        reply,
    })
}

pub(crate) fn expire(key: &Key, millis: u64) -> Command {
    let expiry = Expiry::At(UnixMillis(START + millis));
    let condition = ExpiryCondition::default();
    Command::Write(WriteCommand::Expire { key: key.clone(), expiry, condition })
}

pub(crate) fn persist(key: &Key) -> Command {
    Command::Write(WriteCommand::Persist { key: key.clone() })
}

pub(crate) fn union(target: &Key, sources: &[&Key]) -> Command {
    combination(BitLogic::Or, target, sources)
}

pub(crate) fn intersection(target: &Key, sources: &[&Key]) -> Command {
    combination(BitLogic::And, target, sources)
}

fn combination(logic: BitLogic, target: &Key, sources: &[&Key]) -> Command {
    let sources = sources.iter().map(|key| (*key).clone()).collect();
    Command::Write(WriteCommand::BitOp { logic, target: target.clone(), sources })
}

/// Stores the union of keys by an expression.
pub(crate) fn store(target: &Key, sources: &[&Key]) -> Command {
    let operands = (0..u16::try_from(sources.len()).unwrap()).map(FormulaStep::Operand);
    let joins = std::iter::repeat_n(FormulaStep::Or, sources.len() - 1);
    let formula = Formula::new(operands.chain(joins).collect(), sources.len()).unwrap();
    let of = Expression { formula, keys: sources.iter().map(|key| (*key).clone()).collect() };
    let ask = Ask::Store { target: target.clone() };
    Command::Composite(Composite::Query { of, ask }.into())
}

/// Changes bits of one segment at once.
pub(crate) fn merge(key: &Key, mode: MergeMode, offsets: &[u64]) -> Command {
    let mut bits = Vec::new();
    Bitmap::from_offsets(offsets).encode(&mut bits);
    Command::Write(WriteCommand::Merge { key: key.clone(), mode, bits: bits.into() })
}

pub(crate) fn rename(source: &Key, target: &Key) -> Command {
    let (source, target) = (source.clone(), target.clone());
    Command::Write(WriteCommand::Rename { source, target, only_if_new: false })
}

pub(crate) fn copy(source: &Key, target: &Key) -> Command {
    let (source, target) = (source.clone(), target.clone());
    Command::Write(WriteCommand::Copy { source, target, replace: true })
}
