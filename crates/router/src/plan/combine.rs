//! BITOP and BITOPCARD over keys in several groups.
//!
//! Later segments lie where every key's same range lies, so each group combines its own and ships
//! a count or stages its part. A short result is combined by the leader alone, and staged as it is.
//! First segments lie by key: each home combines those it has, and the router what the homes send,
//! compressed, unless all lie in one group. A count is left to one node that has replicas of all
//! homes, where there is one.
//!
//! The result shows at once; the operands are each read at one version, but not at one instant. A
//! destination that is an operand is held, so that no write to it is lost.

use std::{collections::BTreeMap, ops::Range};

use bitroster_bitmap::{BitOp, Bitmap, Formula, Step as FormulaStep};
use bitroster_command::{
    BitLogic, Header, Outcome, PartQuery, ReadOp, Reply, Seen, SourceRef, StageFrom, WriteCommand,
    expression::steps_of,
};
use bitroster_types::{
    GroupId, Key,
    limits::{SHORT_RESULT_BYTES_MAX, SHORT_RESULT_OPERANDS_MIN},
};
use futures_util::future::try_join;

use super::{
    gather,
    keys::refusal,
    publish::{Draft, beside, encoded, hold},
};
use crate::call::{Call, Step, Stop, bitmap_of, count_of};

/// The operands of a combination, as their homes know them.
struct Operands<'a> {
    logic: BitLogic,
    keys: &'a [Key],
    headers: Vec<Option<Header>>,
    /// Length of the longest, in bytes.
    len_bytes: u64,
}

/// What homes are to send of first segments.
#[derive(Default)]
struct Shares {
    asks: Vec<Ask>,
    /// The asks whose answers are combined by the operation itself.
    operands: Vec<usize>,
    /// For ONE: the asks whose answers hold the bits that are set once in their home.
    ones: Vec<usize>,
}

/// One home, and what it combines.
struct Ask {
    home: GroupId,
    logic: BitLogic,
    /// Places among the operands.
    places: Vec<usize>,
}

/// Groups may take one of so many parts of the time that is left to tell whether a result is short.
const SHORT_RESULT_TIME: u32 = 4;

/// The place of an operand without a bit.
const NOTHING: usize = usize::MAX;

impl Shares {
    fn ask(&mut self, home: GroupId, logic: BitLogic, places: Vec<usize>) {
        self.operands.push(self.asks.len());
        self.asks.push(Ask { home, logic, places });
    }

    /// What the answers come to, as a formula of them. `None` where there is no such formula, or
    /// an operand without a bit.
    fn formula(&self, logic: BitLogic) -> Option<Formula> {
        let steps = |logic, places: &[usize]| {
            let places: Result<Vec<u16>, _> = places.iter().copied().map(u16::try_from).collect();
            steps_of(logic, &places.ok()?).ok()
        };
        let mut all = match (logic, self.operands.split_first()?) {
            (BitLogic::Diff1, (&NOTHING, others)) => steps(BitLogic::Or, others)?,
            _ => steps(logic, &self.operands)?,
        };
        if !self.ones.is_empty() {
            all.extend(steps(BitLogic::Or, &self.ones)?);
            all.push(FormulaStep::And);
        }
        Formula::new(all, self.asks.len()).ok()
    }

    /// Whether no bit can be set, for want of an operand.
    fn is_void(&self, logic: BitLogic) -> bool {
        match logic {
            BitLogic::And => self.operands.contains(&NOTHING),
            BitLogic::Diff | BitLogic::AndOr => self.operands.first() == Some(&NOTHING),
            BitLogic::Or | BitLogic::Xor | BitLogic::Not | BitLogic::Diff1 | BitLogic::One => false,
        }
    }
}

