//! The keyspace as byte strings: slow, plain, and without any group.

pub(crate) mod sets;

use std::{collections::BTreeMap, ops::Range};

use bitroster_bitmap::Bitmap;
use bitroster_command::{
    BitLogic, Command, CommandError, Existence, Expiry, FieldAction, FieldOp, FieldType, IndexUnit,
    MergeMode, Overflow, ReadCommand, Reply, SetReply, WriteCommand,
};
use bitroster_types::{Key, UnixMillis};

#[derive(Clone, Debug, Default)]
struct Value {
    bytes: Vec<u8>,
    expiry: Option<UnixMillis>,
}

/// The naive twin of a whole cluster. Time stands still.
#[derive(Default)]
pub(crate) struct Twin {
    keys: BTreeMap<Key, Value>,
}

impl Twin {
    pub(crate) fn run(&mut self, command: &Command) -> Reply {
        match command {
            Command::Read(read) => self.read(read),
            Command::Write(write) => self.write(write),
            Command::Composite(composite) => self.composite(composite),
            Command::Session(_) => panic!("a twin has no sessions"),
        }
    }

    fn bytes(&self, key: &Key) -> &[u8] {
        self.keys.get(key).map_or(&[], |value| &value.bytes)
    }

    fn read(&self, command: &ReadCommand) -> Reply {
        match command {
            ReadCommand::GetBit { key, offset } => integer(bit(self.bytes(key), *offset)),
            ReadCommand::BitFieldRo { key, fields } => Reply::Array(
                fields
                    .iter()
                    .map(|field| {
                        Reply::Integer(field_value(self.bytes(key), field.kind, field.offset))
                    })
                    .collect(),
            ),
            ReadCommand::BitCount { key, range } => {
                let bytes = self.bytes(key);
                let mut bits = 0..bytes.len() as u64 * 8;
                if let Some(range) = range {
                    if range.start < 0 && range.end < 0 && range.start > range.end {
                        return Reply::Integer(0);
                    }
                    bits = clamp(range.start, range.end, range.unit, bytes.len());
                }
                integer(count(bytes, bits))
            }
            ReadCommand::BitPos { key, bit, start, end, unit } => {
                self.bit_pos(key, *bit, (*start, *end), *unit)
            }
            ReadCommand::Get { key } => self.get(key),
            ReadCommand::MGet { keys } => {
                Reply::Array(keys.iter().map(|key| self.get(key)).collect())
            }
            ReadCommand::StrLen { key } => integer(self.bytes(key).len() as u64),
            ReadCommand::GetRange { key, start, end } => {
                let bytes = self.bytes(key);
                if *start < 0 && *end < 0 && start > end {
                    return Reply::bulk("");
                }
                let range = clamp(*start, *end, IndexUnit::Byte, bytes.len());
                Reply::bulk(&bytes[range.start as usize / 8..range.end as usize / 8])
            }
            ReadCommand::Exists { keys } => {
                integer(keys.iter().filter(|key| self.keys.contains_key(*key)).count() as u64)
            }
            ReadCommand::Type { key } => {
                Reply::Status(if self.keys.contains_key(key) { "string" } else { "none" })
            }
            ReadCommand::Ttl { key, form } => match self.keys.get(key) {
                None => Reply::Integer(-2),
                Some(value) => match value.expiry {
                    None => Reply::Integer(-1),
                    Some(at) if form.millis => integer(at.0),
                    Some(at) => integer((at.0 + 500) / 1000),
                },
            },
            ReadCommand::BitOpCard { logic, sources } => {
                let (bytes, _) = self.combine(*logic, sources);
                integer(bytes.iter().map(|byte| u64::from(byte.count_ones())).sum())
            }
            ReadCommand::DbSize => integer(self.keys.len() as u64),
            ReadCommand::Keys { .. } => {
                Reply::Array(self.keys.keys().map(|key| Reply::bulk(key.as_bytes())).collect())
            }
            ReadCommand::Scan { .. }
            | ReadCommand::RandomKey
            | ReadCommand::FindIds { .. }
            | ReadCommand::FindNames { .. }
            | ReadCommand::SpaceInfo { .. }
            | ReadCommand::Spaces => panic!("not for a twin"),
        }
    }

    fn get(&self, key: &Key) -> Reply {
        self.keys.get(key).map_or(Reply::Nil, |value| Reply::bulk(&value.bytes))
    }

