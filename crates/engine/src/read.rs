//! Reads: they borrow the state and change nothing.

mod command;
mod formula;
mod part;
mod scan;
mod space;

pub(crate) use command::too_long;

use bitroster_command::{Header, Outcome, ReadOp, Reply};
use bitroster_types::{Key, LogIndex, Segment, UnixMillis, limits::WORK_BYTES_MIN};

use crate::{
    Work,
    engine::EngineConfig,
    entry::View,
    side::Side,
    space::Spaces,
    spot::Spot,
    store::Store,
    work::{Job, Share},
};

/// What a read came to.
#[derive(Debug)]
pub enum ReadStep {
    /// The answer.
    Done(Outcome),
    /// The answer takes long to compute; do so elsewhere.
    Work(Work),
}

/// A read under way: the answer, or what will compute it.
pub(crate) enum Step {
    Done(Outcome),
    Job(Box<Job>),
}

impl From<Job> for Step {
    fn from(job: Job) -> Self {
        Self::Job(Box::new(job))
    }
}

impl From<Reply> for Step {
    fn from(reply: Reply) -> Self {
        Self::Done(reply.into())
    }
}

impl Step {
    pub(crate) fn into_outcome(self) -> Outcome {
        match self {
            Self::Done(outcome) => outcome,
            Self::Job(job) => Work { job, stamp: 0 }.run().into_outcome(),
        }
    }

    pub(crate) fn into_read_step(self) -> ReadStep {
        match self {
            Self::Job(job) if job.cost_bytes() >= WORK_BYTES_MIN => {
                ReadStep::Work(Work { job, stamp: 0 })
            }
            step @ (Self::Done(_) | Self::Job(_)) => ReadStep::Done(step.into_outcome()),
        }
    }
}

/// A step, or why there is none: not the owner, spread, newer, past the log's time, or within an
/// entry.
pub(crate) type Stepped = Result<Step, Outcome>;

/// The state as seen by one read.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    pub(crate) config: &'a EngineConfig,
    pub(crate) store: &'a Store,
    pub(crate) side: &'a Side,
    pub(crate) spaces: &'a Spaces,
    /// The log's time.
    pub(crate) time: UnixMillis,
    /// The entry of which only some ops are applied.
    pub(crate) under_way: Option<LogIndex>,
    /// The reader's clock; never before the log's time.
    pub(crate) now: UnixMillis,
}

impl<'a> Reader<'a> {
    pub(crate) fn step(self, op: &ReadOp) -> Stepped {
        match op {
            ReadOp::Command(command) => self.command(command),
            ReadOp::Header { key } => {
                let spot = self.home(key)?;
                let view = self.live(spot, key)?;
                self.check_mark(view)?;
                Ok(Step::Done(Outcome::Header(view.map(|view| view.header()))))
            }
            ReadOp::Part { key, version, query } => self.part(key, *version, *query),
            ReadOp::CombineCount { logic, sources, range, len_bytes } => {
                let combination = self.joint(*logic, sources, *range, *len_bytes)?;
                Ok(Job::Count(combination).into())
            }
            ReadOp::CombineValue { logic, sources, range, len_bytes, bytes_max } => {
                let combination = self.joint(*logic, sources, *range, *len_bytes)?;
                Ok(match bytes_max {
                    None => Job::EncodeCombined(combination).into(),
                    Some(bytes_max) => Job::EncodeShort(combination, *bytes_max).into(),
                })
            }
            ReadOp::Evaluate { formulas, sources, range, want } => {
                self.evaluate(formulas, sources, *range, *want)
            }
            ReadOp::Holding { pattern, offset, limit } => self.holding(pattern, *offset, *limit),
            ReadOp::Prefixes { prefix, separator, cursor } => {
                Ok(self.prefixes(prefix, *separator, *cursor))
            }
            ReadOp::Fingerprint { key } => {
                let view = self.live(Spot::of(key), key)?;
                self.check_mark(view)?;
                let modified = view.map_or(LogIndex(0), |view| view.modified);
                Ok(Reply::Integer(modified.0.cast_signed()).into())
            }
        }
    }

    /// Refuses to tell when an entry was changed while the rest of the log entry that changed it
    /// may do so again and leave the same mark.
    fn check_mark(self, view: Option<View<'_>>) -> Result<(), Outcome> {
        let is_under_way = view.is_some_and(|view| self.under_way == Some(view.modified));
        if is_under_way { Err(Outcome::Tick) } else { Ok(()) }
    }

    /// The key's spot, if this group is its home.
    pub(crate) fn home(self, key: &[u8]) -> Result<Spot, Outcome> {
        let spot = Spot::of(key);
        let is_home = self.store.owned.acts_as_home(spot.slot, Segment(0));
        if is_home { Ok(spot) } else { Err(Outcome::NotOwner) }
    }

    /// The entry, unless it is past its expiry by the log.
    ///
    /// # Errors
    ///
    /// [`Outcome::Tick`] where it is so by the reader's clock alone.
    pub(crate) fn live(self, spot: Spot, key: &[u8]) -> Result<Option<View<'a>>, Outcome> {
        match self.store.find(spot, key) {
            Some(view) if view.is_expired(self.time) => Ok(None),
            Some(view) if view.is_expired(self.now) => Err(Outcome::Tick),
            found => Ok(found),
        }
    }

    /// The record of a key that lies in this group alone.
    pub(crate) fn whole(self, key: &[u8]) -> Result<Option<View<'a>>, Outcome> {
        let spot = self.home(key)?;
        match self.live(spot, key)? {
            Some(view) if !view.spread.is_empty() => Err(Outcome::Spread(view.header())),
            found => Ok(found),
        }
    }

    /// The header of a record, also of an absent one.
    pub(crate) fn header(self, spot: Spot, key: &[u8]) -> Box<Header> {
        let live = self.store.find(spot, key).filter(|view| !view.is_expired(self.time));
        live.map_or_else(
            || {
                Box::new(Header {
                    version: None,
                    expiry: None,
                    spread: Vec::new(),
                    len_bytes: 0,
                    modified: LogIndex(0),
                })
            },
            |view| view.header(),
        )
    }

    /// What this group owns of a key.
    pub(crate) fn share(self, key: &Key) -> Share {
        if self.store.owned.has_all() {
            return Share::All;
        }
        Share::Owned {
            owned: self.store.owned.clone(),
            is_home: self.store.owned.is_home(key),
            width: self.config.width,
        }
    }
}
