//! Formulas of two operands, many at a time: the matrix of a retention table.
//!
//! Whatever joins two sides, its count follows from their cardinalities and from how many bits both
//! have. An operand of several pairs is stored as a block once a chunk, so that each pair is one
//! pass over two blocks, or as many look-ups as the shorter side has values.

use super::plan::{Part, Place, Plan};
use crate::BitOp;
use crate::address::{CHUNK_BITS, narrow_size};
use crate::algebra::{self, Scratch, Want};
use crate::bits;
use crate::container::Container;
use crate::kernels::{self, Block, Fold, Operands, Page};

/// A side of so many pairs is worth a block where it is a list or runs.
const BLOCK_PAIRS_MIN: u32 = 3;

/// Lists with up to this many values are looked up in a block; longer ones are joined as blocks.
const LOOK_UP_MAX: usize = 256;

/// Lists with more values than this are unmarked by clearing the block.
const UNMARK_MAX: usize = 128;

/// A formula of two sides.
struct Pair {
    op: BitOp,
    /// Places among the sides.
    a: usize,
    b: usize,
    root: Place,
}

/// A part of the plan that pairs join.
struct Side {
    place: Place,
    pairs: u32,
    /// All zero between chunks; only of a side of several pairs.
    page: Option<Box<Page>>,
}

impl Side {
    /// The bits of a container as a block, where there is one.
    fn block<'b>(&'b self, container: &'b Container) -> Option<&'b Block> {
        match container {
            Container::Dense { page, .. } => Some(&page.0),
            Container::Full => None,
            Container::Tiny { .. } | Container::Array(_) | Container::Runs { .. } => {
                self.page.as_ref().map(|page| &page.0)
            }
        }
    }

    /// Whether the bits of a container have to be put into the page.
    fn is_stored(&self, container: &Container) -> bool {
        self.page.is_some() && !matches!(container, Container::Dense { .. } | Container::Full)
    }
}

/// The formulas of a plan that are pairs which nothing else joins.
pub(super) struct Pairs {
    list: Vec<Pair>,
    sides: Vec<Side>,
    is_pair: Vec<bool>,
    is_side: Vec<bool>,
}

impl Pairs {
    pub(super) fn new(plan: &Plan) -> Self {
        let parts = plan.parts.len();
        let mut pairs = Self {
            list: Vec::new(),
            sides: Vec::new(),
            is_pair: vec![false; parts],
            is_side: vec![false; parts],
        };
        let mut places = vec![None; parts];
        for (root, part) in plan.parts.iter().enumerate() {
            let Part::Join(op, args) = part else { continue };
            if let [a, b] = args[..]
                && plan.is_root[root]
                && plan.uses[root] == 0
            {
                let mut side = |place| pairs.side(place, &mut places);
                let (a, b) = (side(a), side(b));
                pairs.list.push(Pair { op: *op, a, b, root: narrow_size(root) });
                pairs.is_pair[root] = true;
            }
        }
        for side in pairs.sides.iter_mut().filter(|side| side.pairs >= BLOCK_PAIRS_MIN) {
            side.page = Some(Box::new(Page::ZERO));
        }
        pairs
    }

    fn side(&mut self, place: Place, places: &mut [Option<usize>]) -> usize {
        let at = *places[place as usize].get_or_insert_with(|| {
            self.sides.push(Side { place, pairs: 0, page: None });
            self.is_side[place as usize] = true;
            self.sides.len() - 1
        });
        self.sides[at].pairs += 1;
        at
    }

    /// Whether a part is a pair.
    pub(super) fn has(&self, place: Place) -> bool {
        self.is_pair[place as usize]
    }

    /// Whether pairs join a part.
    pub(super) fn join(&self, place: Place) -> bool {
        self.is_side[place as usize]
    }