    fn bit_pos(
        &self,
        key: &Key,
        wanted: bool,
        (start, end): (Option<i64>, Option<i64>),
        unit: IndexUnit,
    ) -> Reply {
        let Some(value) = self.keys.get(key) else {
            return Reply::Integer(if wanted { -1 } else { 0 });
        };
        let len = value.bytes.len();
        let bits = clamp(start.unwrap_or(0), end.unwrap_or(-1), unit, len);
        let empty = bits.is_empty();
        match find(&value.bytes, bits, wanted) {
            Some(at) => integer(at),
            None if !wanted && end.is_none() && !empty => integer(len as u64 * 8),
            None => Reply::Integer(-1),
        }
    }

    fn combine(&self, logic: BitLogic, sources: &[Key]) -> (Vec<u8>, usize) {
        let operands: Vec<&[u8]> = sources.iter().map(|key| self.bytes(key)).collect();
        let len = operands.iter().map(|bytes| bytes.len()).max().unwrap_or(0);
        let at = |bytes: &[u8], place: usize| bytes.get(place).copied().unwrap_or(0);
        let result = (0..len).map(|place| {
            let first = at(operands[0], place);
            let rest = operands[1..].iter().fold(0, |all, bytes| all | at(bytes, place));
            let all = operands.iter().map(|bytes| at(bytes, place));
            match logic {
                BitLogic::And => all.fold(255, |a, b| a & b),
                BitLogic::Or => first | rest,
                BitLogic::Xor => all.fold(0, |a, b| a ^ b),
                BitLogic::Not => !first,
                BitLogic::Diff => first & !rest,
                BitLogic::Diff1 => rest & !first,
                BitLogic::AndOr => first & rest,
                BitLogic::One => {
                    let (once, twice) =
                        all.fold((0, 0), |(once, twice), b| (once | b, twice | (once & b)));
                    once & !twice
                }
            }
        });
        (result.collect(), len)
    }

