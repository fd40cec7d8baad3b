//! Several groups and the smallest router that uses the protocols between them, one step after
//! the other. What it cannot do alone it does the long way: gather, let the twin do it, publish.

use std::collections::BTreeMap;

use bitroster_bitmap::{BitOp, Bitmap};
use bitroster_command::{
    BitLogic, Change, Grant, Header, MergeMode, Op, Outcome, PartQuery, ReadCommand, ReadOp, Reply,
    Seen, SourceRef, StageFrom, WriteCommand, WriteOp,
};
use bitroster_engine::{Engine, EngineConfig};
use bitroster_placement::ClusterMap;
use bitroster_types::{GroupId, Key, LogIndex, SegmentWidth, UnixMillis, Version};
use bytes::Bytes;

use super::{START, apply, is_walk, twin::Twin};

pub struct Cluster {
    pub engines: BTreeMap<GroupId, Engine>,
    pub map: ClusterMap,
    pub now: UnixMillis,
}

impl Cluster {
    pub fn new(groups: u16) -> Self {
        let width = SegmentWidth::from_log2(16).unwrap();
        let groups: Vec<GroupId> = (1..=groups).map(GroupId).collect();
        let map = ClusterMap::plan(&groups, width);
        let engines = groups.iter().map(|g| (*g, Engine::new(EngineConfig::new(*g, width))));
        let mut cluster = Self { engines: engines.collect(), map, now: START };
        for group in groups {
            let slots = cluster.map.slots_of(group);
            assert_eq!(cluster.write(group, WriteOp::Adopt { slots }), Reply::Ok.into());
        }
        cluster
    }

    pub fn write(&mut self, group: GroupId, op: WriteOp) -> Outcome {
        let engine = self.engines.get_mut(&group).unwrap();
        engine.begin(LogIndex(engine.applied().0 + 1), self.now);
        let outcome = apply(engine, &op);
        engine.end();
        outcome
    }

    pub fn read(&mut self, group: GroupId, op: &ReadOp) -> Outcome {
        if is_walk(op) && self.engines[&group].time() < self.now {
            self.write(group, WriteOp::Tick);
        }
        match self.engines[&group].read(op, self.now) {
            Outcome::Tick => {
                self.write(group, WriteOp::Tick);
                self.engines[&group].read(op, self.now)
            }
            outcome => outcome,
        }
    }

    pub fn home(&self, key: &Key) -> GroupId {
        self.map.home(key)
    }

    /// Does what a router does with an op that a group may do alone, up to the answer.
    fn send(&mut self, group: GroupId, op: &Op) -> Outcome {
        let outcome = match op {
            Op::Read(read) => self.read(group, read),
            Op::Write(write) => self.write(group, write.clone()),
        };
        match outcome {
            Outcome::AskHome => {
                let Op::Write(WriteOp::Command(command)) = op else { return Outcome::AskHome };
                let key = keys_of(op).remove(0);
                let only_clears =
                    matches!(command, WriteCommand::Merge { mode: MergeMode::AndNot, .. });
                let has_part = |header: Header| header.spread.contains(&group);
                if only_clears && !self.header(&key).is_some_and(has_part) {
                    return Reply::Integer(0).into();
                }
                let grant = self.enlist(&key, group);
                let op = WriteOp::Granted { grant, command: command.clone() };
                self.send(group, &Op::Write(op))
            }
            outcome => outcome,
        }
    }

    pub fn enlist(&mut self, key: &Key, group: GroupId) -> Grant {
        match self.write(self.home(key), WriteOp::Enlist { key: key.clone(), group }) {
            Outcome::Granted(grant) => grant,
            other => panic!("enlisting answered {other:?}"),
        }
    }

    /// The reply to a client's command.
    pub fn run(&mut self, op: &Op) -> Reply {
        if let Op::Read(ReadOp::Command(ReadCommand::DbSize)) = op {
            let groups: Vec<GroupId> = self.engines.keys().copied().collect();
            let sizes = groups.iter().map(|group| match self.send(*group, op) {
                Outcome::Reply(Reply::Integer(size)) => size,
                other => panic!("DBSIZE answered {other:?}"),
            });
            return Reply::Integer(sizes.sum());
        }
        let group = self.group_of(op);
        let was_first = match op {
            // Whose reply is the length of the whole key.
            Op::Write(WriteOp::Command(WriteCommand::SetRange { key, .. })) => Some(key.clone()),
            _ => None,
        };
        match (self.send(group, op), was_first) {
            (Outcome::Reply(Reply::Integer(_)), Some(key)) => {
                Reply::Integer(self.len(&key).cast_signed())
            }
            (Outcome::Reply(reply), _) => reply,
            (Outcome::Spread(_) | Outcome::NotOwner | Outcome::AskHome, _) => {
                self.run_over_groups(op)
            }
            (other, _) => panic!("{op:?} answered {other:?}"),
        }
    }

