//! A client's bytes to argument slices.
//!
//! [`Decoder`] reads the session's buffer where it lies and notes where each argument begins and
//! ends; it copies nothing, except from inline requests, whose quoting must be undone. It goes on
//! where it stopped, so a request costs time linear in its bytes however they trickle in.

use std::ops::Index;

use bitroster_types::limits::{
    BULK_BYTES_MAX, INLINE_BYTES_MAX, INLINE_BYTES_RETAINED_MAX, REQUEST_ARGS_MAX,
    REQUEST_ARGS_RETAINED_MAX, REQUEST_BYTES_MAX,
};

use crate::{
    error::{Got, ProtocolError},
    inline,
    limits::Limits,
    number::{parse_i64, parse_short_line},
};

const CRLF: [u8; 2] = *b"\r\n";

/// Longest argument whose length has two digits.
const SHORT_BULK_BYTES_MAX: usize = 99;

/// Lines up to this many bytes pass whatever the limits say: [`parse_short_line`] does not ask.
const LINE_BYTES_MIN: usize = 16;

/// What [`Decoder::decode`] found at the start of the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded {
    /// The request is not wholly there. Call again when the buffer has grown.
    Incomplete {
        /// At least this many more bytes must come, 1 or more. A client announced them: cap what
        /// is reserved for them.
        need_hint: usize,
    },
    /// An empty line or an empty array: nothing to do and nothing to answer.
    Empty {
        /// Bytes to drop from the buffer.
        consumed: usize,
    },
    /// A request of at least one argument, to be read through [`Decoder::args`].
    Request {
        /// Bytes to drop from the buffer, once the arguments have been used.
        consumed: usize,
    },
}

/// Where one argument lies: in the session's buffer, or in the decoder's own for inline requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ArgRange {
    start: u32,
    len: u32,
}

impl ArgRange {
    /// The range of `len` bytes from `start`, both below [`REQUEST_BYTES_MAX`].
    #[inline]
    pub(crate) fn new(start: usize, len: usize) -> Self {
        debug_assert!(start + len <= REQUEST_BYTES_MAX);
        #[expect(clippy::cast_possible_truncation, reason = "requests end below 2^32 bytes")]
        Self { start: start as u32, len: len as u32 }
    }
}

/// What the decoder expects next.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// The first byte of a request.
    Start,
    /// The rest of the line with the number of arguments.
    Count,
    /// The rest of an inline request.
    Inline,
    /// A line with the length of an argument.
    BulkLength,
    /// An argument of this many bytes, and CR LF.
    Bulk(usize),
    /// The caller's reading of the arguments; then as `Start`.
    Done,
    /// Nothing: the stream is broken.
    Failed(ProtocolError),
}

/// Reads requests from a session's buffer: arrays of bulk strings, and inline commands.
///
/// One decoder serves one connection. It keeps room for the ranges of the arguments (8 bytes each)
/// and gives surplus room back at the next call, so that a quiet connection holds little.
///
/// Redis: `processMultibulkBuffer` and `processInlineBuffer` in `networking.c`. Stricter in one
/// point: a line that gives a length must end in CR LF, where Redis takes any byte for the LF.
///
/// ```
/// use bitroster_resp::{Decoded, Decoder, Limits};
///
/// let mut decoder = Decoder::new(Limits::default());
/// let mut buffer = b"*2\r\n$3\r\nGET\r\n$4\r\nke".to_vec();
/// assert_eq!(decoder.decode(&buffer), Ok(Decoded::Incomplete { need_hint: 4 }));
/// buffer.extend_from_slice(b"ys\r\nPING\r\n");
/// assert_eq!(decoder.decode(&buffer), Ok(Decoded::Request { consumed: 23 }));
/// assert_eq!(decoder.args(&buffer).iter().collect::<Vec<_>>(), [b"GET".as_slice(), b"keys"]);
/// buffer.drain(..23);
/// assert_eq!(decoder.decode(&buffer), Ok(Decoded::Request { consumed: 6 }));
/// assert_eq!(&decoder.args(&buffer)[0], b"PING");
/// ```
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    phase: Phase,
    /// Bytes of the request that are parsed; the current line or argument begins here.
    position: usize,
    /// Bytes of the request in which the current line is known not to end. Counted from the start
    /// of the request, so that it goes stale by itself when `position` passes it.
    scanned: usize,
    args_left: usize,
    ranges: Vec<ArgRange>,
    /// The arguments of an inline request, one after the other.
    inline: Vec<u8>,
    /// Whether `ranges` point into `inline`.
    is_inline: bool,
}