    fn write(&mut self, command: &WriteCommand) -> Reply {
        match command {
            WriteCommand::SetBit { key, offset, value } => {
                let bytes = self.grow(key, *offset / 8 + 1);
                let old = bit(bytes, *offset);
                set_bit(bytes, *offset, *value);
                integer(old)
            }
            WriteCommand::BitField { key, ops } => self.bit_field(key, ops),
            WriteCommand::SetRange { key, offset, value } => {
                if !value.is_empty() {
                    let bytes = self.grow(key, offset + value.len() as u64);
                    bytes[*offset as usize..][..value.len()].copy_from_slice(value);
                }
                integer(self.bytes(key).len() as u64)
            }
            WriteCommand::Append { key, value } => {
                let bytes = &mut self.keys.entry(key.clone()).or_default().bytes;
                bytes.extend_from_slice(value);
                integer(bytes.len() as u64)
            }
            WriteCommand::Set { key, value, existence, expiry, reply } => {
                let old = self.get(key);
                let refused = match existence {
                    Some(Existence::IfAbsent) => old != Reply::Nil,
                    Some(Existence::IfPresent) => old == Reply::Nil,
                    None => false,
                };
                if !refused {
                    let kept = self.keys.get(key).and_then(|value| value.expiry);
                    let expiry = moved(*expiry, kept);
                    self.keys.insert(key.clone(), Value { bytes: value.to_vec(), expiry });
                }
                match (reply, refused) {
                    (SetReply::Status, false) => Reply::Ok,
                    (SetReply::Status, true) => Reply::Nil,
                    (SetReply::Changed, _) => Reply::Integer(i64::from(!refused)),
                    (SetReply::Old, _) => old,
                }
            }
            WriteCommand::GetDel { key } => {
                let old = self.get(key);
                self.keys.remove(key);
                old
            }
            WriteCommand::GetEx { key, expiry } => {
                if let Some(value) = self.keys.get_mut(key) {
                    value.expiry = moved(*expiry, value.expiry);
                }
                self.get(key)
            }
            WriteCommand::MSet { pairs, only_if_none } => {
                if *only_if_none && pairs.iter().any(|(key, _)| self.keys.contains_key(key)) {
                    return Reply::Integer(0);
                }
                for (key, value) in pairs {
                    let bytes = value.to_vec();
                    self.keys.insert(key.clone(), Value { bytes, expiry: None });
                }
                if *only_if_none { Reply::Integer(1) } else { Reply::Ok }
            }
            WriteCommand::IncrBy { key, by } => self.increment(key, *by),
            WriteCommand::Delete { keys } => {
                integer(keys.iter().filter(|key| self.keys.remove(*key).is_some()).count() as u64)
            }
            WriteCommand::Expire { key, expiry, .. } => match self.keys.get_mut(key) {
                Some(value) => {
                    value.expiry = moved(*expiry, None);
                    Reply::Integer(1)
                }
                None => Reply::Integer(0),
            },
            WriteCommand::Persist { key } => {
                let old = self.keys.get_mut(key).and_then(|value| value.expiry.take());
                Reply::Integer(i64::from(old.is_some()))
            }
            WriteCommand::BitOp { logic, target, sources } => {
                let (bytes, len) = self.combine(*logic, sources);
                if len == 0 {
                    self.keys.remove(target);
                } else {
                    self.keys.insert(target.clone(), Value { bytes, expiry: None });
                }
                integer(len as u64)
            }
            WriteCommand::Rename { source, target, only_if_new } => {
                if !self.keys.contains_key(source) {
                    return CommandError::Text("ERR no such key").into();
                }
                if *only_if_new && self.keys.contains_key(target) {
                    return Reply::Integer(0);
                }
                let value = self.keys.remove(source).unwrap();
                self.keys.insert(target.clone(), value);
                if *only_if_new { Reply::Integer(1) } else { Reply::Ok }
            }
            WriteCommand::Copy { source, target, replace } => {
                let Some(value) = self.keys.get(source).cloned() else {
                    return Reply::Integer(0);
                };
                if !replace && self.keys.contains_key(target) {
                    return Reply::Integer(0);
                }
                self.keys.insert(target.clone(), value);
                Reply::Integer(1)
            }
            WriteCommand::Flush => {
                self.keys.clear();
                Reply::Ok
            }
            WriteCommand::Merge { key, mode, bits } => self.merge(key, *mode, bits),
            WriteCommand::Restore { key, value, expiry, replace } => {
                if !replace && self.keys.contains_key(key) {
                    return CommandError::Text("BUSYKEY Target key name already exists.").into();
                }
                let value = Bitmap::decode(value).unwrap();
                let (bytes, expiry) = (value.read_bytes(0..u64::MAX), moved(*expiry, None));
                self.keys.insert(key.clone(), Value { bytes, expiry });
                Reply::Ok
            }
            WriteCommand::Touch { .. }
            | WriteCommand::AssignIds { .. }
            | WriteCommand::DropSpace { .. } => panic!("not for a twin"),
        }
    }

    fn merge(&mut self, key: &Key, mode: MergeMode, bits: &[u8]) -> Reply {
        let set = Bitmap::decode(bits).unwrap().read_bytes(0..u64::MAX);
        if set.iter().all(|byte| *byte == 0) {
            return Reply::Integer(0);
        }
        let mut none = Vec::new();
        let own = match mode {
            MergeMode::AndNot => self.keys.get_mut(key).map_or(&mut none, |value| &mut value.bytes),
            MergeMode::Or | MergeMode::Xor => self.grow(key, set.len() as u64),
        };
        let mut changed = 0;
        for (byte, with) in own.iter_mut().zip(&set) {
            let new = match mode {
                MergeMode::Or => *byte | with,
                MergeMode::AndNot => *byte & !with,
                MergeMode::Xor => *byte ^ with,
            };
            changed += u64::from((*byte ^ new).count_ones());
            *byte = new;
        }
        integer(changed)
    }

    fn increment(&mut self, key: &Key, by: i64) -> Reply {
        let old = match self.keys.get(key) {
            None => 0,
            Some(value) => match bitroster_command::parse::parse_i64(&value.bytes) {
                Some(old) => old,
                None => return CommandError::NotAnInteger.into(),
            },
        };
        let new = old + by;
        self.keys.entry(key.clone()).or_default().bytes = new.to_string().into_bytes();
        Reply::Integer(new)
    }

    fn grow(&mut self, key: &Key, len: u64) -> &mut Vec<u8> {
        let bytes = &mut self.keys.entry(key.clone()).or_default().bytes;
        if (bytes.len() as u64) < len {
            bytes.resize(len as usize, 0);
        }
        bytes
    }