    fn group_of(&self, op: &Op) -> GroupId {
        let keys = keys_of(op);
        let mut bits: Vec<u64> = Vec::new();
        match op {
            Op::Read(ReadOp::Command(ReadCommand::GetBit { offset, .. }))
            | Op::Write(WriteOp::Command(WriteCommand::SetBit { offset, .. })) => {
                bits.push(*offset)
            }
            Op::Read(ReadOp::Command(ReadCommand::BitFieldRo { fields, .. })) => {
                for field in fields {
                    bits.extend([field.offset, field.offset + u64::from(field.kind.width) - 1]);
                }
            }
            Op::Write(WriteOp::Command(WriteCommand::BitField { ops, .. })) => {
                for op in ops {
                    let last = op.field.offset + u64::from(op.field.kind.width) - 1;
                    bits.extend([op.field.offset, last]);
                }
            }
            Op::Write(WriteOp::Command(WriteCommand::SetRange { offset, value, .. }))
                if !value.is_empty() =>
            {
                bits.extend([offset * 8, (offset + value.len() as u64) * 8 - 1]);
            }
            Op::Write(WriteOp::Command(WriteCommand::Merge { bits: set, .. })) => {
                let set = Bitmap::decode(set).unwrap();
                bits.extend(set.first_set(0..u64::MAX).into_iter().chain(set.last_set()));
            }
            Op::Write(WriteOp::Command(WriteCommand::Touch { id, .. })) => bits.push(id * 32),
            _ => {}
        }
        let mut groups: Vec<GroupId> =
            bits.iter().map(|bit| self.map.group_of_bit(&keys[0], *bit)).collect();
        let segments = bits.iter().map(|bit| bit >> 16);
        if segments.clone().min() != segments.max() {
            groups.clear();
        }
        groups.first().copied().unwrap_or_else(|| keys.first().map_or(GroupId(1), |k| self.home(k)))
    }

    pub fn header(&mut self, key: &Key) -> Option<Header> {
        match self.read(self.home(key), &ReadOp::Header { key: key.clone() }) {
            Outcome::Header(header) => header.map(|header| *header),
            other => panic!("a header was {other:?}"),
        }
    }

    pub fn ask(
        &mut self,
        group: GroupId,
        key: &Key,
        at: Option<Version>,
        query: PartQuery,
    ) -> Reply {
        let op = ReadOp::Part { key: key.clone(), version: at, query };
        match self.read(group, &op) {
            Outcome::Reply(reply) => reply,
            other => panic!("{op:?} answered {other:?}"),
        }
    }

    fn holders(&self, key: &Key, header: &Header) -> Vec<GroupId> {
        let mut groups = header.spread.clone();
        groups.push(self.home(key));
        groups
    }

    pub fn len(&mut self, key: &Key) -> u64 {
        let Some(header) = self.header(key) else { return 0 };
        let lens = self.holders(key, &header).into_iter().map(|group| {
            match self.ask(group, key, header.version, PartQuery::Len) {
                Reply::Integer(len) => len.cast_unsigned(),
                other => panic!("a length was {other:?}"),
            }
        });
        lens.max().unwrap_or(0)
    }

    pub fn value(&mut self, key: &Key) -> Option<(Bitmap, Option<UnixMillis>)> {
        let header = self.header(key)?;
        let mut value = Bitmap::new();
        let query = PartQuery::Value { start: 0, end: u64::MAX };
        for group in self.holders(key, &header) {
            let Reply::Bulk(bytes) = self.ask(group, key, header.version, query) else {
                panic!("a value is bulk")
            };
            value.merge_disjoint(&Bitmap::decode(&bytes).unwrap());
        }
        Some((value, header.expiry))
    }

