//! BM.CONTAINS and its relatives, BM.RETENTION and BM.TOPK: counts of intersections.

use std::cmp::Reverse;

use bitroster_command::{
    Header, ReadCommand, Reply,
    composite::{Candidates, Expression, Relation},
};
use bitroster_types::{Key, limits::SCAN_KEYS_EXAMINED_MAX};
use bytes::Bytes;

use super::{
    many::{Counts, Known, counts},
    operands::Operands,
    places::misfit,
    tree::Tree,
};
use crate::{
    call::{Call, Step},
    plan::{gather::number, scan},
};

/// Candidates whose first segments are here at a time: ten megabytes or so.
const CANDIDATES_AT_ONCE: usize = 64;

/// How two keys relate.
pub(super) async fn compare(call: &Call, a: &Key, b: &Key, relation: Relation) -> Step<Reply> {
    let keys = if a == b { vec![a.clone()] } else { vec![a.clone(), b.clone()] };
    let operands = Operands::open(call, &keys).await?;
    let (a, b) = (leaf(&operands, 0), leaf(&operands, keys.len() - 1));
    let both = both(a.as_ref(), b.as_ref());
    let (trees, mut known) = ([a, b, both], Known::default());
    let counted = counts(call, &operands, &trees, Counts::Together, &mut known).await?;
    confirm(call, &operands).await?;
    let [a, b, both] = counted[..] else { unreachable!("one count an expression") };
    let is = |is: bool| Reply::Integer(i64::from(is));
    Ok(match relation {
        Relation::Contains => is(both == b),
        Relation::ContainsStrictly => is(both == b && a > b),
        Relation::Equal => is(both == a && both == b),
        Relation::Intersects => is(both > 0),
        Relation::Jaccard { none } => Reply::Double(jaccard(a, b, both, none)),
    })
}

/// Checks that what was counted of each key belongs together: where keys have several homes, later
/// segments of one that has no version are looked at by themselves. Once the command has begun
/// anew, for whatever reason, a key that has changed between both looks is taken as it is: bits
/// that come while they are counted are no other key.
async fn confirm(call: &Call, operands: &Operands<'_>) -> Step<()> {
    let width = call.map.width().bytes();
    // Then `counts` takes one look as well: parsers admit no more keys and expressions than one
    // batch takes.
    let mut homes = operands.keys.iter().map(|key| call.map.home(key));
    let first = homes.next();
    let is_one_look = homes.all(|home| Some(home) == first);
    let is_same = |then: &Header, now: &Header| {
        let is_certain = is_one_look || now.len_bytes <= width || then.modified == now.modified;
        is_certain || call.changes > 0
    };
    operands.confirm(call, is_same).await
}

/// Bits in both by bits in either.
#[expect(clippy::cast_precision_loss, reason = "a ratio needs no more")]
fn jaccard(a: u64, b: u64, both: u64, none: i8) -> f64 {
    // Bits that come or go between two groups' answers must not make it more than 1.
    let either = (a + b).saturating_sub(both).max(both);
    if either == 0 { f64::from(none) } else { both as f64 / either as f64 }
}

/// The key of a place where it is there.
fn leaf(operands: &Operands<'_>, place: usize) -> Option<Tree> {
    operands.header(place).map(|_| Tree::Leaf(place))
}

fn both(a: Option<&Tree>, b: Option<&Tree>) -> Option<Tree> {
    match (a?, b?) {
        (Tree::Leaf(a), Tree::Leaf(b)) if a == b => Some(Tree::Leaf(*a)),
        (a, b) => Some(a.clone().and(b.clone())),
    }
}

/// The retention of cohorts.
pub(super) async fn retention(
    call: &Call,
    cohorts: &[Key],
    returns: &[Key],
    horizon: u32,
) -> Step<Reply> {
    let mut keys: Vec<Key> = cohorts.iter().chain(returns).cloned().collect();
    keys.sort_unstable();
    keys.dedup();
    let operands = Operands::open(call, &keys).await?;
    let tree = |key: &Key| {
        let place = keys.binary_search(key).expect("every key is among them");
        leaf(&operands, place)
    };
    let horizon = usize::try_from(horizon).unwrap_or(usize::MAX);
    let mut trees = Vec::new();
    let mut columns = Vec::new();
    for (at, cohort) in cohorts.iter().enumerate() {
        let cohort = tree(cohort);
        let returns = returns.iter().skip(at).take(horizon);
        columns.push(returns.len());
        trees.push(cohort.clone());
        trees.extend(returns.map(|key| both(cohort.as_ref(), tree(key).as_ref())));
    }
    let counted = counts(call, &operands, &trees, Counts::Together, &mut Known::default()).await?;
    confirm(call, &operands).await?;
    let mut counted = counted.into_iter().map(number);
    let row = |(cohort, columns): (&Key, usize)| {
        let mut row = vec![Reply::bulk(cohort.as_bytes())];
        row.extend(counted.by_ref().take(columns + 1));
        Reply::Array(row)
    };
    Ok(Reply::Array(cohorts.iter().zip(columns).map(row).collect()))
}

