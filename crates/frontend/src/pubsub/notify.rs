//! `notify-keyspace-events`: which events are told, and to which channels.
//!
//! Redis: `keyspaceEventsStringToFlags` and `notifyKeyspaceEvent` in `notify.c`.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// A set of classes, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Class(u32);

impl Class {
    /// `K`: to the channel `__keyspace@0__:key`.
    pub(crate) const KEYSPACE: Self = Self(1);
    /// `E`: to the channel `__keyevent@0__:event`.
    pub(crate) const KEYEVENT: Self = Self(1 << 1);
    /// `g`: of keys of any type.
    pub(crate) const GENERIC: Self = Self(1 << 2);
    /// `$`: of strings, bitmaps among them.
    pub(crate) const STRING: Self = Self(1 << 3);
    /// `m`: a read of a key that is not there.
    pub(crate) const MISS: Self = Self(1 << 10);
    /// All of `A`: everything but `m` and `n`.
    const ALL: Self = Self(0b11_1111_1100 | 1 << 12 | 1 << 13);

    /// The letters, in the order in which Redis shows them.
    const LETTERS: [(char, Self); 14] = [
        ('g', Self::GENERIC),
        ('$', Self::STRING),
        ('l', Self(1 << 4)),
        ('s', Self(1 << 5)),
        ('h', Self(1 << 6)),
        ('z', Self(1 << 7)),
        ('x', Self(1 << 8)),
        ('e', Self(1 << 9)),
        ('t', Self(1 << 12)),
        ('d', Self(1 << 13)),
        ('n', Self(1 << 11)),
        ('K', Self::KEYSPACE),
        ('E', Self::KEYEVENT),
        ('m', Self::MISS),
    ];

    fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Reads the setting's letters; `None` where one of them is none.
    pub(crate) fn parse(letters: &str) -> Option<Self> {
        letters.chars().try_fold(Self::default(), |sum, letter| {
            let class = if letter == 'A' {
                Self::ALL
            } else {
                Self::LETTERS.iter().find(|(known, _)| *known == letter)?.1
            };
            Some(Self(sum.0 | class.0))
        })
    }

    /// The setting's letters as Redis shows them.
    pub(crate) fn letters(self) -> String {
        let has_all = self.0 & Self::ALL.0 == Self::ALL.0;
        let shown = Self::LETTERS.into_iter().filter(|(letter, class)| {
            // Redis leaves `n` out too where it shows `A`.
            let is_in_all = has_all && (Self::ALL.has(*class) || *letter == 'n');
            self.has(*class) && !is_in_all
        });
        has_all.then_some('A').into_iter().chain(shown.map(|(letter, _)| letter)).collect()
    }
}

/// The classes that are told at present. Read for every turn.
#[derive(Debug, Default)]
pub(crate) struct Classes(AtomicU32);

impl Classes {
    pub(crate) fn get(&self) -> Class {
        Class(self.0.load(Relaxed))
    }

    pub(crate) fn set(&self, classes: Class) {
        self.0.store(classes.0, Relaxed);
    }

    /// Whether any event is told: there are classes, and a form to tell them in.
    #[inline]
    pub(crate) fn is_any(&self) -> bool {
        let classes = self.get();
        classes.has(Class(Class::KEYSPACE.0 | Class::KEYEVENT.0)) && classes.0 >> 2 != 0
    }
}

impl Class {
    /// Whether these classes, as the setting has them, tell of an event of `class`.
    pub(crate) fn tells(self, class: Self) -> bool {
        self.has(class)
    }

    /// The channels and messages by which these classes tell of an event.
    pub(crate) fn messages(self, event: &str, key: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut messages = Vec::with_capacity(2);
        if self.has(Self::KEYSPACE) {
            let channel = [b"__keyspace@0__:", key].concat();
            messages.push((channel, event.as_bytes().to_vec()));
        }
        if self.has(Self::KEYEVENT) {
            let channel = [b"__keyevent@0__:", event.as_bytes()].concat();
            messages.push((channel, key.to_vec()));
        }
        messages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_read_and_shown_as_redis_does() {
        let shown = |letters: &str| Class::parse(letters).map(Class::letters);
        for (letters, expected) in
            [("", ""), ("KEAmn", "AKEm"), ("AKExg", "AKE"), ("Elg$", "g$lE"), ("nmK", "nKm")]
        {
            assert_eq!(shown(letters).as_deref(), Some(expected), "{letters}");
        }
        assert_eq!(shown("g$lshzxetdKE"), Some("AKE".to_owned()));
        assert_eq!(shown("Q"), None);
    }

    #[test]
    fn nothing_is_told_without_a_class_and_a_form() {
        let classes = Classes::default();
        for (letters, is_any) in [("", false), ("K", false), ("g", false), ("Kg", true)] {
            classes.set(Class::parse(letters).unwrap());
            assert_eq!(classes.is_any(), is_any, "{letters}");
        }
    }
}
