//! Expressions over several bitmaps: steps in postfix order.
//!
//! A formula becomes a plan ([`plan`]), in which a chain of equal steps is one operation and equal
//! parts are computed once; a plan of one operation goes the way of BITOP. Any other is walked
//! chunk by chunk ([`walk`]), and so are many formulas at once, so that each container is fetched
//! once for all of them.

use std::ops::Range;

use bitroster_types::limits::FORMULA_STEPS_MAX;

use crate::bitmap::Bitmap;
use crate::combine;
use crate::tree::Builder;

mod pairs;
mod plan;
mod sink;
mod small;
mod walk;

use plan::Plan;
use sink::{Edge, Histogram};
use walk::{Order, Walk};

/// One step of a formula. Every step but an operand takes the two newest results off the stack and
/// puts its own there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// The operand of this place.
    Operand(u16),
    /// Set in both.
    And,
    /// Set in one or both.
    Or,
    /// Set in one and not in the other.
    Xor,
    /// Set in the older one and not in the newer.
    AndNot,
}

/// An expression over operands, such as `(a & (b | c)) - d`.
///
/// Its result has no bit where no operand has one, so that no length is needed to compute it.
///
/// ```
/// use bitroster_bitmap::{Bitmap, Formula, Step};
///
/// let formula = Formula::new(vec![Step::Operand(0), Step::Operand(1), Step::AndNot], 2).unwrap();
/// let (a, b) = (Bitmap::from_bytes(b"\xF0"), Bitmap::from_bytes(b"\x3C"));
/// assert_eq!(formula.count(&[&a, &b], 0..u64::MAX), 2);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Formula {
    steps: Vec<Step>,
}

/// Why steps are no formula.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormulaError {
    /// A step finds less than two results, or more than one is left at the end.
    #[error("the steps of a formula do not come to one result")]
    Unbalanced,
    /// A place that has no operand.
    #[error("operand {place} of {operands}")]
    Operand {
        /// The place.
        place: u16,
        /// How many operands there are.
        operands: usize,
    },
    /// More steps than a formula may have.
    #[error("{steps} steps of a formula; the limit is {FORMULA_STEPS_MAX}")]
    TooLong {
        /// How many.
        steps: usize,
    },
}

impl Formula {
    /// A formula over `operands` operands.
    ///
    /// # Errors
    ///
    /// Where the steps do not come to one result, name an operand that is not there, or are more
    /// than [`FORMULA_STEPS_MAX`].
    pub fn new(steps: Vec<Step>, operands: usize) -> Result<Self, FormulaError> {
        if steps.len() > FORMULA_STEPS_MAX {
            return Err(FormulaError::TooLong { steps: steps.len() });
        }
        let mut depth = 0_usize;
        for step in &steps {
            match *step {
                Step::Operand(place) if usize::from(place) >= operands => {
                    return Err(FormulaError::Operand { place, operands });
                }
                Step::Operand(_) => depth += 1,
                Step::And | Step::Or | Step::Xor | Step::AndNot if depth < 2 => {
                    return Err(FormulaError::Unbalanced);
                }
                Step::And | Step::Or | Step::Xor | Step::AndNot => depth -= 1,
            }
        }
        if depth == 1 { Ok(Self { steps }) } else { Err(FormulaError::Unbalanced) }
    }

    /// The operand of place 0 as it is.
    pub fn only() -> Self {
        Self { steps: vec![Step::Operand(0)] }
    }

    /// The steps, in postfix order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The bits of `range` that the formula has; as long as the longest operand. An absent operand
    /// is an empty bitmap. Costs per step and container that can have a bit; shares containers of
    /// operands where they are the result.
    ///
    /// # Panics
    ///
    /// If there are fewer operands than the formula names.
    pub fn evaluate(&self, operands: &[&Bitmap], range: Range<u64>) -> Bitmap {
        if let Some(small) = small::evaluate(self, operands, &range) {
            return small;
        }
        let len_bytes = longest(operands);
        let plan = Plan::new(&[self]);
        if let Some((op, places)) = plan.single() {
            let operands = pick(operands, &places);
            let mut value = combine::build(op, &operands, range);
            value.extend_len(len_bytes);
            return value;
        }
        let mut builder = Builder::default();
        let trees = combine::trees(operands);
        Walk::new(&plan, &trees).run(&range, Order::Ascending, &mut builder);
        Bitmap::from_tree(builder.finish(len_bytes))
    }

