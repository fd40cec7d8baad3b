//! Replies as they are written in cases.
//!
//! | written          | stands for                                                          |
//! |------------------|---------------------------------------------------------------------|
//! | `12`             | an integer                                                          |
//! | `3..5`           | an integer from 3 to 5                                              |
//! | `0.5`            | a double; in RESP2 the string                                       |
//! | `+OK`            | a status, to the line's end                                         |
//! | `-ERR text`      | an error, to the line's end; `*` at the end stands for any rest     |
//! | `-"ERR text"`    | the same within a list                                              |
//! | `"text"`         | a string, with the escapes of requests; `"text"*` any that starts so |
//! | `nil`            | nothing                                                             |
//! | `[1 "a"]`        | an array, or a push                                                 |
//! | `~["a" "b"]`     | an array or a set, in any order                                     |
//! | `{"a" 1 "b" 2}`  | a map; in RESP2 the flat array                                      |
//! | `*`              | anything but an error                                               |
//! | `[...]`          | an array, a set or a map of any elements, also none                 |

use std::fmt;

use anyhow::{Context as _, Result, bail};
use bitroster_resp::Frame;

use super::case::quoted;

/// What a reply must be.
#[derive(Clone, Debug, PartialEq)]
pub enum Expect {
    /// Anything but an error.
    Any,
    /// An integer of a closed range.
    Integer(i64, i64),
    /// A floating-point number.
    Double(f64),
    /// A status.
    Status(String),
    /// An error, and whether more may follow.
    Error(String, bool),
    /// A string, and whether more may follow.
    Bulk(Vec<u8>, bool),
    /// Nothing.
    Nil,
    /// These in order.
    Array(Vec<Expect>),
    /// These in any order.
    Set(Vec<Expect>),
    /// These names and values, in order, one after the other.
    Map(Vec<Expect>),
    /// Any array, set or map.
    Elements,
}

