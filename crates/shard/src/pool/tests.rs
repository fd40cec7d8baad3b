//! Goal: what waits is bounded, ends with its caller and its deadline, and begins in order.
//!
//! Method: a pool of one thread or two, kept busy by jobs that wait for a channel; futures are
//! polled by hand, so that it is known what waits. Mutants killed: a caller that leaves takes
//! nothing back; a job past its deadline runs, or keeps its room; no job's room is returned; a
//! panic ends its thread; no bound on bytes; large jobs on all threads.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Weak, mpsc};
use std::time::Duration;

use futures_util::poll;
use metrics::{Counter, Gauge};

use super::*;

const SMALL: u64 = WORK_SMALL_BYTES_MAX;
const LARGE: u64 = WORK_SMALL_BYTES_MAX + 1;

type Waiting<T> = Pin<Box<dyn Future<Output = Result<T, Refusal>> + Send>>;

fn soon() -> Deadline {
    Deadline::at(Instant::now() + Duration::from_secs(30))
}

fn passed() -> Deadline {
    Deadline::at(Instant::now())
}

/// A job that waits on the pool, or the refusal.
async fn queue<T: Send + 'static>(
    pool: &Arc<Pool>,
    bytes: u64,
    deadline: Deadline,
    job: impl FnOnce() -> T + Send + 'static,
) -> Result<Waiting<T>, Refusal> {
    let (room, pool) = (pool.admit(1, bytes)?, pool.clone());
    let mut waiting: Waiting<T> =
        Box::pin(async move { pool.run(room, bytes, deadline, job).await });
    // Tests queue more than what tokio thinks one task should do at a time.
    let polled = tokio::task::unconstrained(async { poll!(&mut waiting) }).await;
    assert!(polled.is_pending());
    Ok(waiting)
}

/// A thread of the pool that is kept busy until it is let go.
struct Busy {
    release: mpsc::Sender<()>,
    job: Waiting<Result<(), mpsc::RecvError>>,
}

impl Busy {
    async fn keep(pool: &Arc<Pool>, bytes: u64) -> Self {
        let (release, gate) = mpsc::channel();
        let (begun, begins) = mpsc::channel();
        let job = move || {
            begun.send(()).unwrap();
            gate.recv()
        };
        let job = queue(pool, bytes, soon(), job).await.unwrap();
        begins.recv().unwrap();
        Self { release, job }
    }

    async fn end(self) {
        self.release.send(()).unwrap();
        self.job.await.unwrap().unwrap();
    }
}

fn room(pool: &Pool) -> (usize, u64) {
    let state = pool.shared.state.lock();
    (state.room_jobs, state.room_bytes)
}

/// An operand, and what tells whether it is still held.
fn operand() -> (Arc<Vec<u8>>, Weak<Vec<u8>>) {
    let operand = Arc::new(vec![1]);
    let held = Arc::downgrade(&operand);
    (operand, held)
}

#[tokio::test]
async fn a_job_returns_what_it_computed() {
    let pool = Pool::spawn(2).unwrap();
    let room = pool.admit(1, SMALL).unwrap();
    assert_eq!(pool.run(room, SMALL, soon(), || 6 * 7).await, Ok(42));
    assert_eq!(pool.run_first(|| 43).await, Ok(43));
}

#[tokio::test]
async fn one_job_too_many_is_refused_and_told_the_limit() {
    let pool = Pool::spawn(1).unwrap();
    let busy = Busy::keep(&pool, 1).await;
    let mut jobs = Vec::new();
    for _ in 1..WORK_JOBS_MAX {
        jobs.push(queue(&pool, 1, soon(), || ()).await.unwrap());
    }
    let refusal = queue(&pool, 1, soon(), || ()).await.err().unwrap();
    assert!(matches!(refusal, Refusal::Full(_)));
    assert!(refusal.to_string().contains(&WORK_JOBS_MAX.to_string()), "{refusal}");
    // One that leaves makes room for one.
    jobs.pop();
    jobs.push(queue(&pool, 1, soon(), || ()).await.unwrap());
    busy.end().await;
    for job in jobs {
        job.await.unwrap();
    }
    assert_eq!(room(&pool), (0, 0));
}

