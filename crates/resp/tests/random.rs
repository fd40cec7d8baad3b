//! Goal: the properties that `tests/fuzz` looks for hold in every test run.
//!
//! Method: legal requests and replies, damaged by a seeded generator that knows what matters
//! (terminators, type bytes, digits, quotes), cut at random places. A naive decoder that knows
//! nothing of increments or fast ways is the twin for whole streams.
//!
//! The seed is fixed; a failure prints the round and the stream. `ROUNDS` more cost a second each
//! 100 000.
//!
//! Mutants killed: what was scanned of one line held against the next; search resumed a byte late;
//! fast way taken for ten digits; error found late when the stream is cut; limit compared with
//! what has arrived.

mod common;

use bitroster_resp::{FrameLimits, Limits, ProtocolError, encode_request};
use proptest::prelude::*;

use common::{Outcome, check_replies, check_requests, feed};

const ROUNDS: u64 = 20_000;

/// A small generator (`SplitMix64`), so that a round is its own seed.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("bounds are small")
    }

    fn pick<'a>(&mut self, from: &[&'a [u8]]) -> &'a [u8] {
        from[self.below(from.len())]
    }
}

/// Says what was being checked, if the check fails.
struct OnPanic(String);

impl Drop for OnPanic {
    #[expect(clippy::print_stderr, reason = "it is part of the panic's message")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.0);
        }
    }
}

const PIECES: &[&[u8]] = &[
    b"\r\n",
    b"\r",
    b"\n",
    b"*",
    b"$",
    b"-",
    b"0",
    b"1",
    b"9",
    b"\"",
    b"'",
    b"\\x4",
    b" ",
    b":",
    b"*0\r\n",
    b"*-1\r\n",
    b"$-1\r\n",
    b"*2\r\n",
    b"$0\r\n\r\n",
    b"|1\r\n",
    b"%1\r\n",
    b"_\r\n",
    b"1000000000",
    b"1048577",
    b"536870913",
    b"99999999999999999999",
    b"\xff",
    b"\0",
    b"POST ",
];

/// Legal requests, with up to three injuries.
fn request_stream(dice: &mut Dice) -> Vec<u8> {
    let mut stream = Vec::new();
    for _ in 0..=dice.below(4) {
        if dice.below(3) == 0 {
            let line = [&b"PING"[..], b"get 'a b' \"\\x41\\n\"", b"set k \"\"", b""];
            stream.extend_from_slice(dice.pick(&line));
            stream.extend_from_slice(dice.pick(&[b"\r\n", b"\n"]));
        } else {
            let args: Vec<_> = (0..dice.below(4)).map(|_| vec![b'a'; dice.below(14)]).collect();
            encode_request(&args, &mut stream);
        }
    }
    injure(dice, &mut stream);
    stream
}

fn reply_stream(dice: &mut Dice) -> Vec<u8> {
    let replies: [&[u8]; 8] = [
        b"+OK\r\n",
        b"-ERR x\r\n",
        b":-12\r\n",
        b"$3\r\nabc\r\n",
        b"*2\r\n:1\r\n*1\r\n$0\r\n\r\n",
        b"%1\r\n+k\r\n,1.5\r\n",
        b"|1\r\n+k\r\n#t\r\n~1\r\n(12\r\n",
        b">2\r\n=7\r\ntxt:abc\r\n!3\r\nERR\r\n",
    ];
    let mut stream = Vec::new();
    for _ in 0..=dice.below(3) {
        stream.extend_from_slice(dice.pick(&replies));
    }
    injure(dice, &mut stream);
    stream
}

fn injure(dice: &mut Dice, stream: &mut Vec<u8>) {
    for _ in 0..dice.below(4) {
        let at = dice.below(stream.len() + 1);
        let piece = dice.pick(PIECES);
        let end = match dice.below(3) {
            0 => at,
            1 => (at + piece.len()).min(stream.len()),
            _ => (at + dice.below(6)).min(stream.len()),
        };
        stream.splice(at..end, piece.iter().copied());
    }
}

fn limits(dice: &mut Dice) -> Limits {
    match dice.below(3) {
        0 => Limits::unauthenticated(),
        1 => Limits { inline_bytes_max: 8, bulk_bytes_max: 8, args_max: 2, authenticated: true },
        _ => Limits::default(),
    }
}

