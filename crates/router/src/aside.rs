//! Work beside a request's own: long computations, and what nobody waits for.

use std::{future::Future, sync::Arc};

use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::Semaphore,
};

/// Most tasks that a router runs with nobody waiting for them.
const UNAWAITED_MAX: usize = 1024;

/// Runs what may take longer than a millisecond while the worker's other tasks move to another
/// thread. Where there is no such thread it runs as it is.
///
/// # Panics
///
/// If `work` does.
pub fn aside<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        Ok(_) | Err(_) => work(),
    }
}

/// The tasks of a router that nobody waits for.
pub(crate) struct Unawaited(Arc<Semaphore>);

impl Unawaited {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(UNAWAITED_MAX)))
    }

    /// Hands a task to other threads. Where there are none, or too many tasks under way, it is run
    /// to its end here.
    ///
    /// # Cancel safety
    ///
    /// A task that was handed over goes on when the future is dropped.
    pub(crate) async fn run(&self, task: impl Future<Output = ()> + Send + 'static) {
        let handle = Handle::try_current().ok();
        let handle = handle.filter(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread);
        match (handle, Arc::clone(&self.0).try_acquire_owned()) {
            (Some(handle), Ok(permit)) => {
                handle.spawn(async move {
                    task.await;
                    drop(permit);
                });
            }
            (None, _) | (_, Err(_)) => task.await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt as _;
    use tokio::{runtime::Builder, sync::Semaphore};

    use super::*;

    #[test]
    fn a_task_is_handed_over_where_there_is_a_thread_and_room_for_it() {
        let (unawaited, gate) = (Unawaited::new(), Arc::new(Semaphore::new(0)));
        let done = Arc::new(AtomicUsize::new(0));
        let task = || {
            let (gate, done) = (Arc::clone(&gate), Arc::clone(&done));
            async move {
                gate.acquire().await.unwrap().forget();
                done.fetch_add(1, Ordering::Relaxed);
            }
        };
        assert!(unawaited.run(task()).now_or_never().is_none(), "there is no other thread");
        let runtime = Builder::new_multi_thread().worker_threads(1).build().unwrap();
        runtime.block_on(async {
            for _ in 0..UNAWAITED_MAX {
                assert!(unawaited.run(task()).now_or_never().is_some(), "nobody waits for it");
            }
            assert!(unawaited.run(task()).now_or_never().is_none(), "there is no room");
            assert_eq!(done.load(Ordering::Relaxed), 0);
            gate.add_permits(UNAWAITED_MAX);
            let all = u32::try_from(UNAWAITED_MAX).unwrap();
            drop(unawaited.0.acquire_many(all).await.unwrap());
            assert_eq!(done.load(Ordering::Relaxed), UNAWAITED_MAX);
            assert!(unawaited.run(task()).now_or_never().is_some(), "there is room again");
        });
    }
}
