//! Work beside a request's own: long computations, and what nobody waits for.

use std::{future::Future, sync::Arc};

use bitroster_types::limits::UNAWAITED_TASKS_MAX;
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::Semaphore,
};

use crate::Spawn;

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
pub(crate) struct Unawaited {
    spawn: Option<Arc<dyn Spawn>>,
    room: Arc<Semaphore>,
}

impl Unawaited {
    /// Without anybody to start tasks they are all run where they come up.
    pub(crate) fn new(spawn: Option<Arc<dyn Spawn>>) -> Self {
        Self { spawn, room: Arc::new(Semaphore::new(UNAWAITED_TASKS_MAX)) }
    }

    /// Has a task started. Where nobody does, or too many are under way, it is run to its end here.
    ///
    /// # Cancel safety
    ///
    /// A task that was started goes on when the future is dropped.
    pub(crate) async fn run(
        &self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        match (&self.spawn, Arc::clone(&self.room).try_acquire_owned()) {
            (Some(spawn), Ok(permit)) => {
                let task = async move {
                    task.await;
                    drop(permit);
                };
                spawn.spawn(name, Box::pin(task));
            }
            (None, _) | (_, Err(_)) => task.await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::{FutureExt as _, future::BoxFuture};
    use parking_lot::Mutex;

    use super::*;

    /// Keeps what is to be started.
    #[derive(Default)]
    struct Kept(Mutex<Vec<BoxFuture<'static, ()>>>);

    impl Spawn for Kept {
        fn spawn(&self, _name: &'static str, task: BoxFuture<'static, ()>) {
            self.0.lock().push(task);
        }
    }

    #[test]
    fn a_task_is_started_where_there_is_room_for_it_and_waited_for_where_there_is_none() {
        let (kept, done) = (Arc::new(Kept::default()), Arc::new(AtomicUsize::new(0)));
        let (alone, unawaited) = (Unawaited::new(None), Unawaited::new(Some(kept.clone())));
        let run = |unawaited: &Unawaited| {
            let counted = Arc::clone(&done);
            let task = async move {
                counted.fetch_add(1, Ordering::Relaxed);
            };
            unawaited.run("test", task).now_or_never().expect("nothing to wait for");
            done.load(Ordering::Relaxed)
        };
        assert_eq!(run(&alone), 1, "nobody starts it");
        for _ in 0..UNAWAITED_TASKS_MAX {
            assert_eq!(run(&unawaited), 1, "it is for others to run");
        }
        assert_eq!(run(&unawaited), 2, "there is no room");
        let one = kept.0.lock().pop().expect("they were kept");
        one.now_or_never().expect("nothing to wait for");
        assert_eq!(run(&unawaited), 3, "there is room again");
        assert_eq!(kept.0.lock().len(), UNAWAITED_TASKS_MAX);
    }
}
