//! An expression and the places where its bits lie: what every question about one goes through.
//!
//! Later segments lie where every key's same range lies, so each group that holds some evaluates
//! its own. First segments lie by key: where all operands have one home it evaluates that segment,
//! too; else each home sends what it can compute of it, and the router does the rest.

use std::{
    ops::Range,
    sync::atomic::{AtomicUsize, Ordering},
};

use bitroster_bitmap::{Bitmap, Formula};
use bitroster_command::{Header, Outcome, ReadOp, Reply, SourceRef, Want, composite::Expression};
use bitroster_types::{
    GroupId,
    limits::{BITMAP_BITS_MAX, STAGE_BITS_MAX},
};

use super::{
    operands::{Operands, counts_of},
    tree::Tree,
};
use crate::{
    call::{Call, Step, Stop, bitmap_of, unexpected},
    plan::gather,
};

/// All bits that there can be.
pub(super) const ALL: Range<u64> = 0..BITMAP_BITS_MAX;

/// Pieces in which a long value is fetched, one after the other.
const PIECES_MAX: u64 = 64;

/// An expression whose operands are open.
pub(super) struct Places<'a> {
    call: &'a Call,
    pub(super) operands: Operands<'a>,
    /// What is left of the expression without the operands that are not there.
    pub(super) formula: Formula,
    pub(super) sources: Vec<SourceRef>,
    /// The groups that may hold later segments, ascending.
    pub(super) groups: Vec<GroupId>,
    pub(super) first: First,
    /// How often the groups have been asked.
    asked: AtomicUsize,
}

/// Where the first segment is evaluated.
pub(super) enum First {
    /// At the home that all operands have in common.
    At(GroupId),
    /// It is here.
    Here(Bitmap),
}

/// A range of bits in steps.
#[derive(Clone, Debug)]
pub(super) struct Steps {
    pub(super) range: Range<u64>,
    /// Bits of a step; the last one is cut.
    pub(super) step: u64,
}

impl Steps {
    pub(super) fn len(&self) -> usize {
        let steps = (self.range.end - self.range.start).div_ceil(self.step);
        usize::try_from(steps).expect("few steps are asked for")
    }

    /// The bits of one step.
    pub(super) fn bits(&self, at: usize) -> Range<u64> {
        let start = self.range.start + at as u64 * self.step;
        start..start.saturating_add(self.step).min(self.range.end)
    }
}

impl<'a> Places<'a> {
    /// Asks the homes of all operands. `None` where the expression has no bits, for too many of its
    /// operands are not there.
    pub(super) async fn open(call: &'a Call, of: &'a Expression) -> Step<Option<Self>> {
        let operands = Operands::open(call, &of.keys).await?;
        Self::over(call, &of.formula, operands).await.map(|opened| opened.ok())
    }

