//! A plain blocking client.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use bitroster_resp::{Frame, FrameLimits, decode_frame, encode_request};
use bytes::{Buf as _, BytesMut};

/// How long one reply may take.
const REPLY_TIMEOUT: Duration = Duration::from_secs(60);

/// One connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    received: BytesMut,
}

impl Client {
    /// Connects to a server on loopback.
    ///
    /// # Errors
    ///
    /// If nobody listens.
    pub fn connect(port: u16) -> Result<Self> {
        Self::connect_to(SocketAddr::from(([127, 0, 0, 1], port)), REPLY_TIMEOUT)
    }

    /// Connects to any address; `timeout` is for the connection and then for each reply.
    ///
    /// # Errors
    ///
    /// If nobody listens, or nobody answers in time.
    pub fn connect_to(address: SocketAddr, timeout: Duration) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, timeout)
            .with_context(|| format!("connect to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        Ok(Self { stream, received: BytesMut::new() })
    }

    /// Sends one request and reads its reply.
    ///
    /// # Errors
    ///
    /// If the connection fails or the reply is malformed. An error reply is a frame.
    pub fn call(&mut self, args: &[impl AsRef<[u8]>]) -> Result<Frame> {
        self.send(args)?;
        self.receive()
    }

    /// Sends one request, written as words with spaces between.
    ///
    /// # Errors
    ///
    /// As [`Client::call`].
    pub fn words(&mut self, request: &str) -> Result<Frame> {
        self.call(&request.split(' ').collect::<Vec<_>>())
    }

    /// Sends one request without waiting for its reply.
    ///
    /// # Errors
    ///
    /// If the connection fails.
    pub fn send(&mut self, args: &[impl AsRef<[u8]>]) -> Result<()> {
        let mut request = BytesMut::new();
        encode_request(args, &mut request);
        self.send_raw(&request)
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    ///
    /// If the connection fails.
    pub fn send_raw(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).context("send")
    }

    /// Reads one reply.
    ///
    /// # Errors
    ///
    /// If the connection ends or the reply is malformed.
    pub fn receive(&mut self) -> Result<Frame> {
        loop {
            let decoded = decode_frame(&self.received, FrameLimits::default());
            if let Some((frame, consumed)) = decoded.context("malformed reply")? {
                self.received.advance(consumed);
                return Ok(frame);
            }
            let mut chunk = [0; 16 << 10];
            let count = self.stream.read(&mut chunk).context("receive")?;
            if count == 0 {
                bail!("the server closed the connection");
            }
            self.received.extend_from_slice(&chunk[..count]);
        }
    }

    /// Reads until the server closes the connection; the bytes that came.
    ///
    /// # Errors
    ///
    /// If the server does not close it in time.
    pub fn receive_until_closed(&mut self) -> Result<Vec<u8>> {
        let mut bytes = self.received.split().to_vec();
        match self.stream.read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(bytes),
            Err(error) => Err(error).context("the server kept the connection open"),
        }
    }

    /// A numeric field of `INFO section`.
    ///
    /// # Errors
    ///
    /// If the field is not there.
    pub fn info(&mut self, section: &str, field: &str) -> Result<u64> {
        let reply = self.call(&["INFO", section])?;
        let (Frame::Bulk(bytes) | Frame::Verbatim { text: bytes, .. }) = &reply else {
            bail!("INFO answered {reply:?}");
        };
        let text = String::from_utf8_lossy(bytes);
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
            .with_context(|| format!("INFO {section} has no field {field}"))?;
        value.trim().parse().with_context(|| format!("{field} is {value}"))
    }
}
