//! A blocking connection for set-up and for commands that are timed one by one.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Instant,
};

use anyhow::{Context as _, Result, bail};
use bitroster_resp::{Frame, FrameLimits, decode_frame, encode_request};
use bytes::{Buf as _, BytesMut};

use super::target::Target;

/// Bytes of a value written by one SETRANGE: within one segment of the default width.
const CHUNK_BYTES: usize = 128 << 10;

/// One connection.
pub(super) struct Connection {
    stream: TcpStream,
    received: BytesMut,
    sent: BytesMut,
}

impl Connection {
    pub(super) fn open(target: &Target) -> Result<Self> {
        let stream = TcpStream::connect(target.address)
            .with_context(|| format!("connect to {}", target.url))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, received: BytesMut::new(), sent: BytesMut::new() })
    }

    /// Sends one request and waits for its reply; an error reply is an error.
    pub(super) fn call(&mut self, args: &[impl AsRef<[u8]>]) -> Result<Frame> {
        self.sent.clear();
        encode_request(args, &mut self.sent);
        self.stream.write_all(&self.sent)?;
        let frame = self.receive()?;
        if let Frame::Error(text) = &frame {
            let name = String::from_utf8_lossy(args[0].as_ref());
            bail!("{name}: {}", String::from_utf8_lossy(text));
        }
        Ok(frame)
    }

    /// Sends all requests at once and waits for their replies; an error reply is an error.
    pub(super) fn pipeline(&mut self, requests: &[Vec<String>]) -> Result<Vec<Frame>> {
        self.sent.clear();
        for request in requests {
            encode_request(request, &mut self.sent);
        }
        self.stream.write_all(&self.sent)?;
        let mut replies = Vec::with_capacity(requests.len());
        for request in requests {
            let reply = self.receive()?;
            if let Frame::Error(text) = &reply {
                bail!("{}: {}", request[0], String::from_utf8_lossy(text));
            }
            replies.push(reply);
        }
        Ok(replies)
    }

    /// As [`Self::call`], with the microseconds it took.
    pub(super) fn timed(&mut self, args: &[impl AsRef<[u8]>]) -> Result<(Frame, f64)> {
        let started = Instant::now();
        let frame = self.call(args)?;
        Ok((frame, started.elapsed().as_secs_f64() * 1e6))
    }

    /// Writes `len` bytes of `key`, chunk by chunk, as `fill` makes them.
    pub(super) fn write_value(
        &mut self,
        key: &str,
        len: u64,
        mut fill: impl FnMut(&mut [u8]),
    ) -> Result<()> {
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut at = 0;
        while at < len {
            let size = usize::try_from((len - at).min(CHUNK_BYTES as u64))?;
            fill(&mut chunk[..size]);
            let offset = at.to_string();
            self.call(&[b"SETRANGE", key.as_bytes(), offset.as_bytes(), &chunk[..size]])?;
            at += size as u64;
        }
        Ok(())
    }

    /// A numeric field of INFO.
    pub(super) fn info(&mut self, section: &str, field: &str) -> Result<u64> {
        let text = self.text(&["INFO", section])?;
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
            .with_context(|| format!("INFO {section} has no {field}"))?;
        Ok(value.trim().parse()?)
    }

    /// The reply as text.
    pub(super) fn text(&mut self, args: &[&str]) -> Result<String> {
        let frame = self.call(args)?;
        if let Frame::Bulk(bytes) | Frame::Simple(bytes) | Frame::Verbatim { text: bytes, .. } =
            &frame
        {
            return Ok(String::from_utf8_lossy(bytes).into_owned());
        }
        bail!("{args:?} answered {frame:?}")
    }

    fn receive(&mut self) -> Result<Frame> {
        let mut chunk = [0; 64 << 10];
        loop {
            let decoded = decode_frame(&self.received, FrameLimits::default())?;
            if let Some((frame, consumed)) = decoded {
                self.received.advance(consumed);
                return Ok(frame);
            }
            let count = self.stream.read(&mut chunk)?;
            if count == 0 {
                bail!("the server closed the connection");
            }
            self.received.extend_from_slice(&chunk[..count]);
        }
    }
}