    /// As [`open`](Self::open), over operands that are open; they come back where there are no
    /// bits.
    pub(super) async fn over(
        call: &'a Call,
        formula: &Formula,
        operands: Operands<'a>,
    ) -> Step<Result<Self, Operands<'a>>> {
        let all: Vec<usize> = (0..operands.keys.len()).collect();
        let tree = Tree::of(formula, &all, |place| operands.header(place).is_some());
        let Some(tree) = tree else { return Ok(Err(operands)) };
        let (formula, places) = tree.compile();
        let sources = operands.sources(&places);
        let groups = operands.later_groups(call, &places);
        let home = |place: usize| call.map.home(&operands.keys[place]);
        let first = match tree.common_home(&home) {
            Some(home) => First::At(home),
            None => First::Here(first_segment(call, &operands, &tree).await?),
        };
        let asked = AtomicUsize::new(0);
        Ok(Ok(Self { call, operands, formula, sources, groups, first, asked }))
    }

    /// Whether one question to one group sees all operands at one moment.
    fn is_one_look(&self) -> bool {
        matches!(self.first, First::At(_)) && self.operands.are_whole()
    }

    /// Whether all that was read of a key without parts outside of its home, which is changed and
    /// set anew without a version to tell it by, was read at one moment.
    fn is_one_moment(&self, header: &Header) -> bool {
        match &self.first {
            First::At(_) => self.asked.load(Ordering::Relaxed) <= 1,
            // The first segment was read when the operands were opened.
            First::Here(_) => header.len_bytes <= self.call.map.width().bytes(),
        }
    }

    /// Checks that what was read of each operand belongs together, unless one group has answered
    /// all at once.
    pub(super) async fn confirm(&self) -> Step<()> {
        if self.is_one_look() && self.asked.load(Ordering::Relaxed) <= 1 {
            return Ok(());
        }
        let is_same =
            |then: &Header, now: &Header| self.is_one_moment(then) || then.modified == now.modified;
        self.operands.confirm(self.call, is_same).await
    }

    /// As [`confirm`](Self::confirm), of an answer that is cut at the length that the operands had
    /// at first.
    pub(super) async fn confirm_whole(&self) -> Step<()> {
        let is_same = |then: &Header, now: &Header| {
            let is_one_moment = self.is_one_moment(then);
            then.len_bytes == now.len_bytes && (is_one_moment || then.modified == now.modified)
        };
        self.operands.confirm(self.call, is_same).await
    }

    /// The bits of a short result, where one question brings all of them; of any that may be
    /// answered, where operands have kept changing between questions.
    pub(super) async fn at_one_look(&self) -> Step<Option<Bitmap>> {
        let width = self.call.map.width();
        let most = match self.call.changes {
            0 => width.bits().min(STAGE_BITS_MAX),
            _ => self.call.value_bytes_max().saturating_mul(8),
        };
        if !self.is_one_look() || self.operands.len_bytes(self.call).await? * 8 > most {
            return Ok(None);
        }
        let value = self.value(0..most).await?;
        self.confirm_whole().await?;
        Ok(Some(value))
    }

    /// The share of `range` that each group evaluates.
    fn shares(&self, range: &Range<u64>) -> Vec<(GroupId, Range<u64>)> {
        let width = self.call.map.width().bits();
        let later = range.start.max(width)..range.end;
        // Later segments lie by their number, whatever the key.
        let owners = self.call.map.groups_of_range(b"", later.clone());
        let owns = |group: &GroupId| owners.binary_search(group).is_ok();
        let mut shares: Vec<(GroupId, Range<u64>)> = Vec::new();
        for group in self.groups.iter().filter(|group| owns(group)) {
            shares.push((*group, later.clone()));
        }
        if let First::At(home) = &self.first {
            shares.retain(|(group, _)| group != home);
            // All of the range, though it had nothing more when the operands were opened: what has
            // come since belongs to what it answers.
            if range.start < width || owns(home) {
                shares.push((*home, range.clone()));
            }
        }
        shares.retain(|(_, range)| range.start < range.end);
        shares
    }

    /// The first segment where it is here.
    pub(super) fn here(&self) -> Option<&Bitmap> {
        match &self.first {
            First::Here(bits) => Some(bits),
            First::At(_) => None,
        }
    }

    fn evaluate(&self, range: &Range<u64>, want: Want) -> ReadOp {
        ReadOp::Evaluate {
            formulas: vec![self.formula.clone()],
            sources: self.sources.clone(),
            range: (range.start, range.end),
            want,
        }
    }

    /// Asks every group for its share of `range`.
    async fn ask(&self, range: &Range<u64>, want: Want) -> Step<Vec<Outcome>> {
        let shares = self.shares(range);
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.call.inner.metrics.fanned_out(shares.len());
        self.call
            .each(shares, |(group, range)| {
                let op = self.evaluate(&range, want);
                async move { self.call.ask(group, op).await }
            })
            .await
    }

    /// How many bits the range has.
    pub(super) async fn count(&self, range: Range<u64>) -> Step<u64> {
        let mut sum = self.here().map_or(0, |bits| bits.count(range.clone()));
        for outcome in self.ask(&range, Want::Counts).await? {
            sum += counts_of(outcome, 1)?[0];
        }
        Ok(sum)
    }

    /// The first bits of the range, or the last: `limit` of them, where there are so many.
    pub(super) async fn list(
        &self,
        range: Range<u64>,
        limit: u64,
        from_end: bool,
    ) -> Step<Vec<u64>> {
        let limit_here = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut offsets: Vec<u64> = Vec::new();
        let mut add = |bits: &Bitmap| offsets.extend(bits.iter_set(range.clone()));
        if let Some(bits) = self.here() {
            add(&bits_at_end(bits, &range, limit, from_end));
        }
        for outcome in self.ask(&range, Want::List { limit, from_end }).await? {
            add(&bitmap_of(outcome)?);
        }
        offsets.sort_unstable();
        if from_end {
            offsets.drain(..offsets.len().saturating_sub(limit_here));
        } else {
            offsets.truncate(limit_here);
        }
        Ok(offsets)
    }

    /// How many bits each step has.
    pub(super) async fn histogram(&self, steps: &Steps) -> Step<Vec<u64>> {
        let mut counts = vec![0; steps.len()];
        let width = self.call.map.width().bits();
        let mut asks = Vec::new();
        self.asked.fetch_add(1, Ordering::Relaxed);
        for (group, range) in self.shares(&steps.range) {
            // Of a step that the first segment ends in, a group without that segment counts the
            // rest by itself.
            let past = (range.start - steps.range.start).div_ceil(steps.step);
            let aligned = steps.range.start.saturating_add(past.saturating_mul(steps.step));
            let whole = aligned.min(range.end)..range.end;
            let at = usize::try_from(past).expect("few steps are asked for");
            if range.start < whole.start {
                asks.push((group, at - 1, range.start..whole.start, None));
            }
            if !whole.is_empty() {
                asks.push((group, at, whole, Some(steps.step)));
            }
        }
        if let Some(bits) = self.here() {
            let within = steps.range.start..steps.range.end.min(width);
            let len = Steps { range: within.clone(), step: steps.step };
            let len = if within.is_empty() { 0 } else { len.len() };
            for (at, count) in counts.iter_mut().enumerate().take(len) {
                *count += bits.count(steps.bits(at));
            }
        }
        self.call.inner.metrics.fanned_out(asks.len());
        let counted = self
            .call
            .each(asks, |(group, at, range, step)| {
                let want = step.map_or(Want::Counts, |step| Want::Histogram { step });
                let op = self.evaluate(&range, want);
                let len = step.map_or(1, |step| Steps { range, step }.len());
                async move { Ok((at, counts_of(self.call.ask(group, op).await?, len)?)) }
            })
            .await?;
        for (at, more) in counted {
            counts[at..].iter_mut().zip(more).for_each(|(count, more)| *count += more);
        }
        Ok(counts)
    }

    /// The bits of the range; the length is whatever comes of it.
    pub(super) async fn value(&self, range: Range<u64>) -> Step<Bitmap> {
        let mut whole = self.here().map_or_else(Bitmap::new, |bits| bits.restrict(range.clone()));
        for outcome in self.ask(&range, Want::Value).await? {
            whole.merge_disjoint(&bitmap_of(outcome)?);
        }
        Ok(whole)
    }

    /// All bits, of operands of at most `len_bytes` bytes; as long as that. Fetched in pieces, so
    /// that no answer is longer than it must be.
    ///
    /// # Errors
    ///
    /// Where they take more memory than a value that is answered may have.
    pub(super) async fn whole(&self, len_bytes: u64) -> Step<Bitmap> {
        let width = self.call.map.width().bits();
        let end = len_bytes * 8;
        let mut piece = end.div_ceil(PIECES_MAX).max(STAGE_BITS_MAX).next_multiple_of(width);
        if self.is_one_look() && len_bytes <= self.call.value_bytes_max() {
            // No longer than GET's answer, and of one moment, whoever writes meanwhile.
            piece = end.next_multiple_of(width);
        }
        let mut whole = Bitmap::new();
        let mut start = 0;
        while start < end {
            self.call.check_deadline()?;
            let next = start + piece;
            whole.merge_disjoint(&self.value(start..next).await?);
            if whole.heap_bytes() as u64 > self.call.value_bytes_max() {
                return Err(gather::too_long().into());
            }
            start = next;
        }
        whole.extend_len(len_bytes);
        Ok(whole)
    }

    /// The request.
    pub(super) fn call(&self) -> &'a Call {
        self.call
    }

    /// The first bit, or the last.
    pub(super) async fn edge(&self, last: bool) -> Step<Option<u64>> {
        Ok(self.list(ALL, 1, last).await?.into_iter().next())
    }
}

