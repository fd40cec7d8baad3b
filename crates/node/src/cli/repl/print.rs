//! Replies as text: as redis-cli shows them to people, raw, or as JSON.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bitroster_resp::Frame;
use clap::ValueEnum;
use serde_json::{Map, Value, json};

use super::words::quote;
use crate::cli::output::Style;

/// How replies are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// With types and numbers on a terminal, else raw.
    #[default]
    Auto,
    /// With types and numbers, as redis-cli shows them on a terminal.
    Pretty,
    /// The bytes alone, one element a line.
    Raw,
    /// One JSON value a line.
    Json,
}

/// A reply as bytes that end with a line's end.
pub(super) fn reply(frame: &Frame, form: Form, style: Style) -> Vec<u8> {
    match form {
        Form::Auto | Form::Pretty => {
            let mut out = Vec::new();
            pretty(frame, "", style, &mut out);
            out
        }
        Form::Raw => {
            let mut out = Vec::new();
            raw(frame, &mut out);
            out.push(b'\n');
            out
        }
        Form::Json => format!("{}\n", to_json(frame)).into_bytes(),
    }
}

/// Whether a command answers with a text for people, which is shown as it is.
pub(super) fn answers_text(args: &[Vec<u8>]) -> bool {
    let is = |at: usize, word: &str| {
        args.get(at).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
    };
    let second = |words: &[&str]| words.iter().any(|word| is(1, word));
    is(0, "INFO")
        || is(0, "LOLWUT")
        || (is(0, "CLUSTER") && second(&["NODES", "INFO"]))
        || (is(0, "CLIENT") && second(&["LIST", "INFO"]))
        || (is(0, "LATENCY") && second(&["DOCTOR", "GRAPH"]))
        || (is(0, "MEMORY") && second(&["DOCTOR", "MALLOC-STATS"]))
}

fn pretty(frame: &Frame, prefix: &str, style: Style, out: &mut Vec<u8>) {
    let mut line = |text: &str| {
        out.extend_from_slice(text.as_bytes());
        out.push(b'\n');
    };
    match frame {
        Frame::Simple(text) | Frame::BigNumber(text) | Frame::Verbatim { text, .. } => {
            out.extend_from_slice(text);
            out.push(b'\n');
        }
        Frame::Error(text) => {
            let text = format!("(error) {}", String::from_utf8_lossy(text));
            line(&style.bad(&text));
        }
        Frame::Integer(number) => line(&format!("(integer) {number}")),
        Frame::Double(number) => line(&format!("(double) {number}")),
        Frame::Boolean(value) => line(if *value { "(true)" } else { "(false)" }),
        Frame::Nil => line("(nil)"),
        Frame::Bulk(bytes) => {
            let mut text = String::new();
            quote(bytes, &mut text);
            line(&text);
        }
        Frame::Array(items) => list(items, ')', "(empty array)", prefix, style, out),
        Frame::Set(items) => list(items, '~', "(empty set)", prefix, style, out),
        Frame::Push(items) => list(items, '>', "(empty push)", prefix, style, out),
        Frame::Map(pairs) if pairs.is_empty() => line("(empty hash)"),
        Frame::Map(pairs) => {
            let width = pairs.len().to_string().len();
            let inner = format!("{prefix}{}", " ".repeat(width + 2));
            for (at, (key, value)) in pairs.iter().enumerate() {
                if at > 0 {
                    out.extend_from_slice(prefix.as_bytes());
                }
                out.extend_from_slice(style.dim(&format!("{:>width$}# ", at + 1)).as_bytes());
                pretty(key, &inner, style, out);
                out.pop();
                out.extend_from_slice(b" => ");
                pretty(value, &inner, style, out);
            }
        }
    }
}

/// Numbered elements; those of an element that is a list itself stand further to the right.
fn list(items: &[Frame], mark: char, empty: &str, prefix: &str, style: Style, out: &mut Vec<u8>) {
    if items.is_empty() {
        out.extend_from_slice(empty.as_bytes());
        out.push(b'\n');
        return;
    }
    let width = items.len().to_string().len();
    let inner = format!("{prefix}{}", " ".repeat(width + 2));
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.extend_from_slice(prefix.as_bytes());
        }
        out.extend_from_slice(style.dim(&format!("{:>width$}{mark} ", at + 1)).as_bytes());
        pretty(item, &inner, style, out);
    }
}

fn raw(frame: &Frame, out: &mut Vec<u8>) {
    match frame {
        Frame::Nil => {}
        Frame::Simple(bytes) | Frame::Bulk(bytes) | Frame::BigNumber(bytes) => {
            out.extend_from_slice(bytes);
        }
        Frame::Verbatim { text, .. } => out.extend_from_slice(text),
        Frame::Error(text) => {
            out.extend_from_slice(text);
            out.push(b'\n');
        }
        Frame::Integer(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Frame::Double(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Frame::Boolean(value) => {
            out.extend_from_slice(if *value { b"(true)" } else { b"(false)" });
        }
        Frame::Array(items) | Frame::Set(items) | Frame::Push(items) => {
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(b'\n');
                }
                raw(item, out);
            }
        }
        Frame::Map(pairs) => {
            for (at, (key, value)) in pairs.iter().enumerate() {
                if at > 0 {
                    out.push(b'\n');
                }
                raw(key, out);
                out.push(b' ');
                raw(value, out);
            }
        }
    }
}