    /// How many bits of `range` the formula has. Builds nothing of the last step.
    ///
    /// # Panics
    ///
    /// As [`evaluate`](Self::evaluate).
    pub fn count(&self, operands: &[&Bitmap], range: Range<u64>) -> u64 {
        if let Some(small) = small::evaluate(self, operands, &range) {
            return small.cardinality();
        }
        let plan = Plan::new(&[self]);
        match plan.single() {
            Some((op, places)) => combine::count(op, &pick(operands, &places), range),
            None => count_plan(&plan, operands, &range)[0],
        }
    }

    /// How many bits the formula has in each `step` bits from the start of the range on; the last
    /// step is cut at its end. Allocates eight bytes a step: callers bound their number.
    ///
    /// # Panics
    ///
    /// As [`evaluate`](Self::evaluate), or if the step is 0.
    pub fn histogram(&self, operands: &[&Bitmap], range: Range<u64>, step: u64) -> Vec<u64> {
        let mut histogram = Histogram::new(&range, step);
        let (plan, trees) = (Plan::new(&[self]), combine::trees(operands));
        Walk::new(&plan, &trees).run(&range, Order::Ascending, &mut histogram);
        histogram.counts
    }

    /// The first `limit` bits of `range` that the formula has; as long as the longest operand.
    /// Works no further than the container of the last of them.
    ///
    /// # Panics
    ///
    /// As [`evaluate`](Self::evaluate).
    pub fn first(&self, operands: &[&Bitmap], range: Range<u64>, limit: u64) -> Bitmap {
        self.edge(operands, &range, limit, Order::Ascending)
    }

    /// The last `limit` bits of `range` that the formula has; as long as the longest operand.
    /// Begins at the end, and works no further than the container of the last of them.
    ///
    /// # Panics
    ///
    /// As [`evaluate`](Self::evaluate).
    pub fn last(&self, operands: &[&Bitmap], range: Range<u64>, limit: u64) -> Bitmap {
        self.edge(operands, &range, limit, Order::Descending)
    }

    fn edge(&self, operands: &[&Bitmap], range: &Range<u64>, limit: u64, order: Order) -> Bitmap {
        let mut edge = Edge::new(order, limit);
        let (plan, trees) = (Plan::new(&[self]), combine::trees(operands));
        Walk::new(&plan, &trees).run(range, order, &mut edge);
        edge.finish(longest(operands))
    }
}

/// The length in bytes of the longest operand.
fn longest(operands: &[&Bitmap]) -> u64 {
    operands.iter().map(|operand| operand.len_bytes()).max().unwrap_or(0)
}

/// The operands of these places.
fn pick<'a>(operands: &[&'a Bitmap], places: &[u16]) -> Vec<&'a Bitmap> {
    places.iter().map(|place| operands[usize::from(*place)]).collect()
}

/// The counts of a plan's formulas.
fn count_plan(plan: &Plan, operands: &[&Bitmap], range: &Range<u64>) -> Vec<u64> {
    let trees = combine::trees(operands);
    let counts = Walk::new(plan, &trees).count(range);
    plan.roots.iter().map(|root| counts[*root as usize]).collect()
}

/// How many bits of `range` each formula has, over the same operands.
///
/// All formulas are counted in one pass, chunk by chunk: each container is fetched once, and what
/// several formulas have in common is computed once.
///
/// ```
/// use bitroster_bitmap::{Bitmap, Formula, Step, count_all};
///
/// let (a, b) = (Bitmap::from_bytes(b"\xF0"), Bitmap::from_bytes(b"\x3C"));
/// let of = |step| Formula::new(vec![Step::Operand(0), Step::Operand(1), step], 2).unwrap();
/// let formulas = [of(Step::And), of(Step::Or), of(Step::AndNot)];
/// assert_eq!(count_all(&formulas, &[&a, &b], &(0..8)), [2, 6, 2]);
/// ```
///
/// # Panics
///
/// As [`Formula::evaluate`].
pub fn count_all(formulas: &[Formula], operands: &[&Bitmap], range: &Range<u64>) -> Vec<u64> {
    if let [formula] = formulas {
        return vec![formula.count(operands, range.clone())];
    }
    count_plan(&Plan::new(&formulas.iter().collect::<Vec<_>>()), operands, range)
}