    fn bit_field(&mut self, key: &Key, ops: &[FieldOp]) -> Reply {
        let replies = ops.iter().map(|op| {
            let (kind, offset) = (op.field.kind, op.field.offset);
            let old = field_value(self.bytes(key), kind, offset);
            let wanted = match op.action {
                FieldAction::Get => return Reply::Integer(old),
                FieldAction::Set(value) if kind.signed => i128::from(value),
                FieldAction::Set(value) => i128::from(value as u64),
                FieldAction::IncrBy(by) => i128::from(old) + i128::from(by),
            };
            let bytes = self.grow(key, (offset + u64::from(kind.width) - 1) / 8 + 1);
            let (low, high) = if kind.signed {
                (-(1_i128 << (kind.width - 1)), (1_i128 << (kind.width - 1)) - 1)
            } else {
                (0, (1_i128 << kind.width) - 1)
            };
            let new = match op.overflow {
                Overflow::Fail if wanted < low || wanted > high => return Reply::Nil,
                Overflow::Sat => wanted.clamp(low, high),
                Overflow::Fail | Overflow::Wrap => wanted,
            };
            for place in 0..u64::from(kind.width) {
                let shift = u64::from(kind.width) - 1 - place;
                set_bit(bytes, offset + place, (new >> shift) & 1 == 1);
            }
            match op.action {
                FieldAction::Set(_) => Reply::Integer(old),
                _ => Reply::Integer(field_value(bytes, kind, offset)),
            }
        });
        Reply::Array(replies.collect())
    }
}

fn moved(expiry: Expiry, kept: Option<UnixMillis>) -> Option<UnixMillis> {
    match expiry {
        Expiry::Clear => None,
        Expiry::Keep => kept,
        Expiry::At(at) => Some(at),
        Expiry::In(_) => panic!("time stands still here"),
    }
}

fn integer(number: u64) -> Reply {
    Reply::Integer(i64::try_from(number).unwrap())
}

fn bit(bytes: &[u8], offset: u64) -> u64 {
    let byte = bytes.get((offset / 8) as usize).copied().unwrap_or(0);
    u64::from(byte >> (7 - offset % 8) & 1)
}

/// Set bits, byte by byte where it can.
fn count(bytes: &[u8], bits: Range<u64>) -> u64 {
    let (first, last) = (bits.start.div_ceil(8), bits.end / 8);
    if first >= last {
        return bits.map(|at| bit(bytes, at)).sum();
    }
    let whole: u64 =
        bytes[first as usize..last as usize].iter().map(|byte| u64::from(byte.count_ones())).sum();
    let edges = (bits.start..first * 8).chain(last * 8..bits.end);
    whole + edges.map(|at| bit(bytes, at)).sum::<u64>()
}

/// The first bit of a value, skipping bytes that have none.
fn find(bytes: &[u8], bits: Range<u64>, wanted: bool) -> Option<u64> {
    let without = if wanted { 0 } else { 255 };
    let mut at = bits.start;
    while at < bits.end {
        if at.is_multiple_of(8) && bytes[(at / 8) as usize] == without {
            at += 8;
        } else if (bit(bytes, at) == 1) == wanted {
            return Some(at);
        } else {
            at += 1;
        }
    }
    None
}

fn set_bit(bytes: &mut [u8], offset: u64, value: bool) {
    let mask = 1 << (7 - offset % 8);
    let byte = &mut bytes[(offset / 8) as usize];
    *byte = if value { *byte | mask } else { *byte & !mask };
}

fn field_value(bytes: &[u8], kind: FieldType, offset: u64) -> i64 {
    let bits = (0..u64::from(kind.width)).fold(0, |all, at| all << 1 | bit(bytes, offset + at));
    let unused = 64 - u32::from(kind.width);
    if kind.signed { ((bits << unused) as i64) >> unused } else { bits as i64 }
}

fn clamp(start: i64, end: i64, unit: IndexUnit, len: usize) -> Range<u64> {
    let scale = if unit == IndexUnit::Byte { 8 } else { 1 };
    let total = len as i64 * 8 / scale;
    let from = |index: i64| if index < 0 { (total + index).max(0) } else { index };
    let (start, end) = (from(start), from(end).min(total - 1));
    if start > end { 0..0 } else { (start * scale) as u64..((end + 1) * scale) as u64 }
}
