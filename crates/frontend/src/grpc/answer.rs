//! Replies to what calls answer.

use bitroster_command::{CommandError, Reply, Retry};
use bitroster_proto::public::{self, RetryAdvice, reply::Value};
use bytes::Bytes;
use tonic::Status;

use super::fault;

/// A reply that is no error.
#[derive(Debug)]
pub(super) struct Answer(pub(super) Reply);

/// One page of a listing.
#[derive(Debug)]
pub(super) struct Page {
    /// Where to go on; 0 at the end.
    pub(super) next: u64,
    pub(super) items: Vec<Answer>,
}

impl Answer {
    pub(super) fn integer(self) -> Result<i64, Status> {
        if let Reply::Integer(number) = self.0 { Ok(number) } else { Err(self.unexpected()) }
    }

    /// Whether there is no value.
    pub(super) fn is_nil(&self) -> bool {
        matches!(self.0, Reply::Nil)
    }

    /// An integer that is a number of something.
    pub(super) fn count(self) -> Result<u64, Status> {
        let number = self.integer()?;
        u64::try_from(number).map_err(|_| Self(Reply::Integer(number)).unexpected())
    }

    /// 0 or 1.
    pub(super) fn flag(self) -> Result<bool, Status> {
        Ok(self.integer()? != 0)
    }

    /// Bytes, if there are any.
    pub(super) fn bytes(self) -> Result<Option<Bytes>, Status> {
        if let Reply::Bulk(bytes) | Reply::Text(bytes) = self.0 {
            return Ok(Some(bytes));
        }
        if self.is_nil() { Ok(None) } else { Err(self.unexpected()) }
    }

    /// Whether something was done: `OK`, or nil where a condition did not hold.
    pub(super) fn done(self) -> Result<bool, Status> {
        let is_ok = matches!(self.0, Reply::Ok);
        if is_ok || self.is_nil() { Ok(is_ok) } else { Err(self.unexpected()) }
    }

    pub(super) fn items(self) -> Result<Vec<Self>, Status> {
        if let Reply::Array(items) | Reply::Set(items) = self.0 {
            return Ok(items.into_iter().map(Self).collect());
        }
        Err(self.unexpected())
    }

    pub(super) fn counts(self) -> Result<Vec<u64>, Status> {
        self.items()?.into_iter().map(Self::count).collect()
    }

    /// A cursor and an array, as SCAN answers.
    pub(super) fn page(self) -> Result<Page, Status> {
        let mut parts = self.items()?.into_iter();
        let (Some(next), Some(items), None) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Self(Reply::Nil).unexpected());
        };
        Ok(Page { next: next.decimal()?, items: items.items()? })
    }

    /// Keys and values of a map by name; `None` where there is no map.
    pub(super) fn map(self) -> Result<Option<Vec<(Bytes, Self)>>, Status> {
        if self.is_nil() {
            return Ok(None);
        }
        let Reply::Map(pairs) = self.0 else { return Err(self.unexpected()) };
        let named = |(name, value)| Ok((Self(name).bytes()?.unwrap_or_default(), Self(value)));
        pairs.into_iter().map(named).collect::<Result<_, Status>>().map(Some)
    }

    /// Digits as bytes.
    fn decimal(self) -> Result<u64, Status> {
        let bytes = self.bytes()?.unwrap_or_default();
        let digits = std::str::from_utf8(&bytes).ok().and_then(|text| text.parse().ok());
        digits.ok_or_else(|| Self(Reply::Bulk(bytes)).unexpected())
    }

    fn unexpected(&self) -> Status {
        let kind = match &self.0 {
            Reply::Ok | Reply::Status(_) => "a status",
            Reply::Integer(_) => "an integer",
            Reply::Bulk(_) | Reply::Text(_) => "bytes",
            Reply::Nil | Reply::NilArray => "nothing",
            Reply::Array(_) | Reply::Set(_) => "an array",
            Reply::Map(_) => "a map",
            Reply::Double(_) => "a floating point number",
            Reply::Error(_) => "an error",
        };
        Status::internal(format!("a command answered {kind}, which its call cannot"))
    }
}

/// A reply as a message; errors are in it. Recurses as deep as the reply is nested, which our own
/// replies decide.
pub(super) fn message_of(reply: Reply) -> public::Reply {
    let items = |items: Vec<Reply>| items.into_iter().map(message_of).collect();
    let value = match reply {
        Reply::Ok => Some(Value::Status("OK".to_owned())),
        Reply::Status(text) => Some(Value::Status(text.to_owned())),
        Reply::Integer(number) => Some(Value::Integer(number)),
        Reply::Bulk(bytes) => Some(Value::Bulk(bytes)),
        Reply::Text(text) => Some(Value::Text(String::from_utf8_lossy(&text).into_owned())),
        Reply::Nil | Reply::NilArray => None,
        Reply::Array(replies) => Some(Value::Array(public::Array { items: items(replies) })),
        Reply::Set(replies) => Some(Value::Set(public::Array { items: items(replies) })),
        Reply::Map(pairs) => {
            let entry = |(key, value)| public::MapEntry {
                key: Some(message_of(key)),
                value: Some(message_of(value)),
            };
            Some(Value::Map(public::Map { entries: pairs.into_iter().map(entry).collect() }))
        }
        Reply::Double(number) => Some(Value::Double(number)),
        Reply::Error(error) => Some(Value::Error(message_of_error(&error))),
    };
    public::Reply { value }
}

fn message_of_error(error: &CommandError) -> public::CommandError {
    let message = error.to_string();
    let retry = match error.retry() {
        Retry::Never => RetryAdvice::Never,
        Retry::Safe => RetryAdvice::Safe,
        Retry::IfIdempotent => RetryAdvice::IfIdempotent,
    };
    public::CommandError { code: fault::code_of(&message).to_owned(), message, retry: retry.into() }
}
