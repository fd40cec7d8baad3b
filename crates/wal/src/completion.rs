//! How a caller learns that what it queued is safe.

use std::fmt;
use std::sync::mpsc;

use crate::error::IoFailure;

type Call = Box<dyn FnOnce(Result<(), IoFailure>) + Send>;

/// What to do when a queued call is on the disk, or will never be.
///
/// It runs on the log's thread, in the order of the calls: it must be short and must not wait.
pub struct Completion {
    call: Option<Call>,
}

impl Completion {
    /// Does nothing. For calls whose order in the stream is all that matters.
    pub const fn none() -> Self {
        Self { call: None }
    }

    /// Calls `done` once. Allocates one box.
    pub fn call(done: impl FnOnce(Result<(), IoFailure>) + Send + 'static) -> Self {
        Self { call: Some(Box::new(done)) }
    }

    /// A completion and a place to wait for it, for callers that may block.
    pub fn waiter() -> (Self, Waiter) {
        let (sender, receiver) = mpsc::sync_channel(1);
        let completion = Self::call(move |result| {
            // A caller that no longer waits has dropped the receiver, and that is its right.
            drop(sender.send(result));
        });
        (completion, Waiter { receiver })
    }

    /// Whether there is nothing to call.
    pub(crate) fn is_none(&self) -> bool {
        self.call.is_none()
    }

    pub(crate) fn run(self, result: Result<(), IoFailure>) {
        if let Some(call) = self.call {
            call(result);
        }
    }
}

impl fmt::Debug for Completion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_none() { "Completion::none" } else { "Completion::call" })
    }
}

/// Waits for a [`Completion`].
#[derive(Debug)]
pub struct Waiter {
    receiver: mpsc::Receiver<Result<(), IoFailure>>,
}

impl Waiter {
    /// Waits until the call is on the disk. Blocks the thread.
    ///
    /// # Errors
    ///
    /// The failure that stopped the log; the call may be on the disk or not.
    pub fn wait(self) -> Result<(), IoFailure> {
        self.receiver.recv().unwrap_or_else(|_| {
            Err(IoFailure {
                operation: "wait for",
                path: "log".into(),
                kind: std::io::ErrorKind::BrokenPipe,
                message: "the call was refused or the log's thread ended".to_owned(),
            })
        })
    }
}
