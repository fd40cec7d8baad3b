//! Replies and requests to bytes.

use bytes::BufMut;

use crate::{
    frame::Frame,
    number::{NumberLine, format_f64},
};

const CRLF: &[u8] = b"\r\n";

/// Which protocol a connection speaks, as `HELLO` chose it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// RESP2, the start of every connection.
    #[default]
    Resp2,
    /// RESP3: maps, sets, doubles, booleans, one nil and out-of-band pushes.
    Resp3,
}

/// Appends replies to a buffer that grows (`Vec<u8>`, `BytesMut`).
///
/// What RESP2 has no type for is written as what Redis sends to a RESP2 client. Each call appends
/// one frame or the head of one; after [`array`](Self::array) and its kin the caller appends the
/// elements that it promised.
///
/// ```
/// use bitroster_resp::{Encoder, Version};
///
/// let mut out = Vec::new();
/// let mut encoder = Encoder::new(&mut out, Version::Resp2);
/// encoder.array(2);
/// encoder.integer(1);
/// encoder.bulk(b"x");
/// assert_eq!(out, b"*2\r\n:1\r\n$1\r\nx\r\n");
/// ```
#[derive(Debug)]
pub struct Encoder<'a, B> {
    out: &'a mut B,
    version: Version,
}

impl<'a, B: BufMut> Encoder<'a, B> {
    /// An encoder that appends to `out`.
    #[inline]
    pub fn new(out: &'a mut B, version: Version) -> Self {
        Self { out, version }
    }

    /// The protocol in use.
    pub fn version(&self) -> Version {
        self.version
    }

    /// A status such as `OK`. CR and LF become spaces.
    pub fn simple(&mut self, text: impl AsRef<[u8]>) {
        self.line(b'+', text.as_ref());
    }

    /// An error; `text` begins with its code, as in `ERR syntax error`. CR and LF, which echoed
    /// arguments may hold, become spaces.
    pub fn error(&mut self, text: impl AsRef<[u8]>) {
        self.line(b'-', text.as_ref());
    }

    /// An integer.
    #[inline]
    pub fn integer(&mut self, number: i64) {
        match number {
            0 => self.out.put_slice(b":0\r\n"),
            1 => self.out.put_slice(b":1\r\n"),
            _ => self.out.put_slice(NumberLine::integer(b':', number).as_bytes()),
        }
    }

