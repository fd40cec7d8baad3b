//! Commands made of several, over plain byte strings.

use bitroster_bitmap::{Bitmap, Formula, Step};
use bitroster_command::{
    CommandError, Composite, MergeMode, Reply, WriteCommand,
    composite::{Ask, Candidates, Expression, Format, Relation},
    glob_match, parse_i64,
};
use bitroster_types::Key;
use bytes::Bytes;

use super::{super::VALUE_BYTES_MAX, Twin, integer};

/// What an expression comes to: its bits, and the length of its longest operand in bytes.
struct Set {
    bits: Vec<u64>,
    len: usize,
}

impl Twin {
    pub(super) fn composite(&mut self, composite: &Composite) -> Reply {
        match composite {
            Composite::Query { of, ask } => self.query(of, ask),
            Composite::GetBits { key, offsets } => {
                let bytes = self.bytes(key);
                list(offsets.iter().map(|offset| super::bit(bytes, *offset)))
            }
            Composite::Rank { key, offset, absent } if !self.keys.contains_key(key) => {
                let _ = offset;
                Reply::Integer(*absent)
            }
            Composite::Rank { key, offset, .. } => {
                integer(self.set(key).iter().filter(|bit| *bit <= offset).count() as u64)
            }
            Composite::Compare { a, b, relation } => compare(&self.set(a), &self.set(b), *relation),
            Composite::Retention { cohorts, returns, horizon } => {
                let row = |(at, cohort): (usize, &Key)| {
                    let own = self.set(cohort);
                    let mut row = vec![Reply::bulk(cohort.as_bytes()), integer(own.len() as u64)];
                    let columns = returns.iter().skip(at).take(*horizon as usize);
                    row.extend(columns.map(|key| integer(common(&own, &self.set(key)))));
                    Reply::Array(row)
                };
                Reply::Array(cohorts.iter().enumerate().map(row).collect())
            }
            Composite::TopK { of, k, among } => self.top(of, *k as usize, among),
            Composite::Purge { id, pattern, dry_run } => self.purge(*id, pattern, *dry_run),
            Composite::Export { of, format } => self.export(of, *format),
            Composite::Import { key, bits, mode: Some(mode) } => self.merge(key, *mode, bits),
            Composite::Import { key, bits, mode: None } => {
                let value = Bitmap::decode(bits).unwrap();
                self.put(key, &value);
                integer(value.cardinality())
            }
            Composite::ObjectEncoding { key } => match self.keys.get(key) {
                None => Reply::Nil,
                Some(value) => Reply::bulk(match value.bytes.len() {
                    ..=20 if parse_i64(&value.bytes).is_some() => "int",
                    ..=44 => "embstr",
                    _ => "raw",
                }),
            },
            other => panic!("not for a twin: {other:?}"),
        }
    }

    fn set(&self, key: &Key) -> Vec<u64> {
        Bitmap::from_bytes(self.bytes(key)).iter_set(0..u64::MAX).collect()
    }

    fn put(&mut self, key: &Key, value: &Bitmap) {
        self.keys.remove(key);
        if !value.is_empty() {
            self.grow(key, 0).extend(value.read_bytes(0..u64::MAX));
        }
    }

    /// Byte by byte, one step after the other.
    fn evaluate(&self, of: &Expression) -> Set {
        let len = of.keys.iter().map(|key| self.bytes(key).len()).max().unwrap_or(0);
        let mut stack: Vec<Vec<u8>> = Vec::new();
        for step in of.formula.steps() {
            if let Step::Operand(place) = step {
                let mut bytes = self.bytes(&of.keys[usize::from(*place)]).to_vec();
                bytes.resize(len, 0);
                stack.push(bytes);
                continue;
            }
            let (newer, mut older) = (stack.pop().unwrap(), stack.pop().unwrap());
            for (older, newer) in older.iter_mut().zip(newer) {
                *older = match step {
                    Step::And => *older & newer,
                    Step::Or => *older | newer,
                    Step::Xor => *older ^ newer,
                    _ => *older & !newer,
                };
            }
            stack.push(older);
        }
        let bytes = stack.pop().unwrap();
        Set { bits: Bitmap::from_bytes(&bytes).iter_set(0..u64::MAX).collect(), len }
    }

