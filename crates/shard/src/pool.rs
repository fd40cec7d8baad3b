//! Threads for computations that would hold up others.
//!
//! Counting and combining gigabytes runs here, beside the async workers and outside every lock.
//! The pool is small (one thread a core by default), its queue is bounded, and a caller that goes
//! away does not stop a job that runs.

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
    queue: VecDeque<Job>,
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
        WORK_JOBS_MAX - self.room.available_permits()
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
        let (sender, receiver) = oneshot::channel();
        let job = Box::new(move || {
            // The caller may have gone; the result is then of no use to anybody.
            drop(sender.send(job()));
            drop(room);
        });
        self.shared.jobs.lock().queue.push_back(job);
        self.shared.ready.notify_one();
        receiver.await.map_err(|_| Ended)
    }
}

impl Shared {
    fn run(&self) {
        while let Some(job) = self.next() {
            job();
        }
    }

    fn next(&self) -> Option<Job> {
        let mut jobs = self.jobs.lock();
        loop {
            if let Some(job) = jobs.queue.pop_front() {
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
