//! Joining one container into another in place, and telling how many bits that changed.

use std::sync::Arc;

use super::Container;
use crate::address::CHUNK_BITS;
use crate::algebra::{self, Scratch, Want};
use crate::bitmap::MergeOp;
use crate::{BitOp, bits};

/// Lists of up to this many values go one by one into lists and runs; more are joined at once.
const ONE_BY_ONE_MAX: usize = 8;

/// Sets of up to this many runs go run by run; more are joined at once.
const RUN_BY_RUN_MAX: usize = 4;

impl Container {
    /// Joins the bits of `set` and returns how many changed. May leave the container empty.
    pub(crate) fn merge(&mut self, op: MergeOp, set: &Self, scratch: &mut Scratch<'_>) -> u32 {
        if self.card() == 0 {
            if op == MergeOp::AndNot {
                return 0;
            }
            *self = set.clone();
            return self.card();
        }
        if let Some(values) = set.values() {
            if let Self::Dense { .. } = self {
                return self.merge_values_dense(op, values);
            }
            if values.len() <= ONE_BY_ONE_MAX {
                return self.merge_values(op, values);
            }
        }
        match set {
            Self::Runs { runs, .. } if runs.len() <= RUN_BY_RUN_MAX => {
                runs.iter().map(|run| self.merge_run(op, run.span())).sum()
            }
            Self::Full => self.merge_run(op, (0, CHUNK_BITS)),
            Self::Tiny { .. } | Self::Array(_) | Self::Dense { .. } | Self::Runs { .. } => {
                self.merge_whole(op, set, scratch)
            }
        }
    }

    /// Whether [`merge`](Self::merge) would change anything.
    pub(crate) fn would_change(&self, op: MergeOp, set: &Self, scratch: &mut Scratch<'_>) -> bool {
        let (op, operands) = match op {
            MergeOp::Or => (BitOp::Diff, [Some(set), Some(self)]),
            MergeOp::AndNot => (BitOp::And, [Some(set), Some(self)]),
            MergeOp::Xor => return true,
        };
        algebra::eval(op, &operands, scratch, Want::Count).card(scratch) > 0
    }

    fn merge_values(&mut self, op: MergeOp, values: &[u16]) -> u32 {
        let mut changed = 0;
        for value in values {
            let bit = match op {
                MergeOp::Or => true,
                MergeOp::AndNot => false,
                MergeOp::Xor => !self.get(*value),
            };
            changed += u32::from(self.set(*value, bit) != bit);
        }
        changed
    }

    /// As [`merge_values`](Self::merge_values), settling the form once.
    fn merge_values_dense(&mut self, op: MergeOp, values: &[u16]) -> u32 {
        let Self::Dense { card, page } = self else { return 0 };
        let page = Arc::make_mut(page);
        let (mut set, mut cleared) = (0, 0);
        bits::each_place(values, |byte, mask| {
            let old = u32::from(page.0[byte] & mask != 0);
            match op {
                MergeOp::Or => {
                    page.0[byte] |= mask;
                    set += 1 - old;
                }
                MergeOp::AndNot => {
                    page.0[byte] &= !mask;
                    cleared += old;
                }
                MergeOp::Xor => {
                    page.0[byte] ^= mask;
                    set += 1 - old;
                    cleared += old;
                }
            }
        });
        *card = *card + set - cleared;
        self.settle();
        set + cleared
    }

    fn merge_run(&mut self, op: MergeOp, (lo, hi): (u32, u32)) -> u32 {
        let set = self.count(lo, hi);
        match op {
            MergeOp::Or => {
                self.fill(lo, hi, true);
                hi - lo - set
            }
            MergeOp::AndNot => {
                self.fill(lo, hi, false);
                set
            }
            MergeOp::Xor => {
                self.flip(lo, hi);
                hi - lo
            }
        }
    }

    /// Joins by building the result; keeps what is there where it is the result, and shares the
    /// set where it is.
    fn merge_whole(&mut self, op: MergeOp, set: &Self, scratch: &mut Scratch<'_>) -> u32 {
        let before = self.card();
        let how = match op {
            MergeOp::Or => BitOp::Or,
            MergeOp::AndNot => BitOp::Diff,
            MergeOp::Xor => BitOp::Xor,
        };
        let operands = [Some(&*self), Some(set)];
        let joined = algebra::eval(how, &operands, scratch, Want::Bits).into_container(scratch);
        let changed = match op {
            MergeOp::Or => joined.card() - before,
            MergeOp::AndNot => before - joined.card(),
            MergeOp::Xor => set.card(),
        };
        if op == MergeOp::Or && joined.card() == set.card() {
            *self = set.clone();
        } else if changed > 0 {
            *self = joined;
        }
        changed
    }
}
