//! How far an import is, in a file, so that it can go on after it was killed.
//!
//! What the file says is done, is done; a little more may be done than it says, and doing it again
//! does no harm.

use std::{
    collections::HashSet,
    fs,
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    super::exit::{Code, Failing as _, Failure},
    report::Totals,
};

/// The file's form.
const VERSION: u32 = 1;

/// Longest file that is read: some thousands of keys of 64 KiB fit.
const BYTES_MAX: u64 = 256 << 20;

/// Shortest time between two writes.
const PAUSE: Duration = Duration::from_millis(100);

/// What an import does at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Phase {
    /// Copies all keys.
    Copy,
    /// Compares all keys of the source and copies what differs.
    Check,
    /// Deletes what the source has no more.
    Prune,
    /// Nothing is left to do.
    Done,
}

/// How far an import is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    version: u32,
    /// What is imported, so that nobody goes on with something else.
    pub(super) job: Job,
    pub(super) phase: Phase,
    /// Which check it is, from 1.
    pub(super) pass: u32,
    /// All keys before it in the scan are done with.
    pub(super) cursor: String,
    /// Keys behind the cursor that are done with, in hex.
    done: Vec<String>,
    pub(super) totals: Totals,
    /// The source's, whose cursor this is; `None` where nobody knows.
    #[serde(default)]
    run_id: Option<String>,
    /// Whether the source was started anew, or replaced, since the import began.
    #[serde(default)]
    pub(super) is_source_another: bool,
}

/// What is imported from where to where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Job {
    pub(super) source: String,
    pub(super) target: String,
    pub(super) pattern: Option<String>,
    /// What happens to keys that exist.
    pub(super) policy: String,
}

impl State {
    /// The state of a `job` that begins with `phase`, from a source of this run.
    pub(super) fn new(job: Job, phase: Phase, run_id: Option<String>) -> Self {
        Self {
            version: VERSION,
            job,
            phase,
            pass: 1,
            cursor: "0".to_owned(),
            done: Vec::new(),
            totals: Totals::default(),
            run_id,
            is_source_another: false,
        }
    }

    /// Goes on with the source as it is now: where it is not the one of before, its cursors are
    /// others and its keys may be too, so the phase begins again.
    pub(super) fn meet(&mut self, run_id: Option<String>) {
        if self.run_id.is_some() && self.run_id != run_id {
            self.is_source_another = true;
            match self.phase {
                Phase::Copy | Phase::Check => self.enter(self.phase),
                // What was compared was the other source.
                Phase::Prune => {
                    self.pass = 1;
                    self.enter(Phase::Check);
                }
                Phase::Done => {}
            }
        }
        self.run_id = run_id.or(self.run_id.take());
    }

    /// Starts the next phase.
    pub(super) fn enter(&mut self, phase: Phase) {
        (self.phase, self.cursor) = (phase, "0".to_owned());
        self.done.clear();
    }

    /// Keys behind the cursor that are done with.
    pub(super) fn done(&self) -> HashSet<Bytes> {
        self.done.iter().filter_map(|key| bytes_of(key)).collect()
    }

    pub(super) fn set_done<'a>(&mut self, keys: impl Iterator<Item = &'a Bytes>) {
        self.done = keys.map(|key| hex(key)).collect();
    }
}

/// Where the state is kept, if anywhere.
#[derive(Debug)]
pub(super) struct Keeper {
    path: Option<PathBuf>,
    saved: Option<Instant>,
}

