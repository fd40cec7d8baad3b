//! Lives of keys that are merged: none becomes shorter.
//!
//! Bits merged into a key that has just expired would make it anew, without an expiry, and nobody
//! could tell it from one that the application has made meanwhile. To end it would lose bits that
//! the application was promised. So nothing is merged into a key that is about to end, and nothing
//! is ever ended here: what has lost its expiry all the same, since it took so long, is told.

use anyhow::Result;
use bytes::Bytes;

use super::{
    copy::{Mine, expires, mine},
    peer::{Answer, Expiry, Request, expiry, word},
    work::{Ends, Outcome, Policy},
};

/// By how much the clocks of the target's nodes may differ.
const CLOCK_ERROR_MS: i64 = 1_000;

/// How long a key of the target has to live for bits to be merged into it: twice as long as a node
/// tries a write that nobody told otherwise, so that what was sent is done or given up before.
const LIFE_MS_MIN: i64 = 60_000;

/// How long a key of the target lives, as it was before bits were merged into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// For ever, or nothing is merged that expires.
    Endless,
    /// Until then, in milliseconds since 1970.
    Until(i64),
    /// No longer, or not long enough for bits to be merged.
    Over,
}

impl Ends<'_> {
    /// Makes keys that are to expire where they are not there yet and not about to, each a byte of
    /// zeros, lets those live as long that would end earlier, and tells how long they live.
    pub(super) fn begin_merge(&mut self, keys: &[Bytes], expiries: &[Expiry]) -> Result<Vec<Life>> {
        if expiries.iter().all(|expiry| *expiry == Expiry::Never) {
            return Ok(vec![Life::Endless; keys.len()]);
        }
        let now = self.target.now()?;
        let begins = keys.iter().zip(expiries).map(|(key, expiry)| self.begins(key, *expiry, now));
        let begins: Vec<Vec<Request>> = begins.collect();
        let counts: Vec<usize> = begins.iter().map(Vec::len).collect();
        let mut answers = self.target.answers(&begins.concat())?.into_iter();
        // Asked last, so that the lives are no shorter than they look.
        let now = self.target.now()?;
        let life = |count: usize| match count.checked_sub(1) {
            None => Life::Endless,
            Some(last) => life_of(answers.by_ref().nth(last), now),
        };
        Ok(counts.into_iter().map(life).collect())
    }

    /// What is asked of a key: nothing, or requests whose last is for its expiry.
    fn begins(&self, key: &Bytes, expiry: Expiry, now: i64) -> Vec<Request> {
        let Expiry::At(millis) = expiry else { return Vec::new() };
        let (zero, until, at) = (Bytes::from_static(b"\0"), word("PXAT"), word(millis));
        let make = vec![word("SET"), key.clone(), zero, until, at, word("NX")];
        let lives = [expires(key, millis, Policy::Merge), self.target.expiry_request(key)];
        // One that is about to end would stay without its bits.
        let is_made = millis > now + LIFE_MS_MIN;
        is_made.then_some(make).into_iter().chain(lives).collect()
    }

    /// Looks whether a key that is being merged lives on: else it is gone.
    pub(super) fn expect_life(&mut self, key: &Bytes, life: Life) -> Mine<()> {
        if life == Life::Endless {
            return Ok(Ok(()));
        }
        let expires = self.target.answer(self.target.expiry_request(key))?;
        let lives = life_of(Some(expires), self.target.now()?) != Life::Over;
        Ok(if lives { Ok(()) } else { Err(Outcome::Gone) })
    }

    /// Which of the merged keys were to have ended by now and are endless: who made them so is
    /// not known.
    pub(super) fn end_merge(&mut self, keys: &[Bytes], lives: &[Life]) -> Result<Vec<bool>> {
        let mut are_endless = vec![false; keys.len()];
        if !lives.iter().any(|life| matches!(life, Life::Until(_))) {
            return Ok(are_endless);
        }
        let now = self.target.now()?;
        for ((key, life), is_endless) in keys.iter().zip(lives).zip(&mut are_endless) {
            if matches!(life, Life::Until(end) if *end <= now + CLOCK_ERROR_MS) {
                let expires = self.target.answer(self.target.expiry_request(key))?;
                *is_endless = life_of(Some(expires), now) == Life::Endless;
            }
        }
        Ok(are_endless)
    }

    /// Merges a large value into the target's.
    pub(super) fn merge_large(&mut self, key: &Bytes) -> Mine<u64> {
        let Some(expiry) = mine!(self.expiry_at_source(key)) else {
            return Ok(Err(Outcome::Gone));
        };
        let keys = std::slice::from_ref(key);
        let lives = self.begin_merge(keys, &[expiry])?;
        if lives[0] == Life::Over {
            return Ok(Err(Outcome::Gone));
        }
        let merged = self.build(key, key, Policy::Merge, lives[0])?;
        // Also where it was stopped: some of it was written.
        let is_endless = self.end_merge(keys, &lives)?[0];
        Ok(if is_endless { Err(Outcome::Endless) } else { merged })
    }
}

