//! Both ends compared, key by key, and copied again where they differ.

use std::collections::HashMap;

use anyhow::Result;
use bitroster_resp::Frame;
use bytes::Bytes;

use super::{
    copy::{Mine, expires, mine, runs_of, write_of},
    peer::{Expiry, Facts, Look, Request, WINDOW_BYTES, request_of},
    work::{Ends, Outcome, Policy},
};

/// How often a key is copied again before it counts as one that does not hold still.
const MENDS_MAX: usize = 3;

/// How a key differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Difference {
    /// None that is looked for.
    Nothing,
    /// Only when the key expires.
    Expiry,
    Value,
}

impl Ends<'_> {
    /// Compares keys by length, set bits and expiry, or byte by byte where the plan is thorough.
    pub(super) fn check(&mut self, keys: &[Bytes]) -> Result<Vec<Outcome>> {
        let theirs = self.source.look(keys)?;
        let ours = self.target.look(keys)?;
        let mut outcomes = Vec::with_capacity(keys.len());
        for ((key, theirs), ours) in keys.iter().zip(theirs).zip(ours) {
            outcomes.push(match theirs {
                Look::Absent => Outcome::Gone,
                Look::Other => self.other(key)?,
                Look::Value(theirs) => self.settle(key, theirs, ours)?,
            });
        }
        Ok(outcomes)
    }

    /// Makes a key equal, and looks whether it is.
    fn settle(&mut self, key: &Bytes, theirs: Facts, ours: Look) -> Result<Outcome> {
        let (mut theirs, mut ours) = (theirs, ours);
        let mut mended = None;
        for attempt in 0..=MENDS_MAX {
            let mends = self.plan.mends && attempt < MENDS_MAX;
            let step = match self.difference(theirs, ours) {
                Difference::Nothing if self.plan.is_thorough => self.compare(key, mends)?,
                Difference::Nothing => Ok(0),
                _ if !mends => return Ok(Outcome::Differing { how: how(theirs, ours) }),
                Difference::Expiry => self.expire(key, theirs.expiry)?.map(|()| 1),
                Difference::Value => self.mend(key, ours)?.map(|bytes| bytes.max(1)),
            };
            match step {
                Err(outcome) => return Ok(outcome),
                Ok(0) => return Ok(mended.map_or(Outcome::Same, |bytes| Outcome::Mended { bytes })),
                Ok(bytes) if !mends => {
                    return Ok(Outcome::Differing { how: format!("{bytes} bytes differ") });
                }
                Ok(bytes) => *mended.get_or_insert(0) += bytes,
            }
            let one = std::slice::from_ref(key);
            theirs = match self.source.look(one)?.first() {
                Some(Look::Value(facts)) => *facts,
                _ => return Ok(Outcome::Gone),
            };
            ours = self.target.look(one)?.first().copied().unwrap_or(Look::Absent);
        }
        unreachable!("the last attempt returns")
    }

    fn difference(&self, theirs: Facts, ours: Look) -> Difference {
        let Look::Value(ours) = ours else { return Difference::Value };
        let merges = self.plan.policy == Policy::Merge;
        let is_equal = (theirs.len_bytes, theirs.set_bits) == (ours.len_bytes, ours.set_bits);
        let is_within = theirs.len_bytes <= ours.len_bytes && theirs.set_bits <= ours.set_bits;
        if !(is_equal || merges && is_within) {
            return Difference::Value;
        }
        let error_ms = self.source.expiry_error_ms() + self.target.expiry_error_ms();
        let is_in_time = match (theirs.expiry, ours.expiry) {
            (Expiry::At(theirs), Expiry::At(ours)) => {
                theirs.abs_diff(ours) <= error_ms || merges && ours > theirs
            }
            // What was there before the merge keeps its own.
            (Expiry::Never, Expiry::At(_)) | (Expiry::At(_), Expiry::Never) => merges,
            (Expiry::Never, Expiry::Never) => true,
        };
        if is_in_time { Difference::Nothing } else { Difference::Expiry }
    }

    /// Copies a key again, only what differs of a large one; tells how many bytes.
    fn mend(&mut self, key: &Bytes, ours: Look) -> Mine<u64> {
        if let Look::Value(facts) = ours
            && facts.len_bytes > WINDOW_BYTES
            && self.plan.policy != Policy::Merge
        {
            let written = mine!(self.compare(key, true));
            let Some(expiry) = mine!(self.expiry_at_source(key)) else {
                return Ok(Err(Outcome::Gone));
            };
            mine!(self.expire(key, expiry));
            return Ok(Ok(written));
        }
        let merges = self.plan.policy == Policy::Merge;
        let policy = if merges { Policy::Merge } else { Policy::Replace };
        match self.copy(std::slice::from_ref(key), policy)?.pop() {
            Some(Outcome::Copied { bytes }) => Ok(Ok(bytes)),
            other => Ok(Err(other.unwrap_or(Outcome::Gone))),
        }
    }

    /// Compares a value's bytes and tells how many lie in pieces that differ. With `writes` they
    /// are equal afterwards, unless the source changes meanwhile.
    fn compare(&mut self, key: &Bytes, writes: bool) -> Mine<u64> {
        let (mut at, mut differing) = (0, 0);
        loop {
            let theirs = mine!(self.window(key, at));
            let mut ours = mine!(self.window_of_target(key, at));
            self.plan.pace.begin_bytes(theirs.len());
            if ours.len() > theirs.len() {
                // The source's value was replaced by a shorter one.
                if writes {
                    let whole = self.copy(std::slice::from_ref(key), Policy::Replace)?.pop();
                    return Ok(match whole {
                        Some(Outcome::Copied { bytes }) => Ok(bytes),
                        other => Err(other.unwrap_or(Outcome::Gone)),
                    });
                }
                differing += (ours.len() - theirs.len()) as u64;
            }
            ours.resize(theirs.len(), 0);
            let runs = runs_of(theirs.len(), |range| theirs[range.clone()] != ours[range]);
            differing += runs.iter().map(|run| run.len() as u64).sum::<u64>();
            if writes {
                let requests: Vec<_> =
                    runs.into_iter().map(|run| write_of(key, at, &theirs, run)).collect();
                mine!(self.all_told(&requests));
            }
            at += theirs.len() as u64;
            if (theirs.len() as u64) < WINDOW_BYTES {
                break;
            }
        }
        if writes {
            mine!(self.stretch(key, at));
        }
        Ok(Ok(differing))
    }

    fn expire(&mut self, key: &Bytes, expiry: Expiry) -> Mine<()> {
        let request = match expiry {
            Expiry::At(millis) => expires(key, millis, self.plan.policy),
            Expiry::Never => request_of("PERSIST", key),
        };
        mine!(self.told(request));
        Ok(Ok(()))
    }

    /// Deletes strings of the target that the source has not, at two looks. Keys of other types
    /// were never the import's.
    pub(super) fn prune(&mut self, keys: &[Bytes]) -> Result<Vec<Outcome>> {
        let absent = self.absent(keys)?;
        let absent = self.absent(&absent)?;
        let are_strings = self.target.strings(&absent)?;
        let doomed = absent.into_iter().zip(are_strings);
        let doomed: Vec<Bytes> =
            doomed.filter_map(|(key, is_string)| is_string.then_some(key)).collect();
        let unlinks: Vec<_> = doomed.iter().map(|key| request_of("UNLINK", key)).collect();
        let answers = self.target.answers(&unlinks)?;
        let mut ends: HashMap<Bytes, Outcome> = HashMap::with_capacity(doomed.len());
        for (key, answer) in doomed.into_iter().zip(answers) {
            let outcome = match answer {
                Ok(Frame::Integer(0)) => Outcome::Kept,
                Ok(_) => Outcome::Deleted,
                Err(why) => Outcome::Failed { why },
            };
            ends.insert(key, outcome);
        }
        Ok(keys.iter().map(|key| ends.remove(key).unwrap_or(Outcome::Kept)).collect())
    }

    /// The keys that the source has not; an error if it is not the source that was compared.
    fn absent(&mut self, keys: &[Bytes]) -> Result<Vec<Bytes>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut requests: Vec<Request> = vec![self.source.run_request()];
        requests.extend(keys.iter().map(|key| request_of("EXISTS", key)));
        let mut replies = self.source.pipeline(&requests)?.into_iter();
        // Together with them, so that it is told by whoever answers them.
        let run_id = self.source.run_of(replies.next().unwrap_or(Frame::Nil))?;
        self.plan.expect_run(run_id.as_deref())?;
        let mut absent = Vec::new();
        for (key, reply) in keys.iter().zip(replies) {
            if self.source.sorted(reply)? == Ok(Frame::Integer(0)) {
                absent.push(key.clone());
            }
        }
        Ok(absent)
    }
}

/// A difference for people.
fn how(theirs: Facts, ours: Look) -> String {
    let shown = |facts: Facts| {
        let Facts { len_bytes, set_bits, expiry } = facts;
        let expiry = match expiry {
            Expiry::Never => String::new(),
            Expiry::At(millis) => format!(" until {millis} ms"),
        };
        format!("{set_bits} bits in {len_bytes} bytes{expiry}")
    };
    let ours = match ours {
        Look::Absent => "nothing".to_owned(),
        Look::Other => "no string".to_owned(),
        Look::Value(facts) => shown(facts),
    };
    format!("{} at the source, {ours} at the target", shown(theirs))
}