/// The first segment of an expression whose operands have several homes.
async fn first_segment(call: &Call, operands: &Operands<'_>, tree: &Tree) -> Step<Bitmap> {
    let home = |place: usize| call.map.home(&operands.keys[place]);
    let mut asks = Vec::new();
    let rest = tree.divide_once(&home, &mut |ask| {
        let known = asks.iter().position(|known| *known == ask);
        known.unwrap_or_else(|| {
            asks.push(ask);
            asks.len() - 1
        })
    });
    let values = operands.first_segments(call, &asks).await?;
    let (formula, places) = rest.compile();
    let values: Vec<&Bitmap> = places.iter().map(|place| &values[*place]).collect();
    Ok(formula.evaluate(&values, 0..call.map.width().bits()))
}

/// The first or the last bits of a range.
fn bits_at_end(bits: &Bitmap, range: &Range<u64>, limit: u64, from_end: bool) -> Bitmap {
    let only = Formula::only();
    if from_end {
        only.last(&[bits], range.clone(), limit)
    } else {
        only.first(&[bits], range.clone(), limit)
    }
}

/// The bulk that a cursor is.
pub(super) fn cursor(next: Option<u64>) -> Reply {
    Reply::bulk(next.unwrap_or(0).to_string())
}

/// Why an answer does not fit.
pub(super) fn misfit(reply: Reply) -> Stop {
    unexpected(reply.into())
}
