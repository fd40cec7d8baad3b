//! Goal: no peer can make a decoder hold or compute much more than the peer sends.
//!
//! Method: streams that promise much, nest deeply or trickle; memory is read off the decoder, and
//! work is bounded by the test run's own time-out: a quadratic decoder takes hours over these.
//!
//! Mutants killed: room reserved by an announced count; line searched from its start at each call;
//! arguments parsed again at each call; no depth limit; surplus room kept.

mod common;

use bitroster_resp::{
    Decoded, Decoder, FrameError, FrameLimits, Limits, ReplySkipper, decode_frame, skip_reply,
};
use bitroster_types::limits::{INLINE_BYTES_MAX, REQUEST_ARGS_MAX};

use common::{Outcome, RETAINED_BYTES_MAX, drain};

#[test]
fn an_announced_count_reserves_nothing() {
    let mut decoder = Decoder::new(Limits::default());
    let stream = format!("*{REQUEST_ARGS_MAX}\r\n$1\r\na\r\n");
    assert_eq!(decoder.decode(stream.as_bytes()), Ok(Decoded::Incomplete { need_hint: 1 }));
    assert!(decoder.retained_bytes() <= 64, "{} bytes", decoder.retained_bytes());
}

#[test]
fn a_million_arguments_may_trickle_in_byte_by_byte() {
    let mut stream = format!("*{REQUEST_ARGS_MAX}\r\n").into_bytes();
    stream.extend(b"$1\r\na\r\n".repeat(REQUEST_ARGS_MAX));
    let mut decoder = Decoder::new(Limits::default());
    for end in 1..stream.len() {
        assert!(matches!(decoder.decode(&stream[..end]), Ok(Decoded::Incomplete { .. })));
    }
    assert_eq!(decoder.decode(&stream), Ok(Decoded::Request { consumed: stream.len() }));
    assert_eq!(decoder.args(&stream).len(), REQUEST_ARGS_MAX);
    assert!(decoder.args(&stream).iter().all(|arg| arg == b"a"));

    assert_eq!(decoder.decode(b""), Ok(Decoded::Incomplete { need_hint: 1 }));
    assert!(decoder.retained_bytes() <= RETAINED_BYTES_MAX, "{}", decoder.retained_bytes());
}

#[test]
fn a_long_line_may_trickle_in_byte_by_byte() {
    for prefix in ["", "*", "*1\r\n$"] {
        let stream = format!("{prefix}{}", "1".repeat(INLINE_BYTES_MAX + 1)).into_bytes();
        let mut decoder = Decoder::new(Limits::default());
        let mut outcome = Outcome::default();
        for end in 1..=stream.len() {
            drain(&mut decoder, &stream[..end], &mut outcome);
        }
        assert!(outcome.error.is_some(), "{prefix:?}");
    }
}

#[test]
fn a_long_inline_request_leaves_little_behind() {
    let mut stream = vec![b'x'; INLINE_BYTES_MAX - 1];
    stream.push(b'\n');
    let mut decoder = Decoder::new(Limits::default());
    assert!(matches!(decoder.decode(&stream), Ok(Decoded::Request { .. })));
    assert!(matches!(decoder.decode(b""), Ok(Decoded::Incomplete { .. })));
    assert!(decoder.retained_bytes() <= RETAINED_BYTES_MAX, "{}", decoder.retained_bytes());
}

#[test]
fn replies_nested_without_end_are_refused() {
    let max = FrameLimits::default().depth_max;
    for head in ["*1\r\n", "%1\r\n", "~1\r\n", ">1\r\n", "|1\r\n"] {
        let stream = head.repeat(100_000);
        let refusal = FrameError::TooDeep { max };
        assert_eq!(decode_frame(stream.as_bytes(), FrameLimits::default()), Err(refusal));
        assert_eq!(skip_reply(stream.as_bytes(), FrameLimits::default()), Err(refusal));
        let legal = head.repeat(max);
        assert_eq!(decode_frame(legal.as_bytes(), FrameLimits::default()), Ok(None));
        assert_eq!(skip_reply(legal.as_bytes(), FrameLimits::default()), Ok(None));
    }
}

#[test]
fn replies_that_promise_too_much_are_refused_at_once() {
    let limits = FrameLimits { elements_max: 100, bulk_bytes_max: 100, ..FrameLimits::default() };
    let many = FrameError::TooManyElements { max: 100 };
    for (stream, refusal) in [
        ("*101\r\n", many),
        ("%51\r\n", many),
        ("|9223372036854775807\r\n", many),
        ("*50\r\n*51\r\n", many),
        ("$101\r\n", FrameError::BulkTooLong { len: 101, max: 100 }),
        ("=9223372036854775807\r\n", FrameError::BulkTooLong { len: i64::MAX as u64, max: 100 }),
    ] {
        assert_eq!(decode_frame(stream.as_bytes(), limits), Err(refusal), "{stream:?}");
        assert_eq!(skip_reply(stream.as_bytes(), limits), Err(refusal), "{stream:?}");
    }
    let line = format!("+{}", "x".repeat(INLINE_BYTES_MAX + 1));
    let refusal = FrameError::LineTooLong { max: INLINE_BYTES_MAX };
    assert_eq!(decode_frame(line.as_bytes(), FrameLimits::default()), Err(refusal));
}

#[test]
fn a_large_reply_may_trickle_past_the_skipper() {
    let elements = 200_000;
    let mut stream = format!("*{elements}\r\n").into_bytes();
    stream.extend(b"*1\r\n:7\r\n".repeat(elements));
    let mut skipper = ReplySkipper::new(FrameLimits::default());
    for end in 0..stream.len() {
        assert_eq!(skipper.skip(&stream[..end]), Ok(None));
    }
    let skipped = skipper.skip(&stream).unwrap().unwrap();
    assert_eq!(skipped.consumed, stream.len());
}
