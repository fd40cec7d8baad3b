//! A keyspace as anybody would write it first: byte vectors, and Redis's manual.

use std::collections::BTreeMap;

use bitroster_bitmap::Bitmap;
use bitroster_command::{
    BitLogic, CommandError, Existence, Expiry, FieldAction, FieldOp, FieldType, IndexUnit,
    MergeMode, Op, Overflow, ReadCommand, ReadOp, Reply, SetReply, WriteCommand, WriteOp,
};
use bitroster_types::Key;
use bytes::Bytes;

#[derive(Clone, Debug, Default)]
pub struct Twin {
    pub values: BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>)>,
    /// The names of each id space, in order of their numbers.
    pub spaces: BTreeMap<Vec<u8>, Vec<Bytes>>,
    pub now: u64,
}

fn bit(bytes: &[u8], at: u64) -> bool {
    bytes.get((at / 8) as usize).is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1)
}

fn set_bit(bytes: &mut Vec<u8>, at: u64, value: bool) -> bool {
    grow(bytes, (at / 8 + 1) as usize);
    let old = bit(bytes, at);
    let mask = 0x80 >> (at % 8);
    if value {
        bytes[(at / 8) as usize] |= mask;
    } else {
        bytes[(at / 8) as usize] &= !mask;
    }
    old
}

fn grow(bytes: &mut Vec<u8>, len: usize) {
    if bytes.len() < len {
        bytes.resize(len, 0);
    }
}

fn int(number: impl TryInto<i64>) -> Reply {
    Reply::Integer(number.try_into().ok().unwrap())
}

fn text(text: &'static str) -> Reply {
    CommandError::Text(text).into()
}

/// Redis's steps, as in `bitcountCommand` and `getrangeCommand`.
fn clamp(start: i64, end: i64, len: i64) -> Option<(i64, i64)> {
    if start < 0 && end < 0 && start > end {
        return None;
    }
    clamp_late(start, end, len)
}

/// The same without the first step, as in `bitposCommand`.
fn clamp_late(mut start: i64, mut end: i64, len: i64) -> Option<(i64, i64)> {
    if start < 0 {
        start += len;
    }
    if end < 0 {
        end += len;
    }
    start = start.max(0);
    end = end.max(0);
    if end >= len {
        end = len - 1;
    }
    (start <= end).then_some((start, end))
}

fn field(bytes: &[u8], kind: FieldType, offset: u64) -> i128 {
    let mut value = 0i128;
    for at in 0..u64::from(kind.width) {
        value = value << 1 | i128::from(bit(bytes, offset + at));
    }
    if kind.signed && bit(bytes, offset) { value - (1i128 << kind.width) } else { value }
}

impl Twin {
    fn drop_expired(&mut self) {
        let now = self.now;
        self.values.retain(|_, (_, expiry)| expiry.is_none_or(|expiry| expiry > now));
    }

    fn bytes(&self, key: &Key) -> Vec<u8> {
        self.values.get(key.as_bytes()).map(|(bytes, _)| bytes.clone()).unwrap_or_default()
    }

    fn has(&self, key: &Key) -> bool {
        self.values.contains_key(key.as_bytes())
    }

    fn keep(&mut self, key: &Key, bytes: Vec<u8>) {
        self.values.entry(key.to_vec()).or_default().0 = bytes;
    }

    fn bulk(&self, key: &Key) -> Reply {
        if self.has(key) { Reply::bulk(self.bytes(key)) } else { Reply::Nil }
    }

    pub fn run(&mut self, command: &Op) -> Reply {
        self.drop_expired();
        let reply = match command {
            Op::Read(ReadOp::Command(read)) => self.read(read),
            Op::Write(WriteOp::Command(write)) => self.write(write),
            other => panic!("the twin does not know {other:?}"),
        };
        self.drop_expired();
        reply
    }

