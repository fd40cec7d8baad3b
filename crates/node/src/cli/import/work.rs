//! The threads that copy and compare: each has a connection to both ends.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender},
    },
    thread,
    time::Duration,
};

use anyhow::Result;
use bytes::Bytes;
use parking_lot::Mutex;

use super::{
    super::{
        exit::{Code, Failure, code_of},
        remote::Target,
    },
    pace::Pace,
    peer::Peer,
};

/// How often a job is tried while connections break or a server is not ready.
const ATTEMPTS_MAX: u32 = 8;

/// Pause before the second attempt; it doubles.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// What to do where keys would go that may be the last copy.
pub(super) const BY_WISH_ONLY: &str = "look whether the source has all its keys; the same command \
                                       with --delete deletes at the target what it has not";

/// What happens to keys that the target has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    /// There were none when the import began: whatever is there came by it.
    Empty,
    /// They are overwritten.
    Replace,
    /// They stay as they are.
    Skip,
    /// The source's bits are set in them.
    Merge,
    /// They are compared, and overwritten where they differ.
    Sync,
}

impl Policy {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Empty => "into an empty target",
            Self::Replace => "replace",
            Self::Skip => "skip-existing",
            Self::Merge => "merge",
            Self::Sync => "sync",
        }
    }
}

/// What every thread knows.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) source: Target,
    pub(super) target: Target,
    /// The source's when the import connected, where it tells ([`Peer::run_id`]).
    pub(super) run_id: Option<String>,
    pub(super) policy: Policy,
    pub(super) pace: Pace,
    /// Compares every byte, not only counts.
    pub(super) is_thorough: bool,
    /// Whether keys that differ are copied again.
    pub(super) mends: bool,
}

impl Plan {
    /// Refuses to delete by what a source says that is not the one that was compared.
    ///
    /// # Errors
    ///
    /// With [`Code::Partly`].
    pub(super) fn expect_run(&self, run_id: Option<&str>) -> Result<()> {
        if self.run_id.is_none() || self.run_id.as_deref() == run_id {
            return Ok(());
        }
        let source = self.source.address();
        let text = format!("{source} was restarted or replaced, so no more keys are deleted");
        Err(Failure::new(Code::Partly, text).hint(BY_WISH_ONLY).into())
    }
}

/// Something to do with some keys of a page of the scan.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) page: u64,
    pub(super) deed: Deed,
    pub(super) keys: Vec<Bytes>,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// Copies keys whose values are small together.
    Copy,
    /// Copies a key whose value is large.
    CopyLarge,
    Check,
    /// Deletes at the target what the source has not.
    Prune,
}

/// What became of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Copied { bytes: u64 },
    Skipped,
    Gone,
    Other { kind: String },
    Failed { why: String },
    Same,
    Mended { bytes: u64 },
    Differing { how: String },
    Deleted,
    Kept,
}

/// What became of a task; an error ends the import.
pub(super) struct Finished {
    pub(super) page: u64,
    pub(super) outcomes: Result<Vec<(Bytes, Outcome)>>,
}

/// Both ends, and what is to be done between them.
pub(super) struct Ends<'a> {
    pub(super) source: Peer,
    pub(super) target: Peer,
    pub(super) plan: &'a Plan,
}

impl<'a> Ends<'a> {
    pub(super) fn connect(plan: &'a Plan) -> Result<Self> {
        let source = Peer::connect(&plan.source)?;
        let target = Peer::connect(&plan.target)?;
        Ok(Self { source, target, plan })
    }

    fn perform(&mut self, task: &Task) -> Result<Vec<Outcome>> {
        match task.deed {
            Deed::Copy => self.copy(&task.keys, self.plan.policy),
            Deed::CopyLarge => self.copy_alone(&task.keys),
            Deed::Check => self.check(&task.keys),
            Deed::Prune => self.prune(&task.keys),
        }
    }
}

/// Does tasks until there are no more.
pub(super) fn work(
    plan: &Plan,
    tasks: &Arc<Mutex<Receiver<Task>>>,
    finished: &SyncSender<Finished>,
) {
    let mut ends = None;
    loop {
        let task = tasks.lock().recv();
        let Ok(task) = task else { return };
        let outcomes = persist(plan, &mut ends, &task);
        let outcomes = outcomes.map(|outcomes| task.keys.into_iter().zip(outcomes).collect());
        if finished.send(Finished { page: task.page, outcomes }).is_err() {
            return;
        }
    }
}

/// Does a task, again and again over new connections where an end is not ready: all of it may be
/// done twice.
fn persist<'a>(plan: &'a Plan, ends: &mut Option<Ends<'a>>, task: &Task) -> Result<Vec<Outcome>> {
    let mut pause = PAUSE_MIN;
    for attempt in 1.. {
        let connected = match ends.take() {
            Some(connected) => Ok(connected),
            None => Ends::connect(plan),
        };
        let error = match connected {
            Err(error) => error,
            Ok(mut connected) => match connected.perform(task) {
                Ok(outcomes) => {
                    *ends = Some(connected);
                    return Ok(outcomes);
                }
                Err(error) => error,
            },
        };
        let passes = matches!(code_of(&error), Code::Unknown | Code::Unreachable);
        if !passes || attempt == ATTEMPTS_MAX {
            return Err(error);
        }
        thread::sleep(pause);
        pause *= 2;
    }
    unreachable!("the last attempt returns")
}
