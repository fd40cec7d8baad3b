//! How a command ends: its exit code, and what it says on stderr when it fails.
//!
//! Scripts rely on the codes, so they are fixed; `docs/cli.md` lists them. A command that only has
//! an answer returns its [`Code`]; one that fails returns an error, and whoever knows more than
//! "failed" gives the error a code and a hint by [`Failing`].
//!
//! ```text
//! error: no connection to 127.0.0.1:6379: Connection refused
//! hint: is the server running? say where with --addr HOST:PORT or BITROSTER_ADDR
//! ```

use std::{fmt, io, process::ExitCode};

/// What an exit code means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// Done.
    Done,
    /// It ran, but the answer is bad: degraded, not equal, refused by the server.
    Bad,
    /// Wrong arguments. clap uses the same.
    Usage,
    /// Nobody answers there.
    Unreachable,
    /// The server does not let this user in, or not do this.
    Denied,
    /// No answer in time: what was asked may or may not have been done.
    Unknown,
    /// Something else holds or is what was to be held or made: a lock, a version, a key.
    Conflict,
    /// Some of it was done, some was not.
    #[allow(dead_code, reason = "for commands that copy much")]
    Partly,
    /// Ctrl-C.
    #[allow(dead_code, reason = "for commands that clean up first; others end by the signal")]
    Interrupted,
}

impl Code {
    /// The process's exit code.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Bad => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::Denied => 4,
            Self::Unknown => 5,
            Self::Conflict => 6,
            Self::Partly => 7,
            Self::Interrupted => 130,
        }
    }

    /// What a server's error reply means, by the word it begins with.
    pub(crate) fn of_reply(text: &[u8]) -> Self {
        let end = text.iter().position(|byte| *byte == b' ').unwrap_or(text.len());
        match &text[..end] {
            b"NOAUTH" | b"WRONGPASS" | b"NOPERM" | b"DENIED" => Self::Denied,
            b"UNKNOWNOUTCOME" => Self::Unknown,
            b"BUSYKEY" | b"EXECABORT" => Self::Conflict,
            // Redis before 6 has no word of its own for it.
            b"ERR" if text.starts_with(b"ERR invalid password") => Self::Denied,
            _ => Self::Bad,
        }
    }

    /// What a failed read or write of a socket means; `connected` says whether it ever was.
    pub(crate) fn of_io(error: &io::Error, connected: bool) -> Self {
        if connected && error.kind() != io::ErrorKind::ConnectionRefused {
            Self::Unknown
        } else {
            Self::Unreachable
        }
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code.number())
    }
}

/// An error that knows its exit code, and perhaps what to do about it.
#[derive(Debug)]
pub(crate) struct Failure {
    code: Code,
    error: anyhow::Error,
    hint: Option<String>,
}

impl Failure {
    /// A failure with this text: what, where and why, lower case and without a full stop.
    pub(crate) fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, error: anyhow::Error::msg(text.into()), hint: None }
    }

    /// The failure with what to do next.
    #[must_use]
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The whole chain at once: a failure is the end of it.
        write!(f, "{:#}", self.error)
    }
}

impl std::error::Error for Failure {}

/// Gives an error its exit code.
pub(crate) trait Failing<T> {
    /// The error with this code. One that has a code already keeps it.
    ///
    /// # Errors
    ///
    /// The error.
    fn failing(self, code: Code) -> anyhow::Result<T>;

    /// The error with this code and what to do next. One that has a code already keeps all it has.
    ///
    /// # Errors
    ///
    /// The error.
    fn failing_with(self, code: Code, hint: impl Into<String>) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> Failing<T> for Result<T, E> {
    fn failing(self, code: Code) -> anyhow::Result<T> {
        self.map_err(|error| classified(error.into(), code, None))
    }

    fn failing_with(self, code: Code, hint: impl Into<String>) -> anyhow::Result<T> {
        self.map_err(|error| classified(error.into(), code, Some(hint.into())))
    }
}

fn classified(error: anyhow::Error, code: Code, hint: Option<String>) -> anyhow::Error {
    if failure_of(&error).is_some() {
        return error;
    }
    Failure { code, error, hint }.into()
}

fn failure_of(error: &anyhow::Error) -> Option<&Failure> {
    let within = || error.chain().find_map(|cause| cause.downcast_ref::<Failure>());
    error.downcast_ref::<Failure>().or_else(within)
}

/// Whoever read this program's output has gone; there is nothing to say about it.
#[derive(Debug)]
pub(crate) struct OutputClosed;

impl fmt::Display for OutputClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody reads the output")
    }
}

impl std::error::Error for OutputClosed {}

/// Ends the command: says what failed, if anything, and gives the exit code.
pub(crate) fn end(done: anyhow::Result<Code>) -> ExitCode {
    match done {
        Ok(code) => code.into(),
        Err(error) if error.is::<OutputClosed>() => Code::Done.into(),
        Err(error) => {
            complain(&error);
            code_of(&error).into()
        }
    }
}

/// The exit code of an error; "bad" where nobody said.
pub(crate) fn code_of(error: &anyhow::Error) -> Code {
    failure_of(error).map_or(Code::Bad, |failure| failure.code)
}

#[expect(clippy::print_stderr, reason = "the last word of a failed command")]
fn complain(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
    if let Some(hint) = failure_of(error).and_then(|failure| failure.hint.as_ref()) {
        eprintln!("hint: {hint}");
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn an_error_keeps_the_first_code_that_it_was_given() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let error = Err::<(), _>(refused)
            .context("no connection to a:1")
            .failing_with(Code::Unreachable, "start it")
            .context("cannot import")
            .failing(Code::Partly)
            .unwrap_err();
        assert_eq!(code_of(&error), Code::Unreachable);
        assert_eq!(format!("{error:#}"), "cannot import: no connection to a:1: connection refused");
        assert_eq!(failure_of(&error).unwrap().hint.as_deref(), Some("start it"));
        assert_eq!(code_of(&anyhow::anyhow!("any other")), Code::Bad);
    }

    #[test]
    fn replies_are_sorted_by_their_first_word() {
        for (text, code) in [
            ("NOAUTH Authentication required.", Code::Denied),
            ("WRONGPASS invalid username-password pair", Code::Denied),
            ("NOPERM this user has no permissions", Code::Denied),
            ("UNKNOWNOUTCOME the write may or may not be applied", Code::Unknown),
            ("BUSYKEY Target key name already exists.", Code::Conflict),
            ("ERR syntax error", Code::Bad),
            ("NOAUTHORITY", Code::Bad),
            ("", Code::Bad),
        ] {
            assert_eq!(Code::of_reply(text.as_bytes()), code, "{text}");
        }
    }

    #[test]
    fn a_connection_that_breaks_leaves_the_outcome_unknown() {
        let error = |kind| io::Error::from(kind);
        let reset = error(io::ErrorKind::ConnectionReset);
        assert_eq!(Code::of_io(&reset, true), Code::Unknown);
        assert_eq!(Code::of_io(&error(io::ErrorKind::TimedOut), false), Code::Unreachable);
        assert_eq!(Code::of_io(&error(io::ErrorKind::TimedOut), true), Code::Unknown);
        assert_eq!(Code::of_io(&error(io::ErrorKind::ConnectionRefused), true), Code::Unreachable);
    }
}
