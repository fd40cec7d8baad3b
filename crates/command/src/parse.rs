//! Arguments to commands, as Redis reads them.
//!
//! One function a command, in one file a group; the table names them. Where Redis's versions check
//! arguments in different orders, the newest order holds: name, number of arguments, then the
//! arguments before any key is looked at.

pub(crate) mod admin;
pub(crate) mod alias;
pub(crate) mod bitmap;
pub(crate) mod bits;
pub(crate) mod channel;
pub(crate) mod dated;
mod expiry;
pub(crate) mod keyspace;
pub(crate) mod name;
mod number;
pub(crate) mod query;
pub(crate) mod session;
pub(crate) mod string;
pub(crate) mod transfer;
mod words;

use bitroster_types::{
    Key,
    limits::{BITMAP_BITS_DEFAULT, BULK_BYTES_MAX, KEY_BYTES_MAX},
};
use bytes::Bytes;

pub use number::parse_i64;
pub use session::is_client_name;

use crate::{Command, CommandError, table::CommandSpec, table::lookup};

/// How many bytes of an unknown command, and of its arguments, its refusal shows. Redis's.
const ECHO_BYTES_MAX: usize = 128;

/// What a request may ask for at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseLimits {
    /// Bits of a bitmap, at most [`BITMAP_BITS_MAX`](bitroster_types::limits::BITMAP_BITS_MAX);
    /// Redis's 2^32 by default.
    pub bitmap_bits_max: u64,
    /// Bytes of a value that is sent whole; Redis's 512 MiB by default.
    pub bulk_bytes_max: usize,
}

impl Default for ParseLimits {
    fn default() -> Self {
        Self { bitmap_bits_max: BITMAP_BITS_DEFAULT, bulk_bytes_max: BULK_BYTES_MAX }
    }
}

/// A row's parser.
pub(crate) type Parser = fn(&Request<'_>) -> Parsed;

type Parsed = Result<Command, CommandError>;

/// A request whose name and number of arguments are known to be good.
pub(crate) struct Request<'a> {
    pub(crate) spec: &'static CommandSpec,
    /// With the name in front.
    pub(crate) args: &'a [&'a [u8]],
    pub(crate) limits: &'a ParseLimits,
}

impl<'a> Request<'a> {
    /// The key at this place.
    fn key(&self, place: usize) -> Result<Key, CommandError> {
        key(self.args[place])
    }

    /// The keys from this place on.
    fn keys(&self, place: usize) -> Result<Vec<Key>, CommandError> {
        self.args[place..].iter().map(|name| key(name)).collect()
    }

    /// The value at this place.
    fn value(&self, place: usize) -> Result<Bytes, CommandError> {
        let value = self.args[place];
        if value.len() > self.limits.bulk_bytes_max {
            return Err(CommandError::VALUE_LENGTH);
        }
        Ok(Bytes::copy_from_slice(value))
    }

    /// The integer at this place.
    fn integer(&self, place: usize) -> Result<i64, CommandError> {
        integer(self.args[place])
    }

    /// The arguments from this place on.
    fn rest(&self, place: usize) -> &'a [&'a [u8]] {
        &self.args[place..]
    }

    /// Too few or too many arguments in a way that the arity does not tell.
    fn wrong_arity(&self) -> CommandError {
        CommandError::wrong_arity(self.spec.name)
    }
}

/// Parses one request. `args[0]` is the command's name, in any case.
///
/// Costs a copy of keys and values; a short key and no value allocate nothing.
///
/// # Errors
///
/// The first thing that is wrong, in Redis's order and words: name, number of arguments, then the
/// arguments. All are [`Retry::Never`](crate::Retry::Never).
///
/// ```
/// use bitroster_command::{ParseLimits, parse};
/// let limits = ParseLimits::default();
/// assert!(parse(&[b"SETBIT", b"k", b"7", b"1"], &limits).is_ok());
/// let error = parse(&[b"setbit", b"k", b"-1", b"1"], &limits).unwrap_err();
/// assert_eq!(error.to_string(), "ERR bit offset is not an integer or out of range");
/// ```
pub fn parse(args: &[&[u8]], limits: &ParseLimits) -> Result<Command, CommandError> {
    match args.first().and_then(|name| lookup(name)) {
        Some(spec) => spec.parse(args, limits),
        None => Err(unknown(args)),
    }
}

/// The refusal of a command that is not in the table, as Redis 7.0 words it.
#[cold]
fn unknown(args: &[&[u8]]) -> CommandError {
    let mut echoed = String::new();
    for arg in args.iter().skip(1) {
        if echoed.len() >= ECHO_BYTES_MAX {
            break;
        }
        let arg = printable(arg, ECHO_BYTES_MAX - echoed.len());
        echoed.push_str(&format!("'{arg}' "));
    }
    let name = printable(args.first().copied().unwrap_or_default(), ECHO_BYTES_MAX);
    CommandError::Message(format!(
        "ERR unknown command '{name}', with args beginning with: {echoed}"
    ))
}

/// An argument as an error may show it inside: cut, up to the first zero byte, and with spaces for
/// line ends.
fn printable(arg: &[u8], bytes_max: usize) -> String {
    let arg = &arg[..arg.len().min(bytes_max)];
    let len = arg.iter().position(|byte| *byte == 0).unwrap_or(arg.len());
    String::from_utf8_lossy(&arg[..len]).replace(['\r', '\n'], " ")
}

/// An argument as an error may show it at its end, where Redis drops line ends.
fn printable_at_end(arg: &[u8]) -> String {
    let len = arg.iter().position(|byte| *byte == 0).unwrap_or(arg.len());
    let shown = &arg[..len];
    let kept = shown.iter().rposition(|byte| !b"\r\n".contains(byte)).map_or(0, |at| at + 1);
    printable(&shown[..kept], kept)
}

fn key(name: &[u8]) -> Result<Key, CommandError> {
    Key::new(name).ok_or_else(|| {
        let len = name.len();
        CommandError::Message(format!("ERR key of {len} bytes is longer than {KEY_BYTES_MAX}"))
    })
}

fn integer(arg: &[u8]) -> Result<i64, CommandError> {
    parse_i64(arg).ok_or(CommandError::NotAnInteger)
}

/// Whether an argument is this word, in any case.
fn is(arg: &[u8], word: &str) -> bool {
    arg.eq_ignore_ascii_case(word.as_bytes())
}