    /// Counts the pairs that are `needed` in a whole chunk, whose containers `get` gives, and adds
    /// to the counts by place. Meanwhile fetches what `next` gives of the next chunk.
    pub(super) fn count<'c>(
        &mut self,
        needed: impl Fn(Place) -> bool,
        get: impl Fn(Place) -> Option<&'c Container>,
        next: impl Fn(Place) -> Option<&'c Container>,
        scratch: &mut Scratch<'_>,
        counts: &mut [u64],
    ) {
        if self.list.is_empty() {
            return;
        }
        let found: Vec<Option<&Container>> =
            self.sides.iter().map(|side| get(side.place).filter(|_| needed(side.place))).collect();
        let mut ahead: Vec<&Block> = Vec::new();
        for (side, container) in self.sides.iter_mut().zip(&found) {
            if let Some(container) = container.filter(|container| side.is_stored(container))
                && let Some(page) = &mut side.page
            {
                container.store(page);
            }
            if let Some(Container::Dense { page, .. }) = next(side.place) {
                ahead.push(&page.0);
            }
        }
        // What is fetched early would push out what is in use.
        let fetch_from = self.list.len().saturating_sub(ahead.len());
        for (at, pair) in self.list.iter().enumerate() {
            if !needed(pair.root) {
                continue;
            }
            let fetched = at.checked_sub(fetch_from).and_then(|at| ahead.get(at..=at));
            let (a, b) = (found[pair.a], found[pair.b]);
            let card = |side: Option<&Container>| side.map_or(0, Container::card);
            let both = match (a, b) {
                (Some(a), Some(b)) => {
                    let (a, b) = ((a, &self.sides[pair.a]), (b, &self.sides[pair.b]));
                    count_both(a, b, fetched.unwrap_or_default(), scratch)
                }
                (None, _) | (_, None) => 0,
            };
            let (a, b) = (card(a), card(b));
            counts[pair.root as usize] += u64::from(match pair.op {
                BitOp::And | BitOp::AndOr => both,
                BitOp::Or => a + b - both,
                BitOp::Xor | BitOp::One => a + b - 2 * both,
                BitOp::Diff => a - both,
                BitOp::Diff1 => b - both,
                BitOp::Not => unreachable!("a formula has no NOT"),
            });
        }
        self.clear(&found);
    }

    /// Makes the pages all zero again.
    fn clear(&mut self, found: &[Option<&Container>]) {
        for (side, container) in self.sides.iter_mut().zip(found) {
            if let Some(container) = container.filter(|container| side.is_stored(container))
                && let Some(page) = &mut side.page
            {
                match container.values() {
                    Some(values) if values.len() <= UNMARK_MAX => {
                        values.iter().for_each(|value| page.0[usize::from(*value >> 3)] = 0);
                    }
                    _ => page.0.fill(0),
                }
            }
        }
    }
}

/// How many bits two containers have in common.
fn count_both(
    (a, side_a): (&Container, &Side),
    (b, side_b): (&Container, &Side),
    ahead: &[&Block],
    scratch: &mut Scratch<'_>,
) -> u32 {
    if a.card() == CHUNK_BITS || b.card() == CHUNK_BITS {
        return a.card().min(b.card());
    }
    let (block_a, block_b) = (side_a.block(a), side_b.block(b));
    let short = |container: &Container| container.values().is_some_and(|v| v.len() <= LOOK_UP_MAX);
    let is_a_looked_up = short(a) && block_b.is_some() && !(short(b) && b.card() < a.card());
    let looked_up = if is_a_looked_up {
        a.values().zip(block_b)
    } else if short(b) {
        b.values().zip(block_a)
    } else {
        None
    };
    if let Some((values, block)) = looked_up {
        return look_up(values, block);
    }
    if let (Some(first), Some(other)) = (block_a, block_b) {
        return kernels::fold_count(Fold::And, Operands { first, rest: &[other], ahead });
    }
    algebra::eval(BitOp::And, &[Some(a), Some(b)], scratch, Want::Count).card(scratch)
}

/// How many of the values are set in a block.
fn look_up(values: &[u16], block: &Block) -> u32 {
    values.iter().map(|value| u32::from(bits::get(block, usize::from(*value)))).sum()
}
