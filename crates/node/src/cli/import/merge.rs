//! Lives of keys that are merged: none becomes shorter, and none endless by the import.
//!
//! Bits merged into a key that has just expired make it anew, without an expiry. So it is
//! remembered when the target's key was to end, and what is endless after that moment ends too.

use anyhow::Result;
use bytes::Bytes;

use super::{
    copy::{Mine, expires, mine},
    peer::{Answer, Expiry, Request, expiry, word},
    work::{Ends, Outcome, Policy},
};

/// By how much the clocks of the target's nodes may differ.
const CLOCK_ERROR_MS: i64 = 1_000;

/// When a key of the target ends, as it was before bits were merged into it; `None` where it does
/// not, or where nothing is merged that expires.
pub(super) type End = Option<i64>;

impl Ends<'_> {
    /// Makes keys that are to expire where they are not there yet, each a byte of zeros, lets those
    /// live as long that would end earlier, and tells when they end.
    pub(super) fn begin_merge(&mut self, keys: &[Bytes], expiries: &[Expiry]) -> Result<Vec<End>> {
        let both = || keys.iter().zip(expiries);
        let requests: Vec<Request> =
            both().flat_map(|(key, expiry)| self.begins(key, *expiry)).collect();
        let mut answers = self.target.answers(&requests)?.into_iter();
        Ok(both()
            .map(|(key, expiry)| {
                let own = answers.by_ref().take(self.begins(key, *expiry).len());
                end_of(own.last(), *expiry)
            })
            .collect())
    }

    fn begins(&self, key: &Bytes, expiry: Expiry) -> Vec<Request> {
        let Expiry::At(millis) = expiry else { return Vec::new() };
        let (zero, until, at) = (Bytes::from_static(b"\0"), word("PXAT"), word(millis));
        let make = vec![word("SET"), key.clone(), zero, until, at, word("NX")];
        vec![make, expires(key, millis, Policy::Merge), self.target.expiry_request(key)]
    }

    /// Ends those of the merged keys that were to have ended by now and have become endless.
    pub(super) fn end_merge(&mut self, keys: &[Bytes], ends: &[End]) -> Result<()> {
        if ends.iter().all(Option::is_none) {
            return Ok(());
        }
        let now = self.target.now()?;
        let overdue: Vec<Request> = keys
            .iter()
            .zip(ends)
            .filter_map(|(key, end)| {
                let end = end.filter(|end| *end <= now + CLOCK_ERROR_MS)?;
                Some(vec![word("PEXPIREAT"), key.clone(), word(end), word("NX")])
            })
            .collect();
        // Whatever they are told, the keys' outcomes are known already.
        self.target.answers(&overdue).map(drop)
    }

    /// Merges a large value into the target's.
    pub(super) fn merge_large(&mut self, key: &Bytes) -> Mine<u64> {
        let Some(expiry) = mine!(self.expiry_at_source(key)) else {
            return Ok(Err(Outcome::Gone));
        };
        let key = std::slice::from_ref(key);
        let ends = self.begin_merge(key, &[expiry])?;
        let merged = self.build(&key[0], &key[0], Policy::Merge)?;
        self.end_merge(key, &ends)?;
        Ok(merged)
    }
}

/// When a key ends, by the answer to the question for its expiry.
fn end_of(answer: Option<Answer>, expires: Expiry) -> End {
    match (expires, expiry(&answer?.ok()?, 0)) {
        (Expiry::Never, _) | (_, Some(Expiry::Never)) => None,
        (_, Some(Expiry::At(millis))) => Some(millis),
        // It has expired already.
        (Expiry::At(millis), None) => Some(millis),
    }
}

#[cfg(test)]
mod tests {
    use bitroster_resp::Frame;

    use super::*;

    #[test]
    fn an_end_is_the_targets_own() {
        let told = |millis| Some(Ok(Frame::Integer(millis)));
        assert_eq!(end_of(told(17), Expiry::At(17)), Some(17));
        // A longer life, an endless one, and one that is over.
        assert_eq!(end_of(told(90), Expiry::At(17)), Some(90));
        assert_eq!(end_of(told(-1), Expiry::At(17)), None);
        assert_eq!(end_of(told(-2), Expiry::At(17)), Some(17));
        assert_eq!(end_of(None, Expiry::Never), None);
    }
}
