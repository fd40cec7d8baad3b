//! One end of an import: requests by name, and what their replies mean.

use anyhow::{Result, anyhow, bail};
use bitroster_resp::{Frame, Version};
use bytes::Bytes;

use super::super::{
    exit::{Code, Failure},
    remote::{Remote, Target},
};

/// Keys asked of SCAN at once.
const SCAN_COUNT: &str = "256";

/// Error replies that go away by themselves: what was asked may be asked again.
const PASSING: [&str; 7] =
    ["CLUSTERDOWN", "LOADING", "TRYAGAIN", "BUSY", "MASTERDOWN", "UNKNOWNOUTCOME", "TIMEOUT"];

/// Bytes of one GETRANGE.
const CHUNK_BYTES: u64 = 256 << 10;

/// GETRANGEs in flight for one value.
const CHUNKS: u64 = 4;

/// Bytes of a value that are held at once; values of no more go in one piece.
pub(crate) const WINDOW_BYTES: u64 = CHUNK_BYTES * CHUNKS;

/// A request of a pipeline.
pub(crate) type Request = Vec<Bytes>;

/// A server.
pub(crate) struct Peer {
    remote: Remote,
    /// Whether it tells the very moment at which a key expires (Redis 7, Bitroster).
    is_exact: bool,
    /// Whether it has Bitroster's own commands.
    is_ours: bool,
}

/// What is compared of a bitmap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) len_bytes: u64,
    pub(crate) set_bits: u64,
    pub(crate) expiry: Expiry,
}

/// When a key expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expiry {
    Never,
    /// Milliseconds since 1970.
    At(i64),
}

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    Absent,
    /// No string.
    Other,
    Value(Facts),
}

/// What became of a request that names one key: its reply, or why the server refuses it.
pub(crate) type Answer = Result<Frame, String>;

impl Peer {
    /// Connects, and learns what the server can.
    pub(crate) fn connect(target: &Target) -> Result<Self> {
        Self::over(target.connect(Version::Resp2)?)
    }

    /// Learns what the server of a connection can.
    pub(crate) fn over(remote: Remote) -> Result<Self> {
        let mut peer = Self { remote, is_exact: false, is_ours: false };
        let known = [
            request(["PEXPIRETIME", "bitroster:import"]),
            request(["COMMAND", "INFO", "BM.IMPORT"]),
        ];
        let known = peer.pipeline(&known)?;
        peer.is_exact = matches!(known[0], Frame::Integer(_));
        peer.is_ours = matches!(&known[1], Frame::Array(of) if matches!(of[..], [Frame::Array(_)]));
        Ok(peer)
    }

    pub(crate) fn name(&self) -> &str {
        self.remote.name()
    }

    /// Whether it has Bitroster's own commands.
    pub(crate) fn is_ours(&self) -> bool {
        self.is_ours
    }

    pub(crate) fn pipeline(&mut self, requests: &[Request]) -> Result<Vec<Frame>> {
        self.remote.pipeline(requests)
    }

    /// The replies, sorted into those that only concern their key and those that stop the job.
    ///
    /// # Errors
    ///
    /// With [`Code::Unknown`] what may be asked again, with another what will not get better.
    pub(crate) fn answers(&mut self, requests: &[Request]) -> Result<Vec<Answer>> {
        let replies = self.pipeline(requests)?;
        replies.into_iter().map(|reply| self.sorted(reply)).collect()
    }

    /// As [`Self::answers`], for one request.
    pub(crate) fn answer(&mut self, request: Request) -> Result<Answer> {
        let reply = self.remote.call(&request)?;
        self.sorted(reply)
    }

    /// A reply as [`Self::answers`] sorts them.
    pub(crate) fn sorted(&self, reply: Frame) -> Result<Answer> {
        let Frame::Error(text) = reply else { return Ok(Ok(reply)) };
        let text = String::from_utf8_lossy(&text).into_owned();
        let word = text.split(' ').next().unwrap_or_default();
        let name = self.name();
        if PASSING.contains(&word) {
            return Err(Failure::new(Code::Unknown, format!("{name} answers {text}")).into());
        }
        if word == "OOM" {
            let failure = Failure::new(Code::Partly, format!("{name} is full: {text}"));
            let hint = "raise maxmemory or add nodes, then go on with the same --state file";
            return Err(failure.hint(hint).into());
        }
        if ["MISCONF", "READONLY", "NOREPLICAS"].contains(&word) {
            return Err(
                Failure::new(Code::Partly, format!("{name} takes no writes: {text}")).into()
            );
        }
        if Code::of_reply(text.as_bytes()) == Code::Denied {
            let text = format!("{name} does not allow it: {text}");
            return Err(Failure::new(Code::Denied, text).into());
        }
        Ok(Err(text))
    }

    /// The reply to one request.
    ///
    /// # Errors
    ///
    /// Also the server's refusal, whatever it concerns.
    pub(crate) fn ask(&mut self, request: &Request) -> Result<Frame> {
        self.remote.ask(request)
    }

