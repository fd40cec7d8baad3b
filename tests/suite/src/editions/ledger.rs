//! What was written and seen, and whether that fits.
//!
//! The rules, for one key and its one writer: a look may see what was last acknowledged before it
//! began, or anything that was sent after that and before the look ended; what was sent and not
//! answered may come at any time, or never; what was refused never comes; and nobody sees less
//! than somebody has seen before, of the whole key or of any block.

use std::{collections::BTreeMap, fmt};

use super::{trades::Trades, value};

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
    /// The edition of some blocks, in one request; `None` past the end.
    Blocks(Vec<(u64, Option<u64>)>),
    /// Set bits.
    Count(u64),
    /// Bytes.
    Len(u64),
    /// Whether it has an expiry; `None` where the key is not there.
    Expires(Option<bool>),
}

#[derive(Clone, Debug)]
struct Look {
    invoked: u64,
    completed: u64,
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
    /// Keys that are still written to.
    present: Vec<usize>,
    pub(super) trades: Trades,
    complaints: Vec<String>,
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
    /// Values that traders put.
    pub trades: usize,
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
            Seen::Count(bits) => self.edition().map_or(0, value::count) == *bits,
            Seen::Len(bytes) => self.edition().map_or(0, value::len) == *bytes,
            Seen::Expires(seen) => match self {
                Self::Absent => seen.is_none(),
                Self::Of { expires, .. } => *seen == Some(expires),
            },
        }
    }
}

impl Ledger {
    /// A new key, not there; its number.
    pub fn add_key(&mut self, name: String) -> usize {
        let absent =
            Write { by: "begin", state: State::Absent, invoked: 0, outcome: Outcome::Done(0) };
        let key = self.pages.len();
        self.pages.push(Page { name, writes: vec![absent], looks: Vec::new() });
        self.present.push(key);
        key
    }

    /// Notes that nobody writes to a key any longer.
    pub(super) fn retire(&mut self, key: usize) {
        self.present.retain(|present| *present != key);
    }

    /// Keys that are still written to.
    pub(super) fn present(&self) -> &[usize] {
        &self.present
    }

