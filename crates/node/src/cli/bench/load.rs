//! A closed-loop load generator on one thread: many connections, each with a pipeline of requests
//! in flight.
//!
//! It must cost less than the server it measures, so requests are patched into a template and
//! replies are counted, not decoded: SETBIT and GETBIT answer `:0` or `:1`, four bytes each.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use hdrhistogram::Histogram;
use mio::{Events, Interest, Poll, Token, net::TcpStream};

use super::target::Target;

/// Offsets drawn have eight digits, so that the template's layout is fixed: 10 M to 100 M.
const OFFSET_MIN: u64 = 10_000_000;
const OFFSET_COUNT: u64 = 90_000_000;
const OFFSET_DIGITS: usize = 8;
const REPLY_BYTES: usize = 4;

/// The command under load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    SetBit,
    GetBit,
}

impl Request {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::SetBit => "SETBIT",
            Self::GetBit => "GETBIT",
        }
    }

    /// One request, and where its offset's digits begin.
    fn template(self, key: &str) -> (Vec<u8>, usize) {
        let (count, name, tail) = match self {
            Self::SetBit => (4, "SETBIT", "$1\r\n1\r\n"),
            Self::GetBit => (3, "GETBIT", ""),
        };
        let head = format!("*{count}\r\n$6\r\n{name}\r\n${}\r\n{key}\r\n$8\r\n", key.len());
        let at = head.len();
        (format!("{head}{:08}\r\n{tail}", 0).into_bytes(), at)
    }
}

/// What one run measured.
pub(super) struct Measured {
    /// Replies a second.
    pub(super) rate: f64,
    /// Microseconds from sending a batch to its last reply.
    pub(super) latency_us: Histogram<u64>,
}

struct Session {
    stream: TcpStream,
    /// One pipeline's worth of requests, patched in place.
    batch: Vec<u8>,
    /// Bytes of `batch` that are sent.
    sent: usize,
    /// Bytes of replies still to come.
    awaited: usize,
    started: Instant,
}

/// The shape of a run.
pub(super) struct Load<'a> {
    pub(super) target: &'a Target,
    pub(super) request: Request,
    pub(super) key: &'a str,
    pub(super) connections: usize,
    pub(super) pipeline: usize,
    pub(super) warm_up: Duration,
    pub(super) measured: Duration,
    pub(super) seed: u64,
}

impl Load<'_> {
    /// Runs warm-up and measurement.
    pub(super) fn run(&self) -> Result<Measured> {
        let (template, digits_at) = self.request.template(self.key);
        let mut poll = Poll::new()?;
        let mut random = self.seed | 1;
        let mut sessions = Vec::with_capacity(self.connections);
        for index in 0..self.connections {
            let blocking = std::net::TcpStream::connect(self.target.address)?;
            blocking.set_nodelay(true)?;
            blocking.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(blocking);
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut stream, Token(index), interest)?;
            let batch = template.repeat(self.pipeline);
            let now = Instant::now();
            sessions.push(Session { stream, batch, sent: usize::MAX, awaited: 0, started: now });
        }
        let begin = Instant::now();
        let (count_from, end) = (begin + self.warm_up, begin + self.warm_up + self.measured);
        let mut latency_us = Histogram::new_with_bounds(1, 60_000_000, 3)?;
        let mut replies = 0u64;
        let mut events = Events::with_capacity(self.connections);
        for session in &mut sessions {
            session.start(template.len(), digits_at, &mut random);
            session.send()?;
        }
        loop {
            poll.poll(&mut events, Some(Duration::from_secs(30)))?;
            ensure!(!events.is_empty(), "{} did not answer for 30 s", self.target.url);
            let now = Instant::now();
            if now >= end {
                break;
            }
            for event in &events {
                let session = &mut sessions[event.token().0];
                if event.is_writable() {
                    session.send()?;
                }
                if event.is_readable() && session.receive()? {
                    if now >= count_from {
                        replies += self.pipeline as u64;
                        let took = session.started.elapsed().as_micros();
                        latency_us.saturating_record(u64::try_from(took)?.max(1));
                    }
                    session.start(template.len(), digits_at, &mut random);
                    session.send()?;
                }
            }
        }
        Ok(Measured { rate: replies as f64 / self.measured.as_secs_f64(), latency_us })
    }
}

impl Session {
    /// Patches fresh offsets into the batch.
    fn start(&mut self, request_len: usize, digits_at: usize, random: &mut u64) {
        for request in self.batch.chunks_exact_mut(request_len) {
            *random ^= *random << 13;
            *random ^= *random >> 7;
            *random ^= *random << 17;
            let mut offset = OFFSET_MIN + *random % OFFSET_COUNT;
            for digit in request[digits_at..digits_at + OFFSET_DIGITS].iter_mut().rev() {
                *digit = b'0' + (offset % 10) as u8;
                offset /= 10;
            }
            self.awaited += REPLY_BYTES;
        }
        self.sent = 0;
        self.started = Instant::now();
    }

    fn send(&mut self) -> Result<()> {
        while self.sent < self.batch.len() {
            match self.stream.write(&self.batch[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Reads what is there; whether the whole batch is answered.
    fn receive(&mut self) -> Result<bool> {
        let mut buffer = [0; 16 << 10];
        loop {
            let count = match self.stream.read(&mut buffer) {
                Ok(0) => bail!("the server closed a connection"),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error.into()),
            };
            if let Some(at) = buffer[..count].iter().position(|byte| *byte == b'-') {
                bail!("the server answered {}", String::from_utf8_lossy(&buffer[at..count]));
            }
            ensure!(count <= self.awaited, "more bytes than replies: {count}");
            self.awaited -= count;
            if self.awaited == 0 {
                return Ok(true);
            }
            // A short read drained the socket; the next event tells of more.
            if count < buffer.len() {
                return Ok(false);
            }
        }
    }
}
