//! SETBIT and GETBIT over RESP, as a load's [`Dialogue`].
//!
//! Requests of a batch differ only in the offset's digits, and every reply has four bytes: `:0` or
//! `:1`, and for WAIT the number of replicas, of which there are fewer than ten.

use anyhow::{Result, bail, ensure};

use super::load::{Dialogue, Outbox, Random, write_digits};

/// Offsets drawn have eight digits, so that the template's layout is fixed: 10 M to 100 M.
const OFFSET_MIN: u64 = 10_000_000;
const OFFSET_COUNT: u64 = 90_000_000;
const OFFSET_DIGITS: usize = 8;
const REPLY_BYTES: usize = 4;
const WAIT_ONE: &[u8] = b"*3\r\n$4\r\nWAIT\r\n$1\r\n1\r\n$1\r\n0\r\n";

/// The command under load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    SetBit,
    GetBit,
    /// SETBITs and one `WAIT 1 0` behind them: answered when a replica has them too.
    SetBitAndWait,
}

impl Request {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::SetBit | Self::SetBitAndWait => "SETBIT",
            Self::GetBit => "GETBIT",
        }
    }

    /// One request, and where its offset's digits begin.
    fn template(self, key: &str) -> (Vec<u8>, usize) {
        let (count, tail) = match self {
            Self::SetBit | Self::SetBitAndWait => (4, "$1\r\n1\r\n"),
            Self::GetBit => (3, ""),
        };
        let name = self.name();
        let head = format!("*{count}\r\n$6\r\n{name}\r\n${}\r\n{key}\r\n$8\r\n", key.len());
        let at = head.len();
        (format!("{head}{:08}\r\n{tail}", 0).into_bytes(), at)
    }
}

/// Batches of one request.
pub(super) struct BitRequests {
    template: Vec<u8>,
    digits_at: usize,
    /// What comes behind a batch's requests.
    tail: &'static [u8],
    pipeline: usize,
    /// Bytes of replies still to come.
    awaited: usize,
}

impl BitRequests {
    pub(super) fn new(request: Request, key: &str, pipeline: usize) -> Self {
        let (template, digits_at) = request.template(key);
        let tail = if request == Request::SetBitAndWait { WAIT_ONE } else { b"" };
        Self { template, digits_at, tail, pipeline, awaited: 0 }
    }
}

impl Dialogue for BitRequests {
    fn ask(&mut self, random: &mut Random, outbox: &mut Outbox) -> Result<()> {
        let batch = outbox.again();
        if batch.is_empty() {
            *batch = self.template.repeat(self.pipeline);
            batch.extend_from_slice(self.tail);
        }
        let requests = batch.len() - self.tail.len();
        for request in batch[..requests].chunks_exact_mut(self.template.len()) {
            let offset = OFFSET_MIN + random.next() % OFFSET_COUNT;
            write_digits(offset, &mut request[self.digits_at..self.digits_at + OFFSET_DIGITS]);
        }
        let tails = usize::from(!self.tail.is_empty());
        self.awaited = (self.pipeline + tails) * REPLY_BYTES;
        Ok(())
    }

    fn hear(&mut self, received: &[u8], _: &mut Outbox) -> Result<bool> {
        if let Some(at) = received.iter().position(|byte| *byte == b'-') {
            bail!("the server answered {}", String::from_utf8_lossy(&received[at..]));
        }
        ensure!(received.len() <= self.awaited, "more bytes than replies: {}", received.len());
        self.awaited -= received.len();
        Ok(self.awaited == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_requests_with_fresh_offsets_and_one_wait() {
        let (mut bits, mut outbox) =
            (BitRequests::new(Request::SetBitAndWait, "k", 2), Outbox::default());
        let mut random = Random::new(1);
        bits.ask(&mut random, &mut outbox).unwrap();
        let first = String::from_utf8(outbox.again().clone()).unwrap();
        assert_eq!(first.matches("SETBIT\r\n$1\r\nk\r\n$8\r\n").count(), 2);
        assert!(first.ends_with("WAIT\r\n$1\r\n1\r\n$1\r\n0\r\n"));
        bits.ask(&mut random, &mut outbox).unwrap();
        let second = String::from_utf8(outbox.again().clone()).unwrap();
        assert_eq!(first.len(), second.len());
        assert_ne!(first, second);
    }

    #[test]
    fn a_batch_is_answered_by_one_reply_a_request_and_one_for_the_wait() {
        let (mut bits, mut outbox) =
            (BitRequests::new(Request::SetBitAndWait, "k", 2), Outbox::default());
        bits.ask(&mut Random::new(1), &mut outbox).unwrap();
        assert!(!bits.hear(b":0\r\n:1\r\n:", &mut outbox).unwrap());
        assert!(bits.hear(b"2\r\n", &mut outbox).unwrap());
        assert!(bits.hear(b":1\r\n", &mut outbox).is_err(), "a reply too many");
    }

    #[test]
    fn an_error_reply_ends_the_run() {
        let (mut bits, mut outbox) = (BitRequests::new(Request::GetBit, "k", 1), Outbox::default());
        bits.ask(&mut Random::new(1), &mut outbox).unwrap();
        let error = bits.hear(b"-CLUSTERDOWN no leader\r\n", &mut outbox).unwrap_err();
        assert!(error.to_string().contains("CLUSTERDOWN"));
    }
}
