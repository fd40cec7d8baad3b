//! A live server's keys, copied and compared: who does what when, and what is written down.
//!
//! One thread scans and hands out tasks, others do them ([`work`]). Pages of the scan are done in
//! any order; the state's cursor follows the oldest page that is not.

use std::{
    collections::{HashSet, VecDeque},
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use anyhow::{Context as _, Result};
use bitroster_resp::Frame;
use bytes::Bytes;
use parking_lot::Mutex;

use super::{
    super::exit::{Code, Failure},
    copy::is_unfinished,
    peer::{Peer, Request, WINDOW_BYTES, request_of},
    progress::Bar,
    report::Totals,
    state::{Keeper, Phase, State},
    work::{BY_WISH_ONLY, Deed, Finished, Outcome, Plan, Policy, Task, work},
};

/// Tasks handed out for each thread.
const TASKS_EACH: usize = 4;

/// Pages of the scan that are not done.
const PAGES_MAX: usize = 64;

/// Most keys of a task.
const TASK_KEYS_MAX: usize = 64;

/// What is to be done, beside the plan that the threads know.
#[derive(Clone, Debug)]
pub(super) struct Wishes {
    pub(super) pattern: Option<String>,
    pub(super) threads: usize,
    /// How often all keys are compared while some are still found to differ.
    pub(super) passes: u32,
    /// Whether keys are deleted that the source has not.
    pub(super) prunes: bool,
    /// Whether also by a source that may have lost keys, as a person said for this very run.
    pub(super) trusts_source: bool,
    pub(super) dry_run: bool,
}

/// An import.
pub(super) struct Import {
    wishes: Wishes,
    plan: Arc<Plan>,
    source: Peer,
    target: Peer,
    state: State,
    keeper: Keeper,
    bar: Bar,
    tasks: SyncSender<Task>,
    finished: Receiver<Finished>,
    /// Tasks handed out and not finished.
    running: usize,
    pages: VecDeque<Page>,
    /// The number of the first of `pages`.
    first_page: u64,
    /// Keys that an earlier run has done.
    done_before: HashSet<Bytes>,
    /// Keys of `pages` that are not done.
    begun: HashSet<Bytes>,
}

/// Ends the import at Ctrl-C as an error would, and the process at the second one.
fn stop_at_ctrl_c(finished: &SyncSender<Finished>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return };
    let pressed = || runtime.block_on(tokio::signal::ctrl_c()).is_ok();
    if pressed() {
        let failure = Failure::new(Code::Interrupted, "interrupted");
        let failure = failure.hint("the same command with --state FILE goes on where it was");
        // A receiver that is gone has ended already.
        drop(finished.send(Finished { page: 0, outcomes: Err(failure.into()) }));
        if pressed() {
            std::process::exit(Code::Interrupted.number().into());
        }
    }
}

/// A page of the scan.
struct Page {
    /// The cursor that brought it.
    cursor: String,
    left: usize,
    done: Vec<Bytes>,
    /// Whether its keys are all handed out.
    is_handed_out: bool,
}

impl Import {
    /// Starts the threads.
    pub(super) fn new(
        wishes: Wishes,
        plan: Plan,
        ends: (Peer, Peer),
        state: State,
        keeper: Keeper,
    ) -> Result<Self> {
        let plan = Arc::new(plan);
        let capacity = wishes.threads * TASKS_EACH;
        // As many tasks as there is room for are handed out, so no end ever waits for the other.
        let (tasks, inbox) = sync_channel(capacity);
        let (outbox, finished) = sync_channel(capacity);
        let inbox = Arc::new(Mutex::new(inbox));
        for number in 0..wishes.threads {
            let (plan, inbox, outbox) = (Arc::clone(&plan), Arc::clone(&inbox), outbox.clone());
            let name = format!("import-{number}");
            let thread = thread::Builder::new().name(name);
            thread.spawn(move || work(&plan, &inbox, &outbox)).context("cannot start a thread")?;
        }
        if !wishes.dry_run {
            thread::spawn(move || stop_at_ctrl_c(&outbox));
        }
        let done_before = state.done();
        let (source, target) = ends;
        Ok(Self {
            wishes,
            plan,
            source,
            target,
            state,
            keeper,
            bar: Bar::hidden(),
            tasks,
            finished,
            running: 0,
            pages: VecDeque::new(),
            first_page: 0,
            done_before,
            begun: HashSet::new(),
        })
    }

    /// Does all that is left to do.
    ///
    /// # Errors
    ///
    /// What keeps the import from going on. The state is saved; the totals so far are the second
    /// half in any case.
    pub(super) fn run(mut self) -> (Result<()>, Totals) {
        let done = self.phases();
        // What is done is done, also where the import ends early.
        let saved = self.save();
        self.bar.end();
        (done.and(saved), self.state.totals)
    }

