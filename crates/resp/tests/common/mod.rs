//! Requests as owned values, and ways to feed a decoder.
#![allow(dead_code, reason = "each test file uses its own part")]

use bitroster_resp::{Decoded, Decoder, Limits, ProtocolError};

/// All that a decoder makes of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The requests, in order.
    pub(crate) requests: Vec<Vec<Vec<u8>>>,
    /// Bytes consumed by requests and by empty lines.
    pub(crate) consumed: usize,
    /// What ended the stream, if anything.
    pub(crate) error: Option<ProtocolError>,
}

/// What a decoder makes of `stream` when it arrives in pieces that end at `cuts`.
pub(crate) fn feed(
    stream: &[u8],
    limits: Limits,
    cuts: impl IntoIterator<Item = usize>,
) -> Outcome {
    let mut decoder = Decoder::new(limits);
    let mut outcome = Outcome::default();
    for end in cuts.into_iter().chain([stream.len()]) {
        drain(&mut decoder, &stream[..end], &mut outcome);
    }
    outcome
}

/// Decodes until `arrived` is used up or broken.
pub(crate) fn drain(decoder: &mut Decoder, arrived: &[u8], outcome: &mut Outcome) {
    loop {
        let buf = &arrived[outcome.consumed..];
        match decoder.decode(buf) {
            Ok(Decoded::Incomplete { need_hint }) => {
                assert!(need_hint >= 1);
                assert!(decoder.args(buf).is_empty(), "arguments of an incomplete request");
                return;
            }
            Ok(Decoded::Empty { consumed }) => {
                assert!((1..=buf.len()).contains(&consumed));
                outcome.consumed += consumed;
            }
            Ok(Decoded::Request { consumed }) => {
                assert!((1..=buf.len()).contains(&consumed));
                let args = decoder.args(buf);
                assert!(!args.is_empty());
                outcome.requests.push(args.iter().map(<[u8]>::to_vec).collect());
                outcome.consumed += consumed;
            }
            Err(error) => {
                assert_eq!(decoder.decode(buf), Err(error), "an error must last");
                outcome.error = Some(error);
                return;
            }
        }
    }
}

/// The one request in `stream`, which must hold nothing else.
pub(crate) fn one(stream: &[u8]) -> Vec<Vec<u8>> {
    let outcome = feed(stream, Limits::default(), []);
    assert_eq!(outcome.error, None, "{:?}", stream.escape_ascii().to_string());
    assert_eq!(outcome.requests.len(), 1, "{:?}", stream.escape_ascii().to_string());
    assert_eq!(outcome.consumed, stream.len());
    outcome.requests.into_iter().next().expect("there is one")
}

/// The error that `stream` ends in.
pub(crate) fn error(stream: &[u8], limits: Limits) -> ProtocolError {
    feed(stream, limits, [])
        .error
        .unwrap_or_else(|| panic!("{:?} was accepted", stream.escape_ascii().to_string()))
}
