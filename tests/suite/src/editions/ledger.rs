//! What was written and seen, and whether that fits.
//!
//! The rules, for one key and its one writer: a look may see what was last acknowledged before it
//! began, or anything that was sent after that and before the look ended; what was sent and not
//! answered may come at any time, or never; what was refused never comes. Nobody sees less than
//! somebody has seen before, with one exception: a single block is read where it lies, and may be
//! late while the write that others have seen has not been acknowledged. Once nobody writes, and
//! the groups have finished what was begun, there is no exception.

use std::{collections::BTreeMap, fmt};

use super::value;

/// Contradictions that are told in full, of each kind.
const TOLD: usize = 2;

/// Writes shown around a contradiction.
const AROUND: usize = 12;

/// What a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not there.
    Absent,
    /// One whole edition.
    Of {
        /// Its number.
        edition: u64,
        /// Whether the key has an expiry, far away.
        expires: bool,
    },
}

/// How a write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Acknowledged at that time.
    Done(u64),
    /// Sent and not answered.
    Unknown,
    /// Answered that nothing was applied.
    Refused,
}

/// A write to one key.
#[derive(Clone, Copy, Debug)]
struct Write {
    by: &'static str,
    state: State,
    invoked: u64,
    outcome: Outcome,
}

/// What somebody saw of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The whole value, of this edition; `None` where the key is not there.
    Whole(Option<u64>),
    /// Bytes that are of no edition.
    Torn(String),
    /// The edition of some blocks, in one range; `None` past the end.
    Blocks(Vec<(u64, Option<u64>)>),
    /// The edition of one block, read where it lies, without a look at the whole key.
    Block(u64, Option<u64>),
    /// Set bits.
    Count(u64),
    /// Bytes.
    Len(u64),
    /// Whether it has an expiry; `None` where the key is not there.
    Expires(Option<bool>),
}

/// What a look may be compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// Writers are at work.
    Busy,
    /// Nobody writes, and the groups have finished all that was begun.
    Quiet,
}

#[derive(Clone, Debug)]
struct Look {
    invoked: u64,
    completed: u64,
    moment: Moment,
    seen: Seen,
}

/// A key's writes, in its writer's order, and looks at it.
#[derive(Clone, Debug)]
struct Page {
    name: String,
    writes: Vec<Write>,
    looks: Vec<Look>,
}

/// All keys.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    pages: Vec<Page>,
    complaints: Vec<String>,
}

/// A look that has been judged.
struct Ended {
    completed: u64,
    /// The least write that it must have seen.
    write: usize,
    /// The one block that it was about.
    block: Option<u64>,
}

/// How much was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Keys.
    pub keys: usize,
    /// Writes that were acknowledged.
    pub done: usize,
    /// Writes that were sent and not answered.
    pub unknown: usize,
    /// Writes that were refused.
    pub refused: usize,
    /// Looks.
    pub looks: usize,
}

impl State {
    fn edition(self) -> Option<u64> {
        match self {
            Self::Absent => None,
            Self::Of { edition, .. } => Some(edition),
        }
    }

    fn block(self, at: u64) -> Option<u64> {
        self.edition().filter(|edition| at < value::blocks(*edition))
    }

    fn fits(self, seen: &Seen) -> bool {
        match seen {
            Seen::Whole(edition) => self.edition() == *edition,
            Seen::Torn(_) => false,
            Seen::Blocks(blocks) => blocks.iter().all(|(at, edition)| self.block(*at) == *edition),
            Seen::Block(at, edition) => self.block(*at) == *edition,
            Seen::Count(bits) => self.edition().map_or(0, value::count) == *bits,
            Seen::Len(bytes) => self.edition().map_or(0, value::len) == *bytes,
            Seen::Expires(seen) => match self {
                Self::Absent => seen.is_none(),
                Self::Of { expires, .. } => *seen == Some(expires),
            },
        }
    }
}

impl Seen {
    /// The block, if it is one only.
    fn single_block(&self) -> Option<u64> {
        match self {
            Self::Block(at, _) => Some(*at),
            Self::Blocks(_)
            | Self::Whole(_)
            | Self::Torn(_)
            | Self::Count(_)
            | Self::Len(_)
            | Self::Expires(_) => None,
        }
    }
}

impl Ledger {
    /// A new key, not there; its number.
    pub fn add_key(&mut self, name: String) -> usize {
        let absent =
            Write { by: "begin", state: State::Absent, invoked: 0, outcome: Outcome::Done(0) };
        self.pages.push(Page { name, writes: vec![absent], looks: Vec::new() });
        self.pages.len() - 1
    }

    /// Names of all keys.
    pub fn names(&self) -> Vec<String> {
        self.pages.iter().map(|page| page.name.clone()).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.pages.len()
    }

    pub(super) fn name(&self, key: usize) -> &str {
        &self.pages[key].name
    }

    /// Notes that a write is about to be sent; its number.
    pub(super) fn send(
        &mut self,
        key: usize,
        by: &'static str,
        state: State,
        invoked: u64,
    ) -> usize {
        let writes = &mut self.pages[key].writes;
        writes.push(Write { by, state, invoked, outcome: Outcome::Unknown });
        writes.len() - 1
    }

    /// Notes how a write ended.
    pub(super) fn end(&mut self, key: usize, write: usize, outcome: Outcome) {
        self.pages[key].writes[write].outcome = outcome;
    }

    /// Notes what somebody saw, from one time to another.
    pub(super) fn look(&mut self, key: usize, times: (u64, u64), moment: Moment, seen: Seen) {
        let (invoked, completed) = times;
        self.pages[key].looks.push(Look { invoked, completed, moment, seen });
    }

