//! Who gave up first: the caller or its batch.
//!
//! A caller whose deadline passes must know whether its ops may ever be applied. The mark that it
//! shares with the flight that carries them decides: the flight marks it before each send, the
//! caller when it leaves, and whoever comes second sees it.

use std::sync::atomic::{AtomicU8, Ordering::AcqRel, Ordering::Acquire};

/// How a caller's ops stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Standing {
    /// Never sent.
    Waiting = 0,
    /// Sent, and each time refused for want of a leader; nothing was applied.
    NoLeader = 1,
    /// Sent, and refused by a leader that had too much to do; nothing was applied.
    Busy = 2,
    /// Sent, and maybe applied.
    Sent = 3,
    /// The caller has left; they are not to be sent.
    Left = 4,
}

impl Standing {
    const fn of(number: u8) -> Self {
        match number {
            0 => Self::Waiting,
            1 => Self::NoLeader,
            2 => Self::Busy,
            3 => Self::Sent,
            _ => Self::Left,
        }
    }
}

/// How a caller's ops stand, as caller and flight see it.
#[derive(Debug, Default)]
pub(super) struct Mark(AtomicU8);

impl Mark {
    /// The flight is about to send. `false`: the caller has left, and its ops must not be sent.
    pub(super) fn send(&self) -> bool {
        self.change(Standing::Sent, Standing::Left)
    }

    /// The flight's send was refused and nothing of it will be applied.
    pub(super) fn refuse(&self, standing: Standing) {
        // A caller that has left stays away.
        self.change(standing, Standing::Left);
    }

    /// The caller leaves. Says how its ops stood: they will never be applied, unless sent.
    pub(super) fn leave(&self) -> Standing {
        let before = self.standing();
        if self.change(Standing::Left, Standing::Sent) { before } else { Standing::Sent }
    }

    fn standing(&self) -> Standing {
        Standing::of(self.0.load(Acquire))
    }

    /// Changes to `to` unless it is `unless`. Says whether.
    fn change(&self, to: Standing, unless: Standing) -> bool {
        let change = |now| (now != unless as u8).then_some(to as u8);
        self.0.fetch_update(AcqRel, Acquire, change).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ops_of_a_caller_that_left_are_not_sent() {
        let mark = Mark::default();
        assert_eq!(mark.leave(), Standing::Waiting);
        assert!(!mark.send());
    }

    #[test]
    fn a_caller_whose_ops_were_sent_does_not_know() {
        let mark = Mark::default();
        assert!(mark.send());
        assert_eq!(mark.leave(), Standing::Sent);
    }

    #[test]
    fn a_refused_send_lets_the_caller_know() {
        let mark = Mark::default();
        assert!(mark.send());
        mark.refuse(Standing::NoLeader);
        assert_eq!(mark.leave(), Standing::NoLeader);
        mark.refuse(Standing::Busy);
        assert!(!mark.send());
    }
}