#[tokio::test]
async fn bytes_too_many_are_refused_and_told_the_limit() {
    let pool = Pool::spawn(1).unwrap();
    let busy = Busy::keep(&pool, 1).await;
    // Nothing waits: one alone may be of any size.
    let large = queue(&pool, 2 * WORK_BYTES_MAX, soon(), || ()).await.unwrap();
    let refusal = queue(&pool, LARGE, soon(), || ()).await.err().unwrap();
    assert!(matches!(refusal, Refusal::Full(_)));
    let limit = format!("{} GiB", WORK_BYTES_MAX >> 30);
    assert!(refusal.to_string().contains(&limit), "{refusal}");
    // A small one goes before it, and is not refused because of it.
    let small = queue(&pool, SMALL, soon(), || ()).await.unwrap();
    assert_eq!(room(&pool), (3, 2 * WORK_BYTES_MAX + SMALL + 1));
    drop(large);
    let large = queue(&pool, LARGE, soon(), || ()).await.unwrap();
    busy.end().await;
    small.await.unwrap();
    large.await.unwrap();
    assert_eq!(room(&pool), (0, 0));
}

#[tokio::test]
async fn jobs_admitted_together_may_be_as_many_as_their_caller_has_if_none_waits() {
    let pool = Pool::spawn(1).unwrap();
    let jobs = 2 * WORK_JOBS_MAX;
    let mut together = pool.admit(jobs, u64::MAX).unwrap();
    let first = together.take(LARGE);
    assert_eq!(room(&pool), (jobs, u64::MAX));
    drop(together);
    assert_eq!(room(&pool), (1, LARGE));
    drop(first);
    assert_eq!(room(&pool), (0, 0));
}

#[tokio::test]
async fn a_job_whose_caller_leaves_never_runs_and_frees_its_operands_and_room() {
    let pool = Pool::spawn(1).unwrap();
    let busy = Busy::keep(&pool, 1).await;
    let (operand, held) = operand();
    let (ran, runs) = mpsc::channel();
    let left = queue(&pool, LARGE, soon(), move || ran.send(operand.len())).await.unwrap();
    assert_eq!(room(&pool), (2, LARGE + 1));
    drop(left);
    assert_eq!(room(&pool), (1, 1));
    assert!(held.upgrade().is_none());
    busy.end().await;
    assert!(runs.recv().is_err());
}

#[tokio::test]
async fn a_job_that_has_begun_runs_to_its_end_and_keeps_its_room_until_then() {
    let pool = Pool::spawn(1).unwrap();
    let (release, gate) = mpsc::channel::<()>();
    let (begun, begins) = mpsc::channel();
    let (done, ends) = mpsc::channel();
    let job = move || {
        begun.send(()).unwrap();
        gate.recv().unwrap();
        done.send(()).unwrap();
    };
    let left = queue(&pool, LARGE, soon(), job).await.unwrap();
    begins.recv().unwrap();
    drop(left);
    assert_eq!(room(&pool), (1, LARGE));
    release.send(()).unwrap();
    ends.recv().unwrap();
    pool.run_first(|| ()).await.unwrap();
    assert_eq!(room(&pool), (0, 0));
}

#[tokio::test]
async fn a_job_past_its_deadline_never_runs_and_its_caller_is_told() {
    let pool = Pool::spawn(1).unwrap();
    let busy = Busy::keep(&pool, 1).await;
    let (operand, held) = operand();
    let (ran, runs) = mpsc::channel();
    let late = queue(&pool, LARGE, passed(), move || ran.send(operand.len())).await.unwrap();
    busy.end().await;
    assert_eq!(late.await.unwrap_err(), Refusal::Expired);
    assert!(runs.recv().is_err());
    assert!(held.upgrade().is_none());
    assert_eq!(room(&pool), (0, 0));
}

#[tokio::test]
async fn a_job_that_panics_returns_its_room_and_leaves_its_thread_to_others() {
    let pool = Pool::spawn(1).unwrap();
    let room_taken = pool.admit(1, LARGE).unwrap();
    let panicked: Result<(), _> = pool.run(room_taken, LARGE, soon(), || panic!("as meant")).await;
    assert_eq!(panicked, Err(Refusal::Ended(Ended)));
    assert_eq!(pool.run_first(|| panic!("as meant")).await, Err::<(), _>(Ended));
    // The only thread may run a large job again: it counts none as running.
    pool.run(pool.admit(1, LARGE).unwrap(), LARGE, soon(), || ()).await.unwrap();
    assert_eq!(pool.run_first(|| 1).await, Ok(1));
    // Those before this last one have ended wholly, a moment after they were answered.
    assert_eq!(room(&pool), (0, 0));
}

