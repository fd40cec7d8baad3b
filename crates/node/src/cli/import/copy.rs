//! Values from the source to the target, in pieces of bounded size.
//!
//! A small value goes in one SET with its expiry. A large one is built under a name of its own and
//! renamed when it is whole, so nobody sees half of it. Only what is not zero is written, so a
//! sparse value stays sparse.

use std::ops::Range;

use anyhow::Result;
use bitroster_bitmap::Bitmap;
use bitroster_resp::Frame;
use bytes::Bytes;

use super::{
    merge::Life,
    peer::{Answer, Expiry, Request, WINDOW_BYTES, count, expiry, request_of, word},
    work::{Ends, Outcome, Policy},
};

/// The unit that is written or left out: a container of Bitroster's bitmaps.
const PIECE_BYTES: usize = 8 << 10;

/// How the names of values end that are not whole yet.
const UNFINISHED: &[u8] = b":bitroster-import";

/// Whether a key is no one's but an unfinished import's.
pub(super) fn is_unfinished(key: &[u8]) -> bool {
    key.ends_with(UNFINISHED)
}

/// What a key is called until it is whole.
pub(super) fn unfinished(key: &[u8]) -> Bytes {
    Bytes::from([key, UNFINISHED].concat())
}

/// A value as it was fetched.
enum Fetched {
    Gone,
    Other,
    Refused(String),
    Whole { value: Bytes, expiry: Expiry },
    Large,
}

/// What concerns only the key: it ends the key's copy, not the import.
pub(super) type Mine<T> = Result<Result<T, Outcome>>;

/// Takes a [`Mine`] apart: errors return from the function, outcomes too.
macro_rules! mine {
    ($step:expr) => {
        match $step? {
            Ok(value) => value,
            Err(outcome) => return Ok(Err(outcome)),
        }
    };
}
pub(super) use mine;