/// BITOP with a destination.
pub(crate) async fn store(
    call: &Call,
    logic: BitLogic,
    target: &Key,
    sources: &[Key],
) -> Step<Reply> {
    let Some(place) = sources.iter().position(|source| source == target) else {
        let reserved = Draft::reserve(call, target, false);
        let (operands, draft) = beside(Operands::open(call, logic, sources), reserved).await?;
        if operands.len_bytes == 0 {
            draft.abandon(Stop::Again).await;
            return remove(call, target).await;
        }
        return operands.publish(call, target, draft, Seen::Any).await;
    };
    let operands = Operands::open(call, logic, sources).await?;
    if operands.len_bytes == 0 && operands.headers[place].is_none() {
        // A destination that is an operand and not there stays what it is.
        return Ok(Reply::Integer(0));
    }
    let (draft, seen) = match &operands.headers[place] {
        // A write to it in the meantime would be neither in the result nor after it.
        Some(header) => {
            let held = hold(call, target, header, None).await?;
            let len = gather::len_bytes(call, target, &held.header).await;
            let same = held.header.modified == header.modified;
            match len {
                Ok(len) if same && len <= operands.len_bytes => {}
                // It has grown since the operands were opened.
                Ok(_) => return Err(held.draft.abandon(Stop::Again).await),
                Err(stop) => return Err(held.draft.abandon(stop).await),
            }
            let seen = held.seen();
            (held.draft, seen)
        }
        None => (Draft::reserve(call, target, false).await?, Seen::Absent),
    };
    if operands.len_bytes == 0 {
        draft.publish_nothing(seen).await?;
        return Ok(Reply::Integer(0));
    }
    operands.publish(call, target, draft, seen).await
}

/// A result without length: the destination goes.
pub(crate) async fn remove(call: &Call, target: &Key) -> Step<Reply> {
    match call.complete_write(&WriteCommand::Delete { keys: vec![target.clone()] }).await? {
        Reply::Integer(_) => Ok(Reply::Integer(0)),
        reply => Err(refusal(reply)),
    }
}

/// BITOPCARD.
pub(crate) async fn count(call: &Call, logic: BitLogic, sources: &[Key]) -> Step<Reply> {
    let call = &call.noting();
    let operands = Operands::open(call, logic, sources).await?;
    if operands.len_bytes == 0 {
        return Ok(Reply::Integer(0));
    }
    let common = operands.common_home(call);
    let mut asks: Vec<(GroupId, Range<u64>)> = operands
        .groups_beyond_first(call)
        .into_iter()
        .filter(|group| Some(*group) != common)
        .map(|group| (group, operands.beyond_first(call)))
        .collect();
    if let Some(home) = common {
        asks.push((home, 0..operands.len_bytes * 8));
    }
    let first = async { if common.is_some() { Ok(0) } else { operands.count_first(call).await } };
    call.inner.metrics.fanned_out(asks.len());
    let counts = call.each(asks, |(group, range)| {
        let ask = operands.count(range);
        async move { count_of(call.ask(group, ask).await?) }
    });
    let (first, counts) = try_join(first, counts).await?;
    operands.confirm(call, common.is_some()).await?;
    let sum = first + counts.iter().sum::<u64>();
    Ok(gather::number(sum))
}