#[tokio::test]
async fn writes_go_before_all_and_small_jobs_before_large_ones() {
    let pool = Pool::spawn(1).unwrap();
    let busy = Busy::keep(&pool, 1).await;
    let (told, order) = mpsc::channel();
    let tell = |what: &'static str| {
        let told = told.clone();
        move || told.send(what).unwrap()
    };
    let large = queue(&pool, LARGE, soon(), tell("large")).await.unwrap();
    let small = queue(&pool, SMALL, soon(), tell("small")).await.unwrap();
    let mut write = Box::pin(pool.run_first(tell("write")));
    assert!(poll!(&mut write).is_pending());
    busy.end().await;
    write.await.unwrap();
    small.await.unwrap();
    large.await.unwrap();
    assert_eq!(order.try_iter().collect::<Vec<_>>(), ["write", "small", "large"]);
}

#[tokio::test]
async fn writes_are_never_refused() {
    let pool = Pool::spawn(1).unwrap();
    let busy = Busy::keep(&pool, 1).await;
    let waits = queue(&pool, LARGE, soon(), || ()).await.unwrap();
    let all = pool.admit(WORK_JOBS_MAX - 2, 1).unwrap();
    assert!(pool.admit(1, 1).is_err());
    let mut write = Box::pin(pool.run_first(|| 1));
    assert!(poll!(&mut write).is_pending());
    busy.end().await;
    assert_eq!(write.await, Ok(1));
    waits.await.unwrap();
    drop(all);
}

#[tokio::test]
async fn a_thread_stays_free_for_small_jobs_however_many_large_ones_wait() {
    let pool = Pool::spawn(2).unwrap();
    let busy = Busy::keep(&pool, LARGE).await;
    let mut large = Vec::new();
    for _ in 0..4 {
        large.push(queue(&pool, LARGE, soon(), || ()).await.unwrap());
    }
    let small = pool.admit(1, SMALL).unwrap();
    assert_eq!(pool.run(small, SMALL, soon(), || 1).await, Ok(1));
    assert_eq!(room(&pool), (5, 5 * LARGE));
    busy.end().await;
    for job in large {
        job.await.unwrap();
    }
}

#[tokio::test]
async fn values_are_freed_on_the_pool_until_too_many_wait() {
    let pool = Pool::spawn(1).unwrap();
    let busy = Busy::keep(&pool, 1).await;
    let mut waiting = Vec::new();
    for _ in 0..WORK_DISCARDS_MAX {
        let (value, held) = operand();
        pool.discard(value);
        waiting.push(held);
    }
    assert!(waiting.iter().all(|held| held.upgrade().is_some()));
    let (value, held) = operand();
    pool.discard(value);
    assert!(held.upgrade().is_none());
    busy.end().await;
    drop(pool);
    assert!(waiting.iter().all(|held| held.upgrade().is_none()));
}

#[tokio::test]
async fn every_fate_of_a_job_is_counted() {
    let counts: [Arc<AtomicU64>; 4] = Default::default();
    let gauges: [Arc<AtomicU64>; 3] = Default::default();
    let [done, refused, cancelled, expired] = counts.clone().map(Counter::from_arc);
    let [waiting_jobs, running_jobs, bytes] = gauges.clone().map(Gauge::from_arc);
    let metrics =
        WorkMetrics { waiting_jobs, running_jobs, bytes, done, refused, cancelled, expired };
    let pool = Pool::spawn_with(1, metrics).unwrap();
    let busy = Busy::keep(&pool, 1).await;
    let left = queue(&pool, LARGE, soon(), || ()).await.unwrap();
    let late = queue(&pool, LARGE, passed(), || ()).await.unwrap();
    let late_and_left = queue(&pool, LARGE, passed(), || ()).await.unwrap();
    assert!(pool.admit(2, WORK_BYTES_MAX).is_err());
    let shown = |gauge: &Arc<AtomicU64>| f64::from_bits(gauge.load(Ordering::Relaxed));
    #[expect(clippy::cast_precision_loss, reason = "as the gauge has it")]
    let expected = [3.0, 1.0, (3 * LARGE + 1) as f64];
    assert_eq!(gauges.each_ref().map(shown), expected);
    drop((left, late_and_left));
    busy.end().await;
    assert_eq!(late.await, Err(Refusal::Expired));
    // The thread has counted all that it has ended.
    drop(pool);
    let counts = counts.map(|count| count.load(Ordering::Relaxed));
    assert_eq!(counts, [1, 2, 1, 2]);
    assert_eq!(gauges.each_ref().map(shown), [0.0, 0.0, 0.0]);
}