impl Ends<'_> {
    /// Copies keys whose values are small together, or a large one.
    pub(super) fn copy(&mut self, keys: &[Bytes], policy: Policy) -> Result<Vec<Outcome>> {
        self.plan.pace.begin_keys(keys.len());
        let mut fetched = self.fetch(keys)?;
        for one in &mut fetched {
            // Merged bits do not tell of zeros behind them, so the length is looked after.
            if matches!(one, Fetched::Whole { value, .. } if value.last() == Some(&0))
                && policy == Policy::Merge
            {
                *one = Fetched::Large;
            }
        }
        let lives = match policy {
            Policy::Merge => {
                let expiries: Vec<Expiry> = fetched.iter().map(merged_expiry).collect();
                self.begin_merge(keys, &expiries)?
            }
            Policy::Empty | Policy::Replace | Policy::Skip | Policy::Sync => {
                vec![Life::Endless; keys.len()]
            }
        };
        for (one, _) in fetched.iter_mut().zip(&lives).filter(|(_, life)| **life == Life::Over) {
            *one = Fetched::Gone;
        }
        let mut requests: Vec<Request> = Vec::new();
        for (key, fetched) in keys.iter().zip(&fetched) {
            if let Fetched::Whole { value, expiry } = fetched {
                requests.push(store_of(key, value, *expiry, policy));
            }
        }
        let mut answers = self.target.answers(&requests)?.into_iter();
        let are_endless = self.end_merge(keys, &lives)?;
        let mut outcomes = Vec::with_capacity(keys.len());
        for ((key, fetched), is_endless) in keys.iter().zip(fetched).zip(are_endless) {
            outcomes.push(match fetched {
                Fetched::Gone => Outcome::Gone,
                Fetched::Other => self.other(key)?,
                Fetched::Refused(why) => Outcome::Failed { why },
                Fetched::Whole { value, .. } => {
                    let outcome = stored(value.len() as u64, answers.next());
                    if is_endless { Outcome::Endless } else { outcome }
                }
                Fetched::Large => match self.copy_large(key, policy)? {
                    Ok(bytes) => Outcome::Copied { bytes },
                    Err(outcome) => outcome,
                },
            });
        }
        Ok(outcomes)
    }

    /// Copies keys with large values.
    pub(super) fn copy_alone(&mut self, keys: &[Bytes]) -> Result<Vec<Outcome>> {
        let mut outcomes = Vec::with_capacity(keys.len());
        for key in keys {
            self.plan.pace.begin_keys(1);
            outcomes.push(match self.copy_large(key, self.plan.policy)? {
                Ok(bytes) => Outcome::Copied { bytes },
                Err(outcome) => outcome,
            });
        }
        Ok(outcomes)
    }

    /// What a key is that is no string.
    pub(super) fn other(&mut self, key: &Bytes) -> Result<Outcome> {
        Ok(match self.source.answer(request_of("TYPE", key))? {
            Ok(Frame::Simple(kind)) if &kind[..] == b"none" => Outcome::Gone,
            Ok(Frame::Simple(kind)) => {
                Outcome::Other { kind: String::from_utf8_lossy(&kind).into_owned() }
            }
            Ok(other) => Outcome::Failed { why: format!("TYPE answered {other:?}") },
            Err(why) => Outcome::Failed { why },
        })
    }

    fn fetch(&mut self, keys: &[Bytes]) -> Result<Vec<Fetched>> {
        let mut requests: Vec<Request> = Vec::with_capacity(3 * keys.len() + 1);
        for key in keys {
            let (start, end) = (word(0), word(WINDOW_BYTES - 1));
            requests.push(vec![word("GETRANGE"), key.clone(), start, end]);
            requests.push(request_of("STRLEN", key));
        }
        // Times to live come last, so that they are as near to the clock as can be.
        requests.extend(self.source.clock_request());
        requests.extend(keys.iter().map(|key| self.source.expiry_request(key)));
        let mut answers = self.source.answers(&requests)?.into_iter();
        let values: Vec<(Answer, Answer)> =
            keys.iter().filter_map(|_| Some((answers.next()?, answers.next()?))).collect();
        let mut rest = answers.map(|answer| answer.unwrap_or(Frame::Nil));
        let clock = self.source.clock(&mut rest)?;
        let fetched: Vec<Fetched> = values
            .into_iter()
            .zip(rest)
            .map(|((value, len), expires)| fetched(value, len, &expires, clock))
            .collect();
        let bytes = fetched.iter().filter_map(|one| match one {
            Fetched::Whole { value, .. } => Some(value.len()),
            Fetched::Gone | Fetched::Other | Fetched::Refused(_) | Fetched::Large => None,
        });
        self.plan.pace.begin_bytes(bytes.sum());
        Ok(fetched)
    }

    /// Copies a value of any length, and tells how long it is.
    fn copy_large(&mut self, key: &Bytes, policy: Policy) -> Mine<u64> {
        if policy == Policy::Skip && mine!(self.exists(key)) {
            return Ok(Err(Outcome::Skipped));
        }
        if policy == Policy::Merge {
            return self.merge_large(key);
        }
        let built = unfinished(key);
        mine!(self.told(request_of("UNLINK", &built)));
        let copied = self.build(key, &built, policy, Life::Endless)?;
        if copied.is_err() {
            mine!(self.told(request_of("UNLINK", &built)));
        }
        Ok(copied)
    }

    /// Copies a value to `built`, piece by piece, and gives it its name. Where `built` is a key
    /// that is merged and ends, it stops before that.
    pub(super) fn build(
        &mut self,
        key: &Bytes,
        built: &Bytes,
        policy: Policy,
        life: Life,
    ) -> Mine<u64> {
        let mut len = 0;
        loop {
            let window = mine!(self.window(key, len));
            self.plan.pace.begin_bytes(window.len());
            mine!(self.expect_life(built, life));
            let requests = self.fills(built, len, &window);
            mine!(self.all_told(&requests));
            len += window.len() as u64;
            if (window.len() as u64) < WINDOW_BYTES {
                break;
            }
        }
        let Some(expiry) = mine!(self.expiry_at_source(key)) else {
            return Ok(Err(Outcome::Gone));
        };
        mine!(self.stretch(built, len));
        if let Expiry::At(millis) = expiry {
            mine!(self.told(expires(built, millis, policy)));
        }
        match policy {
            Policy::Merge => {}
            Policy::Skip => {
                let named = vec![word("RENAMENX"), built.clone(), key.clone()];
                if mine!(self.told(named)) == Frame::Integer(0) {
                    return Ok(Err(Outcome::Skipped));
                }
            }
            Policy::Empty | Policy::Replace | Policy::Sync => {
                mine!(self.told(vec![word("RENAME"), built.clone(), key.clone()]));
            }
        }
        Ok(Ok(len))
    }

    /// Lengthens a value of the target with zeros, if it is shorter than `len`.
    pub(super) fn stretch(&mut self, key: &Bytes, len: u64) -> Mine<()> {
        let has = count(mine!(self.told(request_of("STRLEN", key))))?;
        if has < len {
            let last =
                vec![word("SETRANGE"), key.clone(), word(len - 1), Bytes::from_static(b"\0")];
            mine!(self.told(last));
        }
        Ok(Ok(()))
    }

    /// Up to [`WINDOW_BYTES`] of a value of the source; fewer only where it ends.
    pub(super) fn window(&mut self, key: &Bytes, at: u64) -> Mine<Vec<u8>> {
        Ok(self.source.window(key, at)?.map_err(|why| Outcome::Failed { why }))
    }

    /// As [`Self::window`], of the target.
    pub(super) fn window_of_target(&mut self, key: &Bytes, at: u64) -> Mine<Vec<u8>> {
        Ok(self.target.window(key, at)?.map_err(|why| Outcome::Failed { why }))
    }

    /// What writes `bytes` where all is zero yet.
    fn fills(&self, key: &Bytes, at: u64, bytes: &[u8]) -> Vec<Request> {
        let runs = runs_of(bytes.len(), |range| bytes[range].iter().any(|byte| *byte != 0));
        let full: usize = runs.iter().map(ExactSizeIterator::len).sum();
        let bits: usize = bytes.iter().map(|byte| byte.count_ones() as usize).sum();
        let merges = self.plan.policy == Policy::Merge;
        if self.target.is_ours() && (merges || bits * 16 < full) {
            if bits == 0 {
                return Vec::new();
            }
            let mut set = Bitmap::new();
            set.write_bytes(at, bytes);
            let set = Bytes::from(set.to_roaring64());
            let [import, format, kind] = ["BM.IMPORT", "FORMAT", "roaring64"].map(word);
            return vec![vec![import, key.clone(), format, kind, set, word("MODE"), word("or")]];
        }
        runs.into_iter().map(|run| write_of(key, at, bytes, run)).collect()
    }

    pub(super) fn expiry_at_source(&mut self, key: &Bytes) -> Mine<Option<Expiry>> {
        let mut requests: Vec<Request> = self.source.clock_request().into_iter().collect();
        requests.push(self.source.expiry_request(key));
        let mut replies = self.source.pipeline(&requests)?.into_iter();
        let clock = self.source.clock(&mut replies)?;
        Ok(Ok(replies.next().and_then(|reply| expiry(&reply, clock))))
    }

    fn exists(&mut self, key: &Bytes) -> Mine<bool> {
        Ok(Ok(mine!(self.told(request_of("EXISTS", key))) != Frame::Integer(0)))
    }

    /// The target's reply to a request of one key.
    pub(super) fn told(&mut self, request: Request) -> Mine<Frame> {
        Ok(self.target.answer(request)?.map_err(|why| Outcome::Failed { why }))
    }

    /// As [`Self::told`], for requests whose replies do not matter.
    pub(super) fn all_told(&mut self, requests: &[Request]) -> Mine<()> {
        let answers = self.target.answers(requests)?;
        let refused = answers.into_iter().find_map(Result::err);
        Ok(refused.map_or(Ok(()), |why| Err(Outcome::Failed { why })))
    }
}