    /// Notes an answer that no server may give.
    pub(super) fn complain(&mut self, complaint: String) {
        self.complaints.push(complaint);
    }

    /// How much was done.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally { keys: self.pages.len(), ..Tally::default() };
        for page in &self.pages {
            tally.looks += page.looks.len();
            // The first write of each is not one.
            for write in &page.writes[1..] {
                match write.outcome {
                    Outcome::Done(_) => tally.done += 1,
                    Outcome::Unknown => tally.unknown += 1,
                    Outcome::Refused => tally.refused += 1,
                }
            }
        }
        tally
    }

    /// Judges all that was seen; how many looks at single blocks were late.
    ///
    /// # Errors
    ///
    /// The first contradictions, with the writes around them.
    pub fn check(&self) -> Result<usize, String> {
        let (pages, late): (Vec<_>, Vec<_>) = self.pages.iter().map(Page::contradictions).unzip();
        // One of each key and command tells more than many of one.
        let mut told: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (by, report) in pages.iter().filter_map(|page| page.first()) {
            told.entry(by).or_default().push(report);
        }
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for (by, _) in pages.iter().flatten() {
            *counts.entry(by).or_default() += 1;
        }
        if counts.is_empty() && self.complaints.is_empty() {
            return Ok(late.iter().sum());
        }
        let reports = told.values().flat_map(|reports| reports.iter().take(TOLD)).copied();
        let complaints = self.complaints.iter().take(TOLD).map(String::as_str);
        let text: Vec<&str> = complaints.chain(reports).collect();
        Err(format!(
            "{}\n{} answers that nobody may give; contradictions by the write before: {counts:?}",
            text.join("\n"),
            self.complaints.len()
        ))
    }
}

impl Page {
    /// Looks that do not fit, each with the newest write that it may have seen; and how many were
    /// late.
    fn contradictions(&self) -> (Vec<(&'static str, String)>, usize) {
        let mut looks: Vec<&Look> = self.looks.iter().collect();
        looks.sort_by_key(|look| look.invoked);
        let mut ended: Vec<Ended> = Vec::new();
        let (mut found, mut late) = (Vec::new(), 0);
        for look in looks {
            let block = look.seen.single_block();
            let floor = |heeds: &dyn Fn(&Ended) -> bool| {
                let earlier = ended.iter().filter(|it| it.completed < look.invoked && heeds(it));
                earlier.map(|it| it.write).max().unwrap_or(0)
            };
            let any = floor(&|_| true);
            let own = floor(&|it| block.is_none() || it.block == block);
            let is_busy = look.moment == Moment::Busy;
            let allowed = self.allowed(look, if is_busy { own } else { any });
            let fits = |write: &&usize| self.writes[**write].state.fits(&look.seen);
            if let Some(least) = allowed.iter().find(fits).copied() {
                late += usize::from(
                    least < any && matches!(self.writes[least].outcome, Outcome::Done(_)),
                );
                // Looks that ended later, and demand no more, say nothing new.
                ended.retain(|it| {
                    it.completed < look.completed || it.write > least || it.block != block
                });
                ended.push(Ended { completed: look.completed, write: least, block });
            } else {
                let by = allowed.last().map_or("", |write| self.writes[*write].by);
                found.push((by, self.report(look, &allowed)));
            }
        }
        (found, late)
    }

    /// The writes whose state a look may see, in order. `floor` is the least that was seen before.
    fn allowed(&self, look: &Look, floor: usize) -> Vec<usize> {
        let done = |write: &Write| matches!(write.outcome, Outcome::Done(at) if at <= look.invoked);
        let last = self.writes.iter().rposition(done).expect("the first write is done");
        let may = |at: &usize| {
            let write = &self.writes[*at];
            let is_sent = write.invoked <= look.completed;
            match write.outcome {
                Outcome::Refused => false,
                Outcome::Unknown => is_sent,
                Outcome::Done(_) => is_sent && *at >= last.max(floor),
            }
        };
        (0..self.writes.len()).filter(may).collect()
    }

    fn report(&self, look: &Look, allowed: &[usize]) -> String {
        let first = allowed.first().copied().unwrap_or(0).saturating_sub(AROUND / 2);
        let lines = self.writes.iter().enumerate().skip(first).take(AROUND).map(|(at, write)| {
            let mark = if allowed.contains(&at) { "may be seen" } else { "" };
            format!("    {at}: {write} {mark}")
        });
        let Look { invoked, completed, seen, .. } = look;
        let lines: Vec<String> = lines.collect();
        format!(
            "{} was seen as {seen:?} from {} to {}; its writes:\n{}",
            self.name,
            Millis(*invoked),
            Millis(*completed),
            lines.join("\n")
        )
    }
}

/// Nanoseconds, shown in milliseconds.
struct Millis(u64);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1_000_000, self.0 / 1_000 % 1_000)
    }
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { by, state, invoked, outcome } = self;
        write!(f, "{by} at {}: {state:?}, ", Millis(*invoked))?;
        match outcome {
            Outcome::Done(at) => write!(f, "done at {}", Millis(*at)),
            Outcome::Unknown => write!(f, "unknown"),
            Outcome::Refused => write!(f, "refused"),
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { keys, done, unknown, refused, looks } = self;
        write!(f, "{keys} keys, {done} writes done, {unknown} unknown, {refused} refused, ")?;
        write!(f, "{looks} looks")
    }
}
