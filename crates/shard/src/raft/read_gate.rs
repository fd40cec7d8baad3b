//! One question to the majority at a time, for all reads that wait.
//!
//! A read may be answered from the state once a question asked *after* it came has been answered.
//! While one question runs, all reads that come wait for the next one together: under load that is
//! cheaper than a lease, and it needs no clock. What is asked is in [`lead`](super::lead).

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

    /// Waits until somebody waits, and says which reads the next question covers.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if it is dropped.
    pub(crate) async fn asked(&self) -> u64 {
        loop {
            let asked = self.asked.load(Ordering::Acquire);
            if asked != self.answered.borrow().upto {
                return asked;
            }
            self.wake.notified().await;
        }
    }

    /// Lets the reads up to `asked` pass, or refuses them.
    pub(crate) fn answer(&self, asked: u64, refused: Option<Error>) {
        self.answered.send_replace(Answer { upto: asked, refused });
    }
}
