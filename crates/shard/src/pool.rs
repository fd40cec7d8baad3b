//! Threads for computations that would hold up others.
//!
//! Counting and combining gigabytes runs here, beside the async workers and outside every lock, on
//! few threads: one a core by default. A job that has begun runs to its end. One that waits is
//! bounded with all others in number and in bytes, goes with its caller, and is not begun past its
//! deadline; who would exceed the bounds is refused at once.
//!
//! Jobs that a group's writes wait for go before all others and are never refused. What order the
//! others have is the business of `lanes`.

mod lanes;

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use bitroster_types::Deadline;
use bitroster_types::limits::{
    WORK_BYTES_MAX, WORK_DISCARDS_MAX, WORK_JOBS_MAX, WORK_SMALL_BYTES_MAX,
};
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use self::lanes::{Lanes, Ticket};
use crate::metrics::WorkMetrics;

/// A fixed set of threads. Dropping it lets the queued jobs finish and waits for them.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    threads: Vec<thread::JoinHandle<()>>,
}

/// What the threads and the callers share.
struct Shared {
    state: Mutex<State>,
    ready: Condvar,
    metrics: WorkMetrics,
}

struct State {
    lanes: Lanes<Job>,
    running: usize,
    /// Given out and not returned.
    room_jobs: usize,
    room_bytes: u64,
    closed: bool,
}

/// A job with its result's way back.
struct Job {
    deadline: Option<Deadline>,
    start: Box<dyn FnOnce(Start) + Send>,
}

const JOBS_FULL: &str = "1024 heavy computations run or wait, and no more may; nothing was applied";
const BYTES_FULL: &str =
    "heavy computations on 16 GiB run or wait, and on no more may; nothing was applied";

// The texts name them.
const _: () = assert!(WORK_JOBS_MAX == 1024 && WORK_BYTES_MAX == 16 << 30);

/// How a job's turn comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// It shall run.
    Run,
    /// It is past its deadline, and must not.
    Expired,
}

/// Why a job did not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// With it there would be more than [`WORK_JOBS_MAX`] or [`WORK_BYTES_MAX`] allow.
    #[error("{0}")]
    Full(&'static str),
    /// Its deadline passed before it began.
    #[error("the computation did not begin within its deadline")]
    Expired,
    /// The pool ended, or the job panicked.
    #[error(transparent)]
    Ended(#[from] Ended),
}

/// The pool ended before the job did, or the job panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the work pool has ended")]
pub(crate) struct Ended;

/// Leave to run jobs. What is left of it is returned when it is dropped.
pub(crate) struct Room {
    shared: Arc<Shared>,
    jobs: usize,
    bytes: u64,
}

impl Pool {
    /// Starts a pool of `threads`, at least one.
    ///
    /// # Errors
    ///
    /// The operating system's, if it gives no thread.
    pub(crate) fn spawn(threads: usize) -> io::Result<Arc<Self>> {
        Self::spawn_with(threads, WorkMetrics::new())
    }

    fn spawn_with(threads: usize, metrics: WorkMetrics) -> io::Result<Arc<Self>> {
        let threads = threads.max(1);
        let state = State {
            // One thread stays free for the small ones, if there are two.
            lanes: Lanes::new((threads - 1).max(1)),
            running: 0,
            room_jobs: 0,
            room_bytes: 0,
            closed: false,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), ready: Condvar::new(), metrics });
        let threads = (0..threads)
            .map(|number| {
                let shared = shared.clone();
                thread::Builder::new()
                    .name(format!("bitroster-work-{number}"))
                    .spawn(move || shared.run())
            })
            .collect::<io::Result<_>>()?;
        Ok(Arc::new(Self { shared, threads }))
    }

    /// Jobs that run or wait.
    pub(crate) fn jobs(&self) -> usize {
        let state = self.shared.state.lock();
        state.lanes.len() + state.running
    }

    /// Gives leave to run `jobs` that cost `bytes` together.
    ///
    /// Those of one call may exceed the bounds if no job waits: what one caller asks for at once
    /// would never be answered otherwise. Small ones ([`WORK_SMALL_BYTES_MAX`]) are bounded in
    /// number alone, so that none is refused because of a large one that it may overtake.
    ///
    /// # Errors
    ///
    /// [`Refusal::Full`].
    pub(crate) fn admit(&self, jobs: usize, bytes: u64) -> Result<Room, Refusal> {
        let mut state = self.shared.state.lock();
        let over_jobs = state.room_jobs.saturating_add(jobs) > WORK_JOBS_MAX;
        let over_bytes =
            state.room_bytes.saturating_add(bytes) > WORK_BYTES_MAX && bytes > WORK_SMALL_BYTES_MAX;
        if (over_jobs || over_bytes) && state.lanes.has_waiting() {
            drop(state);
            self.shared.metrics.refused.increment(jobs as u64);
            return Err(Refusal::Full(if over_jobs { JOBS_FULL } else { BYTES_FULL }));
        }
        // A cost may be a lie as large as 2^64; what is counted up is counted down.
        let bytes = bytes.min(u64::MAX - state.room_bytes);
        state.room_jobs += jobs;
        state.room_bytes += bytes;
        self.shared.show(&state);
        Ok(Room { shared: self.shared.clone(), jobs, bytes })
    }

    /// Runs `job` on the pool and returns what it returns. `cost_bytes`, what it touches, decides
    /// whether it goes with the small ones; `room` is returned when it ends.
    ///
    /// # Errors
    ///
    /// [`Refusal::Expired`] if `deadline` passes before it begins, [`Refusal::Ended`].
    ///
    /// # Cancel safety
    ///
    /// A job that waits is dropped with the future, here and at once, and its room returned. One
    /// that has begun runs to its end, and its result is dropped on the pool.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        room: Room,
        cost_bytes: u64,
        deadline: Deadline,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let (sender, receiver) = oneshot::channel();
        let start = Box::new(move |start| {
            let result = match start {
                Start::Run => Ok(job()),
                Start::Expired => {
                    drop(job);
                    Err(Refusal::Expired)
                }
            };
            drop(room);
            // The caller may have gone; the result is then of no use to anybody.
            drop(sender.send(result));
        });
        let job = Job { deadline: Some(deadline), start };
        let ticket = self.shared.push(|lanes| lanes.push(cost_bytes, job));
        let _waits = Waits { shared: &self.shared, ticket, deadline };
        receiver.await.unwrap_or(Err(Refusal::Ended(Ended)))
    }

    /// As [`Pool::run`], before all jobs that came by `run` and have not begun, and without leave:
    /// for the one task of a group that applies its entries.
    ///
    /// # Errors
    ///
    /// [`Ended`].
    ///
    /// # Cancel safety
    ///
    /// The job runs even if nobody waits for it.
    pub(crate) async fn run_first<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Ended> {
        let (sender, receiver) = oneshot::channel();
        let start = Box::new(move |_| drop(sender.send(job())));
        self.shared.push(|lanes| lanes.push_urgent(Job { deadline: None, start }));
        receiver.await.map_err(|_| Ended)
    }

    /// Frees a large value on the pool, soon; here and now if [`WORK_DISCARDS_MAX`] wait already.
    pub(crate) fn discard(&self, value: impl Send + 'static) {
        let start = Box::new(move |_| drop(value));
        let job = Job { deadline: None, start };
        // Bound, and so dropped, outside the lock.
        let too_many = self.shared.push(|lanes| {
            if lanes.discards() < WORK_DISCARDS_MAX {
                lanes.push_discard(job);
                return None;
            }
            Some(job)
        });
        drop(too_many);
    }
}

