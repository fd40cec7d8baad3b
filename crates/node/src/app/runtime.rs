//! How busy the async workers are.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use bitroster_telemetry::metric::Page;
use tokio::{
    runtime::{Handle, RuntimeMetrics},
    time::interval,
};

/// How long a time the share is of.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(5);

/// The runtime's figures.
#[derive(Debug)]
pub(crate) struct Runtime {
    metrics: RuntimeMetrics,
    /// The last share, in millionths.
    busy_millionths: AtomicU64,
}

impl Runtime {
    /// Of the runtime that this is called in.
    pub(crate) fn current() -> Self {
        Self { metrics: Handle::current().metrics(), busy_millionths: AtomicU64::new(0) }
    }

    /// Time that all workers together were busy so far.
    fn busy(&self) -> Duration {
        let workers = 0..self.metrics.num_workers();
        workers.map(|worker| self.metrics.worker_total_busy_duration(worker)).sum()
    }

    /// Takes the share again and again, for ever: a task.
    pub(crate) async fn watch(&self) {
        let mut ticks = interval(SAMPLE_INTERVAL);
        let (mut then, mut busy) = (Instant::now(), self.busy());
        loop {
            ticks.tick().await;
            let (now, busy_now) = (Instant::now(), self.busy());
            let workers = u32::try_from(self.metrics.num_workers()).unwrap_or(1).max(1);
            let all = now.duration_since(then) * workers;
            let share = busy_now.saturating_sub(busy).as_micros() * 1_000_000;
            if let Some(share) = share.checked_div(all.as_micros()) {
                let share = u64::try_from(share.min(1_000_000)).unwrap_or(1_000_000);
                self.busy_millionths.store(share, Relaxed);
            }
            (then, busy) = (now, busy_now);
        }
    }

    /// Shows the figures.
    #[expect(clippy::cast_precision_loss, reason = "metrics are floats")]
    pub(crate) fn publish(&self, page: &mut Page) {
        page.gauge(
            "bitroster_runtime_busy_ratio",
            "Share of their time that the async workers were busy, over the last five seconds",
        )
        .row(&[], self.busy_millionths.load(Relaxed) as f64 / 1e6);
        page.gauge(
            "bitroster_runtime_global_queue_depth",
            "Tasks that wait for an async worker in the shared queue",
        )
        .row(&[], self.metrics.global_queue_depth());
        page.gauge("bitroster_runtime_alive_tasks", "Tasks that have not ended")
            .row(&[], self.metrics.num_alive_tasks());
    }
}
