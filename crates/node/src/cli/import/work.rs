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
                          FILE compares all of them anew, and deletes only with --trust-source";

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

    /// As [`Self::expect_run`], of whoever answers now.
    pub(super) fn expect_source(&self) -> Result<()> {
        self.expect_run(Peer::connect(&self.source)?.run_id()?.as_deref())
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

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader, Write as _},
        net::{TcpListener, TcpStream},
    };

    use super::{super::super::remote::AccessArgs, *};

    /// Answers as a Redis of this run does whatever is asked to learn which it is.
    fn answer_as(run: u32, stream: &TcpStream) {
        let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
        while let Some(line) = lines.next() {
            if !line.starts_with('*') {
                continue;
            }
            let told = format!("# Server\r\nrun_id:{run}");
            let reply = match lines.nth(1).as_deref() {
                Some("PING") => "+PONG\r\n".to_owned(),
                Some("PEXPIRETIME") => ":-2\r\n".to_owned(),
                Some("COMMAND") => "*1\r\n$-1\r\n".to_owned(),
                Some("INFO") => format!("${}\r\n{told}\r\n", told.len()),
                other => panic!("nobody asks {other:?}"),
            };
            let mut stream = stream;
            stream.write_all(reply.as_bytes()).expect("a reply is sent");
        }
    }

    #[test]
    fn a_source_that_was_restarted_is_not_copied_from() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        // The source is started anew after two connections.
        thread::spawn(move || {
            for (count, stream) in listener.incoming().enumerate() {
                let stream = stream.expect("a connection");
                thread::spawn(move || answer_as(if count < 2 { 1 } else { 2 }, &stream));
            }
        });
        let address = format!("127.0.0.1:{port}").parse().expect("an address");
        let access = AccessArgs { timeout_ms: 10_000, ..AccessArgs::default() };
        let end = || Target::new(&address, &access, "BITROSTER_NONE").expect("a target");
        let plan = Plan {
            source: end(),
            target: end(),
            run_id: Some("1".to_owned()),
            policy: Policy::Replace,
            pace: Pace::new(None),
            is_thorough: false,
            mends: true,
        };
        assert!(Ends::connect(&plan).is_ok());
        // Not tried again, either: it stays another one.
        let task = Task { page: 0, deed: Deed::Copy, keys: Vec::new() };
        let refused = persist(&plan, &mut None, &task).expect_err("another source");
        assert_eq!(code_of(&refused), Code::Partly, "{refused:#}");
        let refused = plan.expect_source().expect_err("another source");
        assert_eq!(code_of(&refused), Code::Partly, "{refused:#}");
    }
}
