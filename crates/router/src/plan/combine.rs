//! BITOP and BITOPCARD over keys in several groups.
//!
//! Later segments lie where every key's same range lies, so each group combines its own and ships
//! a count or stages its part. First segments lie by key: the router fetches them, compressed, and
//! combines them itself, unless all lie in one group.
//!
//! The result shows at once; the operands are each read at one version, but not at one instant,
//! and a write to an operand that is also the destination may be overwritten by the result.

use std::ops::Range;

use bitroster_bitmap::{BitOp, Bitmap};
use bitroster_command::{
    BitLogic, Header, PartQuery, ReadOp, Reply, SourceRef, StageFrom, WriteCommand,
};
use bitroster_types::{GroupId, Key};

use super::{gather, keys::refusal, publish::Draft};
use crate::call::{Call, Step, bitmap_of, count_of};

/// The operands of a combination, as their homes know them.
struct Operands<'a> {
    logic: BitLogic,
    keys: &'a [Key],
    headers: Vec<Option<Header>>,
    /// Length of the longest, in bytes.
    len_bytes: u64,
}

/// BITOP with a destination.
pub(crate) async fn store(
    call: &Call,
    logic: BitLogic,
    target: &Key,
    sources: &[Key],
) -> Step<Reply> {
    let operands = Operands::open(call, logic, sources).await?;
    if operands.len_bytes == 0 {
        return match call
            .complete_write(&WriteCommand::Delete { keys: vec![target.clone()] })
            .await?
        {
            Reply::Integer(_) => Ok(Reply::Integer(0)),
            reply => Err(refusal(reply)),
        };
    }
    let mut draft = Draft::reserve(call, target).await?;
    let target_home = call.map.home(target);
    let local = operands.common_home(call) == Some(target_home);
    let mut shares: Vec<(GroupId, Vec<StageFrom>)> = operands
        .groups_beyond_first(call)
        .into_iter()
        .filter(|group| !(local && *group == target_home))
        .map(|group| (group, vec![operands.stage(operands.beyond_first(call))]))
        .collect();
    if local {
        shares.push((target_home, vec![operands.stage(0..operands.len_bytes * 8)]));
    } else {
        let first = operands.first_segment(call).await?;
        if first.cardinality() > 0 {
            shares.push((target_home, vec![super::publish::encoded(&first)]));
        }
    }
    draft.stage(shares).await?;
    operands.confirm(call).await?;
    draft.publish(operands.len_bytes, None).await?;
    Ok(gather::number(operands.len_bytes))
}

/// BITOPCARD.
pub(crate) async fn count(call: &Call, logic: BitLogic, sources: &[Key]) -> Step<Reply> {
    let operands = Operands::open(call, logic, sources).await?;
    if operands.len_bytes == 0 {
        return Ok(Reply::Integer(0));
    }
    let common = operands.common_home(call);
    let mut sum = 0;
    let mut asks: Vec<(GroupId, Range<u64>)> = operands
        .groups_beyond_first(call)
        .into_iter()
        .filter(|group| Some(*group) != common)
        .map(|group| (group, operands.beyond_first(call)))
        .collect();
    if let Some(home) = common {
        asks.push((home, 0..operands.len_bytes * 8));
    } else {
        sum += operands.first_segment(call).await?.cardinality();
    }
    call.inner.metrics.fanned_out(asks.len());
    let counts = call
        .each(asks, |(group, range)| {
            let ask = operands.count(range);
            async move { count_of(call.ask(group, ask).await?) }
        })
        .await?;
    operands.confirm(call).await?;
    sum += counts.iter().sum::<u64>();
    Ok(gather::number(sum))
}