impl<'a> Operands<'a> {
    /// Asks the homes of all operands, and the parts of the spread ones for their lengths.
    async fn open(call: &Call, logic: BitLogic, keys: &'a [Key]) -> Step<Self> {
        let headers = gather::headers(call, keys).await?;
        let len_bytes = gather::longest(call, keys, &headers).await?;
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

    /// Makes the result the target's value.
    async fn publish(
        &self,
        call: &Call,
        target: &Key,
        mut draft: Draft<'_>,
        seen: Seen,
    ) -> Step<Reply> {
        match self.stage(call, target, &mut draft).await {
            Ok(()) => draft.publish_value(seen, self.len_bytes, None).await?,
            Err(stop) => return Err(draft.abandon(stop).await),
        };
        Ok(gather::number(self.len_bytes))
    }

    /// Stages the result under the target's name, and checks then that the operands still live.
    async fn stage(&self, call: &Call, target: &Key, draft: &mut Draft<'_>) -> Step<()> {
        let home = call.map.home(target);
        let local = self.common_home(call) == Some(home);
        let mut shares: Vec<(GroupId, Range<u64>)> = self
            .groups_beyond_first(call)
            .into_iter()
            .filter(|group| !(local && *group == home))
            .map(|group| (group, self.beyond_first(call)))
            .collect();
        if local {
            shares.push((home, 0..self.len_bytes * 8));
        }
        let first =
            async { if local { Ok(Bitmap::new()) } else { self.first_segment(call).await } };
        let staged = self.stage_shares(call, home, shares, draft);
        let (mut at_home, first) = try_join(staged, first).await?;
        at_home.merge_disjoint(&first);
        if at_home.cardinality() > 0 {
            // Home's share travels with the publication.
            draft.stage(vec![(home, vec![encoded(&at_home)])]).await?;
        }
        self.confirm(call, local).await
    }

    /// Stages what groups combine; empty shares are left out. Gives back what home is to hold if
    /// that is short, not staged.
    async fn stage_shares(
        &self,
        call: &Call,
        home: GroupId,
        shares: Vec<(GroupId, Range<u64>)>,
        draft: &mut Draft<'_>,
    ) -> Step<Bitmap> {
        let (mut at_home, mut stages) = (Bitmap::new(), Vec::new());
        for (group, range, value) in self.short_values(call, shares).await? {
            match value {
                None => stages.push((group, vec![self.stage_from(range)])),
                Some(value) if value.cardinality() == 0 => {}
                Some(value) if group == home => at_home = value,
                Some(value) => stages.push((group, vec![encoded(&value)])),
            }
        }
        draft.stage(stages).await?;
        Ok(at_home)
    }

    /// What these groups' shares of the result come to, where that is short. A leader combines
    /// them, and what it found is logged: otherwise each replica would combine, and a group without
    /// a bit of the result would hold a part of it. A group that does not tell, for it has too much
    /// to do or does not know the question, is left to combine when it stages.
    async fn short_values(
        &self,
        call: &Call,
        shares: Vec<(GroupId, Range<u64>)>,
    ) -> Step<Vec<(GroupId, Range<u64>, Option<Bitmap>)>> {
        let operands = self.present().count() as u64;
        if operands.saturating_mul(self.len_bytes) < SHORT_RESULT_OPERANDS_MIN {
            return Ok(shares.into_iter().map(|(group, range)| (group, range, None)).collect());
        }
        let hasty = &call.within(SHORT_RESULT_TIME);
        call.each(shares, |(group, range)| {
            let ask = ReadOp::CombineValue {
                logic: self.logic,
                sources: self.refs(),
                range: (range.start, range.end),
                len_bytes: self.len_bytes,
                bytes_max: Some(SHORT_RESULT_BYTES_MAX),
            };
            async move {
                let value = match hasty.ask(group, ask).await {
                    Ok(Outcome::Reply(Reply::Nil)) | Err(Stop::Error(_)) => None,
                    outcome => Some(bitmap_of(outcome?)?),
                };
                Ok((group, range, value))
            }
        })
        .await
    }

    fn stage_from(&self, range: Range<u64>) -> StageFrom {
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

    /// Set bits of the result's first segment. One node that has all homes counts them, where
    /// there is one.
    async fn count_first(&self, call: &Call) -> Step<u64> {
        let (shares, end) = (self.shares(call), self.first_end(call));
        if shares.is_void(self.logic) {
            return Ok(0);
        }
        if let Some(formula) = shares.formula(self.logic) {
            let values = shares.asks.iter().map(|ask| (ask.home, self.ask_for(ask, end)));
            if let Some(count) = call.fold(values.collect(), formula, (0, end)).await {
                return Ok(count);
            }
        }
        Ok(self.gather_first(call, &shares, end).await?.cardinality())
    }

    /// The result's first segment. Each home combines what it has and sends that, so that what
    /// travels does not grow with the number of operands.
    async fn first_segment(&self, call: &Call) -> Step<Bitmap> {
        self.gather_first(call, &self.shares(call), self.first_end(call)).await
    }

    /// The bit after the result's first segment.
    fn first_end(&self, call: &Call) -> u64 {
        call.map.width().bits().min(self.len_bytes * 8)
    }

    async fn gather_first(&self, call: &Call, shares: &Shares, end: u64) -> Step<Bitmap> {
        let mut values = call
            .each(&shares.asks, |ask| async move {
                bitmap_of(call.ask(ask.home, self.ask_for(ask, end)).await?)
            })
            .await?;
        // The length decides what NOT turns on.
        for value in &mut values {
            value.extend_len(end / 8);
        }
        let empty = Bitmap::new();
        let of = |places: &[usize]| {
            let value = |place: &usize| values.get(*place).unwrap_or(&empty);
            places.iter().map(value).collect::<Vec<_>>()
        };
        let combine =
            |logic, operands: &[&Bitmap]| Bitmap::combine_range(bit_op(logic), operands, 0..end);
        let value = combine(self.logic, &of(&shares.operands));
        if shares.ones.is_empty() {
            return Ok(value);
        }
        let ones = combine(BitLogic::Or, &of(&shares.ones));
        Ok(combine(BitLogic::And, &[&value, &ones]))
    }

    /// What each home is to send of the first segments, and how it is combined.
    ///
    /// AND, OR and XOR combine what the homes have combined. DIFF, DIFF1 and ANDOR treat their
    /// first operand by itself and see only the OR of the others. ONE: a bit is set in exactly one
    /// operand where exactly one home has it in any, and that home in exactly one.
    fn shares(&self, call: &Call) -> Shares {
        let mut homes: BTreeMap<GroupId, Vec<usize>> = BTreeMap::new();
        let mut shares = Shares::default();
        let apart = matches!(self.logic, BitLogic::Diff | BitLogic::Diff1 | BitLogic::AndOr);
        for (place, key) in self.keys.iter().enumerate() {
            if self.headers[place].is_none() {
                if self.logic == BitLogic::And || apart && place == 0 {
                    shares.operands.push(NOTHING);
                }
            } else if apart && place == 0 {
                shares.ask(call.map.home(key), BitLogic::Or, vec![place]);
            } else {
                homes.entry(call.map.home(key)).or_default().push(place);
            }
        }
        for (home, places) in homes {
            match self.logic {
                BitLogic::And | BitLogic::Xor => shares.ask(home, self.logic, places),
                BitLogic::One if places.len() > 1 => {
                    shares.ask(home, BitLogic::Or, places.clone());
                    shares.ones.push(shares.asks.len());
                    shares.asks.push(Ask { home, logic: BitLogic::One, places });
                }
                BitLogic::One => {
                    shares.ones.push(shares.asks.len());
                    shares.ask(home, BitLogic::Or, places);
                }
                BitLogic::Or
                | BitLogic::Not
                | BitLogic::Diff
                | BitLogic::Diff1
                | BitLogic::AndOr => shares.ask(home, BitLogic::Or, places),
            }
        }
        if shares.operands.is_empty() || apart && shares.operands.len() == 1 {
            shares.operands.push(NOTHING);
        }
        shares
    }

    fn ask_for(&self, ask: &Ask, end: u64) -> ReadOp {
        let refs = self.refs();
        let sources: Vec<SourceRef> = ask.places.iter().map(|place| refs[*place].clone()).collect();
        match sources.as_slice() {
            [source] => ReadOp::Part {
                key: source.key.clone(),
                version: source.version,
                query: PartQuery::Value { start: 0, end },
            },
            _ => ReadOp::CombineValue {
                logic: ask.logic,
                sources,
                range: (0, end),
                len_bytes: self.len_bytes,
                bytes_max: None,
            },
        }
    }

    /// Checks that every version that was read still lives, and that what was not there still is
    /// not: groups were asked for that, too, and would have counted it.
    ///
    /// A key that lies in one group alone may be set anew without a version to tell it by. It must
    /// be as long as it was, for what was read is cut at that length, and unchanged if its home was
    /// asked for it more than once. Once the command has begun anew, for whatever reason, one that
    /// has changed is taken as it is: bits that come while they are counted are no other key.
    async fn confirm(&self, call: &Call, is_one_look: bool) -> Step<()> {
        let width = call.map.width().bytes();
        let is_one_look =
            |header: &Header| is_one_look || self.is_asked_once() && header.len_bytes <= width;
        let is_same = |then: &Header, now: &Header| {
            let is_unchanged = is_one_look(then) || now.modified == then.modified;
            let is_whole = now.len_bytes == then.len_bytes && is_unchanged;
            !then.spread.is_empty() || call.changes > 0 || is_whole
        };
        let now = gather::headers(call, self.keys).await?;
        let lives = |(then, now): (&Option<Header>, &Option<Header>)| match (then, now) {
            (Some(then), Some(now)) => {
                let is_longer = now.len_bytes >= then.len_bytes;
                now.version == then.version && is_longer && is_same(then, now)
            }
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if self.headers.iter().zip(&now).all(lives) { Ok(()) } else { Err(Stop::Again) }
    }

    /// Whether a home is asked once for the first segments that it has; see
    /// [`shares`](Self::shares).
    fn is_asked_once(&self) -> bool {
        match self.logic {
            BitLogic::And | BitLogic::Or | BitLogic::Xor | BitLogic::Not => true,
            BitLogic::Diff | BitLogic::Diff1 | BitLogic::AndOr | BitLogic::One => false,
        }
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
