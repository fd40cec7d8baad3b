//! etcd's `KV/Put` over gRPC, as a load's [`Dialogue`].
//!
//! As much of HTTP/2 (RFC 9113) and of gRPC's wire format as a closed loop of one small request
//! needs: a request is a HEADERS frame of indexed fields and a DATA frame, both the same but for
//! the stream's number and the key's digits; of the server's frames only the kinds and lengths
//! matter. A client library would cost several times as much, on the cores that etcd needs.

use std::net::SocketAddr;

use anyhow::{Result, bail, ensure};

use super::load::{Dialogue, Outbox, Random, write_digits};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEAD_BYTES: usize = 9;
/// What a peer may send in one frame unless it was told otherwise.
const FRAME_BYTES_MAX: usize = 16 << 10;
/// The window each side begins with.
const WINDOW_BYTES: usize = 65_535;
/// Up to the largest window there is.
const WINDOW_GROWTH: u32 = (1 << 31) - 1 - 65_535;
const STREAM_MAX: u32 = (1 << 31) - 1;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
/// Flags. ACK (of SETTINGS and PING) and END_STREAM (of HEADERS and DATA) are the same bit.
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Not compressed, 32 bytes: a key of 20, as SETBIT's key and offset together, and a value of 8.
const MESSAGE: &[u8; 37] = b"\0\0\0\0\x20\x0a\x14bench:hot:0000000000\x12\x0800000001";
/// Where the key's digits end.
const KEY_END: usize = 27;
const KEY_DIGITS: usize = 8;
/// Different keys; more would only make etcd's tree larger.
const KEY_COUNT: u64 = 100_000;

/// Batches of puts over one connection, each put its own stream.
pub(super) struct Puts {
    authority: String,
    pipeline: usize,
    /// The next request's stream; none before the connection's preface was sent.
    stream_next: Option<u32>,
    /// Bytes of DATA that the server still takes.
    window: usize,
    /// Streams that are not ended yet.
    open: usize,
    /// Messages received in this batch.
    messages: usize,
    /// The beginning of a frame whose rest is still to come.
    held: Vec<u8>,
}

impl Puts {
    pub(super) fn new(address: SocketAddr, pipeline: usize) -> Self {
        Self {
            authority: address.to_string(),
            pipeline,
            stream_next: None,
            window: WINDOW_BYTES,
            open: 0,
            messages: 0,
            held: Vec::new(),
        }
    }

    /// Fields as literals that both sides index (RFC 7541, 6.2.1): `te` becomes field 62,
    /// `content-type` 63, `:authority` 64 and `:path` 65.
    fn literal_fields(&self) -> Vec<u8> {
        let mut fields = vec![0x83, 0x86];
        let mut field = |name: &[u8], value: &[u8]| {
            fields.extend_from_slice(name);
            fields.push(u8::try_from(value.len()).expect("no value here has 127 bytes"));
            fields.extend_from_slice(value);
        };
        field(&[0x44], b"/etcdserverpb.KV/Put");
        field(&[0x41], self.authority.as_bytes());
        field(&[0x5f], b"application/grpc");
        field(b"\x40\x02te", b"trailers");
        fields
    }

    /// Takes one whole frame; what it asks for goes into `reply`.
    fn frame(&mut self, kind: u8, flags: u8, payload: &[u8], reply: &mut Outbox) -> Result<()> {
        match kind {
            DATA => self.messages += usize::from(!payload.is_empty()),
            HEADERS if flags & END_STREAM != 0 => {
                ensure!(self.open > 0, "more ends than streams");
                self.open -= 1;
            }
            SETTINGS if flags & ACK == 0 => append_frame(reply.append(), SETTINGS, ACK, 0, &[]),
            PING if flags & ACK == 0 => append_frame(reply.append(), PING, ACK, 0, payload),
            WINDOW_UPDATE => {
                let Ok(bytes) = <[u8; 4]>::try_from(payload) else { bail!("bad WINDOW_UPDATE") };
                self.window += u32::from_be_bytes(bytes) as usize;
            }
            RST_STREAM | GOAWAY => bail!("etcd refused: {}", String::from_utf8_lossy(payload)),
            _ => {}
        }
        Ok(())
    }
}

impl Dialogue for Puts {
    fn ask(&mut self, random: &mut Random, outbox: &mut Outbox) -> Result<()> {
        let out = outbox.append();
        if self.stream_next.is_none() {
            out.extend_from_slice(PREFACE);
            append_frame(out, SETTINGS, 0, 0, &[]);
            // What etcd may send before it waits for us: more than any run receives.
            append_frame(out, WINDOW_UPDATE, 0, 0, &WINDOW_GROWTH.to_be_bytes());
        }
        for _ in 0..self.pipeline {
            let (stream, fields) = match self.stream_next {
                None => (1, self.literal_fields()),
                Some(stream) => (stream, vec![0x83, 0x86, 0xc1, 0xc0, 0xbf, 0xbe]),
            };
            ensure!(stream < STREAM_MAX, "a connection's streams are used up");
            append_frame(out, HEADERS, END_HEADERS, stream, &fields);
            let message = put(random.next() % KEY_COUNT);
            ensure!(self.window >= message.len(), "etcd gives no window");
            self.window -= message.len();
            append_frame(out, DATA, END_STREAM, stream, &message);
            self.stream_next = Some(stream + 2);
        }
        (self.open, self.messages) = (self.pipeline, 0);
        Ok(())
    }

