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
                                       with --trust-source deletes at the target what it has not";

/// What to do where the source became another one.
const LOOK_FIRST: &str = "look whether the source has all its keys; the same command with --state \
                          FILE compares all of them anew; where it is to delete, it does so only \
                          with --trust-source";

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
    /// Refuses to go on with a source that is not the one that the import connected to: it may
    /// have lost keys, and what was copied or compared before was not its own.
    ///
    /// # Errors
    ///
    /// With [`Code::Partly`].
    pub(super) fn expect_run(&self, run_id: Option<&str>) -> Result<()> {
        if self.run_id.is_none() || self.run_id.as_deref() == run_id {
            return Ok(());
        }
        let source = self.source.address();
        let text = format!("{source} was restarted or replaced while it was imported");
        Err(Failure::new(Code::Partly, text).hint(LOOK_FIRST).into())
    }

    /// As [`Self::expect_run`], of the source that answers over this connection. Where it broke,
    /// as an idle one may, new ones are tried: whoever answers then is asked.
    ///
    /// # Errors
    ///
    /// Also where nobody answers.
    pub(super) fn expect_source(&self, source: &mut Peer) -> Result<()> {
        let mut is_broken = false;
        let run_id = insist(|| {
            if is_broken {
                *source = Peer::connect(&self.source)?;
            }
            let run_id = source.run_id();
            is_broken = run_id.is_err();
            run_id
        });
        self.expect_run(run_id?.as_deref())
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
    Copied {
        bytes: u64,
    },
    Skipped,
    Gone,
    Other {
        kind: String,
    },
    Failed {
        why: String,
    },
    /// It was to end while bits were merged into it, and has no end now.
    Endless,
    Same,
    Mended {
        bytes: u64,
    },
    Differing {
        how: String,
    },
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
    /// Connects to both ends, and looks whether the source is still the same.
    pub(super) fn connect(plan: &'a Plan) -> Result<Self> {
        let mut source = Peer::connect(&plan.source)?;
        plan.expect_run(source.run_id()?.as_deref())?;
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
    insist(|| {
        let mut connected = match ends.take() {
            Some(connected) => connected,
            None => Ends::connect(plan)?,
        };
        let outcomes = connected.perform(task)?;
        *ends = Some(connected);
        Ok(outcomes)
    })
}

/// Tries again and again, after pauses, where an end is not ready.
fn insist<T>(mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let mut pause = PAUSE_MIN;
    for number in 1.. {
        match attempt() {
            Err(error) if number < ATTEMPTS_MAX && passes(&error) => {}
            ended => return ended,
        }
        thread::sleep(pause);
        pause *= 2;
    }
    unreachable!("the last attempt returns")
}

/// Whether what failed may be tried again.
fn passes(error: &anyhow::Error) -> bool {
    matches!(code_of(error), Code::Unknown | Code::Unreachable)
}

#[cfg(test)]
mod tests {
    use super::{
        super::fake::{Fake, greet},
        *,
    };

    fn plan(source: &Fake, target: &Fake) -> Plan {
        Plan {
            source: source.target.clone(),
            target: target.target.clone(),
            run_id: Some("1".to_owned()),
            policy: Policy::Replace,
            pace: Pace::new(None),
            is_thorough: false,
            mends: true,
        }
    }

    #[test]
    fn a_source_that_was_restarted_is_not_copied_from() {
        // The source is started anew after its first connection.
        let run = |connection| if connection < 1 { "1" } else { "2" };
        let source = Fake::start(move |connection, words| greet(words, run(connection), false));
        let target = Fake::start(|_, words| greet(words, "1", false));
        let plan = plan(&source, &target);
        let mut ends = Ends::connect(&plan).expect("both ends");
        // Not tried again, either: it stays another one.
        let task = Task { page: 0, deed: Deed::Copy, keys: Vec::new() };
        let refused = persist(&plan, &mut None, &task).expect_err("another source");
        assert_eq!(code_of(&refused), Code::Partly, "{refused:#}");
        // Who answers over the first connection is the one that was copied from.
        plan.expect_source(&mut ends.source).expect("the source");
        let mut another = Peer::connect(&plan.source).expect("a connection");
        let refused = plan.expect_source(&mut another).expect_err("another source");
        assert_eq!(code_of(&refused), Code::Partly, "{refused:#}");
    }

    #[test]
    fn a_source_that_takes_no_more_connections_ends_no_import_that_is_done() {
        let full = "-ERR max number of clients reached\r\n";
        let source = Fake::start(move |connection, words| match connection {
            0 => greet(words, "1", false),
            _ => Some(full.to_owned()),
        });
        let target = Fake::start(|_, words| greet(words, "1", false));
        let plan = plan(&source, &target);
        let mut ends = Ends::connect(&plan).expect("both ends");
        plan.expect_source(&mut ends.source).expect("the source");
    }

    #[test]
    fn a_source_that_closed_an_idle_connection_is_asked_over_another() {
        let source = |runs: [&'static str; 3]| {
            Fake::start(move |connection, words| match (connection, words[0]) {
                // The import's own is closed when it is asked, and so is the one after it.
                (0, "INFO") | (1, _) => None,
                _ => greet(words, runs[connection], false),
            })
        };
        let target = Fake::start(|_, words| greet(words, "1", false));
        let same = source(["1", "1", "1"]);
        let mut idle = Peer::connect(&same.target).expect("a connection");
        plan(&same, &target).expect_source(&mut idle).expect("the same source");
        let another = source(["1", "1", "2"]);
        let mut idle = Peer::connect(&another.target).expect("a connection");
        let refused = plan(&another, &target).expect_source(&mut idle).expect_err("another");
        assert_eq!(code_of(&refused), Code::Partly, "{refused:#}");
    }
}