impl Decoder {
    /// A decoder at the start of a stream. Allocates nothing yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            phase: Phase::Start,
            position: 0,
            scanned: 0,
            args_left: 0,
            ranges: Vec::new(),
            inline: Vec::new(),
            is_inline: false,
        }
    }

    /// Changes the limits, for all lengths that are announced from now on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Bytes held on the heap.
    pub fn retained_bytes(&self) -> usize {
        self.ranges.capacity() * size_of::<ArgRange>() + self.inline.capacity()
    }

    /// Whether a request has begun and not ended: a client that closes now has cut it short.
    pub fn is_mid_request(&self) -> bool {
        match self.phase {
            Phase::Start | Phase::Done | Phase::Failed(_) => false,
            Phase::Count | Phase::Inline | Phase::BulkLength | Phase::Bulk(_) => true,
        }
    }

    /// Reads one request from the start of `buf`.
    ///
    /// `buf` must begin with the first byte that no earlier call reported as consumed. After
    /// [`Decoded::Incomplete`] the same bytes must come again with more behind them; what is
    /// parsed is not looked at again.
    ///
    /// Costs time linear in the bytes that are new, and no allocation once the decoder has seen
    /// a request of as many arguments.
    ///
    /// # Errors
    ///
    /// The first breach of the protocol or of a limit. Every later call gives the same error.
    #[inline]
    pub fn decode(&mut self, buf: &[u8]) -> Result<Decoded, ProtocolError> {
        let decoded = self.advance(buf);
        if let Err(error) = decoded {
            self.phase = Phase::Failed(error);
        }
        decoded
    }

    /// The arguments of the request that [`decode`](Self::decode) has just reported, the command's
    /// name first. Empty after any other report.
    ///
    /// # Panics
    ///
    /// The view panics where `buf` is shorter than what was decoded.
    #[inline]
    pub fn args<'a>(&'a self, buf: &'a [u8]) -> Args<'a> {
        let ranges = if matches!(self.phase, Phase::Done) { self.ranges.as_slice() } else { &[] };
        Args { source: if self.is_inline { &self.inline } else { buf }, ranges }
    }

    fn advance(&mut self, buf: &[u8]) -> Result<Decoded, ProtocolError> {
        match self.phase {
            Phase::Start | Phase::Done => {
                self.release();
                let Some(&first) = buf.first() else {
                    return Ok(Decoded::Incomplete { need_hint: 1 });
                };
                self.begin(first);
                if self.is_inline { self.inline_request(buf) } else { self.count(buf) }
            }
            Phase::Count => self.count(buf),
            Phase::Inline => self.inline_request(buf),
            Phase::BulkLength | Phase::Bulk(_) => self.bulks(buf),
            Phase::Failed(error) => Err(error),
        }
    }

    /// Forgets the last request, and the room it took beyond what is worth keeping.
    #[inline]
    fn release(&mut self) {
        self.phase = Phase::Start;
        self.ranges.clear();
        self.inline.clear();
        if self.ranges.capacity() > REQUEST_ARGS_RETAINED_MAX {
            self.ranges.shrink_to(REQUEST_ARGS_RETAINED_MAX);
        }
        if self.inline.capacity() > INLINE_BYTES_RETAINED_MAX {
            self.inline.shrink_to(INLINE_BYTES_RETAINED_MAX);
        }
    }

    /// Chooses the way to read a request by its `first` byte.
    #[inline]
    fn begin(&mut self, first: u8) {
        self.position = 0;
        self.scanned = 0;
        self.is_inline = first != b'*';
        self.phase = if self.is_inline { Phase::Inline } else { Phase::Count };
    }

    /// Reads the number of arguments, then as many of them as are there.
    fn count(&mut self, buf: &[u8]) -> Result<Decoded, ProtocolError> {
        let Some(count) = self.length_line(
            buf,
            ProtocolError::MultibulkLineTooLong,
            ProtocolError::InvalidMultibulkLength,
        )?
        else {
            return Ok(Decoded::Incomplete { need_hint: 1 });
        };
        let Ok(count) = usize::try_from(count) else {
            return Ok(self.empty());
        };
        if count > self.limits.args_max.min(REQUEST_ARGS_MAX) {
            return Err(if self.limits.authenticated || count > REQUEST_ARGS_MAX {
                ProtocolError::InvalidMultibulkLength
            } else {
                ProtocolError::UnauthenticatedMultibulkLength
            });
        }
        if count == 0 {
            return Ok(self.empty());
        }
        self.args_left = count;
        self.phase = Phase::BulkLength;
        self.bulks(buf)
    }

    /// Reads arguments until the request or the buffer ends.
    #[inline]
    fn bulks(&mut self, buf: &[u8]) -> Result<Decoded, ProtocolError> {
        while self.args_left > 0 {
            self.short_bulks(buf);
            if self.args_left == 0 {
                break;
            }
            let len = if let Phase::Bulk(len) = self.phase {
                len
            } else {
                let Some(len) = self.bulk_length(buf)? else {
                    return Ok(Decoded::Incomplete { need_hint: 1 });
                };
                len
            };
            let end = self.position + len;
            let Some(terminator) = buf.get(end..end + 2) else {
                self.phase = Phase::Bulk(len);
                return Ok(Decoded::Incomplete { need_hint: end + 2 - buf.len() });
            };
            if terminator != CRLF {
                return Err(ProtocolError::InvalidTerminator);
            }
            self.ranges.push(ArgRange::new(self.position, len));
            self.position = end + 2;
            self.args_left -= 1;
            self.phase = Phase::BulkLength;
        }
        self.phase = Phase::Done;
        Ok(Decoded::Request { consumed: self.position })
    }

    /// Reads the arguments of less than a hundred bytes that come next and are wholly there: what
    /// most requests are made of. Leaves all else, good or bad, where it lies.
    #[inline]
    fn short_bulks(&mut self, buf: &[u8]) {
        if matches!(self.phase, Phase::Bulk(_)) {
            return;
        }
        let mut position = self.position;
        let mut args_left = self.args_left;
        let len_max = self.limits.bulk_bytes_max.min(SHORT_BULK_BYTES_MAX);
        while args_left > 0 {
            let (len, head) = match buf.get(position..) {
                Some([b'$', a @ b'0'..=b'9', b'\r', b'\n', ..]) => (usize::from(a - b'0'), 4),
                Some([b'$', a @ b'1'..=b'9', b @ b'0'..=b'9', b'\r', b'\n', ..]) => {
                    (usize::from(a - b'0') * 10 + usize::from(b - b'0'), 5)
                }
                _ => break,
            };
            let start = position + head;
            let end = start + len;
            let is_whole = buf.get(end..end + 2).is_some_and(|terminator| terminator == CRLF);
            if !is_whole || len > len_max || end > REQUEST_BYTES_MAX - 2 {
                break;
            }
            self.ranges.push(ArgRange::new(start, len));
            position = end + 2;
            args_left -= 1;
        }
        self.position = position;
        self.args_left = args_left;
    }

    /// Reads the length of an argument, or `None` if its line has not ended.
    #[inline]
    fn bulk_length(&mut self, buf: &[u8]) -> Result<Option<usize>, ProtocolError> {
        match buf.get(self.position) {
            None => return Ok(None),
            Some(b'$') => {}
            Some(&other) => return Err(ProtocolError::ExpectedBulk(Got(other))),
        }
        let Some(len) = self.length_line(
            buf,
            ProtocolError::BulkLineTooLong,
            ProtocolError::InvalidBulkLength,
        )?
        else {
            return Ok(None);
        };
        let len = usize::try_from(len).map_err(|_| ProtocolError::InvalidBulkLength)?;
        if len > self.limits.bulk_bytes_max.min(BULK_BYTES_MAX) {
            return Err(self.bulk_refusal(len));
        }
        if len > REQUEST_BYTES_MAX.saturating_sub(self.position + 2) {
            return Err(ProtocolError::RequestTooLong);
        }
        Ok(Some(len))
    }

    #[cold]
    fn bulk_refusal(&self, len: usize) -> ProtocolError {
        if self.limits.authenticated || len > BULK_BYTES_MAX {
            ProtocolError::InvalidBulkLength
        } else {
            ProtocolError::UnauthenticatedBulkLength
        }
    }

    /// Reads the number after the type byte at `position` and steps over its line.
    ///
    /// `None` if the line has not ended.
    #[inline]
    fn length_line(
        &mut self,
        buf: &[u8],
        too_long: ProtocolError,
        invalid: ProtocolError,
    ) -> Result<Option<i64>, ProtocolError> {
        if let Some((number, len)) = parse_short_line(&buf[self.position + 1..]) {
            self.position += 1 + len;
            return Ok(Some(i64::from(number)));
        }
        self.length_line_slow(buf, too_long, invalid)
    }

    /// [`length_line`](Self::length_line) for a line that is negative, large, malformed or cut.
    #[cold]
    fn length_line_slow(
        &mut self,
        buf: &[u8],
        too_long: ProtocolError,
        invalid: ProtocolError,
    ) -> Result<Option<i64>, ProtocolError> {
        let line = &buf[self.position..];
        let Some(end) = self.find_line_end(line, b'\r', too_long)? else {
            return Ok(None);
        };
        match line.get(end + 1) {
            None => return Ok(None),
            Some(b'\n') => {}
            Some(_) => return Err(invalid),
        }
        let number = parse_i64(&line[1..end]).ok_or(invalid)?;
        self.position += end + 2;
        Ok(Some(number))
    }

    /// Finds `terminator` in `line`, starting where the last search stopped.
    ///
    /// Only the first `inline_bytes_max` bytes and the one behind them are looked at, so that the
    /// outcome does not depend on how much has arrived.
    fn find_line_end(
        &mut self,
        line: &[u8],
        terminator: u8,
        too_long: ProtocolError,
    ) -> Result<Option<usize>, ProtocolError> {
        let bytes_max = self.limits.inline_bytes_max.clamp(LINE_BYTES_MIN, INLINE_BYTES_MAX);
        let window = &line[..line.len().min(bytes_max + 1)];
        let seen = self.scanned.saturating_sub(self.position);
        let unseen = window.get(seen..).unwrap_or_default();
        if let Some(index) = unseen.iter().position(|&byte| byte == terminator) {
            self.scanned = self.position + seen + index;
            return Ok(Some(seen + index));
        }
        if window.len() > bytes_max {
            return Err(too_long);
        }
        self.scanned = self.position + window.len();
        Ok(None)
    }

    fn inline_request(&mut self, buf: &[u8]) -> Result<Decoded, ProtocolError> {
        let Some(end) = self.find_line_end(buf, b'\n', ProtocolError::InlineTooLong)? else {
            return Ok(Decoded::Incomplete { need_hint: 1 });
        };
        let line = buf[..end].strip_suffix(b"\r").unwrap_or(&buf[..end]);
        inline::split(line, &mut self.inline, &mut self.ranges)?;
        self.position = end + 1;
        let Some(name) = self.ranges.first() else {
            return Ok(self.empty());
        };
        let name = &self.inline[..name.len as usize];
        if name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:") {
            return Err(ProtocolError::CrossProtocol);
        }
        self.phase = Phase::Done;
        Ok(Decoded::Request { consumed: self.position })
    }

    /// Reports that the parsed bytes hold no request.
    fn empty(&mut self) -> Decoded {
        self.phase = Phase::Start;
        Decoded::Empty { consumed: self.position }
    }
}