    fn phases(&mut self) -> Result<()> {
        loop {
            self.save()?;
            match self.state.phase {
                Phase::Copy => {
                    self.walk("copying")?;
                    let checks = self.wishes.passes > 0 && (self.compares() || self.plan.mends);
                    self.enter(if checks { Phase::Check } else { Phase::Done })?;
                }
                Phase::Check => self.check()?,
                Phase::Prune => {
                    self.expect_source()?;
                    self.walk("looking for deleted keys")?;
                    self.enter(Phase::Done)?;
                }
                Phase::Done => return Ok(()),
            }
        }
    }

    /// Starts the next phase. Nothing is done with a source that is not there any more.
    fn enter(&mut self, phase: Phase) -> Result<()> {
        if phase == Phase::Done {
            self.plan.expect_source(&mut self.source)?;
        }
        self.state.enter(phase);
        Ok(())
    }

    /// Whether a dry run looks at the target at all.
    fn compares(&self) -> bool {
        self.plan.is_thorough || self.plan.policy == Policy::Sync
    }

    fn check(&mut self) -> Result<()> {
        let before = self.state.totals.mended;
        if self.state.cursor == "0" && self.done_before.is_empty() {
            self.state.totals.forget_checks(self.plan.mends);
        }
        self.walk(if self.state.pass == 1 { "comparing" } else { "comparing again" })?;
        let totals = &self.state.totals;
        let is_settled = totals.mended == before && totals.differing == 0;
        if is_settled || self.state.pass >= self.wishes.passes || !self.plan.mends {
            return self.enter(if self.wishes.prunes { Phase::Prune } else { Phase::Done });
        }
        self.state.pass += 1;
        self.enter(Phase::Check)
    }

    /// Refuses to delete by what a source says that may have lost its keys: what the target has
    /// may be the last copy.
    fn expect_source(&mut self) -> Result<()> {
        self.plan.expect_source(&mut self.source)?;
        if self.wishes.trusts_source {
            return Ok(());
        }
        let pattern = self.wishes.pattern.as_deref();
        let source = self.source.name().to_owned();
        let why = if self.state.is_source_another {
            format!("{source} was restarted or replaced since the import began")
        } else if !self.source.has_strings(pattern)? && self.target.has_strings(pattern)? {
            match pattern {
                None => format!("{source} has no strings at all"),
                Some(pattern) => format!("{source} has no strings that match {pattern}"),
            }
        } else {
            return Ok(());
        };
        let text = format!("{why}, so none are deleted at {}", self.target.name());
        Err(Failure::new(Code::Partly, text).hint(BY_WISH_ONLY).into())
    }

    /// Goes over all keys of the phase's server.
    fn walk(&mut self, title: &'static str) -> Result<()> {
        let scanned = match self.state.phase {
            Phase::Prune => &mut self.target,
            Phase::Copy | Phase::Check | Phase::Done => &mut self.source,
        };
        let keys = match self.wishes.pattern {
            None => Some(scanned.keys()?),
            Some(_) => None,
        };
        self.bar = Bar::start(title, keys);
        let mut cursor = self.state.cursor.clone();
        let mut is_first = true;
        while is_first || cursor != "0" {
            is_first = false;
            cursor = self.page(&cursor)?;
            while self.pages.len() >= PAGES_MAX {
                self.await_one()?;
            }
        }
        while self.running > 0 {
            self.await_one()?;
        }
        self.pages.clear();
        self.bar.end();
        self.done_before.clear();
        self.begun.clear();
        Ok(())
    }

    /// Hands out the keys of the next page; the cursor of the one after it.
    fn page(&mut self, cursor: &str) -> Result<String> {
        let scanned = match self.state.phase {
            Phase::Prune => &mut self.target,
            Phase::Copy | Phase::Check | Phase::Done => &mut self.source,
        };
        let (next, mut keys) = scanned.scan(cursor, self.wishes.pattern.as_deref())?;
        if self.state.phase != Phase::Prune {
            keys.retain(|key| !is_unfinished(key));
        }
        let (done, mut keys): (Vec<_>, Vec<_>) =
            keys.into_iter().partition(|key| self.done_before.contains(key));
        // SCAN may name a key twice, and two threads must not build the same one. The page that
        // named it first stays until it is done.
        keys.retain(|key| self.begun.insert(key.clone()));
        self.bar.pass(done.len() as u64);
        let number = self.first_page + self.pages.len() as u64;
        let cursor = cursor.to_owned();
        self.pages.push_back(Page { cursor, left: 0, done, is_handed_out: false });
        match self.state.phase {
            Phase::Copy => self.hand_out_copies(number, keys)?,
            Phase::Check => self.hand_out_all(number, Deed::Check, keys)?,
            Phase::Prune => self.hand_out_all(number, Deed::Prune, keys)?,
            Phase::Done => {}
        }
        if let Some(page) = self.page_of(number) {
            page.is_handed_out = true;
        }
        self.forget_pages();
        self.save_if_due()?;
        Ok(next)
    }

