//! Formulas over what this group holds of some keys.

use bitroster_bitmap::{Bitmap, Formula};
use bitroster_command::{Outcome, SourceRef, Want};
use bitroster_types::{Key, limits::BITMAP_BITS_MAX};

use super::{Reader, Stepped, too_long};
use crate::{
    entry::Value,
    work::{Derivation, Evaluation, Job, check},
};

impl Reader<'_> {
    pub(super) fn evaluate(
        self,
        formulas: &[Formula],
        sources: &[SourceRef],
        range: (u64, u64),
        want: Want,
    ) -> Stepped {
        let operands = self.operands(sources)?;
        Ok(Job::Evaluate(Evaluation::new(formulas.into(), operands, range, want)?).into())
    }

    /// A formula over what this group holds of some keys, within the segments that it owns of `of`.
    pub(crate) fn derivation(
        self,
        of: &Key,
        formula: &Formula,
        sources: &[SourceRef],
        ((start, end), len_bytes): ((u64, u64), u64),
    ) -> Result<Derivation, Outcome> {
        check(formula, sources.len())?;
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
