//! Counts of many expressions over the same operands.
//!
//! Every group counts all of them over its later segments in one pass. First segments are counted
//! by the home that has all operands of an expression, and else here, from what the homes compute;
//! what several expressions need of a home it sends once.
//!
//! Between two looks at a key without parts outside of its home it may become another one, without
//! a version to tell it by. Where counts are to fit each other, first segments are therefore either
//! all counted by one home or all counted here, each operand looked at once.

use std::collections::{BTreeMap, HashMap};

use bitroster_bitmap::{Bitmap, Formula, count_all};
use bitroster_command::{CommandError, ReadOp, Want};
use bitroster_types::{
    GroupId,
    limits::{EXPRESSION_KEYS_MAX, FORMULAS_MAX},
};

use super::{
    operands::{Operands, counts_of},
    places::ALL,
    tree::{Ask, Tree},
};
use crate::call::{Call, Step};

/// Expressions that are counted here before another task may go on: a millisecond or so.
const COUNTED_AT_ONCE: usize = 16;

/// First segments that are fetched before it is looked at how much they take: ten megabytes or so.
const FETCHED_AT_ONCE: usize = 64;

/// [`ALL`] as a range of a [`Share`].
const ALL_BITS: (u64, u64) = (ALL.start, ALL.end);

/// What homes have computed of first segments.
#[derive(Default)]
pub(super) struct Known {
    places: HashMap<Ask, usize>,
    values: Vec<Bitmap>,
}

impl Known {
    /// Forgets what was computed over any but the first `operands` places.
    pub(super) fn keep(&mut self, operands: usize) {
        let mut values = Vec::new();
        self.places.retain(|ask, place| {
            let is_kept = ask.places.iter().all(|place| *place < operands);
            if is_kept {
                values.push(std::mem::take(&mut self.values[*place]));
                *place = values.len() - 1;
            }
            is_kept
        });
        self.values = values;
    }

    /// Has the homes compute what is missing.
    async fn fetch(&mut self, call: &Call, operands: &Operands<'_>, asks: Vec<Ask>) -> Step<()> {
        let mut bytes: u64 = self.values.iter().map(|value| value.heap_bytes() as u64).sum();
        for asks in asks.chunks(FETCHED_AT_ONCE) {
            let values = operands.first_segments(call, asks).await?;
            for (ask, value) in asks.iter().zip(values) {
                bytes += value.heap_bytes() as u64;
                self.places.insert(ask.clone(), self.values.len());
                self.values.push(value);
            }
            if bytes > call.value_bytes_max() {
                return Err(too_many_bytes(call).into());
            }
        }
        Ok(())
    }
}

fn too_many_bytes(call: &Call) -> CommandError {
    let most = call.value_bytes_max();
    let text = format!("ERR the keys' first segments take more than {most} bytes together");
    CommandError::Message(text)
}

/// Expressions that are counted by one group in one range.
struct Share {
    group: GroupId,
    range: (u64, u64),
    /// Places among the expressions.
    of: Vec<usize>,
}

/// Whether counts are compared with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counts {
    /// Each stands for itself.
    Apart,
    /// All are to be of the same bits.
    Together,
}

/// How many bits each expression has; `None` is one without bits.
pub(super) async fn counts(
    call: &Call,
    operands: &Operands<'_>,
    trees: &[Option<Tree>],
    of: Counts,
    known: &mut Known,
) -> Step<Vec<u64>> {
    let mut counts = vec![0; trees.len()];
    let home = |place: usize| call.map.home(&operands.keys[place]);
    let mut homes = trees.iter().flatten().map(|tree| tree.common_home(&home));
    let first = homes.next().flatten();
    let is_one_look = homes.all(|home| home.is_some() && home == first)
        && trees.len() <= FORMULAS_MAX
        && operands.keys.len() <= EXPRESSION_KEYS_MAX;
    let here = of == Counts::Together && !is_one_look;
    let of = if here { Counts::Together } else { Counts::Apart };
    let there = trees.iter().enumerate().filter_map(|(at, tree)| Some((at, tree.as_ref()?)));
    let mut batch: Vec<(usize, &Tree)> = Vec::new();
    let mut places: Vec<usize> = Vec::new();
    for (at, tree) in there {
        let mut with = places.clone();
        tree.collect(&mut with);
        with.sort_unstable();
        with.dedup();
        if batch.len() == FORMULAS_MAX || !batch.is_empty() && with.len() > EXPRESSION_KEYS_MAX {
            count_batch(call, operands, std::mem::take(&mut batch), of, known, &mut counts).await?;
            with.clear();
            tree.collect(&mut with);
            with.sort_unstable();
            with.dedup();
        }
        places = with;
        batch.push((at, tree));
    }
    if !batch.is_empty() {
        count_batch(call, operands, batch, of, known, &mut counts).await?;
    }
    Ok(counts)
}

