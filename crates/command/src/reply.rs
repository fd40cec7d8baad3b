//! What a client is told.

use bytes::Bytes;

use crate::CommandError;

/// A reply, independent of the wire.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// `OK`.
    Ok,
    /// A short status of ours, such as `PONG` or `QUEUED`.
    Status(&'static str),
    /// An integer.
    Integer(i64),
    /// Bytes.
    Bulk(Bytes),
    /// Text for people; RESP3 marks it as verbatim.
    Text(Bytes),
    /// No value.
    Nil,
    /// No array: an EXEC whose watched keys changed.
    NilArray,
    /// An array.
    Array(Vec<Reply>),
    /// A set; RESP2 sends an array.
    Set(Vec<Reply>),
    /// A map; RESP2 sends keys and values in turn.
    Map(Vec<(Reply, Reply)>),
    /// A floating point number; RESP2 sends its text.
    Double(f64),
    /// A refusal or failure.
    Error(Box<CommandError>),
}

impl Reply {
    /// A bulk reply that copies `bytes`.
    pub fn bulk(bytes: impl AsRef<[u8]>) -> Self {
        Self::Bulk(Bytes::copy_from_slice(bytes.as_ref()))
    }

    /// About how many bytes it takes, itself among them.
    pub fn heap_bytes(&self) -> usize {
        let inner = match self {
            Self::Bulk(bytes) | Self::Text(bytes) => bytes.len(),
            Self::Array(replies) | Self::Set(replies) => replies.iter().map(Self::heap_bytes).sum(),
            Self::Map(pairs) => {
                pairs.iter().map(|(key, value)| key.heap_bytes() + value.heap_bytes()).sum()
            }
            Self::Ok
            | Self::Status(_)
            | Self::Integer(_)
            | Self::Nil
            | Self::NilArray
            | Self::Double(_)
            | Self::Error(_) => 0,
        };
        size_of::<Self>() + inner
    }

    /// Whether this is an error.
    pub fn is_error(&self) -> bool {
        matches!(self, Self::Error(_))
    }
}

impl From<CommandError> for Reply {
    fn from(error: CommandError) -> Self {
        Self::Error(Box::new(error))
    }
}

impl From<Result<Reply, CommandError>> for Reply {
    fn from(result: Result<Reply, CommandError>) -> Self {
        result.unwrap_or_else(Self::from)
    }
}
