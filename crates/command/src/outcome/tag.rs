//! The numbers of outcomes, replies and errors. They never change: snapshots outlive builds.

macro_rules! tags {
    ($($name:ident = $number:literal,)*) => {
        $(pub(super) const $name: u8 = $number;)*
    };
}

/// Integers below this are tags themselves.
pub(super) const SMALL_END: u8 = 0x40;

// Replies.
tags! {
    OK = 0x40,
    INTEGER = 0x41,
    BULK = 0x42,
    TEXT = 0x43,
    NIL = 0x44,
    NIL_ARRAY = 0x45,
    ARRAY = 0x46,
    SET = 0x47,
    MAP = 0x48,
    DOUBLE = 0x49,
    STATUS = 0x4a,
}

// Errors, which are replies.
tags! {
    SYNTAX = 0x60,
    NOT_AN_INTEGER = 0x61,
    MESSAGE = 0x62,
    OUT_OF_MEMORY = 0x63,
    NO_LEADER = 0x64,
    OUTCOME_UNKNOWN = 0x65,
    LOADING = 0x66,
    BUSY = 0x67,
}

/// The last number of a reply.
pub(super) const REPLIES_END: u8 = 0x7f;

// Outcomes that are no replies. 0x80 was used before the first release.
tags! {
    SPREAD = 0x81,
    NO_HEADER = 0x82,
    HEADER = 0x83,
    ASK_HOME = 0x84,
    GRANTED = 0x85,
    RESERVED = 0x86,
    REPLIES = 0x87,
    SESSION = 0x88,
    NUMBERED_APPLIED = 0x89,
    NUMBERED_FORGOTTEN = 0x8a,
    NUMBERED_NO_SESSION = 0x8b,
    NEWER = 0x8c,
    NOT_OWNER = 0x8d,
    TICK = 0x8e,
}

/// Statuses that a reply may be; others come back as text.
pub(super) const STATUSES: [&str; 6] = ["string", "none", "OK", "PONG", "QUEUED", "RESET"];

/// Reasons of a `BUSY`; the first stands for those that are not known.
pub(super) const BUSY_REASONS: [&str; 4] = [
    "the request was refused; nothing was applied",
    "too many sessions are open; nothing was applied",
    "too many batches of a session are unanswered; nothing was applied",
    "the key kept changing; nothing was applied",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CommandError;

    #[test]
    fn the_reasons_of_our_own_refusals_are_known() {
        for error in [CommandError::SESSIONS, CommandError::SESSION_WINDOW] {
            let CommandError::Busy(reason) = error else { panic!("{error:?} is not BUSY") };
            assert!(BUSY_REASONS.contains(&reason), "{reason}");
        }
    }
}
