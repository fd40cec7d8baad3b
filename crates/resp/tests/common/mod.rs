//! Requests as owned values, ways to feed a decoder, and the properties that hold for any bytes;
//! `tests/fuzz` includes this file.
#![allow(dead_code, reason = "each test file uses its own part")]

use bitroster_resp::{
    Decoded, Decoder, Encoder, FrameLimits, Limits, ProtocolError, ReplySkipper, Version,
    decode_frame, skip_reply,
};
use bitroster_types::limits::{INLINE_BYTES_RETAINED_MAX, REQUEST_ARGS_RETAINED_MAX};

/// Bytes that a decoder may hold between requests.
pub(crate) const RETAINED_BYTES_MAX: usize =
    REQUEST_ARGS_RETAINED_MAX * 8 + INLINE_BYTES_RETAINED_MAX;

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
                let held = decoder.retained_bytes();
                assert!(held <= RETAINED_BYTES_MAX + 4 * buf.len(), "{held} for {}", buf.len());
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
    let shown = stream[..stream.len().min(80)].escape_ascii();
    feed(stream, limits, []).error.unwrap_or_else(|| panic!("{shown} was accepted"))
}

/// Checks that `stream` reads the same at once, cut at `cuts` (which ascend) and byte by byte, and
/// that a decoder never holds much more than what has arrived. Returns what was read.
pub(crate) fn check_requests(stream: &[u8], limits: Limits, cuts: &[usize]) -> Outcome {
    let whole = feed(stream, limits, []);
    assert_eq!(whole, feed(stream, limits, cuts.iter().copied()), "cut at {cuts:?}");
    assert_eq!(whole, feed(stream, limits, 0..stream.len()), "byte by byte");
    whole
}

/// Checks that replies which arrive byte by byte are read and stepped over alike, and that what
/// was read survives being written and read again.
pub(crate) fn check_replies(stream: &[u8], limits: FrameLimits) {
    let mut skipper = ReplySkipper::new(limits);
    let mut start = 0;
    for end in 0..=stream.len() {
        let buf = &stream[start..end];
        let decoded = decode_frame(buf, limits);
        let skipped = skipper.skip(buf).map(|skipped| skipped.map(|skipped| skipped.consumed));
        assert_eq!(skipped, skip_reply(buf, limits), "byte {end}: resumed, afresh");
        match decoded {
            Ok(None) => assert_eq!(skipped, Ok(None), "byte {end}"),
            Err(error) => {
                assert_eq!(skipped, Err(error), "byte {end}");
                return;
            }
            Ok(Some((frame, len))) => {
                assert_eq!(skipped, Ok(Some(len)), "byte {end}");
                start += len;
                let mut written = Vec::new();
                Encoder::new(&mut written, Version::Resp3).frame(&frame);
                let reread = decode_frame(&written, FrameLimits::default());
                let Ok(Some((reread, len))) = reread else {
                    panic!("{frame:?} was written as something else");
                };
                assert_eq!(len, written.len());
                // Bytes are compared, since not every double equals itself.
                let mut rewritten = Vec::new();
                Encoder::new(&mut rewritten, Version::Resp3).frame(&reread);
                assert_eq!(written, rewritten);
            }
        }
    }
}
