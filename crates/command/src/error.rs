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
