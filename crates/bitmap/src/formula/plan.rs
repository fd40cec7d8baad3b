//! Formulas as a plan: what is computed in which order, each thing once.
//!
//! The two-sided steps of all formulas become a graph in which equal parts are one. Then a step
//! that only its like uses is taken into it, so that a chain of steps is one [`BitOp`] of many
//! operands, as the kernels like it.

use std::collections::BTreeMap;

use super::{Formula, Step};
use crate::BitOp;
use crate::address::narrow_size;

/// The place of a part in a plan.
pub(super) type Place = u32;

/// One part of a plan.
pub(super) enum Part {
    /// An operand.
    Operand(u16),
    /// The parts of these places, joined.
    Join(BitOp, Vec<Place>),
}

/// The parts of some formulas. Those that a part joins come before it.
pub(super) struct Plan {
    pub(super) parts: Vec<Part>,
    /// The part of each formula.
    pub(super) roots: Vec<Place>,
    /// How many parts join each part.
    pub(super) uses: Vec<u32>,
    /// The last part that joins each part, itself where none does.
    pub(super) last_use: Vec<Place>,
    /// Whether each part is the part of a formula.
    pub(super) is_root: Vec<bool>,
}

impl Plan {
    /// The plan of formulas over the same operands. Costs n log n in steps.
    pub(super) fn new(formulas: &[&Formula]) -> Self {
        let mut graph = Graph::default();
        let roots = formulas.iter().map(|formula| graph.add(formula)).collect();
        graph.into_plan(roots)
    }

    /// The operation and the operands' places, where the one formula is a single operation.
    pub(super) fn single(&self) -> Option<(BitOp, Vec<u16>)> {
        let [root] = self.roots[..] else { return None };
        let operand = |place: &Place| match self.parts[*place as usize] {
            Part::Operand(operand) => Some(operand),
            Part::Join(..) => None,
        };
        match &self.parts[root as usize] {
            Part::Operand(operand) => Some((BitOp::Or, vec![*operand])),
            Part::Join(op, args) => {
                Some((*op, args.iter().map(operand).collect::<Option<Vec<u16>>>()?))
            }
        }
    }
}

/// A two-sided step, or an operand.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Twig {
    Operand(u16),
    Join(BitOp, Place, Place),
}

/// Equal twigs are one.
#[derive(Default)]
struct Graph {
    twigs: Vec<Twig>,
    places: BTreeMap<Twig, Place>,
}

impl Graph {
    fn place(&mut self, twig: Twig) -> Place {
        *self.places.entry(twig).or_insert_with(|| {
            self.twigs.push(twig);
            narrow_size(self.twigs.len() - 1)
        })
    }

    /// Adds the steps of a formula and returns the place of its result.
    fn add(&mut self, formula: &Formula) -> Place {
        let mut stack: Vec<Place> = Vec::new();
        for step in formula.steps() {
            let op = match *step {
                Step::Operand(operand) => {
                    stack.push(self.place(Twig::Operand(operand)));
                    continue;
                }
                Step::And => BitOp::And,
                Step::Or => BitOp::Or,
                Step::Xor => BitOp::Xor,
                Step::AndNot => BitOp::Diff,
            };
            let newer = stack.pop().expect("a formula is balanced");
            let older = stack.pop().expect("a formula is balanced");
            // The sides of all but one may be changed for each other.
            let swap = op != BitOp::Diff && newer < older;
            let (a, b) = if swap { (newer, older) } else { (older, newer) };
            stack.push(self.place(Twig::Join(op, a, b)));
        }
        stack.pop().expect("a formula is balanced")
    }

    fn into_plan(self, roots: Vec<Place>) -> Plan {
        let mut uses = vec![0u32; self.twigs.len()];
        for twig in &self.twigs {
            if let Twig::Join(_, a, b) = *twig {
                uses[a as usize] += 1;
                uses[b as usize] += 1;
            }
        }
        roots.iter().for_each(|root| uses[*root as usize] += 1);
        let mut forming = Forming { parts: Vec::with_capacity(self.twigs.len()), uses };
        for twig in &self.twigs {
            let part = match *twig {
                Twig::Operand(operand) => Part::Operand(operand),
                Twig::Join(op, a, b) => forming.join(op, a, b),
            };
            forming.parts.push(Some(part));
        }
        compact(forming.parts, roots)
    }
}

/// Parts of which some were taken into others.
struct Forming {
    parts: Vec<Option<Part>>,
    /// How many twigs and formulas use each part.
    uses: Vec<u32>,
}

impl Forming {
    /// Whether a part is an operation that nothing else uses.
    fn is_free(&self, place: Place, op: BitOp) -> bool {
        self.uses[place as usize] == 1
            && matches!(&self.parts[place as usize], Some(Part::Join(own, _)) if *own == op)
    }