impl Keeper {
    /// Reads the state of a `job` that was begun before; `None` if it was not.
    ///
    /// # Errors
    ///
    /// With [`Code::Conflict`] if the file is another job's, is done or is no such file.
    pub(super) fn open(path: Option<&Path>, job: &Job) -> Result<(Self, Option<State>)> {
        let keeper = Self { path: path.map(Path::to_owned), saved: None };
        let Some(path) = path else { return Ok((keeper, None)) };
        let shown = path.display();
        let bytes = match fs::metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok((keeper, None)),
            Ok(found) if found.len() <= BYTES_MAX => fs::read(path),
            Ok(_) => Err(ErrorKind::FileTooLarge.into()),
            Err(error) => Err(error),
        };
        let bytes = bytes.with_context(|| format!("cannot read {shown}")).failing(Code::Usage)?;
        let conflict =
            |text: String, hint: &str| Err(Failure::new(Code::Conflict, text).hint(hint));
        let Ok(state) = serde_json::from_slice::<State>(&bytes) else {
            let hint = "name another file, or delete it to start again";
            return Ok(conflict(format!("{shown} is no state of an import"), hint)?);
        };
        if state.job != *job || state.version != VERSION {
            let Job { source, target, policy, pattern } = &state.job;
            let pattern = pattern.as_deref().unwrap_or("*");
            let what = format!("from {source} to {target}, keys {pattern}, {policy}");
            let hint = "give the same options again, or name another file";
            return Ok(conflict(format!("{shown} belongs to another import: {what}"), hint)?);
        }
        if state.phase == Phase::Done {
            let hint = "for a last pass use --sync without --state; to start again delete the file";
            return Ok(conflict(format!("the import of {shown} is done"), hint)?);
        }
        Ok((keeper, Some(state)))
    }

    /// Whether enough time has passed to write again.
    pub(super) fn is_due(&self) -> bool {
        self.path.is_some() && self.saved.is_none_or(|saved| saved.elapsed() >= PAUSE)
    }

    /// Replaces the file in one step.
    ///
    /// # Errors
    ///
    /// What the disk says.
    pub(super) fn save(&mut self, state: &State) -> Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        replace(path, &serde_json::to_vec(state)?)?;
        self.saved = Some(Instant::now());
        Ok(())
    }
}

/// Replaces a file in one step: a crash leaves the old or the new.
///
/// # Errors
///
/// What the disk says, with the file's name.
fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let write = || -> std::io::Result<()> {
        let mut file = fs::File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes_of(hex: &str) -> Option<Bytes> {
    let digit = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
    (0..hex.len()).step_by(2).map(digit).collect::<Option<Vec<u8>>>().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::{super::super::exit::code_of, *};

    fn job(source: &str) -> Job {
        let (source, target) = (source.to_owned(), "b:2".to_owned());
        Job { source, target, pattern: None, policy: "replace".to_owned() }
    }

    #[test]
    fn a_state_is_read_back_and_others_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let (mut keeper, none) = Keeper::open(Some(&path), &job("a:1")).unwrap();
        assert_eq!(none, None);
        let mut state = State::new(job("a:1"), Phase::Copy, Some("r1".to_owned()));
        let keys = [Bytes::from_static(b"\xffkey\n"), Bytes::new()];
        state.set_done(keys.iter());
        state.cursor = "17".to_owned();
        keeper.save(&state).unwrap();
        assert!(!keeper.is_due());
        let (_, read) = Keeper::open(Some(&path), &job("a:1")).unwrap();
        assert_eq!(read.as_ref(), Some(&state));
        assert_eq!(read.unwrap().done(), keys.into_iter().collect());

        let refused = |job| code_of(&Keeper::open(Some(&path), &job).unwrap_err());
        assert_eq!(refused(job("c:3")), Code::Conflict);
        state.enter(Phase::Done);
        keeper.save(&state).unwrap();
        assert_eq!(refused(job("a:1")), Code::Conflict);
        fs::write(&path, "{").unwrap();
        assert_eq!(refused(job("a:1")), Code::Conflict);
    }

    #[test]
    fn another_run_of_the_source_begins_the_phase_again() {
        let id = |text: &str| Some(text.to_owned());
        let mut state = State::new(job("a:1"), Phase::Check, id("r1"));
        state.cursor = "17".to_owned();
        state.set_done([Bytes::from_static(b"k")].iter());
        state.meet(id("r1"));
        assert_eq!((&state.cursor[..], state.is_source_another), ("17", false));
        state.meet(id("r2"));
        assert_eq!((&state.cursor[..], state.is_source_another), ("0", true));
        assert!(state.done().is_empty());
        // Once another, always another.
        state.meet(id("r2"));
        assert!(state.is_source_another);

        // Nothing is deleted by what was not compared.
        let mut state = State::new(job("a:1"), Phase::Prune, id("r1"));
        (state.cursor, state.pass) = ("17".to_owned(), 3);
        state.meet(None);
        assert_eq!((state.phase, state.pass), (Phase::Check, 1));
        assert_eq!((&state.cursor[..], state.is_source_another), ("0", true));

        // Files of before know no run.
        let mut state = serde_json::to_value(State::new(job("a:1"), Phase::Copy, None)).unwrap();
        let fields = state.as_object_mut().unwrap();
        assert!(fields.remove("run_id").is_some() && fields.remove("is_source_another").is_some());
        let mut state: State = serde_json::from_value(state).unwrap();
        state.meet(id("r1"));
        assert!(!state.is_source_another);
        state.meet(id("r2"));
        assert!(state.is_source_another);
    }
}