    fn query(&mut self, of: &Expression, ask: &Ask) -> Reply {
        let Set { bits, len } = self.evaluate(of);
        let total = bits.len() as u64;
        match ask {
            Ask::Count => integer(total),
            Ask::List { range, limit, has_cursor } => {
                let within = bits.iter().copied().filter(|bit| (range.0..range.1).contains(bit));
                let mut within: Vec<u64> = within.collect();
                let next = within.get(*limit as usize).copied().unwrap_or(0);
                within.truncate(*limit as usize);
                if *has_cursor {
                    Reply::Array(vec![Reply::bulk(next.to_string()), list(within)])
                } else {
                    list(within)
                }
            }
            Ask::Sample { count } => {
                let count = (*count).min(total);
                list((0..count).map(|at| bits[(at * total / count) as usize]))
            }
            Ask::Store { target } => {
                let mut value = Bitmap::from_offsets(&bits);
                value.extend_len(if bits.is_empty() { 0 } else { len as u64 });
                self.put(target, &value);
                integer(total)
            }
            Ask::Edge { last } => one(if *last { bits.last() } else { bits.first() }),
            Ask::Select { rank, count } => {
                let from = match rank {
                    ..0 => total.checked_sub(rank.unsigned_abs()).map(|at| at as usize),
                    0.. => Some(*rank as usize),
                };
                let found = from.and_then(|from| bits.get(from..)).unwrap_or_default();
                match count {
                    None => one(found.first()),
                    Some(count) => list(found.iter().copied().take(*count as usize)),
                }
            }
            Ask::Density { range, parts } => {
                let step = (range.1 - range.0).div_ceil(*parts);
                let count = |part: u64| {
                    let start = range.0 + part * step;
                    let end = (start + step).min(range.1);
                    bits.iter().filter(|bit| (start..end).contains(*bit)).count() as u64
                };
                list((0..*parts).map(count))
            }
        }
    }

    fn top(&self, of: &Expression, k: usize, among: &Candidates) -> Reply {
        let own = self.evaluate(of).bits;
        let mut keys: Vec<&Key> = match among {
            Candidates::Keys(keys) => keys.iter().collect(),
            Candidates::Match(pattern) => {
                self.keys.keys().filter(|key| glob_match(pattern, key)).collect()
            }
        };
        keys.sort();
        keys.dedup();
        let mut rows: Vec<(u64, &Key)> =
            keys.into_iter().map(|key| (common(&own, &self.set(key)), key)).collect();
        rows.retain(|(count, _)| *count > 0);
        rows.sort_by_key(|(count, key)| (u64::MAX - count, (*key).clone()));
        let row = |(count, key): (u64, &Key)| {
            Reply::Array(vec![Reply::bulk(key.as_bytes()), integer(count)])
        };
        Reply::Array(rows.into_iter().take(k).map(row).collect())
    }

    fn purge(&mut self, id: u64, pattern: &Bytes, is_dry: bool) -> Reply {
        let mut held = 0;
        for (key, value) in &mut self.keys {
            if glob_match(pattern, key) && super::bit(&value.bytes, id) == 1 {
                held += 1;
                if !is_dry {
                    super::set_bit(&mut value.bytes, id, false);
                }
            }
        }
        integer(held)
    }

    fn export(&self, of: &Expression, format: Format) -> Reply {
        if !of.keys.iter().any(|key| self.keys.contains_key(key)) {
            return Reply::Nil;
        }
        let Set { bits, len } = self.evaluate(of);
        let mut value = Bitmap::from_offsets(&bits);
        value.extend_len(len as u64);
        let bytes: Bytes = match format {
            Format::Roaring32 => value.to_roaring32().unwrap().into(),
            Format::Roaring64 => value.to_roaring64().into(),
            Format::Bytes => value.read_bytes(0..u64::MAX).into(),
            Format::Csv => bits.iter().map(|bit| format!("{bit}\n")).collect::<String>().into(),
        };
        if bytes.len() as u64 > VALUE_BYTES_MAX {
            let text = "ERR string exceeds maximum allowed size (proto-max-bulk-len)";
            return CommandError::Text(text).into();
        }
        Reply::Bulk(bytes)
    }
}

fn compare(a: &[u64], b: &[u64], relation: Relation) -> Reply {
    let both = common(a, b);
    let (a, b) = (a.len() as u64, b.len() as u64);
    let is = |is: bool| Reply::Integer(i64::from(is));
    match relation {
        Relation::Contains => is(both == b),
        Relation::ContainsStrictly => is(both == b && a > b),
        Relation::Equal => is(both == a && both == b),
        Relation::Intersects => is(both > 0),
        Relation::Jaccard { none } if a + b == 0 => Reply::Double(f64::from(none)),
        Relation::Jaccard { .. } => Reply::Double(both as f64 / (a + b - both) as f64),
    }
}

/// How many numbers two ascending lists have in common.
fn common(a: &[u64], b: &[u64]) -> u64 {
    a.iter().filter(|bit| b.binary_search(bit).is_ok()).count() as u64
}

fn one(offset: Option<&u64>) -> Reply {
    offset.map_or(Reply::Integer(-1), |offset| integer(*offset))
}

fn list(numbers: impl IntoIterator<Item = u64>) -> Reply {
    Reply::Array(numbers.into_iter().map(integer).collect())
}

/// A command that stores what a key and another one have together.
pub(crate) fn store_union(target: Key, keys: Vec<Key>) -> Composite {
    let steps = vec![Step::Operand(0), Step::Operand(1), Step::Or];
    let formula = Formula::new(steps, 2).unwrap();
    Composite::Query { of: Expression { formula, keys }, ask: Ask::Store { target } }
}

/// A change of the bits of a list.
pub(crate) fn merge(key: Key, mode: MergeMode, offsets: &[u64]) -> WriteCommand {
    let mut bits = Vec::new();
    Bitmap::from_offsets(offsets).encode(&mut bits);
    WriteCommand::Merge { key, mode, bits: bits.into() }
}
