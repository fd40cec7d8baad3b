//! A server's bytes to owned frames.

use bytes::Bytes;

use crate::{
    error::FrameError,
    limits::FrameLimits,
    token::{self, Kind, Token},
};

/// Elements of an aggregate for which room is made when it is announced; more room is made as they
/// arrive, since 32 nested announcements may each promise millions.
const ROOM_ELEMENTS: usize = 32;

/// One reply, owned, with all that is nested in it.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    /// A status such as `OK`.
    Simple(Bytes),
    /// An error, simple or bulk, with its code.
    Error(Bytes),
    /// An integer.
    Integer(i64),
    /// A string of any bytes.
    Bulk(Bytes),
    /// The absent value: RESP3's nil, and both of RESP2's.
    Nil,
    /// Frames in order.
    Array(Vec<Frame>),
    /// Pairs of frames, in the server's order.
    Map(Vec<(Frame, Frame)>),
    /// Frames without order.
    Set(Vec<Frame>),
    /// A message that answers no request.
    Push(Vec<Frame>),
    /// A floating-point number.
    Double(f64),
    /// A truth value.
    Boolean(bool),
    /// A text for people.
    Verbatim {
        /// `txt` or `mkd`.
        format: [u8; 3],
        /// The text.
        text: Bytes,
    },
    /// An integer of any size, in decimal digits.
    BigNumber(Bytes),
}

/// An aggregate whose elements are not all there yet.
struct Open {
    kind: Kind,
    left: usize,
    frames: Vec<Frame>,
}

impl Open {
    fn close(self) -> Option<Frame> {
        match self.kind {
            Kind::Array => Some(Frame::Array(self.frames)),
            Kind::Set => Some(Frame::Set(self.frames)),
            Kind::Push => Some(Frame::Push(self.frames)),
            Kind::Map => {
                let mut pairs = Vec::with_capacity(self.frames.len() / 2);
                let mut frames = self.frames.into_iter();
                while let (Some(key), Some(value)) = (frames.next(), frames.next()) {
                    pairs.push((key, value));
                }
                Some(Frame::Map(pairs))
            }
            Kind::Attribute => None,
        }
    }
}

/// Decodes the reply at the start of `buf` and returns it with its length in bytes; `None` if it
/// is not wholly there. Attributes are stepped over; what they announce counts to the length.
///
/// Copies every string. Starts from the first byte each time: where large aggregates may trickle
/// in, wait with [`ReplySkipper`](crate::ReplySkipper) until the reply is whole. Streamed
/// aggregates and strings (`*?`, `$?`), which no Redis sends, are refused.
///
/// # Errors
///
/// The first malformed frame or exceeded limit.
///
/// ```
/// use bitroster_resp::{Frame, FrameLimits, decode_frame};
///
/// let decoded = decode_frame(b"*2\r\n:1\r\n_\r\n+OK", FrameLimits::default()).unwrap();
/// assert_eq!(decoded, Some((Frame::Array(vec![Frame::Integer(1), Frame::Nil]), 11)));
/// ```
pub fn decode_frame(buf: &[u8], limits: FrameLimits) -> Result<Option<(Frame, usize)>, FrameError> {
    let mut open: Vec<Open> = Vec::new();
    let mut position = 0;
    let mut elements_total = 0;
    loop {
        let Some((token, len)) = token::read(&buf[position..], &limits)? else {
            return Ok(None);
        };
        position += len;
        if let Token::Aggregate { kind, elements } = token {
            elements_total += elements;
            if elements_total > limits.elements_max {
                return Err(FrameError::TooManyElements { max: limits.elements_max });
            }
            if open.len() >= limits.depth_max {
                return Err(FrameError::TooDeep { max: limits.depth_max });
            }
            let frames = Vec::with_capacity(elements.min(ROOM_ELEMENTS));
            open.push(Open { kind, left: elements, frames });
        } else if let Some(frame) = place(&mut open, leaf(token)) {
            return Ok(Some((frame, position)));
        }
        while let Some(full) = open.pop_if(|open| open.left == 0) {
            if let Some(frame) = full.close().and_then(|frame| place(&mut open, frame)) {
                return Ok(Some((frame, position)));
            }
        }
    }
}

/// Puts `frame` into the innermost open aggregate; gives it back if there is none.
fn place(open: &mut [Open], frame: Frame) -> Option<Frame> {
    let Some(innermost) = open.last_mut() else {
        return Some(frame);
    };
    innermost.left -= 1;
    innermost.frames.push(frame);
    None
}

/// The frame of a token that is no aggregate.
fn leaf(token: Token<'_>) -> Frame {
    match token {
        Token::Simple(text) => Frame::Simple(Bytes::copy_from_slice(text)),
        Token::Error(text) => Frame::Error(Bytes::copy_from_slice(text)),
        Token::Integer(number) => Frame::Integer(number),
        Token::Bulk(bytes) => Frame::Bulk(Bytes::copy_from_slice(bytes)),
        Token::Nil => Frame::Nil,
        Token::Boolean(value) => Frame::Boolean(value),
        Token::Double(number) => Frame::Double(number),
        Token::BigNumber(digits) => Frame::BigNumber(Bytes::copy_from_slice(digits)),
        Token::Verbatim { format, text } => {
            Frame::Verbatim { format, text: Bytes::copy_from_slice(text) }
        }
        Token::Aggregate { .. } => unreachable!("the caller opens aggregates"),
    }
}
