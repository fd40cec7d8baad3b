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
