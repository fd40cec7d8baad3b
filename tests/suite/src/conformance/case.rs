//! The files of cases.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail};

use super::expect::Expect;
use crate::server::workspace;

/// Some requests in order, and the replies they must get.
#[derive(Debug)]
pub struct Case {
    /// The file's name.
    pub file: String,
    /// The line of its name.
    pub line: usize,
    /// A sentence about what holds.
    pub name: String,
    /// Not on Redis.
    pub is_own: bool,
    /// Needs the state of a connection.
    pub is_session: bool,
    /// Needs a node that keeps data itself, which a router does not.
    pub is_lone: bool,
    /// The requests.
    pub exchanges: Vec<Exchange>,
}

/// A request and its reply.
#[derive(Debug)]
pub struct Exchange {
    /// The request's line.
    pub line: usize,
    /// The request as it is written.
    pub text: String,
    /// Its arguments.
    pub request: Vec<Vec<u8>>,
    /// How often it is sent.
    pub sending: Sending,
    /// What must be answered.
    pub reply: Expect,
}

/// How often a request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sending {
    /// Once.
    Once,
    /// With each cursor that is answered, until that is 0: `@all`.
    All,
    /// Until the reply is the expected one: `@until`.
    Until,
}

impl Sending {
    /// What stands in front of a request, and the request.
    fn split(text: &str) -> (Self, &str) {
        if let Some(request) = text.strip_prefix("@all ") {
            (Self::All, request)
        } else if let Some(request) = text.strip_prefix("@until ") {
            (Self::Until, request)
        } else {
            (Self::Once, text)
        }
    }
}

/// All cases, by file.
///
/// # Panics
///
/// If a file is malformed; the message names the line.
pub fn cases() -> Vec<Case> {
    let folder = workspace().join("tests/conformance/cases");
    let mut files: Vec<_> = fs::read_dir(&folder)
        .expect("the folder of cases is there")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    files.sort();
    let read = |path: &std::path::PathBuf| {
        let text = fs::read_to_string(path).expect("a readable file");
        let name = path.file_name().map(Path::new).unwrap_or(path).display().to_string();
        parse(&name, &text).unwrap_or_else(|error| panic!("{name}: {error:#}"))
    };
    files.iter().flat_map(read).collect()
}

/// The cases of one file.
///
/// # Errors
///
/// A request without a reply, a reply without a request, or a line that cannot be read.
pub fn parse(file: &str, text: &str) -> Result<Vec<Case>> {
    let mut cases: Vec<Case> = Vec::new();
    let mut pending: Option<(usize, &str)> = None;
    for (at, line) in text.lines().enumerate() {
        let (number, line) = (at + 1, line.trim());
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix("==") {
            if let Some((line, text)) = pending {
                bail!("line {line}: no reply follows {text:?}");
            }
            cases.push(Case {
                file: file.to_owned(),
                line: number,
                name: name.trim().to_owned(),
                is_own: line.contains("(own"),
                is_session: line.contains("session)"),
                is_lone: line.contains("lone)"),
                exchanges: Vec::new(),
            });
            continue;
        }
        let Some(reply) = line.strip_prefix("=>") else {
            if let Some((line, text)) = pending.replace((number, line)) {
                bail!("line {line}: no reply follows {text:?}");
            }
            continue;
        };
        let Some((asked, text)) = pending.take() else { bail!("line {number}: no request") };
        let case = cases.last_mut().with_context(|| format!("line {number}: no case"))?;
        let (sending, request) = Sending::split(text);
        case.exchanges.push(Exchange {
            line: asked,
            text: text.to_owned(),
            request: words(request).with_context(|| format!("line {asked}"))?,
            sending,
            reply: Expect::parse(reply).with_context(|| format!("line {number}"))?,
        });
    }
    match pending {
        Some((line, text)) => bail!("line {line}: no reply follows {text:?}"),
        None => Ok(cases),
    }
}

/// A line as words, as redis-cli splits it: quotes hold blanks and escapes together.
///
/// # Errors
///
/// A quote that does not end, or an escape that is none.
pub fn words(line: &str) -> Result<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        if first == '"' {
            let (word, after) = quoted(rest)?;
            words.push(word);
            rest = after.trim_start();
        } else {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            words.push(rest.as_bytes()[..end].to_vec());
            rest = rest[end..].trim_start();
        }
    }
    Ok(words)
}

/// The bytes of a quoted string at the start of `text`, and what follows it. A backslash goes
/// before a quote, a backslash, `n`, `r`, `t`, and `x` with two hexadecimal digits.
pub(super) fn quoted(text: &str) -> Result<(Vec<u8>, &str)> {
    let mut bytes = Vec::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Ok((bytes, &text[at + 1..])),
            '\\' => {
                let (at, escape) = chars.next().context("an escape at the line's end")?;
                match escape {
                    'n' => bytes.push(b'\n'),
                    'r' => bytes.push(b'\r'),
                    't' => bytes.push(b'\t'),
                    '"' | '\\' => bytes.push(u8::try_from(escape)?),
                    'x' => {
                        let digits = text.get(at + 1..at + 3).context("two digits after \\x")?;
                        bytes.push(u8::from_str_radix(digits, 16)?);
                        chars.nth(1);
                    }
                    other => bail!("no escape: \\{other}"),
                }
            }
            other => bytes.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bail!("a quote does not end: {text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_cases_of_requests_and_replies() {
        let text = "# note\n\n== a name (own)\nSET k \"a b\\x00\\\"\"\n=> +OK\nGET k\n=> nil\n";
        let cases = parse("f", text).unwrap();
        assert_eq!((cases.len(), cases[0].exchanges.len()), (1, 2));
        assert!(cases[0].is_own && !cases[0].is_session);
        assert_eq!(cases[0].exchanges[0].request[2], b"a b\0\"");
    }

    #[test]
    fn a_request_may_be_sent_more_than_once() {
        let text = "== a\n@all SCAN 0\n=> []\n@until SCAN 0\n=> *\nSCAN 0\n=> *\n";
        let cases = parse("f", text).unwrap();
        let sendings: Vec<_> = cases[0].exchanges.iter().map(|one| one.sending).collect();
        assert_eq!(sendings, [Sending::All, Sending::Until, Sending::Once]);
        assert!(cases[0].exchanges.iter().all(|one| one.request == [b"SCAN".as_slice(), b"0"]));
    }

    #[test]
    fn a_file_with_something_missing_is_refused() {
        for text in ["== a\nGET k\n", "== a\nGET k\n== b\n", "== a\n=> 1\n", "GET k\n=> 1\n"] {
            assert!(parse("f", text).is_err(), "{text:?}");
        }
    }
}