    /// The connection itself.
    pub(crate) fn remote(&mut self) -> &mut Remote {
        &mut self.remote
    }

    /// Up to [`WINDOW_BYTES`] of a value; fewer only where it ends.
    ///
    /// # Errors
    ///
    /// As [`Self::answers`].
    pub(crate) fn window(&mut self, key: &Bytes, at: u64) -> Result<Result<Vec<u8>, String>> {
        let starts = (0..CHUNKS).map(|chunk| at + chunk * CHUNK_BYTES);
        let chunk =
            |start| vec![word("GETRANGE"), key.clone(), word(start), word(start + CHUNK_BYTES - 1)];
        let answers = self.answers(&starts.map(chunk).collect::<Vec<_>>())?;
        Ok(joined(answers))
    }

    /// How many keys there are.
    pub(crate) fn keys(&mut self) -> Result<u64> {
        count(self.remote.ask(&["DBSIZE"])?)
    }

    /// Which life of its data a server is in, where it tells: another one may have lost keys, and
    /// knows nothing of the cursors of the one before.
    ///
    /// A Redis names its process, and so does a Bitroster of one node; a cluster names its data,
    /// which all of its routers serve and which outlive them.
    pub(crate) fn run_id(&mut self) -> Result<Option<String>> {
        let request = self.run_request();
        let reply = self.remote.call(&request)?;
        self.run_of(reply)
    }

    /// What is to be asked to learn it; [`Self::run_of`] reads the reply.
    pub(crate) fn run_request(&self) -> Request {
        request(["INFO", if self.is_ours { "replication" } else { "server" }])
    }

    /// The id in the reply to [`Self::run_request`].
    pub(crate) fn run_of(&self, reply: Frame) -> Result<Option<String>> {
        // Who may not ask is no worse off than with a server that does not tell.
        if matches!(&reply, Frame::Error(text) if Code::of_reply(text) == Code::Denied) {
            return Ok(None);
        }
        let Ok(Frame::Bulk(text)) = self.sorted(reply)? else { return Ok(None) };
        let field = if self.is_ours { "master_replid:" } else { "run_id:" };
        let text = String::from_utf8_lossy(&text);
        Ok(text.lines().find_map(|line| line.strip_prefix(field)).map(|id| id.trim().to_owned()))
    }

    /// Which of the keys are strings.
    pub(crate) fn strings(&mut self, keys: &[Bytes]) -> Result<Vec<bool>> {
        let questions: Vec<_> = keys.iter().map(|key| request_of("TYPE", key)).collect();
        let kinds = self.answers(&questions)?;
        let is_string =
            |kind: &Answer| matches!(kind, Ok(Frame::Simple(kind)) if &kind[..] == b"string");
        Ok(kinds.iter().map(is_string).collect())
    }

    /// Whether there is any string among the keys that match.
    pub(crate) fn has_strings(&mut self, pattern: Option<&str>) -> Result<bool> {
        let mut cursor = "0".to_owned();
        loop {
            let (next, keys) = self.scan(&cursor, pattern)?;
            if self.strings(&keys)?.contains(&true) {
                return Ok(true);
            }
            if next == "0" {
                return Ok(false);
            }
            cursor = next;
        }
    }

    /// The next keys and where to go on; the cursor "0" is the start, and the end.
    pub(crate) fn scan(
        &mut self,
        cursor: &str,
        pattern: Option<&str>,
    ) -> Result<(String, Vec<Bytes>)> {
        let mut args = vec!["SCAN", cursor];
        args.extend(pattern.iter().flat_map(|pattern| ["MATCH", pattern]));
        args.extend(["COUNT", SCAN_COUNT]);
        let reply = self.remote.ask(&args)?;
        let strange = || anyhow!("{} answered SCAN strangely", self.remote.name());
        let Frame::Array(parts) = reply else { return Err(strange()) };
        let Ok([Frame::Bulk(next), Frame::Array(keys)]) = <[Frame; 2]>::try_from(parts) else {
            return Err(strange());
        };
        let keys = keys.into_iter().map(|key| match bulk(key) {
            Ok(key) => Ok(key),
            Err(_) => Err(strange()),
        });
        Ok((String::from_utf8_lossy(&next).into_owned(), keys.collect::<Result<_>>()?))
    }

    /// What is to be asked to learn when keys expire: one request that is asked first, if any.
    pub(crate) fn clock_request(&self) -> Option<Request> {
        (!self.is_exact).then(|| request(["TIME"]))
    }

    /// What is to be asked of one key; [`expiry`] reads the reply.
    pub(crate) fn expiry_request(&self, key: &Bytes) -> Request {
        request_of(if self.is_exact { "PEXPIRETIME" } else { "PTTL" }, key)
    }