/// Reads the replies to GETRANGE, STRLEN and the question for the expiry.
fn fetched(value: Answer, len: Answer, expires: &Frame, clock: i64) -> Fetched {
    let (value, len) = match (value, len) {
        (Ok(Frame::Bulk(value)), Ok(Frame::Integer(len))) => (value, len.unsigned_abs()),
        (Err(text), _) | (_, Err(text)) if text.starts_with("WRONGTYPE") => return Fetched::Other,
        (Err(text), _) | (_, Err(text)) => return Fetched::Refused(text),
        (value, _) => return Fetched::Refused(format!("GETRANGE answered {value:?}")),
    };
    match expiry(expires, clock) {
        None => Fetched::Gone,
        Some(_) if len > value.len() as u64 => Fetched::Large,
        Some(expiry) => Fetched::Whole { value, expiry },
    }
}

/// The expiry of a value that is merged in one piece.
fn merged_expiry(fetched: &Fetched) -> Expiry {
    match fetched {
        Fetched::Whole { value, expiry } if !value.is_empty() => *expiry,
        Fetched::Whole { .. }
        | Fetched::Gone
        | Fetched::Other
        | Fetched::Refused(_)
        | Fetched::Large => Expiry::Never,
    }
}

/// What lets a key expire; in a merge unless it would live longer, or for ever.
pub(super) fn expires(key: &Bytes, millis: i64, policy: Policy) -> Request {
    let mut request = vec![word("PEXPIREAT"), key.clone(), word(millis)];
    request.extend((policy == Policy::Merge).then(|| word("GT")));
    request
}