    /// Names of all keys.
    pub fn names(&self) -> Vec<String> {
        self.pages.iter().map(|page| page.name.clone()).chain(Trades::names()).collect()
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

    /// Notes what somebody saw.
    pub(super) fn look(&mut self, key: usize, invoked: u64, completed: u64, seen: Seen) {
        self.pages[key].looks.push(Look { invoked, completed, seen });
    }

    /// Notes an answer that no server may give.
    pub(super) fn complain(&mut self, complaint: String) {
        self.complaints.push(complaint);
    }

    /// How much was done.
    pub fn tally(&self) -> Tally {
        let mut tally =
            Tally { keys: self.pages.len(), trades: self.trades.len(), ..Tally::default() };
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

    /// Judges all that was seen.
    ///
    /// # Errors
    ///
    /// The first contradictions, with the writes around them.
    pub fn check(&self) -> Result<(), String> {
        let pages: Vec<_> = self.pages.iter().map(Page::contradictions).collect();
        // One of each key and command tells more than many of one.
        let mut told: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (by, report) in pages.iter().filter_map(|page| page.first()) {
            told.entry(by).or_default().push(report);
        }
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for (by, _) in pages.iter().flatten() {
            *counts.entry(by).or_default() += 1;
        }
        let complaints = [&self.complaints[..], &self.trades.contradictions()].concat();
        if counts.is_empty() && complaints.is_empty() {
            return Ok(());
        }
        let reports = told.values().flat_map(|reports| reports.iter().take(TOLD)).copied();
        let few = complaints.iter().take(2 * TOLD).map(String::as_str);
        let text: Vec<&str> = few.chain(reports).collect();
        Err(format!(
            "{}\n{} answers that nobody may give; contradictions by the write before: {counts:?}",
            text.join("\n"),
            complaints.len()
        ))
    }
}

impl Page {
    /// Looks that do not fit, each with the newest write that it may have seen.
    fn contradictions(&self) -> Vec<(&'static str, String)> {
        let mut looks: Vec<&Look> = self.looks.iter().collect();
        looks.sort_by_key(|look| look.invoked);
        // The least write that looks which have ended must have seen; and ends and least writes
        // of those that may be under way.
        let (mut floor, mut under_way) = (0, Vec::<(u64, usize)>::new());
        let mut found = Vec::new();
        for look in looks {
            under_way.retain(|(completed, least)| {
                let has_ended = *completed < look.invoked;
                floor = if has_ended { floor.max(*least) } else { floor };
                !has_ended
            });
            let allowed = self.allowed(look, floor);
            let fits = |write: &&usize| self.writes[**write].state.fits(&look.seen);
            if let Some(least) = allowed.iter().find(fits).copied() {
                under_way.push((look.completed, least));
            } else {
                let by = allowed.last().map_or("", |write| self.writes[*write].by);
                found.push((by, self.report(look, &allowed)));
            }
        }
        found
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
        let Self { keys, done, unknown, refused, looks, trades } = self;
        write!(f, "{keys} keys, {done} writes done, {unknown} unknown, {refused} refused, ")?;
        write!(f, "{looks} looks, {trades} trades")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: State = State::Of { edition: 1, expires: false };
    const NEW: State = State::Of { edition: 2, expires: false };

    /// A key on which `writes` were tried, each for ten ticks: the first from 10, the next from
    /// 30, and so on; `None` where it was not answered.
    fn ledger(writes: &[(State, Option<Outcome>)]) -> Ledger {
        let mut ledger = Ledger::default();
        let key = ledger.add_key("key".into());
        for (at, (state, outcome)) in (0..).zip(writes) {
            let write = ledger.send(key, "SET", *state, 10 + 20 * at);
            ledger.end(key, write, outcome.unwrap_or(Outcome::Unknown));
        }
        ledger
    }

    fn done(at: u64) -> Option<Outcome> {
        Some(Outcome::Done(at))
    }

    fn is_fine(ledger: &Ledger, looks: &[(u64, u64, Seen)]) -> bool {
        let mut ledger = ledger.clone();
        for (invoked, completed, seen) in looks {
            ledger.look(0, *invoked, *completed, seen.clone());
        }
        ledger.check().is_ok()
    }

    fn whole(edition: u64) -> Seen {
        Seen::Whole(Some(edition))
    }

    #[test]
    fn a_look_sees_the_last_acknowledged_write_or_one_in_flight() {
        let ledger = ledger(&[(OLD, done(20)), (NEW, done(40))]);
        assert!(is_fine(&ledger, &[(21, 29, whole(1)), (31, 32, whole(1)), (33, 39, whole(2))]));
        assert!(!is_fine(&ledger, &[(21, 29, whole(2))]), "before it was sent");
        assert!(!is_fine(&ledger, &[(41, 42, whole(1))]), "after it was overwritten");
        assert!(!is_fine(&ledger, &[(21, 22, Seen::Whole(None))]), "absent again");
        assert!(is_fine(&ledger, &[(5, 15, Seen::Whole(None))]), "in flight");
    }

    #[test]
    fn nobody_sees_less_than_somebody_has_seen_before() {
        let ledger = ledger(&[(OLD, done(20)), (NEW, done(40))]);
        let block = |edition| Seen::Blocks(vec![(3, Some(edition))]);
        assert!(!is_fine(&ledger, &[(31, 32, whole(2)), (33, 34, block(1))]));
        assert!(!is_fine(&ledger, &[(31, 32, block(2)), (33, 34, whole(1))]));
        assert!(is_fine(&ledger, &[(31, 34, whole(2)), (33, 36, block(1))]), "at the same time");
    }

    #[test]
    fn what_was_not_answered_may_come_late_and_what_was_refused_never() {
        let unknown = ledger(&[(OLD, None), (NEW, done(40))]);
        assert!(is_fine(&unknown, &[(41, 42, whole(2)), (50, 51, whole(1))]));
        assert!(is_fine(&unknown, &[(41, 42, whole(2)), (50, 51, whole(2))]));
        assert!(!is_fine(&unknown, &[(41, 42, Seen::Whole(None))]));
        let refused = ledger(&[(OLD, done(20)), (NEW, Some(Outcome::Refused))]);
        assert!(is_fine(&refused, &[(50, 51, whole(1))]));
        assert!(!is_fine(&refused, &[(31, 51, whole(2))]));
    }

    #[test]
    fn an_unanswered_write_that_was_seen_has_overwritten_what_was_before() {
        let ledger = ledger(&[(OLD, done(20)), (NEW, None)]);
        assert!(is_fine(&ledger, &[(50, 51, whole(1)), (52, 53, whole(2))]));
        assert!(!is_fine(&ledger, &[(50, 51, whole(2)), (52, 53, whole(1))]));
    }

    #[test]
    fn blocks_counts_and_lengths_are_of_one_edition() {
        let ledger = ledger(&[(OLD, done(20)), (NEW, None)]);
        let blocks = |one, two| Seen::Blocks(vec![(0, Some(one)), (1, Some(two))]);
        assert!(is_fine(&ledger, &[(50, 51, blocks(1, 1)), (52, 53, blocks(2, 2))]));
        assert!(!is_fine(&ledger, &[(50, 51, blocks(1, 2))]));
        assert!(!is_fine(&ledger, &[(50, 51, Seen::Blocks(vec![(4, None)]))]));
        assert!(is_fine(&ledger, &[(50, 51, Seen::Count(value::count(1)))]));
        assert!(!is_fine(&ledger, &[(50, 51, Seen::Count(value::count(1) + 1))]));
        assert!(!is_fine(&ledger, &[(50, 51, Seen::Len(0))]));
        assert!(!is_fine(&ledger, &[(50, 51, Seen::Torn(String::new()))]));
        assert!(!is_fine(&ledger, &[(50, 51, Seen::Expires(Some(true)))]));
    }
}