impl Shared {
    /// Changes what waits, and wakes a thread for it.
    fn push<R>(&self, change: impl FnOnce(&mut Lanes<Job>) -> R) -> R {
        let mut state = self.state.lock();
        let changed = change(&mut state.lanes);
        self.show(&state);
        drop(state);
        self.ready.notify_one();
        changed
    }

    /// Runs jobs until the pool is closed and none waits.
    fn run(&self) {
        while let Some((job, is_large)) = self.next() {
            let is_late = job.deadline.is_some_and(has_passed);
            let (start, counter) = match is_late {
                true => (Start::Expired, &self.metrics.expired),
                false => (Start::Run, &self.metrics.done),
            };
            // Whoever waits for a job that panics learns it from its sender's end. The thread has
            // others to serve.
            let ended = catch_unwind(AssertUnwindSafe(|| (job.start)(start)));
            if ended.is_ok() {
                counter.increment(1);
            }
            let mut state = self.state.lock();
            state.running -= 1;
            if is_large {
                state.lanes.end_large();
            }
            self.show(&state);
        }
    }

    /// The next job, and whether it counts as large.
    fn next(&self) -> Option<(Job, bool)> {
        let mut state = self.state.lock();
        loop {
            if let Some(taken) = state.lanes.take() {
                state.running += 1;
                self.show(&state);
                return Some(taken);
            }
            if state.closed && state.lanes.len() == 0 {
                return None;
            }
            self.ready.wait(&mut state);
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "gauges")]
    fn show(&self, state: &State) {
        self.metrics.waiting_jobs.set(state.lanes.len() as f64);
        self.metrics.running_jobs.set(state.running as f64);
        self.metrics.bytes.set(state.room_bytes as f64);
    }
}

fn has_passed(deadline: Deadline) -> bool {
    deadline.left(Instant::now()).is_zero()
}

impl Room {
    /// Parts with the room of one job that costs `bytes`.
    ///
    /// # Panics
    ///
    /// If it has no job left.
    pub(crate) fn take(&mut self, bytes: u64) -> Self {
        assert!(self.jobs > 0, "room is for as many jobs as were admitted");
        let bytes = bytes.min(self.bytes);
        self.jobs -= 1;
        self.bytes -= bytes;
        Self { shared: self.shared.clone(), jobs: 1, bytes }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if self.jobs == 0 && self.bytes == 0 {
            return;
        }
        let mut state = self.shared.state.lock();
        state.room_jobs -= self.jobs;
        state.room_bytes -= self.bytes;
        self.shared.show(&state);
    }
}

/// Takes a job back with its caller's future, if it still waits.
struct Waits<'a> {
    shared: &'a Shared,
    ticket: Ticket,
    deadline: Deadline,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        let job = {
            let mut state = self.shared.state.lock();
            let job = state.lanes.withdraw(self.ticket);
            self.shared.show(&state);
            job
        };
        if job.is_some() {
            // A deadline ends the wait by ending its future.
            let metrics = &self.shared.metrics;
            let is_late = has_passed(self.deadline);
            let counter = if is_late { &metrics.expired } else { &metrics.cancelled };
            counter.increment(1);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.state.lock().closed = true;
        self.shared.ready.notify_all();
        for thread in self.threads.drain(..) {
            // A thread that panicked has told so itself.
            drop(thread.join());
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("threads", &self.threads.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { jobs, bytes, .. } = self;
        f.debug_struct("Room").field("jobs", jobs).field("bytes", bytes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