impl<'a> Operands<'a> {
    /// Asks the homes of all operands, and the parts of the spread ones for their lengths.
    async fn open(call: &Call, logic: BitLogic, keys: &'a [Key]) -> Step<Self> {
        let opened = call
            .each(keys, |key| async move {
                let Some(header) = call.header(key).await? else {
                    return Ok((None, 0));
                };
                let len = gather::len_bytes(call, key, &header).await?;
                Ok((Some(header), len))
            })
            .await?;
        let len_bytes = opened.iter().map(|(_, len)| *len).max().unwrap_or(0);
        let headers = opened.into_iter().map(|(header, _)| header).collect();
        Ok(Self { logic, keys, headers, len_bytes })
    }

    /// The operands that exist.
    fn present(&self) -> impl Iterator<Item = (&'a Key, &Header)> + '_ {
        self.keys
            .iter()
            .zip(&self.headers)
            .filter_map(|(key, header)| Some((key, header.as_ref()?)))
    }

    /// The home of all operands that exist, where they have one in common.
    fn common_home(&self, call: &Call) -> Option<GroupId> {
        let mut homes = self.present().map(|(key, _)| call.map.home(key));
        let first = homes.next()?;
        homes.all(|home| home == first).then_some(first)
    }

    /// The bits of later segments.
    fn beyond_first(&self, call: &Call) -> Range<u64> {
        let end = self.len_bytes * 8;
        call.map.width().bits().min(end)..end
    }

    /// The groups that may have set bits of the result in later segments, ascending.
    fn groups_beyond_first(&self, call: &Call) -> Vec<GroupId> {
        let range = self.beyond_first(call);
        let mut groups = call.map.groups_of_range(&self.keys[0], range.clone());
        if self.logic != BitLogic::Not {
            // A group without a part of any operand has only zeros to combine.
            let holds = |group: &GroupId| {
                self.present().any(|(key, header)| {
                    header.spread.contains(group)
                        || (header.len_bytes * 8 > range.start && call.map.home(key) == *group)
                })
            };
            groups.retain(holds);
        }
        groups
    }

    fn refs(&self) -> Vec<SourceRef> {
        let version = |header: &Option<Header>| header.as_ref().and_then(|header| header.version);
        self.keys
            .iter()
            .zip(&self.headers)
            .map(|(key, header)| SourceRef { key: key.clone(), version: version(header) })
            .collect()
    }

    fn stage(&self, range: Range<u64>) -> StageFrom {
        StageFrom::Combine {
            logic: self.logic,
            sources: self.refs(),
            range: (range.start, range.end),
            len_bytes: self.len_bytes,
        }
    }

    fn count(&self, range: Range<u64>) -> ReadOp {
        ReadOp::CombineCount {
            logic: self.logic,
            sources: self.refs(),
            range: (range.start, range.end),
            len_bytes: self.len_bytes,
        }
    }

    /// The result's first segment, combined here from what the homes send.
    async fn first_segment(&self, call: &Call) -> Step<Bitmap> {
        let end = call.map.width().bits().min(self.len_bytes * 8);
        let mut values = call
            .each(self.keys.iter().zip(&self.headers), |(key, header)| async move {
                match header {
                    Some(header) => first_segment(call, key, header).await,
                    None => Ok(Bitmap::new()),
                }
            })
            .await?;
        // The length decides what NOT turns on.
        if let Some(longest) = values.first_mut() {
            longest.extend_len(end / 8);
        }
        let values: Vec<&Bitmap> = values.iter().collect();
        Ok(Bitmap::combine_range(bit_op(self.logic), &values, 0..end))
    }

    /// Checks that every version that was read still lives.
    async fn confirm(&self, call: &Call) -> Step<()> {
        call.each(self.present(), |(key, header)| gather::confirm(call, key, header)).await?;
        Ok(())
    }
}

/// A key's first segment, as its home holds it.
pub(super) async fn first_segment(call: &Call, key: &Key, header: &Header) -> Step<Bitmap> {
    let query = PartQuery::Value { start: 0, end: call.map.width().bits() };
    let op = ReadOp::Part { key: key.clone(), version: header.version, query };
    bitmap_of(call.ask(call.map.home(key), op).await?)
}

fn bit_op(logic: BitLogic) -> BitOp {
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