    fn run_over_groups(&mut self, op: &Op) -> Reply {
        match op {
            Op::Write(WriteOp::Command(WriteCommand::BitOp { logic, target, sources })) => {
                return self.bit_op(*logic, target, sources);
            }
            Op::Read(ReadOp::Command(ReadCommand::BitOpCard { logic, sources })) => {
                return self.bit_op_card(*logic, sources);
            }
            Op::Write(WriteOp::Command(WriteCommand::Merge { key, mode, bits })) => {
                return self.merge(key, *mode, &Bitmap::decode(bits).unwrap());
            }
            Op::Read(ReadOp::Command(ReadCommand::BitCount { key, range: None })) => {
                let query = PartQuery::Count { start: 0, end: u64::MAX };
                return Reply::Integer(self.ask_all(key, query).into_iter().sum());
            }
            Op::Read(ReadOp::Command(ReadCommand::BitPos {
                key, bit: true, start: None, ..
            })) => {
                let query = PartQuery::FirstBit { bit: true, start: 0, end: u64::MAX };
                let found = self.ask_all(key, query);
                return Reply::Integer(found.into_iter().filter(|n| *n >= 0).min().unwrap_or(-1));
            }
            Op::Read(ReadOp::Command(ReadCommand::StrLen { key })) => {
                return Reply::Integer(self.len(key).cast_signed());
            }
            _ => {}
        }
        let mut twin = Twin { now: self.now.0, ..Twin::default() };
        for key in keys_of(op) {
            if let Some((value, expiry)) = self.value(&key) {
                let row = (value.read_bytes(0..u64::MAX), expiry.map(|expiry| expiry.0));
                twin.values.insert(key.to_vec(), row);
            }
        }
        let before = twin.values.clone();
        let reply = twin.run(op);
        for key in keys_of(op) {
            let (old, new) = (before.get(key.as_bytes()), twin.values.get(key.as_bytes()));
            match new {
                _ if old == new => {}
                Some((bytes, expiry)) => {
                    let expiry = expiry.map(UnixMillis);
                    if old.is_some_and(|old| old.0 == *bytes) {
                        self.set_expiry(&key, expiry);
                    } else {
                        self.publish(&key, &Bitmap::from_bytes(bytes), expiry);
                    }
                }
                None => self.delete(&key),
            }
        }
        reply
    }

    fn ask_all(&mut self, key: &Key, query: PartQuery) -> Vec<i64> {
        let header = self.header(key).unwrap();
        let groups = self.holders(key, &header);
        let answers =
            groups.into_iter().map(|group| match self.ask(group, key, header.version, query) {
                Reply::Integer(number) => number,
                other => panic!("{query:?} answered {other:?}"),
            });
        answers.collect()
    }

    pub fn reserve(&mut self, key: &Key) -> Version {
        self.reserve_as(key, false)
    }

    pub fn reserve_as(&mut self, key: &Key, exclusive: bool) -> Version {
        match self.write(self.home(key), WriteOp::Reserve { key: key.clone(), exclusive }) {
            Outcome::Reserved(version) => version,
            other => panic!("reserving answered {other:?}"),
        }
    }

    pub fn stage(&mut self, group: GroupId, key: &Key, version: Version, from: StageFrom) {
        self.stage_until(group, key, version, (None, from));
    }

    pub fn stage_until(
        &mut self,
        group: GroupId,
        key: &Key,
        version: Version,
        (expiry, from): (Option<UnixMillis>, StageFrom),
    ) {
        let stage = WriteOp::Stage { key: key.clone(), version, expiry, from };
        assert_eq!(self.write(group, stage), Reply::Ok.into());
    }

    /// Makes `value` the key's, spread over its groups.
    pub fn publish(&mut self, key: &Key, value: &Bitmap, expiry: Option<UnixMillis>) {
        let version = self.reserve(key);
        let mut spread = Vec::new();
        let home = self.home(key);
        let groups: Vec<GroupId> = self.engines.keys().copied().collect();
        for group in groups {
            let share = value.restrict_to(|bit| self.map.group_of_bit(key, bit) == group, 1 << 16);
            if group == home || share.cardinality() > 0 {
                self.stage_until(group, key, version, (expiry, encoded(&share)));
                spread.push(group);
            }
        }
        self.publish_value(key, version, spread, (value.len_bytes(), expiry));
    }

    pub fn publish_value(
        &mut self,
        key: &Key,
        version: Version,
        mut spread: Vec<GroupId>,
        (len_bytes, expiry): (u64, Option<UnixMillis>),
    ) {
        spread.retain(|group| *group != self.home(key));
        let staged = spread.clone();
        self.conclude(
            key,
            version,
            staged,
            Change::Value { spread, len_bytes, expiry, moved: None },
        );
    }

    pub fn delete(&mut self, key: &Key) {
        let version = self.reserve(key);
        self.conclude(key, version, Vec::new(), Change::Nothing);
    }