/// How long a key lives, by the answer to the question for its expiry.
fn life_of(answer: Option<Answer>, now: i64) -> Life {
    // What is refused here is refused for the bits too, and told of them.
    let Some(Ok(answer)) = answer else { return Life::Endless };
    match expiry(&answer, 0) {
        None => Life::Over,
        Some(Expiry::Never) => Life::Endless,
        Some(Expiry::At(end)) if end <= now + LIFE_MS_MIN => Life::Over,
        Some(Expiry::At(end)) => Life::Until(end),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    };

    use bitroster_resp::Frame;

    use super::{
        super::{
            fake::{Fake, bulk, greet, time},
            pace::Pace,
            work::Plan,
        },
        *,
    };

    /// When the tests begin, and when their key ends.
    const NOW: i64 = 1_000_000;
    const END: i64 = NOW + 120_000;

    #[test]
    fn a_life_is_the_targets_own() {
        let told = |millis| life_of(Some(Ok(Frame::Integer(millis))), NOW);
        assert_eq!(told(END), Life::Until(END));
        assert_eq!(told(-1), Life::Endless);
        // One that is about to end, and one that has ended.
        assert_eq!(told(NOW + LIFE_MS_MIN), Life::Over);
        assert_eq!(told(-2), Life::Over);
    }

    /// A source with a value of so many bytes that ends at [`END`], a target where it does as
    /// well, and what became of the key where the target's clock shows `now`, and jumps by
    /// `jump` at each piece that is merged. An overdue key is endless there: it was made anew.
    fn merge(len: usize, now: i64, jump: i64) -> (Outcome, Fake) {
        let source = Fake::start(move |_, words| match words {
            ["GETRANGE", _, start, end] => {
                let start: usize = start.parse().expect("a number");
                let end: usize = end.parse().expect("a number");
                Some(bulk(&"\x01".repeat(len.min(end + 1).saturating_sub(start))))
            }
            ["STRLEN", _] => Some(format!(":{len}\r\n")),
            ["PEXPIRETIME", "k"] => Some(format!(":{END}\r\n")),
            _ => greet(words, "1", false),
        });
        let clock = Arc::new(AtomicI64::new(now));
        let target = Fake::start(move |_, words| match words {
            ["SET", ..] => Some("$-1\r\n".to_owned()),
            ["PEXPIREAT", ..] => Some(":0\r\n".to_owned()),
            ["STRLEN", _] => Some(format!(":{len}\r\n")),
            ["BM.IMPORT", ..] => {
                clock.fetch_add(jump, Relaxed);
                Some(":0\r\n".to_owned())
            }
            ["TIME"] => Some(time(clock.load(Relaxed))),
            ["PEXPIRETIME", "k"] if clock.load(Relaxed) > END => Some(":-1\r\n".to_owned()),
            ["PEXPIRETIME", "k"] => Some(format!(":{END}\r\n")),
            _ => greet(words, "1", true),
        });
        let plan = Plan {
            source: source.target,
            target: target.target.clone(),
            run_id: Some("1".to_owned()),
            policy: Policy::Merge,
            pace: Pace::new(None),
            is_thorough: false,
            mends: true,
        };
        let mut ends = Ends::connect(&plan).expect("both ends");
        let mut outcomes = ends.copy(&[Bytes::from_static(b"k")], Policy::Merge).expect("a merge");
        (outcomes.pop().expect("an outcome"), target)
    }

    /// What was sent that could end a key.
    fn endings(target: &Fake) -> Vec<String> {
        let mut endings = target.heard("PEXPIREAT k");
        endings.retain(|request| !request.ends_with(" GT"));
        endings
    }

    #[test]
    fn nothing_is_merged_into_a_key_that_is_about_to_end() {
        for len in [9, 3 << 20] {
            let (outcome, target) = merge(len, END - 30_000, 0);
            assert_eq!(outcome, Outcome::Gone, "{len}");
            assert!(target.heard("BM.IMPORT").is_empty() && endings(&target).is_empty(), "{len}");
            assert!(target.heard("SET").is_empty(), "nor is it made: {len}");
            let (outcome, target) = merge(len, NOW, 0);
            assert_eq!(outcome, Outcome::Copied { bytes: len as u64 });
            assert_eq!(target.heard("BM.IMPORT").len(), 1.max(len >> 20), "{len}");
        }
    }

    #[test]
    fn a_long_merge_stops_before_its_key_ends() {
        let (outcome, target) = merge(3 << 20, NOW, 40_000);
        assert_eq!(outcome, Outcome::Gone);
        // A minute after the second piece the key would have ended.
        assert_eq!(target.heard("BM.IMPORT").len(), 2);
        assert!(endings(&target).is_empty());
    }

    #[test]
    fn a_key_that_ended_meanwhile_is_told_and_not_ended_for_the_application_may_have_made_it() {
        for len in [9, 3 << 20] {
            let (outcome, target) = merge(len, NOW, 200_000);
            assert_eq!(outcome, Outcome::Endless, "{len}");
            assert!(endings(&target).is_empty(), "{len}: {:?}", endings(&target));
        }
    }
}