    fn read(&self, command: &ReadCommand) -> Reply {
        match command {
            ReadCommand::GetBit { key, offset } => int(bit(&self.bytes(key), *offset) as i64),
            ReadCommand::BitCount { key, range } => {
                let bytes = self.bytes(key);
                let Some(range) = range else {
                    return int(bytes.iter().map(|byte| byte.count_ones()).sum::<u32>());
                };
                let unit = if range.unit == IndexUnit::Byte { 8 } else { 1 };
                let len = bytes.len() as i64 * 8 / unit;
                let Some((first, last)) = clamp(range.start, range.end, len) else {
                    return int(0);
                };
                let bits = (first * unit) as u64..((last + 1) * unit) as u64;
                int(bits.filter(|at| bit(&bytes, *at)).count() as i64)
            }
            ReadCommand::BitPos { key, bit: wanted, start, end, unit } => {
                if !self.has(key) {
                    return int(if *wanted { -1 } else { 0 });
                }
                let bytes = self.bytes(key);
                let unit = if *unit == IndexUnit::Byte { 8 } else { 1 };
                let len = bytes.len() as i64 * 8 / unit;
                let range = clamp_late(start.unwrap_or(0), end.unwrap_or(len - 1), len);
                let Some((first, last)) = range else { return int(-1) };
                let mut bits = (first * unit) as u64..((last + 1) * unit) as u64;
                match bits.find(|at| bit(&bytes, *at) == *wanted) {
                    Some(at) => int(at),
                    None if !*wanted && end.is_none() => int(bytes.len() as i64 * 8),
                    None => int(-1),
                }
            }
            ReadCommand::BitFieldRo { key, fields } => {
                let bytes = self.bytes(key);
                let read = fields.iter().map(|f| int(field(&bytes, f.kind, f.offset)));
                Reply::Array(read.collect())
            }
            ReadCommand::BitOpCard { logic, sources } => {
                let bytes = self.combine(*logic, sources);
                int(bytes.iter().map(|byte| byte.count_ones()).sum::<u32>())
            }
            ReadCommand::Get { key } => self.bulk(key),
            ReadCommand::MGet { keys } => Reply::Array(keys.iter().map(|k| self.bulk(k)).collect()),
            ReadCommand::StrLen { key } => int(self.bytes(key).len() as i64),
            ReadCommand::GetRange { key, start, end } => {
                let bytes = self.bytes(key);
                Reply::bulk(
                    clamp(*start, *end, bytes.len() as i64)
                        .map_or(&b""[..], |(s, e)| &bytes[s as usize..=e as usize]),
                )
            }
            ReadCommand::Exists { keys } => int(keys.iter().filter(|k| self.has(k)).count() as i64),
            ReadCommand::Type { key } => {
                Reply::Status(if self.has(key) { "string" } else { "none" })
            }
            ReadCommand::Ttl { key, form } => {
                let Some((_, expiry)) = self.values.get(key.as_bytes()) else { return int(-2) };
                let Some(expiry) = expiry else { return int(-1) };
                let millis = if form.absolute { *expiry } else { expiry - self.now };
                int(if form.millis { millis } else { (millis + 500) / 1000 })
            }
            ReadCommand::Keys { .. } => Reply::Array(self.values.keys().map(Reply::bulk).collect()),
            ReadCommand::DbSize => int(self.values.len() as i64),
            ReadCommand::FindIds { space, names } => {
                let known = self.names(space);
                let ids = names.iter().map(|name| known.iter().position(|known| known == name));
                Reply::Array(ids.map(|id| id.map_or(Reply::Nil, |id| int(id as i64))).collect())
            }
            ReadCommand::FindNames { space, ids } => {
                let known = self.names(space);
                let names = ids.iter().map(|id| known.get(*id as usize));
                Reply::Array(names.map(|name| name.map_or(Reply::Nil, Reply::bulk)).collect())
            }
            ReadCommand::Spaces => Reply::Array(self.spaces.keys().map(Reply::bulk).collect()),
            other @ (ReadCommand::Scan { .. }
            | ReadCommand::RandomKey
            | ReadCommand::SpaceInfo { .. }) => {
                panic!("no twin of {other:?}")
            }
        }
    }

    fn combine(&self, logic: BitLogic, sources: &[Key]) -> Vec<u8> {
        let values: Vec<Vec<u8>> = sources.iter().map(|key| self.bytes(key)).collect();
        let len = values.iter().map(Vec::len).max().unwrap_or(0);
        let at = |value: &Vec<u8>, n: usize| value.get(n).copied().unwrap_or(0);
        let byte = |n: usize| {
            let first = at(&values[0], n);
            let rest = values[1..].iter().fold(0, |any, value| any | at(value, n));
            match logic {
                BitLogic::And => values.iter().fold(0xFF, |all, value| all & at(value, n)),
                BitLogic::Or => first | rest,
                BitLogic::Xor => values.iter().fold(0, |odd, value| odd ^ at(value, n)),
                BitLogic::Not => !first,
                BitLogic::Diff => first & !rest,
                BitLogic::Diff1 => rest & !first,
                BitLogic::AndOr => first & rest,
                BitLogic::One => {
                    let (mut once, mut more) = (0, 0);
                    for value in &values {
                        more |= once & at(value, n);
                        once |= at(value, n);
                    }
                    once & !more
                }
            }
        };
        (0..len).map(byte).collect()
    }

    fn names(&self, space: &Key) -> &[Bytes] {
        self.spaces.get(space.as_bytes()).map_or(&[], Vec::as_slice)
    }

