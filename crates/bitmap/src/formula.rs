//! Expressions over several bitmaps: steps in postfix order.

use std::ops::Range;

use bitroster_types::limits::FORMULA_STEPS_MAX;

use crate::{BitOp, Bitmap};

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
    /// is an empty bitmap.
    ///
    /// # Panics
    ///
    /// If there are fewer operands than the formula names.
    pub fn evaluate(&self, operands: &[&Bitmap], range: Range<u64>) -> Bitmap {
        let len_bytes = operands.iter().map(|operand| operand.len_bytes()).max().unwrap_or(0);
        let mut stack: Vec<Bitmap> = Vec::new();
        for step in &self.steps {
            let op = match *step {
                Step::Operand(place) => {
                    stack.push(operands[usize::from(place)].restrict(range.clone()));
                    continue;
                }
                Step::And => BitOp::And,
                Step::Or => BitOp::Or,
                Step::Xor => BitOp::Xor,
                Step::AndNot => BitOp::Diff,
            };
            let newer = stack.pop().expect("a formula is balanced");
            let older = stack.pop().expect("a formula is balanced");
            stack.push(Bitmap::combine(op, &[&older, &newer]));
        }
        let mut value = stack.pop().expect("a formula is balanced");
        value.extend_len(len_bytes);
        value
    }

    /// How many bits of `range` the formula has.
    ///
    /// # Panics
    ///
    /// As [`evaluate`](Self::evaluate).
    pub fn count(&self, operands: &[&Bitmap], range: Range<u64>) -> u64 {
        self.evaluate(operands, range).cardinality()
    }

    /// How many bits the formula has in each `step` bits from the start of the range on; the last
    /// step is cut at its end.
    ///
    /// # Panics
    ///
    /// As [`evaluate`](Self::evaluate), or if the step is 0.
    pub fn histogram(&self, operands: &[&Bitmap], range: Range<u64>, step: u64) -> Vec<u64> {
        let value = self.evaluate(operands, range.clone());
        let mut counts = Vec::new();
        let mut start = range.start;
        while start < range.end {
            let end = start.saturating_add(step).min(range.end);
            counts.push(value.count(start..end));
            start = end;
        }
        counts
    }

    /// The first `limit` bits of `range` that the formula has; as long as the longest operand.
    ///
    /// # Panics
    ///
    /// As [`evaluate`](Self::evaluate).
    pub fn first(&self, operands: &[&Bitmap], range: Range<u64>, limit: u64) -> Bitmap {
        let value = self.evaluate(operands, range);
        let end = value.iter_set(0..u64::MAX).nth(usize::try_from(limit).unwrap_or(usize::MAX));
        value.restrict(0..end.unwrap_or(u64::MAX))
    }

    /// The last `limit` bits of `range` that the formula has; as long as the longest operand.
    ///
    /// # Panics
    ///
    /// As [`evaluate`](Self::evaluate).
    pub fn last(&self, operands: &[&Bitmap], range: Range<u64>, limit: u64) -> Bitmap {
        let value = self.evaluate(operands, range);
        let skip = usize::try_from(value.cardinality().saturating_sub(limit)).unwrap_or(usize::MAX);
        let start = value.iter_set(0..u64::MAX).nth(skip);
        value.restrict(start.unwrap_or(u64::MAX)..u64::MAX)
    }
}

/// How many bits of `range` each formula has, over the same operands.
///
/// # Panics
///
/// As [`Formula::evaluate`].
pub fn count_all(formulas: &[Formula], operands: &[&Bitmap], range: &Range<u64>) -> Vec<u64> {
    formulas.iter().map(|formula| formula.count(operands, range.clone())).collect()
}
