//! Formulas over what this group holds of some keys.

use bitroster_bitmap::{Bitmap, Formula, Step};
use bitroster_command::{CommandError, Outcome, SourceRef, Want};
use bitroster_types::{
    Key,
    limits::{BITMAP_BITS_MAX, FORMULAS_MAX, HISTOGRAM_STEPS_MAX},
};

use super::{Reader, Stepped, too_long};
use crate::{
    entry::Value,
    work::{Derivation, Evaluation, Job},
};

impl Reader<'_> {
    pub(super) fn evaluate(
        self,
        formulas: &[Formula],
        sources: &[SourceRef],
        (start, end): (u64, u64),
        want: Want,
    ) -> Stepped {
        let (range, most) = (
            start..end.max(start),
            match want {
                Want::Counts => FORMULAS_MAX,
                Want::Histogram { .. } | Want::List { .. } | Want::Value => 1,
            },
        );
        if formulas.is_empty() || formulas.len() > most {
            let text =
                format!("ERR {} formulas in one request; the limit is {most}", formulas.len());
            return Err(CommandError::Message(text).into());
        }
        if let Want::Histogram { step } = want {
            let steps = (range.end - range.start).div_ceil(step.max(1));
            if step == 0 || steps > HISTOGRAM_STEPS_MAX {
                let text = format!("ERR {steps} steps; the limit is {HISTOGRAM_STEPS_MAX}");
                return Err(CommandError::Message(text).into());
            }
        }
        formulas.iter().try_for_each(|formula| check(formula, sources))?;
        let operands = self.operands(sources)?;
        Ok(Job::Evaluate(Evaluation { formulas: formulas.into(), operands, range, want }).into())
    }

    /// A formula over what this group holds of some keys, within the segments that it owns of `of`.
    pub(crate) fn derivation(
        self,
        of: &Key,
        formula: &Formula,
        sources: &[SourceRef],
        ((start, end), len_bytes): ((u64, u64), u64),
    ) -> Result<Derivation, Outcome> {
        check(formula, sources)?;
        if len_bytes > BITMAP_BITS_MAX / 8 {
            return Err(too_long().into());
        }
        Ok(Derivation {
            formula: formula.clone(),
            operands: self.operands(sources)?,
            range: start..end.min(len_bytes * 8).max(start),
            share: self.share(of),
            len_bytes,
        })
    }

    /// What this group holds of some keys; nothing of a part that is absent or older.
    pub(super) fn operands(self, sources: &[SourceRef]) -> Result<Vec<Bitmap>, Outcome> {
        let mut operands = Vec::with_capacity(sources.len());
        for source in sources {
            let value = self.share_at(&source.key, source.version)?;
            operands.push(value.map_or_else(Bitmap::new, Value::to_bitmap));
        }
        Ok(operands)
    }
}

/// Whether every operand that a formula names is there.
fn check(formula: &Formula, sources: &[SourceRef]) -> Result<(), CommandError> {
    let is_there = |step: &Step| match *step {
        Step::Operand(place) => usize::from(place) < sources.len(),
        Step::And | Step::Or | Step::Xor | Step::AndNot => true,
    };
    if formula.steps().iter().all(is_there) { Ok(()) } else { Err(CommandError::Syntax) }
}