    fn merge(&mut self, key: &Key, mode: MergeMode, set: &Bitmap) -> Reply {
        if set.cardinality() == 0 || mode == MergeMode::AndNot && !self.has(key) {
            return int(0);
        }
        let mut bytes = self.bytes(key);
        if mode != MergeMode::AndNot {
            grow(&mut bytes, set.len_bytes() as usize);
        }
        let (mut changed, end) = (0, bytes.len() as u64 * 8);
        for at in set.iter_set(0..end) {
            let value = match mode {
                MergeMode::Or => true,
                MergeMode::AndNot => false,
                MergeMode::Xor => !bit(&bytes, at),
            };
            changed += (set_bit(&mut bytes, at, value) != value) as i64;
        }
        self.keep(key, bytes);
        int(changed)
    }

    fn touch(&mut self, key: &Key, id: u64, ttl_secs: u32) -> Reply {
        let mut bytes = self.bytes(key);
        let at = id as usize * 4;
        grow(&mut bytes, at + 4);
        let field = &mut bytes[at..at + 4];
        let old = u32::from_be_bytes((&*field).try_into().unwrap());
        let end = (self.now + u64::from(ttl_secs) * 1000).div_ceil(1000) as u32;
        field.copy_from_slice(&end.to_be_bytes());
        self.keep(key, bytes);
        int((u64::from(old) * 1000 <= self.now) as i64)
    }

    fn expiry(&self, key: &Key, expiry: Expiry) -> Option<u64> {
        match expiry {
            Expiry::Clear => None,
            Expiry::Keep => self.values.get(key.as_bytes()).and_then(|(_, expiry)| *expiry),
            Expiry::In(millis) => Some(self.now.saturating_add_signed(millis)),
            Expiry::At(time) => Some(time.0),
        }
    }

    fn write(&mut self, command: &WriteCommand) -> Reply {
        match command {
            WriteCommand::SetBit { key, offset, value } => {
                let mut bytes = self.bytes(key);
                let old = set_bit(&mut bytes, *offset, *value);
                self.keep(key, bytes);
                int(old as i64)
            }
            WriteCommand::BitField { key, ops } => self.bit_field(key, ops),
            WriteCommand::BitOp { logic, target, sources } => {
                let bytes = self.combine(*logic, sources);
                let len = bytes.len();
                self.values.remove(target.as_bytes());
                if len > 0 {
                    self.keep(target, bytes);
                }
                int(len as i64)
            }
            WriteCommand::Set { key, value, existence, expiry, reply } => {
                let old = self.bulk(key);
                let holds = match existence {
                    None => true,
                    Some(Existence::IfAbsent) => !self.has(key),
                    Some(Existence::IfPresent) => self.has(key),
                };
                if holds {
                    let expiry = self.expiry(key, *expiry);
                    self.values.insert(key.to_vec(), (value.to_vec(), expiry));
                }
                match reply {
                    SetReply::Status if holds => Reply::Ok,
                    SetReply::Status => Reply::Nil,
                    SetReply::Changed => int(holds as i64),
                    SetReply::Old => old,
                }
            }
            WriteCommand::GetDel { key } => {
                let old = self.bulk(key);
                self.values.remove(key.as_bytes());
                old
            }
            WriteCommand::GetEx { key, expiry } => {
                let expiry = self.expiry(key, *expiry);
                if let Some(value) = self.values.get_mut(key.as_bytes()) {
                    value.1 = expiry;
                }
                self.bulk(key)
            }
            WriteCommand::MSet { pairs, only_if_none } => {
                if *only_if_none && pairs.iter().any(|(key, _)| self.has(key)) {
                    return int(0);
                }
                for (key, value) in pairs {
                    self.values.insert(key.to_vec(), (value.to_vec(), None));
                }
                if *only_if_none { int(1) } else { Reply::Ok }
            }
            WriteCommand::Append { key, value } => {
                let mut bytes = self.bytes(key);
                bytes.extend_from_slice(value);
                let len = bytes.len();
                self.keep(key, bytes);
                int(len as i64)
            }
            WriteCommand::SetRange { key, offset, value } => {
                let mut bytes = self.bytes(key);
                if value.is_empty() {
                    return int(bytes.len() as i64);
                }
                grow(&mut bytes, *offset as usize + value.len());
                bytes[*offset as usize..][..value.len()].copy_from_slice(value);
                let len = bytes.len();
                self.keep(key, bytes);
                int(len as i64)
            }
            WriteCommand::IncrBy { key, by } => self.incr_by(key, *by),
            WriteCommand::Delete { keys } => {
                int(keys.iter().filter(|k| self.values.remove(k.as_bytes()).is_some()).count()
                    as i64)
            }
            WriteCommand::Expire { key, expiry, condition } => {
                let when = self.expiry(key, *expiry).unwrap();
                let Some(value) = self.values.get_mut(key.as_bytes()) else { return int(0) };
                let refused = condition.if_none && value.1.is_some()
                    || condition.if_some && value.1.is_none()
                    || condition.if_later && value.1.is_none_or(|old| when <= old)
                    || condition.if_earlier && value.1.is_some_and(|old| when >= old);
                if !refused {
                    value.1 = Some(when);
                }
                int(!refused as i64)
            }
            WriteCommand::Persist { key } => {
                let value = self.values.get_mut(key.as_bytes());
                int(value.is_some_and(|value| value.1.take().is_some()) as i64)
            }
            WriteCommand::Rename { source, target, only_if_new } => {
                if !self.has(source) {
                    return text("ERR no such key");
                }
                if *only_if_new && self.has(target) {
                    return int(0);
                }
                let value = self.values.remove(source.as_bytes()).unwrap();
                self.values.insert(target.to_vec(), value);
                if *only_if_new { int(1) } else { Reply::Ok }
            }
            WriteCommand::Copy { source, target, replace } => {
                if source == target {
                    return text("ERR source and destination objects are the same");
                }
                let Some(value) = self.values.get(source.as_bytes()).cloned() else {
                    return int(0);
                };
                if self.has(target) && !replace {
                    return int(0);
                }
                self.values.insert(target.to_vec(), value);
                int(1)
            }
            WriteCommand::Flush => {
                self.values.clear();
                self.spaces.clear();
                Reply::Ok
            }
            WriteCommand::Merge { key, mode, bits } => {
                self.merge(key, *mode, &Bitmap::decode(bits).unwrap())
            }
            WriteCommand::Restore { key, value, expiry, replace } => {
                if self.has(key) && !replace {
                    return text("BUSYKEY Target key name already exists.");
                }
                let bytes = Bitmap::decode(value).unwrap().read_bytes(0..u64::MAX);
                let expiry = self.expiry(key, *expiry);
                self.values.insert(key.to_vec(), (bytes, expiry));
                Reply::Ok
            }
            WriteCommand::Touch { key, id, ttl_secs } => self.touch(key, *id, *ttl_secs),
            WriteCommand::AssignIds { space, names } => {
                let known = self.spaces.entry(space.to_vec()).or_default();
                let ids = names.iter().map(|name| {
                    let found = known.iter().position(|known| known == name);
                    int(found.unwrap_or_else(|| {
                        known.push(name.clone());
                        known.len() - 1
                    }) as i64)
                });
                Reply::Array(ids.collect())
            }
            WriteCommand::DropSpace { space } => {
                int(self.spaces.remove(space.as_bytes()).is_some() as i64)
            }
        }
    }