/// The requests of a whole stream, read in the plainest way. Only what can be told without the
/// rules for quotes: streams with inline requests that are more than words are not its business.
fn naive(stream: &[u8], limits: Limits) -> Option<Outcome> {
    let mut outcome = Outcome::default();
    'requests: loop {
        let mut rest = &stream[outcome.consumed..];
        if rest.is_empty() {
            return Some(outcome);
        }
        if rest[0] != b'*' {
            return None;
        }
        let Some(line) = naive_line(rest) else { return Some(outcome) };
        let Some(count) = naive_number(line) else {
            outcome.error = Some(ProtocolError::InvalidMultibulkLength);
            return Some(outcome);
        };
        if count > limits.args_max as i128 {
            let invalid = limits.authenticated || count > 1 << 20;
            outcome.error = Some(if invalid {
                ProtocolError::InvalidMultibulkLength
            } else {
                ProtocolError::UnauthenticatedMultibulkLength
            });
            return Some(outcome);
        }
        rest = &rest[line.len() + 2..];
        let mut request = Vec::new();
        while (request.len() as i128) < count {
            if rest.is_empty() {
                return Some(outcome);
            }
            if rest[0] != b'$' {
                return None;
            }
            let Some(line) = naive_line(rest) else { return Some(outcome) };
            let len = naive_number(line).filter(|&len| len >= 0);
            let Some(len) = len.filter(|&len| len <= limits.bulk_bytes_max as i128) else {
                let unauthenticated = !limits.authenticated && len.is_some_and(|l| l <= 512 << 20);
                outcome.error = Some(if unauthenticated {
                    ProtocolError::UnauthenticatedBulkLength
                } else {
                    ProtocolError::InvalidBulkLength
                });
                return Some(outcome);
            };
            let len = usize::try_from(len).expect("within the limit");
            rest = &rest[line.len() + 2..];
            if rest.len() < len + 2 {
                return Some(outcome);
            }
            if &rest[len..len + 2] != b"\r\n" {
                outcome.error = Some(ProtocolError::InvalidTerminator);
                return Some(outcome);
            }
            request.push(rest[..len].to_vec());
            rest = &rest[len + 2..];
        }
        outcome.consumed = stream.len() - rest.len();
        if request.is_empty() {
            continue 'requests;
        }
        outcome.requests.push(request);
    }
}

/// The line up to the first CR, if two bytes end it and it is short enough to be legal anywhere.
fn naive_line(rest: &[u8]) -> Option<&[u8]> {
    let end = rest.iter().position(|&byte| byte == b'\r')?;
    rest.get(end + 1)?;
    Some(&rest[..end])
}

fn naive_number(line: &[u8]) -> Option<i128> {
    let text = std::str::from_utf8(&line[1..]).ok()?;
    let number = text.parse::<i64>().ok()?;
    (number.to_string() == text).then_some(i128::from(number))
}

/// Whether the twin's simplifications (line ends, line lengths) can tell on this stream.
fn is_plain(stream: &[u8], limits: Limits) -> bool {
    let lone_cr = stream.windows(2).any(|pair| pair[0] == b'\r' && pair[1] != b'\n');
    limits.inline_bytes_max > stream.len() && !lone_cr
}

#[test]
fn damaged_requests_read_the_same_however_they_are_cut() {
    let mut compared = 0;
    for round in 0..ROUNDS {
        let mut dice = Dice(round);
        let stream = request_stream(&mut dice);
        let limits = limits(&mut dice);
        let mut cuts: Vec<_> = (0..3).map(|_| dice.below(stream.len() + 1)).collect();
        cuts.sort_unstable();
        let _shown =
            OnPanic(format!("round {round}, {limits:?}, cuts {cuts:?}: {}", stream.escape_ascii()));
        let whole = check_requests(&stream, limits, &cuts);
        if is_plain(&stream, limits)
            && let Some(twin) = naive(&stream, limits)
        {
            assert_eq!(whole, twin);
            compared += 1;
        }
    }
    assert!(compared > ROUNDS / 10, "the twin had a say in only {compared} rounds");
}

#[test]
fn damaged_replies_are_read_and_stepped_over_alike() {
    for round in 0..ROUNDS {
        let mut dice = Dice(round);
        let stream = reply_stream(&mut dice);
        let limits =
            FrameLimits { depth_max: dice.below(4), elements_max: 12, ..FrameLimits::default() };
        let _shown = OnPanic(format!("round {round}, {limits:?}: {}", stream.escape_ascii()));
        check_replies(&stream, limits);
    }
}

proptest! {
    #[test]
    fn what_was_encoded_is_decoded(
        requests in prop::collection::vec(
            prop::collection::vec(prop::collection::vec(any::<u8>(), 0..24), 1..6), 0..6),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut stream = Vec::new();
        for request in &requests {
            encode_request(request, &mut stream);
        }
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.sort_unstable();
        let outcome = feed(&stream, Limits::default(), cuts);
        let expected = Outcome { requests, consumed: stream.len(), error: None };
        prop_assert_eq!(outcome, expected);
    }

    #[test]
    fn any_bytes_have_the_properties(
        stream in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        check_requests(&stream, Limits::default(), &[]);
        check_replies(&stream, FrameLimits::default());
    }
}