    /// The server's clock by the reply to [`Self::clock_request`], 0 where there is none: then
    /// expiries are absolute already.
    pub(crate) fn clock(&self, replies: &mut impl Iterator<Item = Frame>) -> Result<i64> {
        if self.is_exact { Ok(0) } else { self.millis_of(replies.next()) }
    }

    /// The server's clock, in milliseconds since 1970.
    pub(crate) fn now(&mut self) -> Result<i64> {
        let reply = self.remote.ask(&["TIME"])?;
        self.millis_of(Some(reply))
    }

    fn millis_of(&self, time: Option<Frame>) -> Result<i64> {
        let number = |frame: &Frame| {
            let Frame::Bulk(text) = frame else { return None };
            std::str::from_utf8(text).ok()?.parse::<i64>().ok()
        };
        let time = match time {
            Some(Frame::Array(parts)) => parts.iter().map(number).collect::<Option<Vec<_>>>(),
            _ => None,
        };
        match time.as_deref() {
            Some([seconds, micros]) => Ok(seconds * 1000 + micros / 1000),
            _ => bail!("{} does not tell its time", self.name()),
        }
    }

    /// Milliseconds by which the same expiry may look different at this server.
    pub(crate) fn expiry_error_ms(&self) -> u64 {
        if self.is_exact { 0 } else { 1_000 }
    }

    /// What keys hold: length, set bits, expiry.
    pub(crate) fn look(&mut self, keys: &[Bytes]) -> Result<Vec<Look>> {
        let mut requests: Vec<Request> = self.clock_request().into_iter().collect();
        for key in keys {
            requests.push(request_of("STRLEN", key));
            requests.push(request_of("BITCOUNT", key));
            requests.push(self.expiry_request(key));
        }
        let mut replies = self.pipeline(&requests)?.into_iter();
        let clock = self.clock(&mut replies)?;
        let mut looks = Vec::with_capacity(keys.len());
        while let (Some(len), Some(bits), Some(expires)) =
            (replies.next(), replies.next(), replies.next())
        {
            looks.push(self.looked(len, bits, expires, clock)?);
        }
        Ok(looks)
    }

    fn looked(&self, len: Frame, bits: Frame, expires: Frame, clock: i64) -> Result<Look> {
        let (Ok(len), Ok(bits)) = (self.sorted(len)?, self.sorted(bits)?) else {
            return Ok(Look::Other);
        };
        let expires = self.sorted(expires)?.map_err(|text| anyhow!("{}: {text}", self.name()))?;
        Ok(match expiry(&expires, clock) {
            None => Look::Absent,
            Some(expiry) => {
                Look::Value(Facts { len_bytes: count(len)?, set_bits: count(bits)?, expiry })
            }
        })
    }
}

/// Chunks up to the first that is not full.
fn joined(answers: Vec<Answer>) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    for answer in answers {
        let chunk = bulk(answer?).map_err(|other| format!("GETRANGE answered {other:?}"))?;
        bytes.extend_from_slice(&chunk);
        if (chunk.len() as u64) < CHUNK_BYTES {
            break;
        }
    }
    Ok(bytes)
}

/// When a key expires, by the reply to [`Peer::expiry_request`]; `None` if it is not there.
pub(crate) fn expiry(reply: &Frame, clock: i64) -> Option<Expiry> {
    let Frame::Integer(millis) = reply else { return Some(Expiry::Never) };
    match millis {
        -2 => None,
        -1 => Some(Expiry::Never),
        millis => Some(Expiry::At(clock.saturating_add(*millis).max(1))),
    }
}

/// A number that cannot be negative.
pub(crate) fn count(reply: Frame) -> Result<u64> {
    let Frame::Integer(number) = reply else { bail!("a number was expected, not {reply:?}") };
    Ok(u64::try_from(number)?)
}

/// The bytes of a reply, or the reply if it has none.
fn bulk(reply: Frame) -> Result<Bytes, Frame> {
    if let Frame::Bulk(bytes) = reply { Ok(bytes) } else { Err(reply) }
}

/// A request of fixed words.
pub(crate) fn request<const N: usize>(words: [&'static str; N]) -> Request {
    words.map(|word| Bytes::from_static(word.as_bytes())).to_vec()
}

/// A request that names one key.
pub(crate) fn request_of(name: &'static str, key: &Bytes) -> Request {
    vec![Bytes::from_static(name.as_bytes()), key.clone()]
}

/// An argument.
pub(crate) fn word(text: impl ToString) -> Bytes {
    Bytes::from(text.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiries_are_read_in_both_forms() {
        assert_eq!(expiry(&Frame::Integer(-2), 5_000), None);
        assert_eq!(expiry(&Frame::Integer(-1), 5_000), Some(Expiry::Never));
        assert_eq!(expiry(&Frame::Integer(250), 5_000), Some(Expiry::At(5_250)));
        assert_eq!(expiry(&Frame::Integer(9_000), 0), Some(Expiry::At(9_000)));
    }
}
