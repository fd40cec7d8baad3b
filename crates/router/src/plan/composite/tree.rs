//! Expressions as trees: what is left of one without the operands that are not there, and what each
//! home can compute of its first segment by itself. Pure.

use std::collections::BTreeMap;

use bitroster_bitmap::{Formula, Step};
use bitroster_types::GroupId;

/// An operation whose operands may come in any order and grouping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Join {
    And,
    Or,
    Xor,
}

/// An expression over operands that are there. Chains of one operation are one node, so that a
/// tree is no deeper than its parentheses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tree {
    /// The operand of a place.
    Leaf(usize),
    /// Two or more, joined.
    Node(Join, Vec<Tree>),
    /// What is in the first and not in the second.
    Without(Box<Tree>, Box<Tree>),
}

/// What one home computes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ask {
    pub(super) home: GroupId,
    pub(super) formula: Formula,
    /// The formula's operands, as places of the whole expression, ascending.
    pub(super) places: Vec<usize>,
}

impl Tree {
    /// The tree of a formula, whose operands stand at `places`. `None` where it has no bit, for too
    /// many of its operands are not there.
    pub(super) fn of(
        formula: &Formula,
        places: &[usize],
        is_there: impl Fn(usize) -> bool,
    ) -> Option<Self> {
        let mut stack: Vec<Option<Self>> = Vec::new();
        for step in formula.steps() {
            if let Step::Operand(operand) = *step {
                let place = places[usize::from(operand)];
                stack.push(is_there(place).then_some(Self::Leaf(place)));
                continue;
            }
            let newer = stack.pop().expect("a formula is balanced");
            let older = stack.pop().expect("a formula is balanced");
            stack.push(match *step {
                Step::Or => Self::either(Join::Or, older, newer),
                Step::Xor => Self::either(Join::Xor, older, newer),
                Step::And => older.zip(newer).map(|(older, newer)| older.and(newer)),
                Step::AndNot => match (older, newer) {
                    (Some(older), Some(newer)) => Some(older.without(newer)),
                    (older, _) => older,
                },
                Step::Operand(_) => unreachable!("seen above"),
            });
        }
        stack.pop().expect("a formula is balanced")
    }

    fn either(join: Join, older: Option<Self>, newer: Option<Self>) -> Option<Self> {
        match (older, newer) {
            (Some(older), Some(newer)) => Some(older.joined(join, newer)),
            (older, newer) => older.or(newer),
        }
    }

    fn joined(self, join: Join, other: Self) -> Self {
        let mut all = match self {
            Self::Node(own, all) if own == join => all,
            tree => vec![tree],
        };
        match other {
            Self::Node(own, more) if own == join => all.extend(more),
            tree => all.push(tree),
        }
        Self::Node(join, all)
    }

    /// Both. What is taken away is kept outermost.
    pub(super) fn and(self, other: Self) -> Self {
        let (kept, taken) = self.split();
        let (other_kept, other_taken) = other.split();
        let kept = kept.joined(Join::And, other_kept);
        match Self::either(Join::Or, taken, other_taken) {
            Some(taken) => Self::Without(kept.into(), taken.into()),
            None => kept,
        }
    }

    fn without(self, other: Self) -> Self {
        let (kept, taken) = self.split();
        let taken = Self::either(Join::Or, taken, Some(other)).expect("one is there");
        Self::Without(kept.into(), taken.into())
    }

    /// What a tree keeps, and what it takes away of that.
    fn split(self) -> (Self, Option<Self>) {
        match self {
            Self::Without(kept, taken) => (*kept, Some(*taken)),
            tree @ (Self::Leaf(_) | Self::Node(..)) => (tree, None),
        }
    }

    /// The tree as a formula, and the places of its operands, ascending.
    pub(super) fn compile(&self) -> (Formula, Vec<usize>) {
        let mut places = Vec::new();
        self.collect(&mut places);
        places.sort_unstable();
        places.dedup();
        (self.formula_over(&places), places)
    }

    /// The tree as a formula whose operands stand at `places`, ascending, its own among them.
    pub(super) fn formula_over(&self, places: &[usize]) -> Formula {
        let mut steps = Vec::new();
        self.emit(places, &mut steps);
        let formula = Formula::new(steps, places.len());
        formula.expect("whoever adds operands to a formula leaves room for their steps")
    }

    /// Adds the places of all operands.
    pub(super) fn collect(&self, places: &mut Vec<usize>) {
        match self {
            Self::Leaf(place) => places.push(*place),
            Self::Node(_, trees) => trees.iter().for_each(|tree| tree.collect(places)),
            Self::Without(kept, taken) => {
                kept.collect(places);
                taken.collect(places);
            }
        }
    }

    fn emit(&self, places: &[usize], steps: &mut Vec<Step>) {
        match self {
            Self::Leaf(place) => {
                let operand = places.binary_search(place).expect("its places are collected");
                let operand = u16::try_from(operand).expect("an expression has few operands");
                steps.push(Step::Operand(operand));
            }
            Self::Node(join, trees) => {
                for (at, tree) in trees.iter().enumerate() {
                    tree.emit(places, steps);
                    if at > 0 {
                        steps.push(match join {
                            Join::And => Step::And,
                            Join::Or => Step::Or,
                            Join::Xor => Step::Xor,
                        });
                    }
                }
            }
            Self::Without(kept, taken) => {
                kept.emit(places, steps);
                taken.emit(places, steps);
                steps.push(Step::AndNot);
            }
        }
    }

