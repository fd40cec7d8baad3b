//! A closed-loop load generator on one thread: many connections, each with a batch of requests in
//! flight.
//!
//! It must cost less than the server it measures, so a [`Dialogue`] patches its requests into a
//! template and counts replies instead of decoding them.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use hdrhistogram::Histogram;
use mio::{Events, Interest, Poll, Token, net::TcpStream};

use super::cpu::{Meter, Used};

/// A server that answers nothing for this long ends the run.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// What one connection says, and how it knows that it was answered.
pub(super) trait Dialogue {
    /// Puts the next batch of requests, drawn from `random`, behind what is still to be sent.
    fn ask(&mut self, random: &mut Random, outbox: &mut Outbox) -> Result<()>;

    /// Takes what the server sent; whether the whole batch is answered. What the protocol wants
    /// sent back goes into the outbox.
    ///
    /// # Errors
    ///
    /// If the server answered with an error, or with what no server should send.
    fn hear(&mut self, received: &[u8], outbox: &mut Outbox) -> Result<bool>;
}

/// Bytes on their way to the server.
#[derive(Default)]
pub(super) struct Outbox {
    /// Everything since the outbox was last empty.
    bytes: Vec<u8>,
    /// How many of them the socket took.
    sent: usize,
}

impl Outbox {
    /// Where to append; what was sent is dropped first if all of it was.
    pub(super) fn append(&mut self) -> &mut Vec<u8> {
        if self.sent == self.bytes.len() {
            self.bytes.clear();
            self.sent = 0;
        }
        &mut self.bytes
    }

    /// The last batch, to be patched and sent again; empty before the first.
    ///
    /// For dialogues that send nothing but batches: an unsent rest would be cut off.
    pub(super) fn again(&mut self) -> &mut Vec<u8> {
        self.sent = 0;
        &mut self.bytes
    }

    fn send(&mut self, stream: &mut TcpStream) -> Result<()> {
        while self.sent < self.bytes.len() {
            match stream.write(&self.bytes[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// Marsaglia's xorshift: a few cycles a number, the same numbers from the same seed.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        // Odd, for zero gives zeros only; and another one for each seed.
        Self((seed << 1 | 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Writes `number` in decimal, as many digits as there is room.
pub(super) fn write_digits(mut number: u64, digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// What one run measured.
pub(super) struct Measured {
    /// Requests answered a second.
    pub(super) rate: f64,
    /// Microseconds from sending a batch to its last reply.
    pub(super) latency_us: Histogram<u64>,
    /// Requests answered while the processor's time was taken.
    pub(super) requests: u64,
    /// The processor's time meanwhile.
    pub(super) used: Used,
}

struct Session<D> {
    stream: TcpStream,
    dialogue: D,
    outbox: Outbox,
    started: Instant,
}

/// The shape of a run.
pub(super) struct Load<'a> {
    /// Where the connections go, in turn.
    pub(super) addresses: &'a [SocketAddr],
    /// The servers' processes, for what they use of the processor.
    pub(super) processes: &'a [u32],
    pub(super) connections: usize,
    /// Requests in a batch, for counting.
    pub(super) pipeline: usize,
    pub(super) warm_up: Duration,
    pub(super) measured: Duration,
    pub(super) seed: u64,
}

impl Load<'_> {
    /// Runs warm-up and measurement; `dialogue` makes one for each connection.
    ///
    /// # Errors
    ///
    /// If a server cannot be reached, is silent for 30 s or answers what it should not.
    pub(super) fn run<D: Dialogue>(&self, dialogue: impl Fn() -> D) -> Result<Measured> {
        let mut poll = Poll::new()?;
        let mut random = Random::new(self.seed);
        let mut sessions = self.open(&poll, dialogue)?;
        let begin = Instant::now();
        let (count_from, end) = (begin + self.warm_up, begin + self.warm_up + self.measured);
        let mut latency_us = Histogram::new_with_bounds(1, 60_000_000, 3)?;
        let mut requests = 0u64;
        let mut meter = None;
        let mut events = Events::with_capacity(self.connections);
        for session in &mut sessions {
            session.start(&mut random)?;
        }
        loop {
            poll.poll(&mut events, Some(SILENCE_MAX))?;
            ensure!(!events.is_empty(), "{:?} did not answer for 30 s", self.addresses);
            let now = Instant::now();
            if now >= end {
                break;
            }
            if meter.is_none() && now >= count_from {
                meter = Some(Meter::start(self.processes)?);
            }
            for event in &events {
                let session = &mut sessions[event.token().0];
                if event.is_writable() {
                    session.outbox.send(&mut session.stream)?;
                }
                if event.is_readable() && session.receive()? {
                    if meter.is_some() {
                        requests += self.pipeline as u64;
                        let took = session.started.elapsed().as_micros();
                        latency_us.saturating_record(u64::try_from(took)?.max(1));
                    }
                    session.start(&mut random)?;
                }
            }
        }
        let Some(meter) = meter else { bail!("{:?} was busy all the time", self.addresses) };
        let used = meter.stop()?;
        Ok(Measured { rate: requests as f64 / used.elapsed_seconds, latency_us, requests, used })
    }

    fn open<D: Dialogue>(&self, poll: &Poll, dialogue: impl Fn() -> D) -> Result<Vec<Session<D>>> {
        let mut sessions = Vec::with_capacity(self.connections);
        for (index, address) in self.addresses.iter().cycle().take(self.connections).enumerate() {
            let blocking = std::net::TcpStream::connect(address)?;
            blocking.set_nodelay(true)?;
            blocking.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(blocking);
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut stream, Token(index), interest)?;
            let (dialogue, outbox) = (dialogue(), Outbox::default());
            sessions.push(Session { stream, dialogue, outbox, started: Instant::now() });
        }
        Ok(sessions)
    }
}

impl<D: Dialogue> Session<D> {
    fn start(&mut self, random: &mut Random) -> Result<()> {
        self.dialogue.ask(random, &mut self.outbox)?;
        self.started = Instant::now();
        self.outbox.send(&mut self.stream)
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
            let answered = self.dialogue.hear(&buffer[..count], &mut self.outbox)?;
            self.outbox.send(&mut self.stream)?;
            // A short read drained the socket; the next event tells of more.
            if answered || count < buffer.len() {
                return Ok(answered);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_fill_the_room_they_are_given() {
        let mut digits = *b"xxxxxxxx";
        write_digits(90_210, &mut digits);
        assert_eq!(&digits, b"00090210");
    }

    #[test]
    fn an_outbox_forgets_only_what_was_sent() {
        let mut outbox = Outbox::default();
        outbox.append().extend_from_slice(b"first");
        outbox.append().extend_from_slice(b" second");
        assert_eq!(outbox.bytes, b"first second");
        outbox.sent = outbox.bytes.len();
        outbox.append().extend_from_slice(b"third");
        assert_eq!((&outbox.bytes[..], outbox.sent), (&b"third"[..], 0));
    }
}