    pub fn set_expiry(&mut self, key: &Key, expiry: Option<UnixMillis>) {
        let version = self.reserve(key);
        self.conclude(key, version, Vec::new(), Change::Expiry(expiry));
    }

    /// Publishes what is staged in some groups, after staging what home misses, and ends it.
    pub fn conclude(
        &mut self,
        key: &Key,
        version: Version,
        mut staged: Vec<GroupId>,
        change: Change,
    ) {
        loop {
            let publish = WriteOp::Publish {
                key: key.clone(),
                version,
                staged: staged.clone(),
                seen: Seen::Any,
                change: change.clone(),
            };
            let header = match self.write(self.home(key), publish) {
                Outcome::Reply(Reply::Ok) => break,
                Outcome::Spread(header) => header,
                other => panic!("publishing answered {other:?}"),
            };
            let missing: Vec<GroupId> =
                header.spread.iter().copied().filter(|group| !staged.contains(group)).collect();
            assert_ne!(missing, vec![], "a refusal names what is missing");
            for group in missing {
                let from = match change {
                    Change::Expiry(expiry) => {
                        (expiry, StageFrom::Expiry { of: header.version.unwrap() })
                    }
                    _ => (None, StageFrom::Void),
                };
                self.stage_until(group, key, version, from);
                staged.push(group);
            }
        }
        self.tell(&staged, &WriteOp::Activate { key: key.clone(), version });
        self.forget(key, version);
    }

    /// The parts of a combination over groups: lengths, references, and segment 0's bits, of keys
    /// with one home together where that is the same.
    fn operands(&mut self, logic: BitLogic, sources: &[Key]) -> (u64, Vec<SourceRef>, Vec<Bitmap>) {
        let mut len = 0;
        let (mut refs, mut firsts) = (Vec::new(), Vec::new());
        for key in sources {
            len = len.max(self.len(key));
            let version = self.header(key).and_then(|header| header.version);
            refs.push(SourceRef { key: key.clone(), version });
            let query = PartQuery::Value { start: 0, end: 1 << 16 };
            let Reply::Bulk(bytes) = self.ask(self.home(key), key, version, query) else {
                panic!("a value is bulk")
            };
            firsts.push(Bitmap::decode(&bytes).unwrap());
        }
        let home = self.home(&sources[0]);
        let (is_one_home, range) =
            (sources.iter().all(|key| self.home(key) == home), (0, (len * 8).min(1 << 16)));
        if is_one_home && matches!(logic, BitLogic::And | BitLogic::Or | BitLogic::Xor) {
            let (sources, bytes_max) = (refs.clone(), None);
            let op = ReadOp::CombineValue { logic, sources, range, len_bytes: len, bytes_max };
            let Outcome::Reply(Reply::Bulk(bytes)) = self.read(home, &op) else {
                panic!("a combined value is bulk")
            };
            firsts = vec![Bitmap::decode(&bytes).unwrap()];
        }
        firsts.iter_mut().for_each(|first| first.extend_len(len));
        (len, refs, firsts)
    }

    fn bit_op(&mut self, logic: BitLogic, target: &Key, sources: &[Key]) -> Reply {
        let (len, refs, firsts) = self.operands(logic, sources);
        if len == 0 {
            self.delete(target);
            return Reply::Integer(0);
        }
        let version = self.reserve(target);
        let operands: Vec<&Bitmap> = firsts.iter().collect();
        let mut bytes = Vec::new();
        Bitmap::combine_range(op_of(logic), &operands, 0..1 << 16).encode(&mut bytes);
        self.stage(self.home(target), target, version, StageFrom::Value(bytes.into()));
        let mut spread = Vec::new();
        if len * 8 > 1 << 16 {
            spread = self.engines.keys().copied().collect();
            for group in spread.clone() {
                let from = StageFrom::Combine {
                    logic,
                    sources: refs.clone(),
                    range: (1 << 16, len * 8),
                    len_bytes: len,
                };
                self.stage(group, target, version, from);
            }
        }
        self.publish_value(target, version, spread, (len, None));
        Reply::Integer(len.cast_signed())
    }

    /// Each group its own share of the set.
    fn merge(&mut self, key: &Key, mode: MergeMode, set: &Bitmap) -> Reply {
        let groups: Vec<GroupId> = self.engines.keys().copied().collect();
        let mut changed = 0;
        for group in groups {
            let share = set.restrict_to(|bit| self.map.group_of_bit(key, bit) == group, 1 << 16);
            if share.cardinality() == 0 {
                continue;
            }
            let command = WriteCommand::Merge { key: key.clone(), mode, bits: codec(&share) };
            match self.send(group, &command.into()) {
                Outcome::Reply(Reply::Integer(more)) => changed += more,
                other => panic!("a merge answered {other:?}"),
            }
        }
        Reply::Integer(changed)
    }

