//! A server's bytes to where each reply ends, without building the replies.

use smallvec::{SmallVec, smallvec};

use crate::{
    error::FrameError,
    limits::FrameLimits,
    token::{self, Kind, Token},
};

/// What kind of reply was stepped over: all that a load generator asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyKind {
    /// An error, simple or bulk.
    Error,
    /// An integer, and which.
    Integer(i64),
    /// The absent value.
    Nil,
    /// An out-of-band message: no answer to a request.
    Push,
    /// Anything else.
    Other,
}

/// One reply that was stepped over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its length in bytes, to drop from the buffer. Attributes before it count.
    pub consumed: usize,
    /// What it was.
    pub kind: ReplyKind,
}

/// Steps over replies in a client's buffer, going on where it stopped.
///
/// Allocates only for aggregates nested more than eight deep.
///
/// ```
/// use bitroster_resp::{FrameLimits, ReplyKind, ReplySkipper, Skipped};
///
/// let mut skipper = ReplySkipper::new(FrameLimits::default());
/// assert_eq!(skipper.skip(b"*2\r\n:1\r\n"), Ok(None));
/// let skipped = skipper.skip(b"*2\r\n:1\r\n:2\r\n-ERR").unwrap();
/// assert_eq!(skipped, Some(Skipped { consumed: 12, kind: ReplyKind::Other }));
/// ```
#[derive(Debug)]
pub struct ReplySkipper {
    limits: FrameLimits,
    /// Bytes of the current reply that are parsed.
    position: usize,
    /// Frames announced inside the current reply.
    elements: usize,
    /// Frames still to come at each level, the reply itself first. Empty between replies.
    levels: SmallVec<[usize; 8]>,
    kind: ReplyKind,
}

impl ReplySkipper {
    /// A skipper at the start of a stream.
    pub fn new(limits: FrameLimits) -> Self {
        Self { limits, position: 0, elements: 0, levels: SmallVec::new(), kind: ReplyKind::Other }
    }

    /// Steps over the reply at the start of `buf`; `None` if it is not wholly there.
    ///
    /// `buf` must begin with the first byte that no earlier call reported as consumed. After
    /// `None` the same bytes must come again with more behind them; whole frames among them are
    /// not looked at again.
    ///
    /// # Errors
    ///
    /// The first malformed frame or exceeded limit; drop the connection and the skipper.
    pub fn skip(&mut self, buf: &[u8]) -> Result<Option<Skipped>, FrameError> {
        if self.levels.is_empty() {
            self.position = 0;
            self.elements = 0;
            self.levels = smallvec![1];
        }
        while let Some(left) = self.levels.last_mut() {
            if *left == 0 {
                self.levels.pop();
                continue;
            }
            let Some((token, len)) = token::read(&buf[self.position..], &self.limits)? else {
                return Ok(None);
            };
            self.position += len;
            let is_attribute = matches!(token, Token::Aggregate { kind: Kind::Attribute, .. });
            if !is_attribute {
                *left -= 1;
                if self.levels.len() == 1 {
                    self.kind = kind(&token);
                }
            }
            if let Token::Aggregate { elements, .. } = token {
                self.open(elements)?;
            }
        }
        Ok(Some(Skipped { consumed: self.position, kind: self.kind }))
    }

    fn open(&mut self, elements: usize) -> Result<(), FrameError> {
        self.elements += elements;
        if self.elements > self.limits.elements_max {
            return Err(FrameError::TooManyElements { max: self.limits.elements_max });
        }
        if self.levels.len() > self.limits.depth_max {
            return Err(FrameError::TooDeep { max: self.limits.depth_max });
        }
        self.levels.push(elements);
        Ok(())
    }
}

/// The length of the reply at the start of `buf`, or `None` if it is not wholly there.
///
/// Starts from the first byte each time; [`ReplySkipper`] does not.
///
/// # Errors
///
/// The first malformed frame or exceeded limit.
pub fn skip_reply(buf: &[u8], limits: FrameLimits) -> Result<Option<usize>, FrameError> {
    Ok(ReplySkipper::new(limits).skip(buf)?.map(|skipped| skipped.consumed))
}

fn kind(token: &Token<'_>) -> ReplyKind {
    match token {
        Token::Error(_) => ReplyKind::Error,
        Token::Integer(number) => ReplyKind::Integer(*number),
        Token::Nil => ReplyKind::Nil,
        Token::Aggregate { kind: Kind::Push, .. } => ReplyKind::Push,
        Token::Simple(_)
        | Token::Bulk(_)
        | Token::Boolean(_)
        | Token::Double(_)
        | Token::BigNumber(_)
        | Token::Verbatim { .. }
        | Token::Aggregate { .. } => ReplyKind::Other,
    }
}