    fn incr_by(&mut self, key: &Key, by: i64) -> Reply {
        let digits = String::from_utf8_lossy(&self.bytes(key)).into_owned();
        let old = if self.has(key) {
            match digits.parse::<i64>() {
                Ok(old) if old.to_string() == digits => old,
                _ => return CommandError::NotAnInteger.into(),
            }
        } else {
            0
        };
        let Some(new) = old.checked_add(by) else {
            return text("ERR increment or decrement would overflow");
        };
        self.keep(key, new.to_string().into_bytes());
        int(new)
    }

    fn bit_field(&mut self, key: &Key, ops: &[FieldOp]) -> Reply {
        let last = |op: &FieldOp| op.field.offset + u64::from(op.field.kind.width) - 1;
        let mut bytes = self.bytes(key);
        let writes = ops.iter().filter(|op| op.action != FieldAction::Get);
        if let Some(highest) = writes.map(last).max() {
            grow(&mut bytes, (highest / 8 + 1) as usize);
            self.keep(key, bytes.clone());
        }
        let mut replies = Vec::new();
        for op in ops {
            let (kind, offset) = (op.field.kind, op.field.offset);
            let old = field(&bytes, kind, offset);
            let wanted = match op.action {
                FieldAction::Get => {
                    replies.push(int(old));
                    continue;
                }
                FieldAction::Set(value) if kind.signed => i128::from(value),
                FieldAction::Set(value) => i128::from(value as u64),
                FieldAction::IncrBy(by) => old + i128::from(by),
            };
            let size = 1i128 << kind.width;
            let low = if kind.signed { -size / 2 } else { 0 };
            let high = low + size - 1;
            let mut new = wanted;
            if wanted < low || wanted > high {
                match op.overflow {
                    Overflow::Wrap => new = (wanted - low).rem_euclid(size) + low,
                    Overflow::Sat => new = wanted.clamp(low, high),
                    Overflow::Fail => {
                        replies.push(Reply::Nil);
                        continue;
                    }
                }
            }
            for n in 0..u64::from(kind.width) {
                let value = new >> (u64::from(kind.width) - 1 - n) & 1 == 1;
                set_bit(&mut bytes, offset + n, value);
            }
            self.keep(key, bytes.clone());
            replies.push(if matches!(op.action, FieldAction::Set(_)) {
                int(old)
            } else {
                int(new)
            });
        }
        Reply::Array(replies)
    }
}