    /// The home of all operands, where they have one in common.
    pub(super) fn common_home(&self, home: &impl Fn(usize) -> GroupId) -> Option<GroupId> {
        let mut places = Vec::new();
        self.collect(&mut places);
        let mut homes = places.into_iter().map(home);
        let first = homes.next()?;
        homes.all(|home| home == first).then_some(first)
    }

    /// Divides the work on the first segment among the homes: what each is to compute, by `ask`,
    /// which gives its answer a place; and the tree over the answers.
    pub(super) fn divide(
        &self,
        home: &impl Fn(usize) -> GroupId,
        ask: &mut impl FnMut(Ask) -> usize,
    ) -> Self {
        if let Some(home) = self.common_home(home) {
            let (formula, places) = self.compile();
            return Self::Leaf(ask(Ask { home, formula, places }));
        }
        match self {
            Self::Leaf(_) => unreachable!("one operand has one home"),
            Self::Without(kept, taken) => {
                let kept = kept.divide(home, ask);
                Self::Without(kept.into(), taken.divide(home, ask).into())
            }
            Self::Node(join, trees) => {
                let mut by_home: BTreeMap<GroupId, Vec<Self>> = BTreeMap::new();
                let mut divided = Vec::new();
                for tree in trees {
                    match tree.common_home(home) {
                        Some(home) => by_home.entry(home).or_default().push(tree.clone()),
                        None => divided.push(tree.divide(home, ask)),
                    }
                }
                for mut trees in by_home.into_values() {
                    let share = match trees.len() {
                        1 => trees.remove(0),
                        _ => Self::Node(*join, trees),
                    };
                    divided.push(share.divide(home, ask));
                }
                Self::Node(*join, divided)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bitroster_bitmap::Bitmap;
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const OPERANDS: usize = 6;

    /// Steps that come to one result: as many joins as are needed follow the operands.
    fn formula() -> impl Strategy<Value = Formula> {
        vec((0..OPERANDS, 0_u8..4, any::<bool>()), 1..14).prop_map(|parts| {
            let mut steps = Vec::new();
            let mut depth = 0;
            let join = |kind: u8| match kind {
                0 => Step::And,
                1 => Step::Or,
                2 => Step::Xor,
                _ => Step::AndNot,
            };
            for (operand, kind, joins) in &parts {
                steps.push(Step::Operand(u16::try_from(*operand).unwrap()));
                depth += 1;
                if *joins && depth > 1 {
                    steps.push(join(*kind));
                    depth -= 1;
                }
            }
            for (_, kind, _) in parts.iter().take(depth - 1) {
                steps.push(join(*kind));
            }
            Formula::new(steps, OPERANDS).unwrap()
        })
    }

    fn evaluate(tree: &Tree, values: &[Bitmap]) -> Vec<u64> {
        let (formula, places) = tree.compile();
        let operands: Vec<&Bitmap> = places.iter().map(|place| &values[*place]).collect();
        formula.evaluate(&operands, 0..u64::MAX).iter_set(0..u64::MAX).collect()
    }

    proptest! {
        #[test]
        fn a_tree_and_its_division_have_the_bits_of_the_formula(
            formula in formula(),
            bytes in vec(vec(any::<u8>(), 1..20), OPERANDS),
            is_there in vec(any::<bool>(), OPERANDS),
            homes in vec(0_u16..3, OPERANDS),
        ) {
            let values: Vec<Bitmap> = bytes
                .iter()
                .zip(&is_there)
                .map(|(bytes, is)| if *is { Bitmap::from_bytes(bytes) } else { Bitmap::new() })
                .collect();
            let operands: Vec<&Bitmap> = values.iter().collect();
            let expected: Vec<u64> =
                formula.evaluate(&operands, 0..u64::MAX).iter_set(0..u64::MAX).collect();
            let places: Vec<usize> = (0..OPERANDS).collect();
            let Some(tree) = Tree::of(&formula, &places, |place| is_there[place]) else {
                prop_assert!(expected.is_empty());
                return Ok(());
            };
            prop_assert_eq!(evaluate(&tree, &values), &expected[..]);
            let home = |place: usize| GroupId(homes[place]);
            let mut asks: Vec<Ask> = Vec::new();
            let rest = tree.divide(&home, &mut |ask| {
                asks.push(ask);
                asks.len() - 1
            });
            let answers: Vec<Bitmap> = asks
                .iter()
                .map(|ask| {
                    assert!(ask.places.iter().all(|place| home(*place) == ask.home));
                    let operands: Vec<&Bitmap> =
                        ask.places.iter().map(|place| &values[*place]).collect();
                    ask.formula.evaluate(&operands, 0..u64::MAX)
                })
                .collect();
            prop_assert_eq!(evaluate(&rest, &answers), expected);
        }
    }

    #[test]
    fn a_union_asks_each_home_once() {
        let steps = (0..5_u16).map(Step::Operand).chain([Step::Or; 4]).collect();
        let formula = Formula::new(steps, 5).unwrap();
        let tree = Tree::of(&formula, &[0, 1, 2, 3, 4], |_| true).unwrap();
        let home = |place: usize| GroupId(u16::try_from(place % 2).unwrap());
        let mut asks = Vec::new();
        tree.divide(&home, &mut |ask| {
            asks.push(ask.places);
            asks.len() - 1
        });
        assert_eq!(asks, [vec![0, 2, 4], vec![1, 3]]);
    }
}
