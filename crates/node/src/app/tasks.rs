//! Starts every task of the process.
//!
//! A task that panics ends the process: what it held is in an unknown state, and the orchestrator
//! starts a new one.

use std::{
    panic::AssertUnwindSafe,
    process,
    sync::Arc,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use bitroster_router::Spawn;
use futures_util::{FutureExt as _, future::BoxFuture};
use tracing::error;

/// Hands out tasks and counts them.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    running: Arc<AtomicUsize>,
}

impl Tasks {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Tasks that have not ended.
    pub(crate) fn running(&self) -> usize {
        self.running.load(Relaxed)
    }
}

impl Spawn for Tasks {
    #[allow(clippy::disallowed_methods, reason = "the one place that starts tasks")]
    fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>) {
        let running = Arc::clone(&self.running);
        running.fetch_add(1, Relaxed);
        tokio::spawn(async move {
            let ended = AssertUnwindSafe(task).catch_unwind().await;
            running.fetch_sub(1, Relaxed);
            if ended.is_err() {
                error!(task = name, "a task panicked; the process ends");
                process::abort();
            }
        });
    }
}
