//! Where a group's batches wait for the next entry.
//!
//! [`Queue::push`] is all that a connection pays: one short lock. The group's proposer takes
//! everything that waits as one entry while fewer than a few entries are in flight, so the busier
//! the disk, the larger the entries; there is no timer.
//!
//! A batch belongs to the queue from `push` on: a caller that goes away does not take it back. A
//! caller whose deadline passes may, and then knows that nothing was applied.

use std::collections::VecDeque;
use std::sync::Arc;

use bitroster_command::{OpBatch, Outcome};
use bitroster_types::limits::{
    BATCH_BYTES_MAX, ENTRY_BYTES_MAX, ENTRY_OPS_MAX, GROUP_PROPOSALS_MAX, GROUP_QUEUE_BATCHES_MAX,
    GROUP_QUEUE_BYTES_MAX,
};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use crate::error::Error;

/// What a batch's caller gets.
pub(crate) type Reply = Result<Vec<Outcome>, Error>;

/// A batch and its caller.
#[derive(Debug)]
pub(crate) struct Waiting {
    ticket: u64,
    /// The ops.
    pub(crate) batch: OpBatch,
    /// Where the outcomes go.
    pub(crate) reply: oneshot::Sender<Reply>,
}

/// The queue of one group. Push from anywhere; one task takes.
#[derive(Debug)]
pub(crate) struct Queue {
    inner: Mutex<Inner>,
    /// Wakes the proposer.
    wake: Notify,
    /// Wakes those who wait for the queue's end.
    idle: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    in_flight: usize,
    tickets: u64,
    closed: bool,
}

impl Queue {
    /// An empty queue.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { inner: Mutex::default(), wake: Notify::new(), idle: Notify::new() })
    }

    /// Queues a batch; its outcomes come out of the receiver. The ticket withdraws it.
    ///
    /// # Errors
    ///
    /// [`Error::TooLong`], [`Error::Busy`] if the queue is full, [`Error::ShuttingDown`] once
    /// closed.
    pub(crate) fn push(&self, batch: OpBatch) -> Result<(u64, oneshot::Receiver<Reply>), Error> {
        let (reply, receiver) = oneshot::channel();
        let len = batch.bytes_len();
        check_len(len)?;
        let mut inner = self.inner.lock();
        if inner.closed {
            return Err(Error::ShuttingDown);
        }
        let full = inner.bytes + len > GROUP_QUEUE_BYTES_MAX
            || inner.waiting.len() >= GROUP_QUEUE_BATCHES_MAX;
        if full && !inner.waiting.is_empty() {
            return Err(Error::Busy { what: "the group's write queue is full" });
        }
        inner.tickets += 1;
        let ticket = inner.tickets;
        inner.bytes += len;
        inner.waiting.push_back(Waiting { ticket, batch, reply });
        let wake = inner.in_flight < GROUP_PROPOSALS_MAX;
        drop(inner);
        if wake {
            self.wake.notify_one();
        }
        Ok((ticket, receiver))
    }

    /// Takes a batch back. False if it was proposed already.
    pub(crate) fn withdraw(&self, ticket: u64) -> bool {
        let mut inner = self.inner.lock();
        let Ok(at) = inner.waiting.binary_search_by_key(&ticket, |waiting| waiting.ticket) else {
            return false;
        };
        let len = inner.waiting.remove(at).map_or(0, |waiting| waiting.batch.bytes_len());
        inner.bytes -= len;
        let idle = inner.is_idle();
        drop(inner);
        if idle {
            self.idle.notify_waiters();
        }
        true
    }

    /// Waits for batches, and for room among the entries in flight. False once closed and empty.
    pub(crate) async fn wait(&self) -> bool {
        loop {
            {
                let inner = self.inner.lock();
                if inner.has_entry() {
                    return true;
                }
                if inner.closed && inner.waiting.is_empty() {
                    return false;
                }
            }
            self.wake.notified().await;
            // Lets the connections that have requests at this moment add theirs: woken tasks run
            // before them otherwise, and every entry would hold one request.
            tokio::task::yield_now().await;
        }
    }

    /// Takes the next entry's batches: all that wait, up to an entry's limits. `None` if none do,
    /// or too many entries are in flight.
    pub(crate) fn take(self: &Arc<Self>) -> Option<(Vec<Waiting>, InFlight)> {
        let mut inner = self.inner.lock();
        if !inner.has_entry() {
            return None;
        }
        inner.in_flight += 1;
        let batches = inner.next_entry();
        Some((batches, InFlight { queue: self.clone() }))
    }

    /// Answers all that wait that the node is being stopped.
    pub(crate) fn refuse_all(&self) {
        let waiting = {
            let mut inner = self.inner.lock();
            inner.bytes = 0;
            std::mem::take(&mut inner.waiting)
        };
        for Waiting { reply, .. } in waiting {
            drop(reply.send(Err(Error::ShuttingDown)));
        }
        self.wake.notify_one();
    }

    /// Refuses all later batches. What waits is still proposed.
    pub(crate) fn close(&self) {
        self.inner.lock().closed = true;
        self.wake.notify_one();
    }

    /// Whether later batches are refused.
    pub(crate) fn is_closed(&self) -> bool {
        self.inner.lock().closed
    }

    /// Waits until nothing waits and nothing is in flight. Meant for a closed queue.
    pub(crate) async fn idle(&self) {
        loop {
            let notified = self.idle.notified();
            if self.inner.lock().is_idle() {
                return;
            }
            notified.await;
        }
    }

    /// Bytes of ops that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.inner.lock().bytes
    }
}