/// The arguments of one request, borrowed from the buffer that they came in.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    source: &'a [u8],
    ranges: &'a [ArgRange],
}

impl<'a> Args<'a> {
    /// The number of arguments, the command's name included.
    #[inline]
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether there is no argument: only if no request has been decoded.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The argument at `index`, from 0.
    #[inline]
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        self.ranges.get(index).map(|&range| slice(self.source, range))
    }

    /// The arguments in order.
    #[inline]
    pub fn iter(&self) -> ArgsIter<'a> {
        ArgsIter { source: self.source, ranges: self.ranges.iter() }
    }

    /// The arguments from `index` on; empty if there are none.
    #[inline]
    pub fn skip(&self, index: usize) -> Args<'a> {
        Args { source: self.source, ranges: self.ranges.get(index..).unwrap_or_default() }
    }
}

impl Index<usize> for Args<'_> {
    type Output = [u8];

    /// The argument at `index`. Panics if there is none.
    #[inline]
    fn index(&self, index: usize) -> &[u8] {
        slice(self.source, self.ranges[index])
    }
}

impl<'a> IntoIterator for Args<'a> {
    type Item = &'a [u8];
    type IntoIter = ArgsIter<'a>;

    fn into_iter(self) -> ArgsIter<'a> {
        self.iter()
    }
}

/// The iterator of [`Args::iter`].
#[derive(Clone, Debug)]
pub struct ArgsIter<'a> {
    source: &'a [u8],
    ranges: std::slice::Iter<'a, ArgRange>,
}

impl<'a> Iterator for ArgsIter<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        self.ranges.next().map(|&range| slice(self.source, range))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.ranges.size_hint()
    }
}

impl ExactSizeIterator for ArgsIter<'_> {}

#[inline]
fn slice(source: &[u8], range: ArgRange) -> &[u8] {
    let start = range.start as usize;
    &source[start..start + range.len as usize]
}