    fn hand_out_all(&mut self, page: u64, deed: Deed, keys: Vec<Bytes>) -> Result<()> {
        for keys in keys.chunks(TASK_KEYS_MAX) {
            self.hand_out(Task { page, deed, keys: keys.to_vec() })?;
        }
        Ok(())
    }

    /// Sorts keys by type and length, and hands out those that are copied.
    fn hand_out_copies(&mut self, page: u64, keys: Vec<Bytes>) -> Result<()> {
        let questions: Vec<Request> = keys
            .iter()
            .flat_map(|key| [request_of("TYPE", key), request_of("STRLEN", key)])
            .collect();
        let mut answers = self.source.answers(&questions)?.into_iter();
        let (mut together, mut bytes) = (Vec::new(), 0);
        for key in keys {
            let (kind, len) = (answers.next(), answers.next());
            let (Some(Ok(Frame::Simple(kind))), Some(len)) = (kind, len) else {
                self.note(page, key, Outcome::Failed { why: "TYPE is not answered".to_owned() });
                continue;
            };
            let len = match (&kind[..], len) {
                (b"string", Ok(Frame::Integer(len))) => len.unsigned_abs(),
                (b"string", Err(why)) if !why.starts_with("WRONGTYPE") => {
                    self.note(page, key, Outcome::Failed { why });
                    continue;
                }
                (b"string", _) | (b"none", _) => {
                    self.note(page, key, Outcome::Gone);
                    continue;
                }
                _ => {
                    let kind = String::from_utf8_lossy(&kind).into_owned();
                    self.note(page, key, Outcome::Other { kind });
                    continue;
                }
            };
            if self.wishes.dry_run {
                self.note(page, key, Outcome::Copied { bytes: len });
                continue;
            }
            if len > WINDOW_BYTES {
                self.hand_out(Task { page, deed: Deed::CopyLarge, keys: vec![key] })?;
                continue;
            }
            if bytes + len > WINDOW_BYTES || together.len() == TASK_KEYS_MAX {
                let keys = std::mem::take(&mut together);
                self.hand_out(Task { page, deed: Deed::Copy, keys })?;
                bytes = 0;
            }
            bytes += len;
            together.push(key);
        }
        if !together.is_empty() {
            self.hand_out(Task { page, deed: Deed::Copy, keys: together })?;
        }
        Ok(())
    }

    fn hand_out(&mut self, task: Task) -> Result<()> {
        while self.running >= self.wishes.threads * TASKS_EACH {
            self.await_one()?;
        }
        if let Some(page) = self.page_of(task.page) {
            page.left += task.keys.len();
        }
        self.tasks.send(task).ok().context("the import's threads are gone")?;
        self.running += 1;
        Ok(())
    }

    /// Waits until a task is finished, and notes what became of its keys.
    fn await_one(&mut self) -> Result<()> {
        let Finished { page, outcomes } =
            self.finished.recv().context("the import's threads are gone")?;
        let outcomes = outcomes?;
        self.running -= 1;
        for (key, outcome) in outcomes {
            if let Some(page) = self.page_of(page) {
                page.left -= 1;
            }
            self.note(page, key, outcome);
        }
        self.forget_pages();
        self.save_if_due()
    }

    fn note(&mut self, page: u64, key: Bytes, outcome: Outcome) {
        self.state.totals.add(&key, outcome);
        self.bar.pass(1);
        self.bar.tell(self.state.totals.copied_bytes);
        self.begun.remove(&key);
        if let Some(page) = self.page_of(page) {
            page.done.push(key);
        }
    }

    fn page_of(&mut self, number: u64) -> Option<&mut Page> {
        let at = usize::try_from(number.checked_sub(self.first_page)?).ok()?;
        self.pages.get_mut(at)
    }

    /// Forgets the oldest pages that are done, but for the newest of them: the cursor that follows
    /// it is not known yet.
    fn forget_pages(&mut self) {
        while self.pages.len() > 1 && self.pages[0].is_handed_out && self.pages[0].left == 0 {
            self.pages.pop_front();
            self.first_page += 1;
        }
    }

    fn save_if_due(&mut self) -> Result<()> {
        if self.keeper.is_due() { self.save() } else { Ok(()) }
    }

    fn save(&mut self) -> Result<()> {
        if let Some(page) = self.pages.front() {
            self.state.cursor.clone_from(&page.cursor);
            self.state.set_done(self.pages.iter().flat_map(|page| &page.done));
        }
        if self.wishes.dry_run { Ok(()) } else { self.keeper.save(&self.state) }
    }
}