/// The keys that have most in common with an expression.
pub(super) async fn top(call: &Call, of: &Expression, k: u64, among: &Candidates) -> Step<Reply> {
    let operands = Operands::open(call, &of.keys).await?;
    let mut ranking = Ranking { call, of, k, best: Vec::new(), known: Known::default() };
    match among {
        Candidates::Keys(keys) => {
            let mut keys = keys.clone();
            keys.sort_unstable();
            keys.dedup();
            ranking.add(&keys).await?;
        }
        Candidates::Match(pattern) => ranking.add_matching(pattern).await?,
    }
    operands.confirm(call, |_, _| true).await?;
    let row = |(Reverse(count), key): (Reverse<u64>, Key)| {
        Reply::Array(vec![Reply::bulk(key.as_bytes()), number(count)])
    };
    Ok(Reply::Array(ranking.best.into_iter().map(row).collect()))
}

/// The best candidates so far.
struct Ranking<'a> {
    call: &'a Call,
    of: &'a Expression,
    k: u64,
    /// Greatest count first, ties by name.
    best: Vec<(Reverse<u64>, Key)>,
    known: Known,
}

impl Ranking<'_> {
    /// Adds the keys whose names match, page by page: a key that comes or goes meanwhile may be
    /// seen or not.
    async fn add_matching(&mut self, pattern: &Bytes) -> Step<()> {
        let mut cursor = 0;
        loop {
            let page = ReadCommand::Scan {
                cursor,
                pattern: Some(pattern.clone()),
                count: SCAN_KEYS_EXAMINED_MAX,
                type_matches: true,
            };
            let reply = self.call.complete_read(&page).await?;
            let Some((next, names)) = scan::open_page(reply)? else { return Ok(()) };
            let names = match names {
                Reply::Array(names) => names,
                reply => return Err(misfit(reply)),
            };
            let mut keys: Vec<Key> = names.iter().filter_map(key_of).collect();
            keys.sort_unstable();
            keys.dedup();
            self.add(&keys).await?;
            if next == 0 {
                return Ok(());
            }
            cursor = next;
        }
    }

    /// Adds these keys, each named once.
    async fn add(&mut self, keys: &[Key]) -> Step<()> {
        for batch in keys.chunks(CANDIDATES_AT_ONCE) {
            self.add_batch(batch).await?;
        }
        Ok(())
    }

    async fn add_batch(&mut self, batch: &[Key]) -> Step<()> {
        self.call.check_deadline()?;
        let own = self.of.keys.len();
        let keys: Vec<Key> = self.of.keys.iter().chain(batch).cloned().collect();
        let operands = Operands::open(self.call, &keys).await?;
        let places: Vec<usize> = (0..own).collect();
        let is_there = |place: usize| operands.header(place).is_some();
        let Some(of) = Tree::of(&self.of.formula, &places, is_there) else { return Ok(()) };
        let tree = |at: usize| Some(of.clone().and(leaf(&operands, own + at)?));
        let trees: Vec<Option<Tree>> = (0..batch.len()).map(tree).collect();
        self.known.keep(own);
        let counted = counts(self.call, &operands, &trees, Counts::Apart, &mut self.known).await?;
        operands.confirm(self.call, |_, _| true).await?;
        for (key, count) in batch.iter().zip(counted).filter(|(_, count)| *count > 0) {
            // MATCH may name a key on two pages.
            self.best.retain(|(_, known)| known != key);
            self.best.push((Reverse(count), key.clone()));
        }
        self.best.sort_unstable();
        self.best.truncate(usize::try_from(self.k).unwrap_or(usize::MAX));
        Ok(())
    }
}

/// The key that a name in a page is.
pub(super) fn key_of(name: &Reply) -> Option<Key> {
    match name {
        Reply::Bulk(name) => Key::new(name),
        _ => None,
    }
}