    fn bit_op_card(&mut self, logic: BitLogic, sources: &[Key]) -> Reply {
        let (len, refs, firsts) = self.operands(logic, sources);
        let operands: Vec<&Bitmap> = firsts.iter().collect();
        let mut count = Bitmap::combine_count(op_of(logic), &operands, 0..1 << 16).cast_signed();
        let groups: Vec<GroupId> = self.engines.keys().copied().collect();
        for group in groups {
            let range = (1 << 16, (len * 8).max(1 << 16));
            let op = ReadOp::CombineCount { logic, sources: refs.clone(), range, len_bytes: len };
            match self.read(group, &op) {
                Outcome::Reply(Reply::Integer(more)) => count += more,
                other => panic!("{op:?} answered {other:?}"),
            }
        }
        Reply::Integer(count)
    }
}

/// A stage of these bits.
pub fn encoded(value: &Bitmap) -> StageFrom {
    StageFrom::Value(codec(value))
}

/// A value in the bitmap codec.
pub fn codec(value: &Bitmap) -> Bytes {
    let mut bytes = Vec::new();
    value.encode(&mut bytes);
    bytes.into()
}

fn op_of(logic: BitLogic) -> BitOp {
    match logic {
        BitLogic::And => BitOp::And,
        BitLogic::Or => BitOp::Or,
        BitLogic::Xor => BitOp::Xor,
        BitLogic::Not => BitOp::Not,
        BitLogic::Diff => BitOp::Diff,
        BitLogic::Diff1 => BitOp::Diff1,
        BitLogic::AndOr => BitOp::AndOr,
        BitLogic::One => BitOp::One,
    }
}

/// The keys of a command, the written one first.
pub fn keys_of(op: &Op) -> Vec<Key> {
    match op {
        Op::Read(ReadOp::Command(read)) => match read {
            ReadCommand::GetBit { key, .. }
            | ReadCommand::BitCount { key, .. }
            | ReadCommand::BitPos { key, .. }
            | ReadCommand::BitFieldRo { key, .. }
            | ReadCommand::Get { key }
            | ReadCommand::StrLen { key }
            | ReadCommand::GetRange { key, .. }
            | ReadCommand::Type { key }
            | ReadCommand::Ttl { key, .. } => vec![key.clone()],
            ReadCommand::BitOpCard { sources: keys, .. }
            | ReadCommand::MGet { keys }
            | ReadCommand::Exists { keys } => keys.clone(),
            ReadCommand::Scan { .. }
            | ReadCommand::Keys { .. }
            | ReadCommand::DbSize
            | ReadCommand::RandomKey
            | ReadCommand::Spaces => Vec::new(),
            ReadCommand::FindIds { space, .. }
            | ReadCommand::FindNames { space, .. }
            | ReadCommand::SpaceInfo { space } => vec![space.clone()],
        },
        Op::Write(WriteOp::Command(write)) => match write {
            WriteCommand::SetBit { key, .. }
            | WriteCommand::BitField { key, .. }
            | WriteCommand::Set { key, .. }
            | WriteCommand::GetDel { key }
            | WriteCommand::GetEx { key, .. }
            | WriteCommand::Append { key, .. }
            | WriteCommand::SetRange { key, .. }
            | WriteCommand::IncrBy { key, .. }
            | WriteCommand::Expire { key, .. }
            | WriteCommand::Persist { key }
            | WriteCommand::Merge { key, .. }
            | WriteCommand::Restore { key, .. }
            | WriteCommand::Touch { key, .. } => vec![key.clone()],
            WriteCommand::AssignIds { space, .. } | WriteCommand::DropSpace { space } => {
                vec![space.clone()]
            }
            WriteCommand::BitOp { target, sources, .. } => {
                let mut keys = vec![target.clone()];
                keys.extend_from_slice(sources);
                keys
            }
            WriteCommand::MSet { pairs, .. } => pairs.iter().map(|(key, _)| key.clone()).collect(),
            WriteCommand::Delete { keys } => keys.clone(),
            WriteCommand::Rename { source, target, .. }
            | WriteCommand::Copy { source, target, .. } => vec![source.clone(), target.clone()],
            WriteCommand::Flush => Vec::new(),
        },
        other => panic!("{other:?} is no client's command"),
    }
}
