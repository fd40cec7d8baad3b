//! Whether what the clients saw is what some order of their commands gives.

use std::collections::{BTreeMap, HashSet};

use super::model::{Held, Model, Seen, Step};

/// One command of a history.
#[derive(Clone)]
pub(crate) struct Record<'a> {
    /// Who did what, for people.
    pub(crate) name: &'a str,
    pub(crate) steps: &'a [Step],
    pub(crate) invoked: u32,
    /// When it was answered and how; `None` while it is not, and where its router died.
    pub(crate) answered: Option<(u32, Seen)>,
}

impl Record<'_> {
    /// What it was answered, if that says anything.
    fn seen(&self) -> Option<&Seen> {
        match &self.answered {
            None | Some((_, Seen::Unknown)) => None,
            Some((_, seen)) => Some(seen),
        }
    }

    /// When it was over, if it must be over at all.
    fn end(&self) -> Option<u32> {
        self.seen().and(self.answered.as_ref()).map(|(end, _)| *end)
    }

    /// Whether it was answered before `other` began.
    pub(crate) fn precedes(&self, other: &Self) -> bool {
        self.end().is_some_and(|end| end < other.invoked)
    }
}

impl std::fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, invoked, answered, .. } = self;
        write!(f, "{name}, from {invoked} to {answered:?}")
    }
}

/// How far an order has come.
#[derive(Clone, PartialEq, Eq, Hash)]
struct State {
    model: Model,
    /// How many steps of each command are taken, and what it has loaded.
    taken: Vec<(usize, Option<Held>)>,
}

struct Search<'a, 'b> {
    records: &'a [Record<'b>],
    /// States from which there is no way on.
    dead: HashSet<State>,
}

/// Whether the commands, each step at an instant between its call and its answer, could have been
/// answered as they were. One without an answer may have been done in part, whenever.
pub(crate) fn is_explained(before: &Model, records: &[Record<'_>]) -> bool {
    let records: Vec<Record<'_>> = records
        .iter()
        .filter(|record| !matches!(record.seen(), Some(Seen::NotDone(_))))
        .cloned()
        .collect();
    let taken = vec![(0, None); records.len()];
    let mut search = Search { records: &records, dead: HashSet::new() };
    search.finds(&State { model: before.clone(), taken })
}

impl Search<'_, '_> {
    fn finds(&mut self, state: &State) -> bool {
        let is_taken = |at: usize| state.taken[at].0 == self.records[at].steps.len();
        let open: Vec<usize> = (0..self.records.len()).filter(|at| !is_taken(*at)).collect();
        if open.iter().all(|at| self.records[*at].end().is_none()) {
            return true;
        }
        if self.dead.contains(state) {
            return false;
        }
        let first_end = open.iter().filter_map(|at| self.records[*at].end()).min();
        for at in open {
            let record = &self.records[at];
            if first_end.is_some_and(|end| end < record.invoked) {
                continue;
            }
            let (taken, loaded) = &state.taken[at];
            let step = &record.steps[*taken];
            let again = state.model.again(step, loaded);
            let taken = if again.is_some() { *taken } else { taken + 1 };
            let (model, loaded, seen) = state.model.after(again.as_ref().unwrap_or(step), loaded);
            let fits = match (&seen, record.seen()) {
                (Some(found), Some(expected)) => found == expected,
                (None, _) | (_, None) => true,
            };
            if fits {
                let mut next = State { model, taken: state.taken.clone() };
                next.taken[at] = (taken, loaded);
                if self.finds(&next) {
                    return true;
                }
            }
        }
        self.dead.insert(state.clone());
        false
    }
}

/// Which commands were over before which began, as bits of a number: all that an order must keep.
pub(crate) fn precedence(records: &BTreeMap<(usize, usize), Record<'_>>) -> Vec<bool> {
    let all = || records.values();
    all().flat_map(|one| all().map(|other| one.precedes(other))).collect()
}