    /// A string of any bytes.
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.bulk_head(bytes.len());
        self.out.put_slice(bytes);
        self.bulk_end();
    }

    /// The head of a bulk of `len` bytes, for a value that is written in pieces: the caller
    /// appends the bytes through [`raw`](Self::raw) and then calls [`bulk_end`](Self::bulk_end).
    pub fn bulk_head(&mut self, len: usize) {
        self.head(b'$', len);
    }

    /// What follows the bytes of a bulk.
    pub fn bulk_end(&mut self) {
        self.out.put_slice(CRLF);
    }

    /// Bytes as they are: pieces of a bulk, or replies that are encoded already.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.put_slice(bytes);
    }

    /// The absent value where a string or number would stand.
    pub fn nil(&mut self) {
        self.out.put_slice(match self.version {
            Version::Resp2 => b"$-1\r\n",
            Version::Resp3 => b"_\r\n",
        });
    }

    /// The absent value where an array would stand, such as the reply of an `EXEC` that a `WATCH`
    /// stopped.
    pub fn nil_array(&mut self) {
        self.out.put_slice(match self.version {
            Version::Resp2 => b"*-1\r\n",
            Version::Resp3 => b"_\r\n",
        });
    }

    /// The head of an array of `len` frames.
    pub fn array(&mut self, len: usize) {
        self.head(b'*', len);
    }

    /// The head of a map of `len` pairs: twice as many frames follow, keys and values in turn.
    /// RESP2: a flat array.
    pub fn map(&mut self, len: usize) {
        match self.version {
            Version::Resp2 => self.head(b'*', 2 * len),
            Version::Resp3 => self.head(b'%', len),
        }
    }

    /// The head of a set of `len` frames. RESP2: an array.
    pub fn set(&mut self, len: usize) {
        self.head(if self.version == Version::Resp2 { b'*' } else { b'~' }, len);
    }

    /// The head of an out-of-band message of `len` frames. RESP2: an array.
    pub fn push(&mut self, len: usize) {
        self.head(if self.version == Version::Resp2 { b'*' } else { b'>' }, len);
    }

    /// A floating-point number, in the fewest digits that read back as the same one. RESP2: a
    /// bulk.
    pub fn double(&mut self, number: f64) {
        let text = format_f64(number);
        match self.version {
            Version::Resp2 => self.bulk(text.as_bytes()),
            Version::Resp3 => self.line(b',', text.as_bytes()),
        }
    }

    /// A truth value. RESP2: the integer 1 or 0.
    pub fn boolean(&mut self, value: bool) {
        match self.version {
            Version::Resp2 => self.integer(i64::from(value)),
            Version::Resp3 => self.out.put_slice(if value { b"#t\r\n" } else { b"#f\r\n" }),
        }
    }

    /// A text for people, with three letters for its format: `*b"txt"` or `*b"mkd"`. RESP2: a
    /// bulk of the text alone.
    pub fn verbatim(&mut self, format: [u8; 3], text: &[u8]) {
        match self.version {
            Version::Resp2 => self.bulk(text),
            Version::Resp3 => {
                self.head(b'=', text.len() + 4);
                self.out.put_slice(&format);
                self.out.put_slice(b":");
                self.out.put_slice(text);
                self.bulk_end();
            }
        }
    }

    /// A whole frame with all that is in it. Recurses as deep as the frame is nested.
    pub fn frame(&mut self, frame: &Frame) {
        match frame {
            Frame::Simple(text) => self.simple(text),
            Frame::Error(text) => self.error(text),
            Frame::Integer(number) => self.integer(*number),
            Frame::Bulk(bytes) => self.bulk(bytes),
            Frame::Nil => self.nil(),
            Frame::Boolean(value) => self.boolean(*value),
            Frame::Double(number) => self.double(*number),
            Frame::BigNumber(digits) => match self.version {
                Version::Resp2 => self.bulk(digits),
                Version::Resp3 => self.line(b'(', digits),
            },
            Frame::Verbatim { format, text } => self.verbatim(*format, text),
            Frame::Array(frames) => {
                self.array(frames.len());
                frames.iter().for_each(|frame| self.frame(frame));
            }
            Frame::Set(frames) => {
                self.set(frames.len());
                frames.iter().for_each(|frame| self.frame(frame));
            }
            Frame::Push(frames) => {
                self.push(frames.len());
                frames.iter().for_each(|frame| self.frame(frame));
            }
            Frame::Map(pairs) => {
                self.map(pairs.len());
                for (key, value) in pairs {
                    self.frame(key);
                    self.frame(value);
                }
            }
        }
    }

    fn head(&mut self, kind: u8, len: usize) {
        self.out.put_slice(NumberLine::new(kind, len as u64).as_bytes());
    }

    fn line(&mut self, kind: u8, text: &[u8]) {
        self.out.put_u8(kind);
        for (index, piece) in text.split(|byte| matches!(byte, b'\r' | b'\n')).enumerate() {
            if index > 0 {
                self.out.put_u8(b' ');
            }
            self.out.put_slice(piece);
        }
        self.out.put_slice(CRLF);
    }
}

/// Appends a request, an array of bulk strings, to `out`.
pub fn encode_request(args: &[impl AsRef<[u8]>], out: &mut impl BufMut) {
    let mut encoder = Encoder::new(out, Version::Resp2);
    encoder.array(args.len());
    for arg in args {
        encoder.bulk(arg.as_ref());
    }
}
