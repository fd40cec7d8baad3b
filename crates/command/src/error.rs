//! Every refusal, in Redis's words where Redis has them.

use std::time::Duration;

/// A refused or failed command.
///
/// The text is the whole RESP error line, with its code in front. Texts that Redis also sends are
/// Redis's own, word for word.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The arguments do not fit the command's syntax.
    #[error("ERR syntax error")]
    Syntax,
    /// Not an integer, or outside 64 bits.
    #[error("ERR value is not an integer or out of range")]
    NotAnInteger,
    /// A text of Redis's that needs no fields.
    #[error("{0}")]
    Text(&'static str),
    /// A text with a value in it.
    #[error("{0}")]
    Message(String),
    /// Memory is above `maxmemory`.
    #[error("OOM command not allowed when used memory > 'maxmemory'.")]
    OutOfMemory,
    /// No leader answered before the deadline; nothing was applied.
    #[error("CLUSTERDOWN no leader of group {group} within the deadline; nothing was applied")]
    NoLeader {
        /// The group.
        group: u16,
    },
    /// The write was sent and not answered.
    #[error("UNKNOWNOUTCOME no answer within {waited:?}; the write may or may not be applied")]
    OutcomeUnknown {
        /// How long the router waited.
        waited: Duration,
    },
    /// A replica still recovers.
    #[error("LOADING Bitroster is loading the dataset in memory")]
    Loading,
    /// The request was refused before anything was done, to protect others.
    #[error("BUSY {0}")]
    Busy(&'static str),
}

/// What a client may do after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Nothing was applied, and the same request fails again until something else changes.
    Never,
    /// Nothing was applied; the same request may succeed.
    Safe,
    /// The request may have been applied; send it again only if applying it twice is harmless.
    IfIdempotent,
}

/// Texts of Redis's that more than one place sends.
impl CommandError {
    /// The offset of a bit is no integer, negative, or past the largest bitmap.
    pub const BIT_OFFSET: Self = Self::Text("ERR bit offset is not an integer or out of range");
    /// The bit to write is neither 0 nor 1.
    pub const BIT_VALUE: Self = Self::Text("ERR bit is not an integer or out of range");
    /// The bit to look for is neither 0 nor 1.
    pub const BIT_ARGUMENT: Self = Self::Text("ERR The bit argument must be 1 or 0.");
    /// BITFIELD's type is none of i1 to i64 and u1 to u63.
    pub const FIELD_TYPE: Self = Self::Text(
        "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but \
         i64 is.",
    );
    /// BITFIELD's OVERFLOW is none of WRAP, SAT and FAIL.
    pub const FIELD_OVERFLOW: Self = Self::Text("ERR Invalid OVERFLOW type specified");
    /// BITFIELD_RO with something other than GET.
    pub const FIELD_READ_ONLY: Self =
        Self::Text("ERR BITFIELD_RO only supports the GET subcommand");
    /// A byte offset is negative.
    pub const OFFSET: Self = Self::Text("ERR offset is out of range");
    /// A range whose end is before its start.
    pub const RANGE: Self = Self::Text("ERR the range ends before it begins");
    /// The id of a presence bitmap is no integer, negative, or too large.
    pub const ID: Self = Self::Text("ERR id is not an integer or out of range");
    /// A limit of offsets or a count that is no positive integer, or too large.
    pub const LIMIT: Self = Self::Text("ERR limit is not an integer or out of range");
    /// Not one of the dates `2026-11-21T09`, `2026-11-21`, `2026-W47` and `2026-11`.
    pub const DATE: Self =
        Self::Text("ERR not a date: use 2026-11-21T09, 2026-11-21, 2026-W47 or 2026-11");
    /// DUMP's bytes are damaged or of an unknown version.
    pub const DUMP_CHECKSUM: Self = Self::Text("ERR DUMP payload version or checksum are wrong");
    /// DUMP's bytes hold no bitmap.
    pub const DUMP_FORMAT: Self = Self::Text("ERR Bad data format");
    /// RESTORE onto a key that exists.
    pub const BUSY_KEY: Self = Self::Text("BUSYKEY Target key name already exists.");
    /// A value is or would become longer than allowed.
    pub const VALUE_LENGTH: Self =
        Self::Text("ERR string exceeds maximum allowed size (proto-max-bulk-len)");
    /// INCR and its relatives would leave 64 bits.
    pub const INCREMENT: Self = Self::Text("ERR increment or decrement would overflow");
    /// DECRBY of the least integer.
    pub const DECREMENT: Self = Self::Text("ERR decrement would overflow");
    /// EXPIRE with NX and one of the others.
    pub const EXPIRE_NX: Self =
        Self::Text("ERR NX and XX, GT or LT options at the same time are not compatible");
    /// EXPIRE with GT and LT.
    pub const EXPIRE_GT_LT: Self =
        Self::Text("ERR GT and LT options at the same time are not compatible");
    /// SCAN's cursor is no number.
    pub const CURSOR: Self = Self::Text("ERR invalid cursor");
    /// There is one database only.
    pub const DATABASE: Self = Self::Text("ERR DB index is out of range");
    /// COPY of a key onto itself.
    pub const SAME_KEY: Self = Self::Text("ERR source and destination objects are the same");
    /// A key that is made of a name and a date is longer than a key may be.
    pub const KEY_LENGTH: Self = Self::Text("ERR a key is longer than 65536 bytes");
    /// RENAME of a key that does not exist.
    pub const NO_SUCH_KEY: Self = Self::Text("ERR no such key");
    /// HELLO with a protocol other than 2 and 3.
    pub const PROTOCOL: Self = Self::Text("NOPROTO unsupported protocol version");
    /// A connection's name with a blank or an unprintable byte.
    pub const CLIENT_NAME: Self =
        Self::Text("ERR Client names cannot contain spaces, newlines or special characters.");
    /// A group keeps as many sessions of routers as it may.
    pub const SESSIONS: Self = Self::Busy("too many sessions are open; nothing was applied");
    /// A session has as many batches without a confirmed answer as it may.
    pub const SESSION_WINDOW: Self =
        Self::Busy("too many batches of a session are unanswered; nothing was applied");

    /// Too few or too many arguments. `name` is the command's, lower case; a sub-command's is
    /// `config|get`.
    pub fn wrong_arity(name: &str) -> Self {
        Self::Message(format!("ERR wrong number of arguments for '{name}' command"))
    }

    /// An expiry that is not positive where it must be, or too far away. `name` is the command's,
    /// lower case.
    pub fn expire_time(name: &str) -> Self {
        Self::Message(format!("ERR invalid expire time in '{name}' command"))
    }
}

impl CommandError {
    /// Whether sending the same request again can help, and at what risk.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Syntax | Self::NotAnInteger | Self::Text(_) | Self::Message(_) => Retry::Never,
            Self::OutOfMemory | Self::NoLeader { .. } | Self::Loading | Self::Busy(_) => {
                Retry::Safe
            }
            Self::OutcomeUnknown { .. } => Retry::IfIdempotent,
        }
    }
}
