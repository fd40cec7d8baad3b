//! Which commands of one turn must not wait in the queues together. Pure.
//!
//! The queues of a turn go to their groups at once, and what a group answers with "not alone" is
//! run after all queues. Both could change the order of two commands of one key. A [`Ledger`]
//! remembers, for the keys with queued commands, what was queued; a command that would overtake
//! or be overtaken is refused, and the turn is flushed before it.
//!
//! Keys are remembered by a few bits of a hash: a collision costs a flush, never the order.

use bitroster_types::Key;

use crate::route::Class;

/// A set of keys that may say yes for a key it does not hold.
#[derive(Clone, Copy, Debug, Default)]
struct Filter([u64; 4]);

impl Filter {
    fn insert(&mut self, mark: usize) {
        self.0[mark >> 6] |= 1 << (mark & 63);
    }

    fn holds(&self, mark: usize) -> bool {
        self.0[mark >> 6] & (1 << (mark & 63)) != 0
    }
}

/// What waits in a turn's queues, by key.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ledger {
    /// Bits of later segments: they wait in another queue than the key's other commands.
    later: Filter,
    /// Whole-key commands that bits of the first segment may overtake.
    alone: Filter,
    /// Whole-key commands that are run again after the queues if the key is spread.
    whole: Filter,
    /// Those that may be run again in any case.
    growing: Filter,
    /// Whether any of `alone`, `whole` and `growing` holds a key.
    some_keys: bool,
    /// Whether `later` holds a key.
    some_later: bool,
}

impl Ledger {
    /// Whether a command of this class may be queued, or answered before the queues are sent.
    ///
    /// A command refused here would see or change the key out of order:
    ///
    /// - bits of a later segment travel beside home's queue, so no whole-key command may wait;
    /// - a whole-key command travels beside them, so none of those may wait;
    /// - after a command that may be run again, only commands that would be run again with it.
    pub(crate) fn admits(&self, key: &Key, class: Class) -> bool {
        let bits = matches!(class, Class::FirstBits | Class::LaterBits);
        if class != Class::Many && !self.some_keys && (bits || !self.some_later) {
            return true;
        }
        let mark = mark(key);
        let rerun = self.whole.holds(mark);
        let grown = self.growing.holds(mark);
        match class {
            Class::FirstBits => !rerun && !grown,
            Class::LaterBits => !rerun && !grown && !self.alone.holds(mark),
            Class::Alone => !rerun && !grown && !self.later.holds(mark),
            Class::Whole | Class::Growing => !grown && !self.later.holds(mark),
            Class::Many => false,
        }
    }

    /// Notes that a command of this class was queued.
    pub(crate) fn note(&mut self, key: &Key, class: Class) {
        let filter = match class {
            Class::FirstBits | Class::Many => return,
            Class::LaterBits => {
                self.some_later = true;
                self.later.insert(mark(key));
                return;
            }
            Class::Alone => &mut self.alone,
            Class::Whole => &mut self.whole,
            Class::Growing => &mut self.growing,
        };
        filter.insert(mark(key));
        self.some_keys = true;
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        if self.some_keys || self.some_later {
            *self = Self::default();
        }
    }
}

/// Eight bits of a hash of the key's name.
fn mark(key: &Key) -> usize {
    const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut hash = key.len() as u64;
    let mut chunks = key.chunks_exact(8);
    for chunk in &mut chunks {
        let word = u64::from_le_bytes(chunk.try_into().expect("chunks of eight bytes"));
        hash = (hash.rotate_left(5) ^ word).wrapping_mul(MULTIPLIER);
    }
    for byte in chunks.remainder() {
        hash = (hash.rotate_left(5) ^ u64::from(*byte)).wrapping_mul(MULTIPLIER);
    }
    (hash >> 56) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key::new(name.as_bytes()).unwrap()
    }

    #[test]
    fn a_whole_key_command_waits_for_bits_in_another_queue() {
        let mut ledger = Ledger::default();
        ledger.note(&key("k"), Class::LaterBits);
        assert!(ledger.admits(&key("k"), Class::FirstBits));
        assert!(ledger.admits(&key("k"), Class::LaterBits));
        assert!(!ledger.admits(&key("k"), Class::Alone));
        assert!(!ledger.admits(&key("k"), Class::Whole));
        assert!(ledger.admits(&key("other"), Class::Whole));
    }

    #[test]
    fn nothing_overtakes_a_command_that_may_be_run_again() {
        let mut ledger = Ledger::default();
        ledger.note(&key("k"), Class::Whole);
        assert!(ledger.admits(&key("k"), Class::Whole));
        assert!(ledger.admits(&key("k"), Class::Growing));
        assert!(!ledger.admits(&key("k"), Class::FirstBits));
        assert!(!ledger.admits(&key("k"), Class::LaterBits));
        assert!(!ledger.admits(&key("k"), Class::Alone));
        ledger.clear();
        assert!(ledger.admits(&key("k"), Class::Alone));
    }

    #[test]
    fn bits_follow_an_expiry_in_homes_queue_only() {
        let mut ledger = Ledger::default();
        ledger.note(&key("k"), Class::Alone);
        assert!(ledger.admits(&key("k"), Class::FirstBits));
        assert!(!ledger.admits(&key("k"), Class::LaterBits));
        assert!(ledger.admits(&key("k"), Class::Alone));
    }
}
