//! Threads for computations that would hold up others.
//!
//! Counting and combining gigabytes runs here, beside the async workers and outside every lock.
//! The pool is small (one thread a core by default), its queue is bounded, and a caller that goes
//! away does not stop a job that runs. Jobs that a group's writes wait for go before all others.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread;

use bitroster_types::limits::WORK_JOBS_MAX;
use parking_lot::{Condvar, Mutex};
use tokio::sync::{Semaphore, oneshot};

type Job = Box<dyn FnOnce() + Send>;

/// A fixed set of threads. Dropping it lets the queued jobs finish and waits for them.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    room: Arc<Semaphore>,
    threads: Vec<thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    jobs: Mutex<Jobs>,
    ready: Condvar,
}

#[derive(Default)]
struct Jobs {
    /// Jobs of entries being applied: at most one a group.
    urgent: VecDeque<Job>,
    queue: VecDeque<Job>,
    running: usize,
    closed: bool,
}

/// The pool ended before the job did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the work pool has ended")]
pub(crate) struct Ended;

impl Pool {
    /// Starts a pool of `threads`, at least one.
    ///
    /// # Errors
    ///
    /// The operating system's, if it gives no thread.
    pub(crate) fn spawn(threads: usize) -> io::Result<Arc<Self>> {
        let shared = Arc::new(Shared::default());
        let threads = (0..threads.max(1))
            .map(|number| {
                let shared = shared.clone();
                thread::Builder::new()
                    .name(format!("bitroster-work-{number}"))
                    .spawn(move || shared.run())
            })
            .collect::<io::Result<_>>()?;
        let room = Arc::new(Semaphore::new(WORK_JOBS_MAX));
        Ok(Arc::new(Self { shared, room, threads }))
    }

    /// Jobs that run or wait.
    pub(crate) fn jobs(&self) -> usize {
        let jobs = self.shared.jobs.lock();
        jobs.urgent.len() + jobs.queue.len() + jobs.running
    }

    /// Runs `job` on the pool and returns what it returns. Waits for room in the queue first.
    ///
    /// # Errors
    ///
    /// [`Ended`] if the pool ended, or the job panicked.
    ///
    /// # Cancel safety
    ///
    /// A job that has been queued runs even if nobody waits for it.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Ended> {
        let room = self.room.clone().acquire_owned().await.map_err(|_| Ended)?;
        let (job, receiver) = with_receiver(move || {
            let done = job();
            drop(room);
            done
        });
        self.shared.jobs.lock().queue.push_back(job);
        self.shared.ready.notify_one();
        receiver.await.map_err(|_| Ended)
    }

    /// As [`Pool::run`], before all jobs that came by `run` and have not begun, and without waiting
    /// for room: for the one task of a group that applies its entries.
    ///
    /// # Errors
    ///
    /// As [`Pool::run`].
    ///
    /// # Cancel safety
    ///
    /// As [`Pool::run`].
    pub(crate) async fn run_first<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Ended> {
        let (job, receiver) = with_receiver(job);
        self.shared.jobs.lock().urgent.push_back(job);
        self.shared.ready.notify_one();
        receiver.await.map_err(|_| Ended)
    }
}

/// The job, and where its result will come out.
fn with_receiver<T: Send + 'static>(
    job: impl FnOnce() -> T + Send + 'static,
) -> (Job, oneshot::Receiver<T>) {
    let (sender, receiver) = oneshot::channel();
    // The caller may have gone; the result is then of no use to anybody.
    (Box::new(move || drop(sender.send(job()))), receiver)
}

impl Shared {
    fn run(&self) {
        while let Some(job) = self.next() {
            job();
            self.jobs.lock().running -= 1;
        }
    }

    fn next(&self) -> Option<Job> {
        let mut jobs = self.jobs.lock();
        loop {
            if let Some(job) = jobs.urgent.pop_front().or_else(|| jobs.queue.pop_front()) {
                jobs.running += 1;
                return Some(job);
            }
            if jobs.closed {
                return None;
            }
            self.ready.wait(&mut jobs);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.jobs.lock().closed = true;
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_job_returns_what_it_computed() {
        let pool = Pool::spawn(2).unwrap();
        assert_eq!(pool.run(|| 6 * 7).await, Ok(42));
    }

    #[tokio::test]
    async fn what_writes_wait_for_goes_before_reads_that_wait() {
        let pool = Pool::spawn(1).unwrap();
        let (release, gate) = mpsc::channel::<()>();
        let mut blocker = Box::pin(pool.run(move || gate.recv()));
        assert!(futures_util::poll!(&mut blocker).is_pending());
        let (done, order) = mpsc::channel();
        let told = done.clone();
        let mut reads: Vec<_> = (0..WORK_JOBS_MAX)
            .map(|_| {
                let done = done.clone();
                Box::pin(tokio::task::unconstrained(pool.run(move || done.send("read"))))
            })
            .collect();
        for read in &mut reads {
            assert!(futures_util::poll!(read).is_pending());
        }
        // The queue has no room left, which is no concern of this one.
        let mut write = Box::pin(pool.run_first(move || told.send("write")));
        assert!(futures_util::poll!(&mut write).is_pending());
        assert_eq!(pool.jobs(), WORK_JOBS_MAX + 1);
        release.send(()).unwrap();
        assert!(write.await.is_ok());
        assert_eq!(order.recv(), Ok("write"));
    }

    #[tokio::test]
    async fn a_job_whose_caller_left_still_runs() {
        let pool = Pool::spawn(1).unwrap();
        let (sender, receiver) = mpsc::channel();
        let mut abandoned = Box::pin(pool.run(move || sender.send(1)));
        assert!(futures_util::poll!(&mut abandoned).is_pending() || pool.threads.len() == 1);
        drop(abandoned);
        drop(pool);
        assert_eq!(receiver.recv(), Ok(1));
    }
}
