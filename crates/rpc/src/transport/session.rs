//! A router's session in one group, and the numbers of its batches.

use std::collections::BTreeSet;

use bitroster_types::SessionId;
use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, MutexGuard};

/// A batch's number in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Number {
    pub(super) session: SessionId,
    pub(super) number: u64,
}

/// The session of one group, opened when it is first needed.
#[derive(Debug, Default)]
pub(super) struct Session {
    numbers: Mutex<Numbers>,
    /// Held by whoever opens a session: one does, the others wait.
    opening: AsyncMutex<()>,
}

#[derive(Debug, Default)]
struct Numbers {
    session: Option<SessionId>,
    last: u64,
    /// Numbers whose batches may be sent again.
    open: BTreeSet<u64>,
}

impl Session {
    /// The next number; `None` without a session.
    pub(super) fn draw(&self) -> Option<Number> {
        let mut numbers = self.numbers.lock();
        let session = numbers.session?;
        numbers.last += 1;
        let number = numbers.last;
        numbers.open.insert(number);
        Some(Number { session, number })
    }

    /// The number up to which no batch will be sent again; less than `number`, which is not
    /// settled.
    pub(super) fn answered(&self, number: Number) -> u64 {
        let numbers = self.numbers.lock();
        let first = numbers.open.first().copied();
        match first {
            Some(first) if numbers.session == Some(number.session) => first - 1,
            // Of a session that was replaced: nothing is said.
            _ => 0,
        }
    }

    /// The batch of this number will not be sent again.
    pub(super) fn settle(&self, number: Number) {
        let mut numbers = self.numbers.lock();
        if numbers.session == Some(number.session) {
            numbers.open.remove(&number.number);
        }
    }

    /// The group does not know the session any more.
    pub(super) fn lose(&self, session: SessionId) {
        let mut numbers = self.numbers.lock();
        if numbers.session == Some(session) {
            *numbers = Numbers::default();
        }
    }

    /// A session was opened.
    pub(super) fn opened(&self, session: SessionId) {
        *self.numbers.lock() = Numbers { session: Some(session), ..Numbers::default() };
    }

    /// Waits for the right to open a session. Look again whether there is one, then.
    pub(super) async fn opening(&self) -> MutexGuard<'_, ()> {
        self.opening.lock().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_answered_up_to_the_first_that_is_open() {
        let session = Session::default();
        assert_eq!(session.draw(), None);
        session.opened(SessionId(5));
        let [one, two, three] = [(); 3].map(|()| session.draw().unwrap());
        assert_eq!((one.number, three.number), (1, 3));
        assert_eq!(session.answered(three), 0);
        session.settle(two);
        assert_eq!(session.answered(three), 0);
        session.settle(one);
        assert_eq!(session.answered(three), 2);
    }

    #[test]
    fn a_lost_session_is_lost_once() {
        let session = Session::default();
        session.opened(SessionId(5));
        let old = session.draw().unwrap();
        session.lose(SessionId(5));
        assert_eq!(session.draw(), None);
        session.opened(SessionId(6));
        session.lose(SessionId(5));
        let new = session.draw().unwrap();
        session.settle(old);
        assert_eq!((session.answered(old), session.answered(new)), (0, 0));
        assert_eq!(new, Number { session: SessionId(6), number: 1 });
    }
}