/// A reply as JSON: bytes that are no UTF-8 as `{"base64": ...}`, errors as `{"error": ...}`, and a
/// map as an object where all its keys are texts, else as a list of pairs.
pub(super) fn to_json(frame: &Frame) -> Value {
    match frame {
        Frame::Nil => Value::Null,
        Frame::Simple(bytes) | Frame::Bulk(bytes) | Frame::BigNumber(bytes) => text(bytes),
        Frame::Verbatim { text: bytes, .. } => text(bytes),
        Frame::Error(bytes) => json!({ "error": String::from_utf8_lossy(bytes) }),
        Frame::Integer(number) => json!(number),
        Frame::Double(number) if number.is_finite() => json!(number),
        Frame::Double(number) => json!(number.to_string()),
        Frame::Boolean(value) => json!(value),
        Frame::Array(items) | Frame::Set(items) | Frame::Push(items) => {
            items.iter().map(to_json).collect()
        }
        Frame::Map(pairs) => {
            let named = pairs.iter().map(|(key, value)| {
                let Value::String(name) = to_json(key) else { return None };
                Some((name, to_json(value)))
            });
            match named.collect::<Option<Map<String, Value>>>() {
                Some(object) => Value::Object(object),
                None => {
                    let pair =
                        |(key, value): &(Frame, Frame)| json!([to_json(key), to_json(value)]);
                    pairs.iter().map(pair).collect()
                }
            }
        }
    }
}

fn text(bytes: &[u8]) -> Value {
    match str::from_utf8(bytes) {
        Ok(text) => json!(text),
        Err(_) => json!({ "base64": STANDARD.encode(bytes) }),
    }
}

#[cfg(test)]
mod tests {
    use bitroster_resp::{FrameLimits, decode_frame};

    use super::*;

    fn shown(bytes: &[u8], form: Form) -> String {
        let frame = decode_frame(bytes, FrameLimits::default()).unwrap().unwrap().0;
        String::from_utf8(reply(&frame, form, Style::default())).unwrap()
    }

    #[test]
    fn people_see_types_and_numbers() {
        let shown = |bytes| shown(bytes, Form::Pretty);
        assert_eq!(shown(b"+OK\r\n"), "OK\n");
        assert_eq!(shown(b":7\r\n"), "(integer) 7\n");
        assert_eq!(shown(b"$3\r\na\x00\"\r\n"), "\"a\\x00\\\"\"\n");
        assert_eq!(shown(b"$-1\r\n"), "(nil)\n");
        assert_eq!(shown(b"-ERR no\r\n"), "(error) ERR no\n");
        assert_eq!(shown(b"*0\r\n"), "(empty array)\n");
        assert_eq!(shown(b",1.5\r\n"), "(double) 1.5\n");
        assert_eq!(
            shown(b"*2\r\n$1\r\na\r\n*2\r\n:1\r\n*1\r\n:2\r\n"),
            "1) \"a\"\n2) 1) (integer) 1\n   2) 1) (integer) 2\n"
        );
        assert_eq!(
            shown(b"%2\r\n+a\r\n:1\r\n+b\r\n*2\r\n:1\r\n:2\r\n"),
            "1# a => (integer) 1\n2# b => 1) (integer) 1\n   2) (integer) 2\n"
        );
    }

    #[test]
    fn long_lists_are_numbered_below_each_other() {
        let ten = format!("*10\r\n{}", ":0\r\n".repeat(10));
        let text = shown(ten.as_bytes(), Form::Pretty);
        assert!(text.starts_with(" 1) (integer) 0\n 2) "), "{text}");
        assert!(text.ends_with("10) (integer) 0\n"), "{text}");
    }

    #[test]
    fn programs_get_bytes_or_json() {
        let nested: &[u8] = b"*3\r\n$1\r\na\r\n$-1\r\n*2\r\n:1\r\n:2\r\n";
        assert_eq!(shown(nested, Form::Raw), "a\n\n1\n2\n");
        assert_eq!(shown(nested, Form::Json), "[\"a\",null,[1,2]]\n");
        assert_eq!(shown(b"%1\r\n+a\r\n:1\r\n", Form::Raw), "a 1\n");
        assert_eq!(shown(b"%1\r\n+a\r\n:1\r\n", Form::Json), "{\"a\":1}\n");
        assert_eq!(shown(b"%1\r\n:1\r\n:2\r\n", Form::Json), "[[1,2]]\n");
        assert_eq!(shown(b"$1\r\n\xff\r\n", Form::Json), "{\"base64\":\"/w==\"}\n");
        assert_eq!(shown(b"-ERR no\r\n", Form::Raw), "ERR no\n\n");
    }

    #[test]
    fn texts_for_people_are_known_by_their_commands() {
        let answers = |words: &str| {
            let args: Vec<Vec<u8>> =
                words.split(' ').map(|word| word.as_bytes().to_vec()).collect();
            answers_text(&args)
        };
        assert!(answers("info") && answers("Cluster nodes") && answers("INFO memory"));
        assert!(!answers("GET info") && !answers("cluster slots") && !answers("client id"));
    }
}
