//! How the data of a group is kept, looked through now and then.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bitroster_engine::{Forms, Survey};
use bitroster_types::GroupId;
use parking_lot::Mutex;

use crate::group::Group;

/// How old a count may be before a scrape has it made again.
const AGE_MAX: Duration = Duration::from_secs(30);

/// How long one scrape may walk, all groups together.
const WALK_MAX: Duration = Duration::from_millis(100);

/// Containers that are looked at under one lock: a fraction of a millisecond.
const WORK_PER_LOCK: usize = 8192;

/// The last count of a group, and the walk for the next.
#[derive(Debug, Default)]
pub(crate) struct Surveyed(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    survey: Survey,
    forms: Forms,
    counted: Option<Instant>,
}

impl Surveyed {
    /// The last count.
    pub(crate) fn forms(&self) -> Forms {
        self.0.lock().forms
    }
}

/// Walks through the groups whose count is old. Blocks, for [`WALK_MAX`] and a little; what is left
/// then is walked next time.
pub(crate) fn walk(groups: &[Arc<Group>]) {
    let started = Instant::now();
    let mut groups: Vec<_> = groups.iter().filter(|group| group.id() != GroupId::META).collect();
    // Those whose count is oldest first, so that none waits for ever.
    groups.sort_by_cached_key(|group| group.surveyed().0.try_lock().and_then(|it| it.counted));
    for group in groups {
        // Another scrape's walk is as good.
        let Some(mut state) = group.surveyed().0.try_lock() else { continue };
        let is_due = state.counted.is_none_or(|counted| counted.elapsed() >= AGE_MAX);
        if !is_due && !state.survey.is_under_way() {
            continue;
        }
        loop {
            if started.elapsed() >= WALK_MAX {
                return;
            }
            let counted = group.keyspace().read().survey(&mut state.survey, WORK_PER_LOCK);
            if let Some(forms) = counted {
                state.forms = forms;
                state.counted = Some(started);
                break;
            }
        }
    }
}
