//! Goal: requests mean what they mean to Redis, and are refused in Redis's words.
//!
//! Method: streams with the outcomes that a Redis 7.0.15 gave for them, byte for byte; where newer
//! versions are stricter, the newer outcome.
//!
//! Mutants killed: leading zeros accepted; terminator of an argument not compared; `\x` with one
//! digit accepted; closing quote followed by a letter accepted; limits of unauthenticated clients
//! not applied or not lifted; negative counts refused.

mod common;

use bitroster_resp::{Decoded, Decoder, Limits, ProtocolError};
use bitroster_types::limits::{
    BULK_BYTES_MAX, INLINE_BYTES_MAX, REQUEST_ARGS_MAX, REQUEST_BYTES_MAX,
};

use common::{error, feed, one};

fn text(stream: &str) -> String {
    error(stream.as_bytes(), Limits::default()).to_string()
}

#[test]
fn a_multibulk_request_is_its_arguments() {
    let request = one(b"*4\r\n$6\r\nSETBIT\r\n$1\r\nk\r\n$0\r\n\r\n$4\r\n\r\n\x00\xff\r\n");
    assert_eq!(request, [b"SETBIT".as_slice(), b"k", b"", b"\r\n\x00\xff"]);
}

#[test]
fn inline_requests_are_split_as_redis_splits_them() {
    for (line, expected) in [
        (r#"echo "a\x41\n""#, b"aA\n".as_slice()),
        (r#"echo "\xfF\x0a""#, b"\xff\x0a"),
        (r#"echo "\xZZ\x4""#, b"xZZx4"),
        (r#"echo "\b\a\t\r\q\\\"""#, b"\x08\x07\t\rq\\\""),
        (r"echo 'it\'s'", b"it's"),
        (r"echo 'a\nb'", br"a\nb"),
        (r"echo a\nb", br"a\nb"),
        (r#"echo a"b""#, b"ab"),
        (r#"echo foo'b r'"#, b"foob r"),
        (r#"echo """#, b""),
        ("  echo \t a  ", b"a"),
        ("\x0becho a\x0bb", b"a\x0bb"),
        ("echo \"a\"\x0b", b"a"),
    ] {
        for end in ["\n", "\r\n"] {
            let request = one(format!("{line}{end}").as_bytes());
            assert_eq!(request, [b"echo".as_slice(), expected], "{line:?}");
        }
    }
}

#[test]
fn unbalanced_quotes_are_refused() {
    for line in [
        r#"echo "a"b"#,
        r#"echo "a"#,
        r#"echo "a\"#,
        r#"echo "a\""#,
        "echo 'a",
        "echo 'a'b",
        r"echo 'a\\'x",
        r"echo 'a\'",
    ] {
        let stream = format!("{line}\r\n");
        assert_eq!(text(&stream), "Protocol error: unbalanced quotes in request", "{line:?}");
    }
}

#[test]
fn empty_lines_and_empty_arrays_are_passed_over_in_silence() {
    let stream = b"\r\n\n*0\r\n*-1\r\n*-10\r\n   \r\nPING\r\n*0\r\n*1\r\n$4\r\nPING\r\n\r\n";
    let outcome = feed(stream, Limits::default(), []);
    assert_eq!(outcome.error, None);
    assert_eq!(outcome.requests, [[b"PING"], [b"PING"]]);
    assert_eq!(outcome.consumed, stream.len());
}

#[test]
fn broken_requests_are_refused_in_the_words_of_redis() {
    for (stream, expected) in [
        ("*x\r\n", "Protocol error: invalid multibulk length"),
        ("*\r\n", "Protocol error: invalid multibulk length"),
        ("*01\r\n", "Protocol error: invalid multibulk length"),
        ("*-0\r\n", "Protocol error: invalid multibulk length"),
        ("*+1\r\n", "Protocol error: invalid multibulk length"),
        ("* 1\r\n", "Protocol error: invalid multibulk length"),
        ("*1\n$4\r\n", "Protocol error: invalid multibulk length"),
        ("*1\rX", "Protocol error: invalid multibulk length"),
        ("*1048577\r\n", "Protocol error: invalid multibulk length"),
        ("*1000000000\r\n", "Protocol error: invalid multibulk length"),
        ("*99999999999999999999\r\n", "Protocol error: invalid multibulk length"),
        ("*1\r\nfoo\r\n", "Protocol error: expected '$', got 'f'"),
        ("*1\r\n:1\r\n", "Protocol error: expected '$', got ':'"),
        ("*1\r\n\r\n", "Protocol error: expected '$', got ' '"),
        ("*2\r\n$1\r\na\r\n*", "Protocol error: expected '$', got '*'"),
        ("*1\r\n$-1\r\n", "Protocol error: invalid bulk length"),
        ("*1\r\n$x\r\n", "Protocol error: invalid bulk length"),
        ("*1\r\n$\r\n", "Protocol error: invalid bulk length"),
        ("*1\r\n$04\r\nPING\r\n", "Protocol error: invalid bulk length"),
        ("*1\r\n$+4\r\nPING\r\n", "Protocol error: invalid bulk length"),
        ("*1\r\n$4\rXPING\r\n", "Protocol error: invalid bulk length"),
        ("*1\r\n$2000000000\r\n", "Protocol error: invalid bulk length"),
        ("*1\r\n$536870913\r\n", "Protocol error: invalid bulk length"),
        ("*1\r\n$4\r\nPINGXX", "Protocol error: invalid CRLF in request"),
        ("*1\r\n$2\r\nPING\r\n", "Protocol error: invalid CRLF in request"),
        ("*1\r\n$4\r\nPING\r\r", "Protocol error: invalid CRLF in request"),
        ("*1\r\n$4\r\nPING\n\n", "Protocol error: invalid CRLF in request"),
    ] {
        assert_eq!(text(stream), expected, "{stream:?}");
    }
}

#[test]
fn lines_that_do_not_end_are_refused() {
    let digits = "1".repeat(INLINE_BYTES_MAX + 1);
    for (stream, expected) in [
        (digits.clone(), "Protocol error: too big inline request"),
        (format!("*{digits}"), "Protocol error: too big mbulk count string"),
        (format!("*1\r\n${digits}"), "Protocol error: too big bulk count string"),
    ] {
        assert_eq!(text(&stream), expected);
        let one_short = &stream.as_bytes()[..stream.len() - 2];
        assert_eq!(feed(one_short, Limits::default(), []).error, None, "{expected}");
    }
    let longest = format!("{}\n", "x".repeat(INLINE_BYTES_MAX));
    assert_eq!(one(longest.as_bytes())[0].len(), INLINE_BYTES_MAX);
}

#[test]
fn lines_of_http_close_in_silence() {
    for stream in ["POST / HTTP/1.1\r\n", "post x\n", "Host: localhost:6379\r\n", "HOST:\r\n"] {
        let error = error(stream.as_bytes(), Limits::default());
        assert_eq!(error, ProtocolError::CrossProtocol, "{stream:?}");
        assert!(error.is_silent());
    }
    assert_eq!(one(b"GET / HTTP/1.1\r\n")[1], b"/");
    assert_eq!(one(b"Hosts:\r\n")[0], b"Hosts:");
    assert!(!ProtocolError::UnbalancedQuotes.is_silent());
}

#[test]
fn a_client_that_has_yet_to_log_in_may_send_little() {
    let refused = |stream: &str| error(stream.as_bytes(), Limits::unauthenticated()).to_string();
    assert_eq!(refused("*11\r\n"), "Protocol error: unauthenticated multibulk length");
    assert_eq!(refused("*1000000000\r\n"), "Protocol error: invalid multibulk length");
    assert_eq!(refused("*1\r\n$16385\r\n"), "Protocol error: unauthenticated bulk length");
    assert_eq!(refused("*1\r\n$2000000000\r\n"), "Protocol error: invalid bulk length");
    let most = format!("*10\r\n{}", format!("$16384\r\n{}\r\n", "x".repeat(16384)).repeat(10));
    let outcome = feed(most.as_bytes(), Limits::unauthenticated(), []);
    assert_eq!((outcome.requests.len(), outcome.error), (1, None));
}

#[test]
fn what_was_scanned_of_one_line_is_not_skipped_in_the_next() {
    // Found by fuzzing: a line cut before its end, read the fast way once whole, then a bad line.
    for stream in [b"*2\r\n$\rX".as_slice(), b"*2\r\n$1\r\na\r\n$\rX"] {
        let whole = feed(stream, Limits::default(), []);
        assert_eq!(whole.error, Some(ProtocolError::InvalidBulkLength));
        for cut in 0..stream.len() {
            assert_eq!(feed(stream, Limits::default(), [cut]), whole, "cut at {cut}");
        }
    }
}

#[test]
fn limits_change_between_requests() {
    let mut decoder = Decoder::new(Limits::unauthenticated());
    let auth = b"*2\r\n$4\r\nAUTH\r\n$1\r\np\r\n";
    assert_eq!(decoder.decode(auth), Ok(Decoded::Request { consumed: auth.len() }));
    decoder.set_limits(Limits::authenticated(1 << 20));
    let announced = b"*2\r\n$3\r\nGET\r\n$1048576\r\n";
    assert_eq!(decoder.decode(announced), Ok(Decoded::Incomplete { need_hint: (1 << 20) + 2 }));
    let mut decoder = Decoder::new(Limits::authenticated(1 << 20));
    let error = decoder.decode(b"*1\r\n$1048577\r\n");
    assert_eq!(error, Err(ProtocolError::InvalidBulkLength));
}

#[test]
fn a_limit_above_the_house_limits_has_no_effect() {
    let limits = Limits {
        args_max: usize::MAX,
        bulk_bytes_max: usize::MAX,
        inline_bytes_max: usize::MAX,
        authenticated: true,
    };
    let count = format!("*{}\r\n", REQUEST_ARGS_MAX + 1);
    assert_eq!(error(count.as_bytes(), limits), ProtocolError::InvalidMultibulkLength);
    let len = format!("*1\r\n${REQUEST_BYTES_MAX}\r\n");
    assert_eq!(error(len.as_bytes(), limits), ProtocolError::InvalidBulkLength);
    let line = vec![b'x'; INLINE_BYTES_MAX + 1];
    assert_eq!(error(&line, limits), ProtocolError::InlineTooLong);
}

#[test]
fn the_hint_is_what_the_argument_lacks() {
    let mut decoder = Decoder::new(Limits::default());
    for (buf, need_hint) in [
        (b"".as_slice(), 1),
        (b"*", 1),
        (b"*1\r\n", 1),
        (b"*1\r\n$4\r", 1),
        (b"*1\r\n$4\r\n", 6),
        (b"*1\r\n$4\r\nPIN", 3),
        (b"*1\r\n$4\r\nPING\r", 1),
    ] {
        assert_eq!(decoder.decode(buf), Ok(Decoded::Incomplete { need_hint }));
        assert_eq!(decoder.is_mid_request(), !buf.is_empty());
    }
    assert!(decoder.decode(b"*1\r\n$4\r\nPING\r\n").is_ok());
    assert!(!decoder.is_mid_request());
}

#[test]
fn arguments_are_reached_by_index_by_iteration_and_from_a_place_on() {
    let buf = b"*3\r\n$1\r\na\r\n$2\r\nbb\r\n$3\r\nccc\r\n";
    let mut decoder = Decoder::new(Limits::default());
    assert!(decoder.decode(buf).is_ok());
    let args = decoder.args(buf);
    assert_eq!((args.len(), args.iter().len(), args.is_empty()), (3, 3, false));
    assert_eq!((&args[1], args.get(2), args.get(3)), (&b"bb"[..], Some(&b"ccc"[..]), None));
    assert_eq!(args.skip(1).into_iter().collect::<Vec<_>>(), [b"bb".as_slice(), b"ccc"]);
    assert!(args.skip(4).is_empty());
}

#[test]
fn a_request_past_the_limit_of_all_its_arguments_is_refused_before_it_is_awaited() {
    // Zeroed pages that nobody touches cost no memory: the decoder steps over the argument.
    let head = format!("*3\r\n${BULK_BYTES_MAX}\r\n");
    let tail = format!("\r\n$0\r\n\r\n${BULK_BYTES_MAX}\r\n");
    let mut stream = vec![0; head.len() + BULK_BYTES_MAX + tail.len()];
    stream[..head.len()].copy_from_slice(head.as_bytes());
    stream[head.len() + BULK_BYTES_MAX..].copy_from_slice(tail.as_bytes());
    assert_eq!(error(&stream, Limits::default()), ProtocolError::RequestTooLong);
}