/// Refuses what would not fit the log: the log would refuse the entry, and that ends the process.
fn check_len(len: usize) -> Result<(), Error> {
    if len > BATCH_BYTES_MAX {
        return Err(Error::TooLong { len, max: BATCH_BYTES_MAX });
    }
    Ok(())
}

impl Inner {
    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.in_flight == 0
    }

    fn has_entry(&self) -> bool {
        !self.waiting.is_empty() && self.in_flight < GROUP_PROPOSALS_MAX
    }

    fn next_entry(&mut self) -> Vec<Waiting> {
        let (mut count, mut ops, mut bytes) = (0, 0, 0);
        for waiting in &self.waiting {
            ops += waiting.batch.ops_total();
            let longer = bytes + waiting.batch.bytes_len();
            if count > 0 && (ops > ENTRY_OPS_MAX as u64 || longer > ENTRY_BYTES_MAX) {
                break;
            }
            bytes = longer;
            count += 1;
        }
        self.bytes -= bytes;
        self.waiting.drain(..count).collect()
    }
}

/// An entry's place among those in flight; dropping it lets the next one go.
#[derive(Debug)]
pub(crate) struct InFlight {
    queue: Arc<Queue>,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut inner = self.queue.inner.lock();
        inner.in_flight -= 1;
        let (wake, idle) = (!inner.waiting.is_empty() || inner.closed, inner.is_idle());
        drop(inner);
        if idle {
            self.queue.idle.notify_waiters();
        }
        if wake {
            self.queue.wake.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use bitroster_command::WriteOp;
    use bitroster_command::entry::encode_entry;
    use bitroster_types::UnixMillis;
    use bitroster_types::limits::WAL_ENTRY_BYTES_MAX;

    use super::*;

    fn batch() -> OpBatch {
        let mut batch = OpBatch::new();
        batch.push_write(&WriteOp::Tick);
        batch
    }

    #[test]
    fn a_batch_is_refused_where_its_entry_would_not_fit_the_log() {
        let batch = batch();
        let head = encode_entry(UnixMillis(1), [&batch]).len() - batch.bytes_len();
        assert!(
            check_len(BATCH_BYTES_MAX).is_ok() && BATCH_BYTES_MAX + head <= WAL_ENTRY_BYTES_MAX
        );
        let error = check_len(BATCH_BYTES_MAX + 1).unwrap_err();
        let told = error.to_string();
        assert!(told.contains("1073737729") && told.contains("1073737728"), "{told}");
    }

    #[tokio::test]
    async fn taking_back_the_last_batch_of_a_closed_queue_leaves_it_idle() {
        let queue = Queue::new();
        let (ticket, _receiver) = queue.push(batch()).unwrap();
        queue.close();
        let mut idle = Box::pin(queue.idle());
        assert!(futures_util::poll!(&mut idle).is_pending());
        assert!(queue.withdraw(ticket));
        assert!(futures_util::poll!(&mut idle).is_ready());
    }
}