/// What stores a small value with its expiry. A key that is merged has it already.
fn store_of(key: &Bytes, value: &Bytes, expiry: Expiry, policy: Policy) -> Request {
    if policy == Policy::Merge && !value.is_empty() {
        let [import, format, kind] = ["BM.IMPORT", "FORMAT", "bytes"].map(word);
        return vec![import, key.clone(), format, kind, value.clone(), word("MODE"), word("or")];
    }
    let mut set = vec![word("SET"), key.clone(), value.clone()];
    if let Expiry::At(millis) = expiry {
        set.extend([word("PXAT"), word(millis)]);
    }
    if matches!(policy, Policy::Skip | Policy::Merge) {
        set.push(word("NX"));
    }
    set
}

/// What the reply to [`store_of`] means.
fn stored(bytes: u64, answer: Option<Answer>) -> Outcome {
    match answer {
        Some(Err(why)) => Outcome::Failed { why },
        Some(Ok(Frame::Nil)) => Outcome::Skipped,
        Some(Ok(_)) | None => Outcome::Copied { bytes },
    }
}

/// SETRANGE of a part of `bytes`, which lie at `at`.
pub(super) fn write_of(key: &Bytes, at: u64, bytes: &[u8], part: Range<usize>) -> Request {
    let start = word(at + part.start as u64);
    vec![word("SETRANGE"), key.clone(), start, Bytes::copy_from_slice(&bytes[part])]
}

/// The pieces of `len` bytes that are wanted, neighbours joined.
pub(super) fn runs_of(len: usize, wanted: impl Fn(Range<usize>) -> bool) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for start in (0..len).step_by(PIECE_BYTES) {
        let piece = start..(start + PIECE_BYTES).min(len);
        if !wanted(piece.clone()) {
            continue;
        }
        match runs.last_mut() {
            Some(last) if last.end == start => last.end = piece.end,
            _ => runs.push(piece),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_zeros_are_left_out_and_neighbours_are_joined() {
        let mut bytes = vec![0; 5 * PIECE_BYTES + 10];
        (bytes[PIECE_BYTES], bytes[3 * PIECE_BYTES - 1], bytes[5 * PIECE_BYTES + 9]) = (1, 2, 3);
        let runs = runs_of(bytes.len(), |range| bytes[range].iter().any(|byte| *byte != 0));
        let tail = 5 * PIECE_BYTES..5 * PIECE_BYTES + 10;
        assert_eq!(runs, [PIECE_BYTES..3 * PIECE_BYTES, tail]);
        assert!(runs_of(0, |_| true).is_empty());
    }

    #[test]
    fn a_small_value_is_stored_with_its_expiry_in_one_request() {
        let (key, value) = (Bytes::from_static(b"k"), Bytes::from_static(b"v"));
        let words = |policy, expiry| {
            let request = store_of(&key, &value, expiry, policy);
            String::from_utf8(request.join(&b' ')).unwrap()
        };
        assert_eq!(words(Policy::Replace, Expiry::Never), "SET k v");
        assert_eq!(words(Policy::Empty, Expiry::At(17)), "SET k v PXAT 17");
        assert_eq!(words(Policy::Skip, Expiry::At(17)), "SET k v PXAT 17 NX");
        assert_eq!(words(Policy::Merge, Expiry::At(17)), "BM.IMPORT k FORMAT bytes v MODE or");
        let of = |policy| expires(&key, 17, policy).join(&b' ');
        assert_eq!(of(Policy::Replace), b"PEXPIREAT k 17");
        // A key of the target keeps the longer life, and one without an end stays so.
        assert_eq!(of(Policy::Merge), b"PEXPIREAT k 17 GT");
    }
}
