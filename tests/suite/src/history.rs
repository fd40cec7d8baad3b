//! What clients asked of bits, when, and what they were told.

use std::{collections::BTreeMap, fmt};

/// A bit of a bitmap, by numbers: the load decides how the key is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bit {
    /// The key's number.
    pub key: u32,
    /// The bit's offset.
    pub offset: u64,
}

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SETBIT to this value; its answer is the old bit.
    Set(bool),
    /// GETBIT.
    Get,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With this bit: the old one of a Set, the present one of a Get.
    Answered(bool),
    /// Nobody knows: it may take effect at any time after it was sent, or never.
    Unknown,
    /// With an error that says that nothing was applied.
    Refused,
}

/// One request on one bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Who asked. For reports only: order is told by times alone.
    pub client: u32,
    /// What was asked about.
    pub bit: Bit,
    /// What was asked.
    pub kind: Kind,
    /// When it was sent, in nanoseconds since the history began.
    pub invoked: u64,
    /// When its end was known. Not before `invoked`; without meaning where the outcome is unknown.
    pub completed: u64,
    /// How it ended.
    pub outcome: Outcome,
}

/// Requests of all clients, in no particular order.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// All of them.
    pub operations: Vec<Operation>,
}

/// How many operations ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Sets that were answered.
    pub sets: usize,
    /// Gets that were answered.
    pub gets: usize,
    /// Those whose outcome is unknown.
    pub unknown: usize,
    /// Those that were refused.
    pub refused: usize,
}

impl History {
    /// Adds what another client saw.
    pub fn merge(&mut self, other: Self) {
        self.operations.extend(other.operations);
    }

    /// Each bit's operations. Copies them all.
    pub fn by_bit(&self) -> BTreeMap<Bit, Vec<Operation>> {
        let mut bits: BTreeMap<Bit, Vec<Operation>> = BTreeMap::new();
        for operation in &self.operations {
            bits.entry(operation.bit).or_default().push(*operation);
        }
        bits
    }

    /// Counts them by their end.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for operation in &self.operations {
            let count = match (operation.outcome, operation.kind) {
                (Outcome::Answered(_), Kind::Set(_)) => &mut tally.sets,
                (Outcome::Answered(_), Kind::Get) => &mut tally.gets,
                (Outcome::Unknown, _) => &mut tally.unknown,
                (Outcome::Refused, _) => &mut tally.refused,
            };
            *count += 1;
        }
        tally
    }

    /// The longest time, of all bits, in which nobody could write a bit: between the ends of two
    /// answered Sets of one bit that follow each other, the earlier of which ended after `from`
    /// less one gap, the later one within `[from, until]`. Nanoseconds.
    pub fn write_gap(&self, from: u64, until: u64) -> u64 {
        let mut ends: BTreeMap<Bit, Vec<u64>> = BTreeMap::new();
        for operation in &self.operations {
            let answered = matches!(operation.outcome, Outcome::Answered(_));
            if answered && matches!(operation.kind, Kind::Set(_)) {
                ends.entry(operation.bit).or_default().push(operation.completed);
            }
        }
        let gap = |ends: &mut Vec<u64>| {
            ends.sort_unstable();
            let pairs = ends.windows(2);
            let within = pairs.filter(|pair| pair[1] >= from && pair[1] <= until);
            within.map(|pair| pair[1] - pair[0].max(from)).max().unwrap_or(0)
        };
        ends.values_mut().map(gap).max().unwrap_or(0)
    }
}

impl fmt::Display for Bit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bit {} of key {}", self.offset, self.key)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = |nanos: u64| nanos / 1000;
        write!(f, "{:>12} us .. ", micros(self.invoked))?;
        match self.outcome {
            Outcome::Unknown => write!(f, "{:>12}   ", "?")?,
            Outcome::Answered(_) | Outcome::Refused => {
                write!(f, "{:>12} us", micros(self.completed))?;
            }
        }
        write!(f, "  client {:>3}  ", self.client)?;
        match self.kind {
            Kind::Set(value) => write!(f, "SETBIT {}", u8::from(value))?,
            Kind::Get => write!(f, "GETBIT  ")?,
        }
        match self.outcome {
            Outcome::Answered(bit) => write!(f, "  answered {}", u8::from(bit)),
            Outcome::Unknown => write!(f, "  outcome unknown"),
            Outcome::Refused => write!(f, "  refused"),
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sets, gets, unknown, refused } = self;
        write!(f, "{sets} writes and {gets} reads answered, {unknown} unknown, {refused} refused")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_write_gap_is_the_longest_of_any_bit_after_the_fault() {
        let set = |offset, completed| Operation {
            client: 0,
            bit: Bit { key: 0, offset },
            kind: Kind::Set(true),
            invoked: completed - 1,
            completed,
            outcome: Outcome::Answered(false),
        };
        let operations = vec![set(1, 5), set(1, 90), set(1, 110), set(2, 95), set(2, 160)];
        let history = History { operations };
        assert_eq!(history.write_gap(100, 200), 60);
        assert_eq!(history.write_gap(100, 120), 10);
        assert_eq!(history.write_gap(300, 400), 0);
    }
}