    fn hear(&mut self, received: &[u8], outbox: &mut Outbox) -> Result<bool> {
        let was_open = self.open > 0;
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(received);
        let mut rest = &held[..];
        while let Some((head, behind)) = rest.split_first_chunk::<FRAME_HEAD_BYTES>() {
            let len = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            ensure!(len <= FRAME_BYTES_MAX, "a frame of {len} bytes");
            let Some((payload, next)) = behind.split_at_checked(len) else { break };
            // Updates of one stream's window do not count: a stream sends one small message.
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            if head[3] != WINDOW_UPDATE || stream == 0 {
                self.frame(head[3], head[4], payload, outbox)?;
            }
            rest = next;
        }
        let consumed = held.len() - rest.len();
        held.drain(..consumed);
        self.held = held;
        let answered = was_open && self.open == 0;
        // An error comes without a message, as trailers only.
        ensure!(!answered || self.messages >= self.pipeline, "etcd refused a put");
        Ok(answered)
    }
}

/// A `PutRequest` (key = 1, value = 2) behind gRPC's five bytes.
fn put(number: u64) -> [u8; MESSAGE.len()] {
    let mut message = *MESSAGE;
    write_digits(number, &mut message[KEY_END - KEY_DIGITS..KEY_END]);
    message
}

fn append_frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    // Three bytes of length: nothing sent here is longer than 16 KiB.
    let [.., high, middle, low] = payload.len().to_be_bytes();
    out.extend_from_slice(&[high, middle, low]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(pipeline: usize) -> (Puts, Outbox) {
        let mut puts = Puts::new("127.0.0.1:2379".parse().unwrap(), pipeline);
        let mut outbox = Outbox::default();
        puts.ask(&mut Random::new(1), &mut outbox).unwrap();
        outbox.again().clear();
        (puts, outbox)
    }

    /// What etcd sends for a put that was done: fields, a message, trailers.
    fn answer(stream: u32) -> Vec<u8> {
        let mut out = Vec::new();
        append_frame(&mut out, HEADERS, END_HEADERS, stream, &[0x88]);
        append_frame(&mut out, DATA, 0, stream, &[0, 0, 0, 0, 2, 0x0a, 0]);
        append_frame(&mut out, HEADERS, END_HEADERS | END_STREAM, stream, &[0xc0]);
        out
    }

    #[test]
    fn later_requests_name_their_fields_by_index() {
        let (mut puts, mut outbox) = asked(1);
        puts.ask(&mut Random::new(1), &mut outbox).unwrap();
        let mut wanted = Vec::new();
        let fields = [0x83, 0x86, 0xc1, 0xc0, 0xbf, 0xbe];
        append_frame(&mut wanted, HEADERS, END_HEADERS, 3, &fields);
        let out = outbox.again();
        assert!(out.starts_with(&wanted), "the second stream is 3");
        assert_eq!(out.len(), wanted.len() + FRAME_HEAD_BYTES + 37);
    }

    #[test]
    fn answers_fed_byte_by_byte_count_as_those_fed_at_once() {
        let bytes = [answer(1), answer(3)].concat();
        let (mut puts, mut outbox) = asked(2);
        assert!(puts.hear(&bytes, &mut outbox).unwrap());
        let (mut puts, mut outbox) = asked(2);
        for (at, byte) in bytes.iter().enumerate() {
            let is_last = at + 1 == bytes.len();
            assert_eq!(puts.hear(&[*byte], &mut outbox).unwrap(), is_last, "byte {at}");
        }
    }

    #[test]
    fn a_refused_put_ends_the_run() {
        let (mut puts, mut outbox) = asked(1);
        let mut trailers = Vec::new();
        append_frame(&mut trailers, HEADERS, END_HEADERS | END_STREAM, 1, &[0x88]);
        assert!(puts.hear(&trailers, &mut outbox).is_err());
    }

    #[test]
    fn settings_and_pings_are_confirmed() {
        let (mut puts, mut outbox) = asked(1);
        let (mut sent, mut wanted) = (Vec::new(), Vec::new());
        append_frame(&mut sent, SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]);
        append_frame(&mut sent, PING, 0, 0, b"01234567");
        append_frame(&mut wanted, SETTINGS, ACK, 0, &[]);
        append_frame(&mut wanted, PING, ACK, 0, b"01234567");
        assert!(!puts.hear(&sent, &mut outbox).unwrap());
        assert_eq!(*outbox.again(), wanted);
    }

    #[test]
    fn a_server_that_gives_no_window_ends_the_run_instead_of_being_overrun() {
        let (mut puts, mut outbox) = asked(1);
        let mut random = Random::new(1);
        let refused = (0..2_000).find(|_| puts.ask(&mut random, &mut outbox).is_err());
        assert_eq!(refused, Some(65_535 / 37 - 1));
    }
}
