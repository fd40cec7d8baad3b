//! One question to the majority at a time, for all reads that wait.
//!
//! A read may be answered from the state once a question asked *after* it came has been answered.
//! While one question runs, all reads that come wait for the next one together: under load that is
//! cheaper than a lease, and it needs no clock.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Notify, watch};

use crate::error::Error;

/// The gate of one group.
#[derive(Debug)]
pub(crate) struct ReadGate {
    /// Reads that ever came.
    asked: AtomicU64,
    wake: Notify,
    answered: watch::Sender<Answer>,
}

/// The last answered question.
#[derive(Clone, Debug, Default)]
struct Answer {
    /// It covers the reads up to this one.
    upto: u64,
    /// Reads up to this one were refused, for this reason.
    refused: Option<Error>,
}

impl ReadGate {
    /// A gate that nobody waits at.
    pub(crate) fn new() -> Self {
        Self {
            asked: AtomicU64::new(0),
            wake: Notify::new(),
            answered: watch::channel(Answer::default()).0,
        }
    }

    /// Waits until a question that was asked after this call is answered.
    ///
    /// # Errors
    ///
    /// What the question failed with.
    pub(crate) async fn pass(&self) -> Result<(), Error> {
        let mut answered = self.answered.subscribe();
        let ticket = self.asked.fetch_add(1, Ordering::AcqRel) + 1;
        self.wake.notify_one();
        let answer = answered.wait_for(|answer| answer.upto >= ticket).await;
        match answer.map_err(|_| Error::ShuttingDown)?.refused.clone() {
            None => Ok(()),
            Some(error) => Err(error),
        }
    }

    /// Asks `question` for as long as somebody waits. Never returns.
    pub(crate) async fn run<F>(&self, question: impl Fn() -> F + Send) -> !
    where
        F: Future<Output = Result<(), Error>> + Send,
    {
        let mut answered = 0;
        loop {
            let asked = self.asked.load(Ordering::Acquire);
            if asked == answered {
                self.wake.notified().await;
                continue;
            }
            let refused = question().await.err();
            answered = asked;
            self.answered.send_replace(Answer { upto: asked, refused });
        }
    }
}