impl Expect {
    /// Reads what is written after `=>`.
    ///
    /// # Errors
    ///
    /// Where it is none of the forms.
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        if let Some(error) = text.strip_prefix('-')
            && error.starts_with(|first: char| first.is_ascii_uppercase())
        {
            let (error, open) = match error.strip_suffix('*') {
                Some(error) => (error, true),
                None => (error, false),
            };
            return Ok(Self::Error(error.to_owned(), open));
        }
        if let Some(status) = text.strip_prefix('+') {
            return Ok(Self::Status(status.to_owned()));
        }
        let (expect, rest) = Self::take(text)?;
        if rest.trim().is_empty() { Ok(expect) } else { bail!("{rest:?} follows the reply") }
    }

    fn take(text: &str) -> Result<(Self, &str)> {
        let first = text.chars().next().context("no reply is written")?;
        match first {
            '"' => {
                let (bytes, rest) = quoted(text)?;
                Ok(match rest.strip_prefix('*') {
                    Some(rest) => (Self::Bulk(bytes, true), rest),
                    None => (Self::Bulk(bytes, false), rest),
                })
            }
            '-' if text.starts_with("-\"") => {
                let (bytes, rest) = quoted(&text[1..])?;
                Ok((Self::Error(String::from_utf8(bytes)?, false), rest))
            }
            '[' if text.starts_with("[...]") => Ok((Self::Elements, &text[5..])),
            '[' => Self::list(&text[1..], ']').map(|(items, rest)| (Self::Array(items), rest)),
            '{' => Self::list(&text[1..], '}').map(|(items, rest)| (Self::Map(items), rest)),
            '~' if text.starts_with("~[") => {
                Self::list(&text[2..], ']').map(|(items, rest)| (Self::Set(items), rest))
            }
            _ => {
                let end = text.find([' ', ']', '}']).unwrap_or(text.len());
                Self::word(&text[..end]).map(|expect| (expect, &text[end..]))
            }
        }
    }

    fn list(mut text: &str, close: char) -> Result<(Vec<Self>, &str)> {
        let mut items = Vec::new();
        loop {
            text = text.trim_start();
            if let Some(rest) = text.strip_prefix(close) {
                return Ok((items, rest));
            }
            let (item, rest) = Self::take(text).with_context(|| format!("a list lacks {close}"))?;
            items.push(item);
            text = rest;
        }
    }

    fn word(word: &str) -> Result<Self> {
        if let Some(status) = word.strip_prefix('+') {
            return Ok(Self::Status(status.to_owned()));
        }
        if let Some(error) = word.strip_prefix('-')
            && let Some(code) = error.strip_suffix('*')
        {
            return Ok(Self::Error(code.to_owned(), true));
        }
        if let Some((low, high)) = word.split_once("..") {
            return Ok(Self::Integer(low.parse()?, high.parse()?));
        }
        match word {
            "nil" => Ok(Self::Nil),
            "*" => Ok(Self::Any),
            number if number.contains('.') => Ok(Self::Double(number.parse()?)),
            number => {
                let number = number.parse().with_context(|| format!("no reply: {number:?}"))?;
                Ok(Self::Integer(number, number))
            }
        }
    }

    /// Whether a reply is what this says.
    pub fn admits(&self, said: &Frame) -> bool {
        match (self, said) {
            (Self::Any, said) => !matches!(said, Frame::Error(_)),
            (Self::Integer(low, high), Frame::Integer(number)) => (low..=high).contains(&number),
            (Self::Double(expected), Frame::Double(number)) => is_near(*expected, *number),
            (Self::Double(expected), Frame::Bulk(text)) => std::str::from_utf8(text)
                .ok()
                .and_then(|text| text.parse().ok())
                .is_some_and(|number| is_near(*expected, number)),
            (Self::Status(expected), Frame::Simple(status)) => status == expected.as_bytes(),
            (Self::Error(expected, open), Frame::Error(text)) => {
                fits(expected.as_bytes(), text, *open)
            }
            (Self::Bulk(expected, open), Frame::Bulk(bytes)) => fits(expected, bytes, *open),
            (Self::Bulk(expected, open), Frame::Verbatim { text, .. }) => {
                fits(expected, text, *open)
            }
            (Self::Nil, Frame::Nil) => true,
            (Self::Elements, Frame::Array(_) | Frame::Set(_) | Frame::Map(_)) => true,
            (Self::Array(expected), Frame::Array(items) | Frame::Push(items)) => {
                all(expected, items.iter())
            }
            (Self::Map(expected), Frame::Array(items)) => all(expected, items.iter()),
            (Self::Map(expected), Frame::Map(pairs)) => {
                all(expected, pairs.iter().flat_map(|(name, value)| [name, value]))
            }
            (Self::Set(expected), Frame::Array(items) | Frame::Set(items)) => {
                let mut left: Vec<&Frame> = items.iter().collect();
                expected.iter().all(|expect| {
                    let found = left.iter().position(|item| expect.admits(item));
                    found.map(|at| left.swap_remove(at)).is_some()
                }) && left.is_empty()
            }
            _ => false,
        }
    }
}

fn all<'a>(expected: &[Expect], said: impl Iterator<Item = &'a Frame>) -> bool {
    let said: Vec<_> = said.collect();
    expected.len() == said.len()
        && expected.iter().zip(said).all(|(expect, frame)| expect.admits(frame))
}

fn fits(expected: &[u8], said: &[u8], open: bool) -> bool {
    if open { said.starts_with(expected) } else { said == expected }
}

fn is_near(expected: f64, number: f64) -> bool {
    (expected - number).abs() < 1e-9
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, items: &[Self], open: &str, close: &str| {
            let items: Vec<_> = items.iter().map(ToString::to_string).collect();
            write!(f, "{open}{}{close}", items.join(" "))
        };
        match self {
            Self::Any => write!(f, "anything but an error"),
            Self::Integer(low, high) if low == high => write!(f, "{low}"),
            Self::Integer(low, high) => write!(f, "{low}..{high}"),
            Self::Double(number) => write!(f, "{number}"),
            Self::Status(status) => write!(f, "+{status}"),
            Self::Error(text, open) => write!(f, "-{text}{}", if *open { "*" } else { "" }),
            Self::Bulk(bytes, open) => {
                write!(f, "\"{}\"{}", bytes.escape_ascii(), if *open { "*" } else { "" })
            }
            Self::Nil => write!(f, "nil"),
            Self::Array(items) => list(f, items, "[", "]"),
            Self::Set(items) => list(f, items, "~[", "]"),
            Self::Map(items) => list(f, items, "{", "}"),
            Self::Elements => write!(f, "[...]"),
        }
    }
}