async fn count_batch(
    call: &Call,
    operands: &Operands<'_>,
    batch: Vec<(usize, &Tree)>,
    of: Counts,
    known: &mut Known,
    counts: &mut [u64],
) -> Step<()> {
    call.check_deadline()?;
    let home = |place: usize| call.map.home(&operands.keys[place]);
    let trees: Vec<&Tree> = batch.iter().map(|(_, tree)| *tree).collect();
    let mut by_home: BTreeMap<GroupId, Vec<usize>> = BTreeMap::new();
    let mut mixed: Vec<usize> = Vec::new();
    for (at, tree) in trees.iter().enumerate() {
        match tree.common_home(&home) {
            Some(home) if of == Counts::Apart => by_home.entry(home).or_default().push(at),
            Some(_) | None => mixed.push(at),
        }
    }
    let shares = shares(call, operands, &trees, by_home);
    call.inner.metrics.fanned_out(shares.len());
    let counted = call
        .each(shares, |share| {
            let op = evaluate(operands, &trees, &share);
            async move {
                let counted = counts_of(call.ask(share.group, op).await?, share.of.len())?;
                Ok((share.of, counted))
            }
        })
        .await?;
    for (of, counted) in counted {
        for (at, count) in of.into_iter().zip(counted) {
            counts[batch[at].0] += count;
        }
    }
    let mixed_trees: Vec<&Tree> = mixed.iter().map(|at| trees[*at]).collect();
    for (at, count) in mixed.iter().zip(count_here(call, operands, &mixed_trees, of, known).await?)
    {
        counts[batch[*at].0] += count;
    }
    Ok(())
}

/// Which group counts what: all expressions in the later segments that it holds, and those whose
/// home it is in the first segment as well, at one look.
fn shares(
    call: &Call,
    operands: &Operands<'_>,
    trees: &[&Tree],
    mut by_home: BTreeMap<GroupId, Vec<usize>>,
) -> Vec<Share> {
    let mut places = Vec::new();
    trees.iter().for_each(|tree| tree.collect(&mut places));
    places.sort_unstable();
    places.dedup();
    let width = call.map.width().bits();
    let mut shares = Vec::new();
    for group in operands.later_groups(call, &places) {
        let own = by_home.remove(&group).unwrap_or_default();
        let others = |at: &usize| own.binary_search(at).is_err();
        let of: Vec<usize> = (0..trees.len()).filter(others).collect();
        if !of.is_empty() {
            shares.push(Share { group, range: (width, ALL.end), of });
        }
        if !own.is_empty() {
            shares.push(Share { group, range: ALL_BITS, of: own });
        }
    }
    // All of the range, though a home had nothing more when the operands were opened: what has come
    // since belongs to what it answers.
    let at_home = |(group, of)| Share { group, range: ALL_BITS, of };
    shares.extend(by_home.into_iter().map(at_home));
    shares
}

fn evaluate(operands: &Operands<'_>, trees: &[&Tree], share: &Share) -> ReadOp {
    let mut places = Vec::new();
    share.of.iter().for_each(|at| trees[*at].collect(&mut places));
    places.sort_unstable();
    places.dedup();
    let formulas = share.of.iter().map(|at| trees[*at].formula_over(&places)).collect();
    let sources = operands.sources(&places);
    ReadOp::Evaluate { formulas, sources, range: share.range, want: Want::Counts }
}

/// Counts the first segments of expressions whose operands have several homes.
async fn count_here(
    call: &Call,
    operands: &Operands<'_>,
    trees: &[&Tree],
    of: Counts,
    known: &mut Known,
) -> Step<Vec<u64>> {
    let home = |place: usize| call.map.home(&operands.keys[place]);
    let mut missing: Vec<Ask> = Vec::new();
    let mut places: HashMap<Ask, usize> = HashMap::new();
    let rests: Vec<Tree> = trees
        .iter()
        .map(|tree| {
            let mut answer = |ask: Ask| {
                if let Some(place) = known.places.get(&ask).or_else(|| places.get(&ask)) {
                    return *place;
                }
                let place = known.values.len() + missing.len();
                places.insert(ask.clone(), place);
                missing.push(ask);
                place
            };
            match of {
                Counts::Apart => tree.divide_once(&home, &mut answer),
                Counts::Together => tree.divide_by_operand(&home, &mut answer),
            }
        })
        .collect();
    known.fetch(call, operands, missing).await?;
    let values: Vec<&Bitmap> = known.values.iter().collect();
    let all: Vec<usize> = (0..values.len()).collect();
    let range = 0..call.map.width().bits();
    let mut counts = Vec::with_capacity(trees.len());
    for rests in rests.chunks(COUNTED_AT_ONCE) {
        let formulas: Vec<Formula> = rests.iter().map(|rest| rest.formula_over(&all)).collect();
        counts.extend(count_all(&formulas, &values, &range));
        tokio::task::yield_now().await;
    }
    Ok(counts)
}
