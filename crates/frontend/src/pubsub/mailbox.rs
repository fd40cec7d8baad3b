//! Messages that wait for one client.
//!
//! Publishers put encoded messages in, the client's session takes them out between two replies. A
//! client that does not read is dropped before its mailbox takes much memory.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use bitroster_types::limits::{
    MAIL_BYTES_MAX, MAILBOX_BYTES_MAX, MAILBOX_SOFT_BYTES_MAX, MAILBOX_SOFT_SECS_MAX,
};
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;

/// What a message takes beside its bytes.
const MESSAGE_BYTES: u64 = size_of::<Bytes>() as u64;

/// `client-output-buffer-limit pubsub`: how much may wait for a client. 0 is no limit.
#[derive(Debug)]
pub(crate) struct MailboxLimit {
    /// Above these bytes the client is dropped.
    pub(crate) hard_bytes: AtomicU64,
    /// Above these bytes for longer than `soft_secs` it is dropped too.
    pub(crate) soft_bytes: AtomicU64,
    pub(crate) soft_secs: AtomicU64,
}

impl Default for MailboxLimit {
    fn default() -> Self {
        Self {
            hard_bytes: AtomicU64::new(MAILBOX_BYTES_MAX),
            soft_bytes: AtomicU64::new(MAILBOX_SOFT_BYTES_MAX),
            soft_secs: AtomicU64::new(MAILBOX_SOFT_SECS_MAX),
        }
    }
}

/// One client's messages.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    /// What waits, in bytes; read without the lock.
    waiting: AtomicU64,
    messages: Mutex<Messages>,
}

#[derive(Debug, Default)]
struct Messages {
    queue: VecDeque<Bytes>,
    /// When more than the soft limit began to wait, in seconds of the front end's clock.
    soft_since_secs: Option<u64>,
}

impl Mailbox {
    /// Bytes that wait.
    #[inline]
    pub(crate) fn waiting_bytes(&self) -> u64 {
        self.waiting.load(Relaxed)
    }

    /// Adds a message. Returns false where the client must be dropped for it.
    pub(crate) fn post(&self, message: Bytes, limit: &MailboxLimit, now_secs: u64) -> bool {
        let mut messages = self.messages.lock();
        let waiting = self.waiting_bytes() + message.len() as u64 + MESSAGE_BYTES;
        let (hard, soft) = (limit.hard_bytes.load(Relaxed), limit.soft_bytes.load(Relaxed));
        if hard > 0 && waiting > hard {
            return false;
        }
        if soft > 0 && waiting > soft {
            let since = *messages.soft_since_secs.get_or_insert(now_secs);
            if now_secs.saturating_sub(since) > limit.soft_secs.load(Relaxed) {
                return false;
            }
        } else {
            messages.soft_since_secs = None;
        }
        messages.queue.push_back(message);
        self.waiting.store(waiting, Relaxed);
        true
    }

    /// Moves messages to `out`, in order, until that is [`MAIL_BYTES_MAX`] long or none is left.
    pub(crate) fn take(&self, out: &mut BytesMut) {
        let mut messages = self.messages.lock();
        let mut waiting = self.waiting_bytes();
        while out.len() < MAIL_BYTES_MAX {
            let Some(message) = messages.queue.pop_front() else {
                break;
            };
            waiting -= message.len() as u64 + MESSAGE_BYTES;
            out.extend_from_slice(&message);
        }
        self.waiting.store(waiting, Relaxed);
    }

    /// Moves all messages to `out`, in order. Cost: as many bytes as wait.
    pub(crate) fn take_all(&self, out: &mut BytesMut) {
        let mut messages = self.messages.lock();
        messages.queue.drain(..).for_each(|message| out.extend_from_slice(&message));
        self.waiting.store(0, Relaxed);
    }

    /// Drops all messages.
    pub(crate) fn clear(&self) {
        let mut messages = self.messages.lock();
        messages.queue = VecDeque::new();
        self.waiting.store(0, Relaxed);
    }

    /// How many messages wait.
    pub(crate) fn len(&self) -> usize {
        self.messages.lock().queue.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(len: usize) -> Bytes {
        vec![b'x'; len].into()
    }

    #[test]
    fn messages_leave_in_order_and_in_pieces() {
        let (mailbox, limit) = (Mailbox::default(), MailboxLimit::default());
        assert!(mailbox.post("a".into(), &limit, 0) && mailbox.post("b".into(), &limit, 0));
        let mut out = BytesMut::new();
        mailbox.take(&mut out);
        assert_eq!((&out[..], mailbox.waiting_bytes(), mailbox.len()), (&b"ab"[..], 0, 0));
        assert!((0..3).all(|_| mailbox.post(message(MAIL_BYTES_MAX), &limit, 0)));
        out.clear();
        mailbox.take(&mut out);
        assert_eq!((out.len(), mailbox.len()), (MAIL_BYTES_MAX, 2));
        mailbox.take_all(&mut out);
        let left = (mailbox.len(), mailbox.waiting_bytes());
        assert_eq!((out.len(), left), (3 * MAIL_BYTES_MAX, (0, 0)));
        assert!((0..3).all(|_| mailbox.post(message(MAIL_BYTES_MAX), &limit, 0)));
        mailbox.clear();
        assert_eq!((mailbox.len(), mailbox.waiting_bytes()), (0, 0));
    }

    #[test]
    fn a_client_that_does_not_read_is_dropped_at_once_or_after_a_while() {
        let (mailbox, limit) = (Mailbox::default(), MailboxLimit::default());
        limit.soft_bytes.store(100, Relaxed);
        limit.hard_bytes.store(1000, Relaxed);
        limit.soft_secs.store(5, Relaxed);
        assert!(!mailbox.post(message(1000), &limit, 0));
        assert!(mailbox.post(message(100), &limit, 7));
        assert!(mailbox.post(message(1), &limit, 12));
        assert!(!mailbox.post(message(1), &limit, 13));
        mailbox.take(&mut BytesMut::new());
        assert!(mailbox.post(message(1), &limit, 14));
        assert!(mailbox.post(message(100), &limit, 20));
        limit.hard_bytes.store(0, Relaxed);
        limit.soft_bytes.store(0, Relaxed);
        assert!(mailbox.post(message(5000), &limit, 1000));
    }
}