    /// The parts that a free operation joins, which is no more; otherwise the part itself.
    fn take(&mut self, place: Place, op: BitOp) -> Vec<Place> {
        if self.is_free(place, op)
            && let Some(Part::Join(_, args)) = self.parts[place as usize].take()
        {
            return args;
        }
        vec![place]
    }

    fn join(&mut self, op: BitOp, a: Place, b: Place) -> Part {
        if op == BitOp::Diff {
            return self.diff(a, b);
        }
        if op == BitOp::And {
            for (one, any) in [(a, b), (b, a)] {
                if self.is_free(any, BitOp::Or) && !self.is_free(one, BitOp::And) {
                    let mut args = self.take(any, BitOp::Or);
                    args.insert(0, one);
                    return Part::Join(BitOp::AndOr, args);
                }
            }
        }
        let (mut longer, mut shorter) = (self.take(a, op), self.take(b, op));
        if longer.len() < shorter.len() {
            std::mem::swap(&mut longer, &mut shorter);
        }
        longer.append(&mut shorter);
        Part::Join(op, longer)
    }

    /// `a` without `b`.
    fn diff(&mut self, a: Place, b: Place) -> Part {
        if self.is_free(a, BitOp::Or) && !self.is_free(b, BitOp::Or) {
            let mut args = self.take(a, BitOp::Or);
            args.insert(0, b);
            return Part::Join(BitOp::Diff1, args);
        }
        let mut args = self.take(a, BitOp::Diff);
        args.append(&mut self.take(b, BitOp::Or));
        Part::Join(BitOp::Diff, args)
    }
}

/// Closes the gaps that parts left which were taken into others.
fn compact(parts: Vec<Option<Part>>, roots: Vec<Place>) -> Plan {
    let mut moved = vec![0; parts.len()];
    let mut plan = Plan {
        parts: Vec::new(),
        roots: Vec::new(),
        uses: Vec::new(),
        last_use: Vec::new(),
        is_root: Vec::new(),
    };
    for (old, part) in parts.into_iter().enumerate() {
        let Some(mut part) = part else { continue };
        let place = narrow_size(plan.parts.len());
        moved[old] = place;
        if let Part::Join(_, args) = &mut part {
            for arg in args {
                *arg = moved[*arg as usize];
                plan.uses[*arg as usize] += 1;
                plan.last_use[*arg as usize] = place;
            }
        }
        plan.parts.push(part);
        plan.uses.push(0);
        plan.last_use.push(place);
        plan.is_root.push(false);
    }
    plan.roots = roots.into_iter().map(|root| moved[root as usize]).collect();
    for root in &plan.roots {
        plan.is_root[*root as usize] = true;
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parts of formulas in which a letter is an operand and a sign a step.
    fn parts(formulas: &[&str]) -> Vec<String> {
        let step = |letter: char| match letter {
            '&' => Step::And,
            '|' => Step::Or,
            '^' => Step::Xor,
            '-' => Step::AndNot,
            _ => Step::Operand(letter as u16 - 'a' as u16),
        };
        let formulas: Vec<Formula> = formulas
            .iter()
            .map(|text| Formula::new(text.chars().map(step).collect(), 26).unwrap())
            .collect();
        let plan = Plan::new(&formulas.iter().collect::<Vec<_>>());
        let joins = plan.parts.iter().filter_map(|part| match part {
            Part::Operand(_) => None,
            Part::Join(op, args) => Some(format!("{op:?} of {}", args.len())),
        });
        joins.collect()
    }

    #[test]
    fn a_chain_of_equal_steps_is_one_operation() {
        assert_eq!(parts(&["ab|c|d|"]), ["Or of 4"]);
        assert_eq!(parts(&["abcd&&&"]), ["And of 4"]);
        assert_eq!(parts(&["ab-c-de|-"]), ["Diff of 5"]);
        assert_eq!(parts(&["ab|c&"]), ["AndOr of 3"]);
        assert_eq!(parts(&["ab|c-"]), ["Diff1 of 3"]);
        assert_eq!(parts(&["ab|cd|&"]), ["Or of 2", "AndOr of 3"]);
        assert_eq!(parts(&["ab&c&de|&"]), ["Or of 2", "And of 4"]);
    }

    #[test]
    fn what_several_formulas_share_is_one_part() {
        assert_eq!(parts(&["ab|c&", "ba|d&"]), ["Or of 2", "And of 2", "And of 2"]);
        assert_eq!(parts(&["ab&", "ba&", "ab-", "ba-"]), ["And of 2", "Diff of 2", "Diff of 2"]);
        assert_eq!(parts(&["ab&", "ab&c&"]), ["And of 2", "And of 2"]);
    }
}
