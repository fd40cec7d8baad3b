//! Tokio as openraft's runtime, without its shortest sleeps.
//!
//! openraft forwards "the disk has it" through a task that, when two completions come close
//! together, sleeps for one microsecond to take them as one. Tokio's timer counts milliseconds, so
//! that sleep would hold up a commit ten times longer than the disk does. Here a sleep that is
//! shorter than the timer can measure yields once instead.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use openraft::{AsyncRuntime, OptionalSend, TokioRuntime};

/// Sleeps shorter than this only let other tasks run.
const SLEEP_MIN: Duration = Duration::from_micros(100);

type Instant = <TokioRuntime as AsyncRuntime>::Instant;

/// [`TokioRuntime`] with another sleep.
#[derive(Debug)]
pub(crate) struct Runtime(TokioRuntime);

/// A sleep, or one turn of the other tasks.
pub(crate) struct Sleep {
    timer: Option<Pin<Box<<TokioRuntime as AsyncRuntime>::Sleep>>>,
    yielded: bool,
}

impl Sleep {
    fn new(left: Duration, timer: impl FnOnce() -> <TokioRuntime as AsyncRuntime>::Sleep) -> Self {
        let timer = (left >= SLEEP_MIN).then(|| Box::pin(timer()));
        Self { timer, yielded: false }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if let Some(timer) = &mut self.timer {
            return timer.as_mut().poll(context);
        }
        if self.yielded {
            return Poll::Ready(());
        }
        self.yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl AsyncRuntime for Runtime {
    type JoinError = <TokioRuntime as AsyncRuntime>::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::JoinHandle<T>;
    type Sleep = Sleep;
    type Instant = Instant;
    type TimeoutError = <TokioRuntime as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + OptionalSend> =
        <TokioRuntime as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = <TokioRuntime as AsyncRuntime>::ThreadLocalRng;
    type Mpsc = <TokioRuntime as AsyncRuntime>::Mpsc;
    type Watch = <TokioRuntime as AsyncRuntime>::Watch;
    type Oneshot = <TokioRuntime as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        TokioRuntime::spawn(future)
    }

    fn sleep(duration: Duration) -> Sleep {
        Sleep::new(duration, || TokioRuntime::sleep(duration))
    }

    fn sleep_until(deadline: Instant) -> Sleep {
        let now = <Instant as openraft::Instant>::now();
        let left = if deadline > now { deadline - now } else { Duration::ZERO };
        Sleep::new(left, || TokioRuntime::sleep_until(deadline))
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(
        duration: Duration,
        future: F,
    ) -> Self::Timeout<R, F> {
        TokioRuntime::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
        deadline: Instant,
        future: F,
    ) -> Self::Timeout<R, F> {
        TokioRuntime::timeout_at(deadline, future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        TokioRuntime::is_panic(join_error)
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        TokioRuntime::thread_rng()
    }

    fn new(threads: usize) -> Self {
        Self(TokioRuntime::new(threads))
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.0.block_on(future)
    }
}