/// A reply as cases write it.
pub fn written(said: &Frame) -> String {
    let list = |items: &[Frame]| items.iter().map(written).collect::<Vec<_>>().join(" ");
    match said {
        Frame::Simple(status) => format!("+{}", status.escape_ascii()),
        Frame::Error(text) => format!("-{}", text.escape_ascii()),
        Frame::Integer(number) => number.to_string(),
        Frame::Bulk(bytes) | Frame::Verbatim { text: bytes, .. } | Frame::BigNumber(bytes) => {
            format!("\"{}\"", bytes.escape_ascii())
        }
        Frame::Nil => "nil".to_owned(),
        Frame::Array(items) | Frame::Push(items) => format!("[{}]", list(items)),
        Frame::Set(items) => format!("~[{}]", list(items)),
        Frame::Map(pairs) => {
            let pair = |(name, value): &(Frame, Frame)| written(name) + " " + &written(value);
            format!("{{{}}}", pairs.iter().map(pair).collect::<Vec<_>>().join(" "))
        }
        Frame::Double(number) => number.to_string(),
        Frame::Boolean(truth) => truth.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_read_and_admit_what_they_say_alone() {
        let bulk = |text: &'static str| Frame::Bulk(text.into());
        let cases = [
            ("12", Frame::Integer(12), Frame::Integer(13)),
            ("-1", Frame::Integer(-1), Frame::Integer(1)),
            ("3..5", Frame::Integer(5), Frame::Integer(6)),
            ("0.5", bulk("0.5"), bulk("0.6")),
            ("+OK", Frame::Simple("OK".into()), bulk("OK")),
            ("+All is well", Frame::Simple("All is well".into()), Frame::Simple("All".into())),
            ("-ERR no", Frame::Error("ERR no".into()), Frame::Error("ERR not".into())),
            ("-ERR no*", Frame::Error("ERR not".into()), Frame::Error("ERR".into())),
            (
                "[-\"ERR no\" 1]",
                array([Frame::Error("ERR no".into()), Frame::Integer(1)]),
                array([Frame::Error("ERR not".into()), Frame::Integer(1)]),
            ),
            ("\"a\\x62\"", bulk("ab"), bulk("abc")),
            ("\"a\"*", bulk("ab"), bulk("ba")),
            ("nil", Frame::Nil, bulk("")),
            (
                "[1 [nil] \"]\"]",
                array([Frame::Integer(1), array([Frame::Nil]), bulk("]")]),
                Frame::Nil,
            ),
            ("~[1 2]", array([Frame::Integer(2), Frame::Integer(1)]), array([Frame::Integer(2)])),
            ("{\"a\" 1}", array([bulk("a"), Frame::Integer(1)]), array([bulk("a")])),
            ("{\"a\" 1}", Frame::Map(vec![(bulk("a"), Frame::Integer(1))]), Frame::Map(vec![])),
            ("*", bulk("x"), Frame::Error("ERR".into())),
            ("[...]", array([]), Frame::Nil),
        ];
        for (text, right, wrong) in cases {
            let expect = Expect::parse(text).unwrap();
            assert!(expect.admits(&right), "{text} {right:?}");
            assert!(!expect.admits(&wrong), "{text} {wrong:?}");
        }
        for text in ["", "[1", "\"a", "OK", "1 2"] {
            assert!(Expect::parse(text).is_err(), "{text:?}");
        }
    }

    fn array<const N: usize>(items: [Frame; N]) -> Frame {
        Frame::Array(items.to_vec())
    }
}
