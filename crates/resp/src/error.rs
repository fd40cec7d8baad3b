//! Why a stream of bytes was refused.

use std::fmt;

/// A client broke the protocol. The connection cannot go on: nobody knows where the next request
/// begins.
///
/// The text is Redis's, word for word; a session sends it after `-ERR ` and closes, unless
/// [`is_silent`](Self::is_silent).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// The number of arguments is no number or too large.
    #[error("Protocol error: invalid multibulk length")]
    InvalidMultibulkLength,
    /// An argument does not begin with a dollar sign.
    #[error("Protocol error: expected '$', got '{0}'")]
    ExpectedBulk(Got),
    /// An argument's length is no number, negative or too large.
    #[error("Protocol error: invalid bulk length")]
    InvalidBulkLength,
    /// The line with the number of arguments does not end.
    #[error("Protocol error: too big mbulk count string")]
    MultibulkLineTooLong,
    /// The line with an argument's length does not end.
    #[error("Protocol error: too big bulk count string")]
    BulkLineTooLong,
    /// An inline request does not end.
    #[error("Protocol error: too big inline request")]
    InlineTooLong,
    /// An inline request opens a quote and does not close it before a space or the line's end.
    #[error("Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
    /// More arguments than a client may send before it logs in.
    #[error("Protocol error: unauthenticated multibulk length")]
    UnauthenticatedMultibulkLength,
    /// A longer argument than a client may send before it logs in.
    #[error("Protocol error: unauthenticated bulk length")]
    UnauthenticatedBulkLength,
    /// An argument is not followed by CR LF.
    #[error("Protocol error: invalid CRLF in request")]
    InvalidTerminator,
    /// The request as a whole is too large. Redis closes without a word here.
    #[error("request exceeds {max} bytes", max = bitroster_types::limits::REQUEST_BYTES_MAX)]
    RequestTooLong,
    /// The line is the start or a header of an HTTP request: somebody lures a browser into
    /// sending us commands. Redis closes without a word here.
    #[error("possible cross-protocol attack: the line begins with POST or Host:")]
    CrossProtocol,
}

impl ProtocolError {
    /// Whether to close the connection without a reply and only log the error.
    pub fn is_silent(&self) -> bool {
        matches!(self, Self::CrossProtocol | Self::RequestTooLong)
    }
}

/// The byte that stood where another was expected; shown as Redis echoes it: CR and LF, which
/// would break the reply, as spaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Got(pub u8);

impl fmt::Display for Got {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            b'\r' | b'\n' => f.write_str(" "),
            byte => write!(f, "{}", char::from(byte)),
        }
    }
}

/// A server's reply is malformed or exceeds a limit. The connection cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// No frame begins with this byte.
    #[error("no reply begins with byte {0:#04x}")]
    UnknownType(u8),
    /// A length or number is malformed, or a length is negative.
    #[error("malformed number in a reply")]
    InvalidNumber,
    /// A boolean, double, null or verbatim string is malformed.
    #[error("malformed value in a reply")]
    InvalidValue,
    /// CR LF is missing where a line or bulk must end.
    #[error("a line or bulk of a reply does not end in CR LF")]
    InvalidTerminator,
    /// A line does not end.
    #[error("a line of a reply exceeds {max} bytes")]
    LineTooLong {
        /// The limit in force.
        max: usize,
    },
    /// A bulk is too long.
    #[error("a bulk of {len} bytes exceeds {max}")]
    BulkTooLong {
        /// The announced length.
        len: u64,
        /// The limit in force.
        max: usize,
    },
    /// Aggregates are nested too deeply.
    #[error("a reply is nested more than {max} deep")]
    TooDeep {
        /// The limit in force.
        max: usize,
    },
    /// The reply has too many elements.
    #[error("a reply has more than {max} elements")]
    TooManyElements {
        /// The limit in force.
        max: usize,
    },
}
