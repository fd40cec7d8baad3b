//! Formulas over bitmaps that are all here.

use std::ops::Range;

use bitroster_bitmap::{Bitmap, Formula, Step, count_all};
use bitroster_command::{CommandError, Reply, Want};
use bitroster_types::limits::{FORMULAS_MAX, HISTOGRAM_STEPS_MAX};
use bytes::Bytes;

use super::{Made, Share, decoded, encoded, reply};

/// What a read asks of formulas.
///
/// An entry holds bits of segments that the group owns and no others, and a formula has no bit
/// where no operand has one: the answer needs no clipping.
#[derive(Debug)]
pub(crate) struct Evaluation {
    pub(crate) formulas: Vec<Formula>,
    pub(crate) operands: Vec<Bitmap>,
    pub(crate) range: Range<u64>,
    pub(crate) want: Want,
}

impl Evaluation {
    /// An evaluation within the limits.
    pub(crate) fn new(
        formulas: Vec<Formula>,
        operands: Vec<Bitmap>,
        (start, end): (u64, u64),
        want: Want,
    ) -> Result<Self, CommandError> {
        let most = match want {
            Want::Counts => FORMULAS_MAX,
            Want::Histogram { .. } | Want::List { .. } | Want::Value => 1,
        };
        if formulas.is_empty() || formulas.len() > most {
            let text =
                format!("ERR {} formulas in one request; the limit is {most}", formulas.len());
            return Err(CommandError::Message(text));
        }
        let range = start..end.max(start);
        if let Want::Histogram { step } = want {
            let steps = (range.end - range.start).div_ceil(step.max(1));
            if step == 0 || steps > HISTOGRAM_STEPS_MAX {
                let text = format!("ERR {steps} steps; the limit is {HISTOGRAM_STEPS_MAX}");
                return Err(CommandError::Message(text));
            }
        }
        formulas.iter().try_for_each(|formula| check(formula, operands.len()))?;
        Ok(Self { formulas, operands, range, want })
    }

    pub(super) fn run(self) -> Made {
        let Self { formulas, operands, range, want } = self;
        let operands: Vec<&Bitmap> = operands.iter().collect();
        let formula = &formulas[0];
        match want {
            Want::Counts => integers(count_all(&formulas, &operands, &range)),
            Want::Histogram { step } => integers(formula.histogram(&operands, range, step)),
            Want::List { limit, from_end: false } => {
                encoded(&formula.first(&operands, range, limit))
            }
            Want::List { limit, from_end: true } => encoded(&formula.last(&operands, range, limit)),
            Want::Value => encoded(&formula.evaluate(&operands, range)),
        }
    }

    /// Every operand once for each time that a formula names it.
    pub(super) fn cost_bytes(&self) -> u64 {
        let costs = self.formulas.iter().map(|formula| cost(formula, &self.operands, &self.range));
        costs.fold(0, u64::saturating_add)
    }
}

/// What formulas are to come to over values in the bitmap codec; an absent one is empty.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) formulas: Vec<Formula>,
    pub(crate) values: Vec<Option<Bytes>>,
    pub(crate) range: (u64, u64),
    pub(crate) want: Want,
}

impl Encoded {
    pub(super) fn run(self) -> Made {
        let decode = |value: &Option<Bytes>| value.as_deref().map_or(Ok(Bitmap::new()), decoded);
        let operands = self.values.iter().map(decode).collect::<Result<_, CommandError>>();
        let evaluation = operands
            .and_then(|operands| Evaluation::new(self.formulas, operands, self.range, self.want));
        match evaluation {
            Ok(evaluation) => evaluation.run(),
            Err(error) => Made::Outcome(error.into()),
        }
    }

    pub(super) fn cost_bytes(&self) -> u64 {
        self.values.iter().flatten().map(|bytes| bytes.len() as u64).sum()
    }
}

/// A value that is a formula over others, within a range and a share.
#[derive(Debug)]
pub(crate) struct Derivation {
    pub(crate) formula: Formula,
    pub(crate) operands: Vec<Bitmap>,
    pub(crate) range: Range<u64>,
    pub(crate) share: Share,
    /// Length of the result.
    pub(crate) len_bytes: u64,
}

impl Derivation {
    pub(super) fn build(self) -> Bitmap {
        let operands: Vec<&Bitmap> = self.operands.iter().collect();
        let value = self.formula.evaluate(&operands, self.range);
        let mut value = self.share.clip(value);
        value.truncate(self.len_bytes);
        value.extend_len(self.len_bytes);
        value
    }

    pub(super) fn cost_bytes(&self) -> u64 {
        cost(&self.formula, &self.operands, &self.range)
    }
}

/// Bytes of the operands of a formula that lie in a range, if they are spread evenly.
fn cost(formula: &Formula, operands: &[Bitmap], range: &Range<u64>) -> u64 {
    let of_step = |step: &Step| match *step {
        Step::Operand(place) => part_cost(&operands[usize::from(place)], range),
        Step::And | Step::Or | Step::Xor | Step::AndNot => 0,
    };
    formula.steps().iter().map(of_step).sum()
}

/// Bytes of a value that lie in a range, if they are spread evenly.
pub(super) fn part_cost(value: &Bitmap, range: &Range<u64>) -> u64 {
    let held = value.heap_bytes() as u64;
    let bits = (value.len_bytes() * 8).max(1);
    let taken = range.end.min(bits).saturating_sub(range.start);
    let share = u128::from(held) * u128::from(taken) / u128::from(bits);
    u64::try_from(share).unwrap_or(held)
}

fn integers(numbers: Vec<u64>) -> Made {
    let numbers = numbers.into_iter().map(|number| Reply::Integer(number.cast_signed()));
    reply(Reply::Array(numbers.collect()))
}

/// Whether every operand that a formula names is there.
pub(crate) fn check(formula: &Formula, operands: usize) -> Result<(), CommandError> {
    let is_there = |step: &Step| match *step {
        Step::Operand(place) => usize::from(place) < operands,
        Step::And | Step::Or | Step::Xor | Step::AndNot => true,
    };
    if formula.steps().iter().all(is_there) { Ok(()) } else { Err(CommandError::Syntax) }
}
