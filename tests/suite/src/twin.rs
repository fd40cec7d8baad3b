//! Redis and Bitroster side by side: the same commands to both, and the least that sets them apart.
//!
//! A run goes in rounds. Each round begins with empty servers, so that a difference can be shrunk:
//! the round's commands are played again, fewer and fewer, until each that is left is needed.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use bitroster_resp::{Frame, encode_request};
use bytes::BytesMut;

use crate::{
    Client, Random, Server,
    commands::{Compare, Generator, KEYS, Request, Shape},
    scenario::say,
    wait,
};

/// Requests that are sent at once.
pub const BATCH: usize = 50;

/// Requests between two empty keyspaces.
const ROUND: usize = 2_000;

/// Batches between two looks at the whole keyspace.
const LOOK_EVERY: usize = 10;

/// How long a difference may be shrunk.
const SHRINK_TIME: Duration = Duration::from_secs(60);

/// Bits of a look across an edge.
const LOOK_BITS: u64 = 32;

/// Both servers.
#[derive(Debug)]
pub struct Twin {
    redis: Server,
    bitroster: Server,
    shape: Shape,
}

/// A connection to each.
struct Pair {
    redis: Client,
    bitroster: Client,
}

impl Twin {
    /// Starts both.
    ///
    /// # Panics
    ///
    /// If one does not start.
    pub fn start(bitroster_args: &[&str], shape: Shape) -> Self {
        Self { redis: Server::redis(), bitroster: Server::bitroster(bitroster_args), shape }
    }

    /// Sends so many random commands to both servers.
    ///
    /// # Panics
    ///
    /// With the shortest sequence of commands that was found, if they differ.
    pub fn compare(&self, commands: usize, random: Random) {
        let mut generator = Generator::new(random, self.shape);
        for round in 0..commands.div_ceil(ROUND) {
            let mut history = Vec::new();
            let len = ROUND.min(commands - round * ROUND);
            if let Err(difference) = self.round(&mut generator, len, &mut history) {
                say(&format!("round {round}, after {} commands: {difference}", history.len()));
                panic!("{}", self.shrunk(history, &difference));
            }
        }
    }

    fn round(
        &self,
        generator: &mut Generator,
        len: usize,
        history: &mut Vec<Request>,
    ) -> Result<(), String> {
        let mut pair = self.emptied();
        for batch in 0..len.div_ceil(BATCH) {
            let requests = generator.batch(BATCH);
            history.extend_from_slice(&requests);
            pair.compare(&requests)?;
            if batch % LOOK_EVERY == LOOK_EVERY - 1 {
                self.compare_keyspaces()?;
            }
        }
        self.compare_keyspaces()?;
        self.compare_expiry(generator.random());
        Ok(())
    }

    /// Lets some keys pass away by time and looks at what is left.
    fn compare_expiry(&self, random: &mut Random) {
        let mut pair = self.pair();
        let mut left: Vec<&str> = (0..4).map(|_| random.pick(KEYS)).collect();
        let expire: Vec<Request> =
            left.iter().map(|key| Request::exact(&["PEXPIRE", key, "20"])).collect();
        send_all(&mut pair.redis, &expire);
        send_all(&mut pair.bitroster, &expire);
        wait::until("the keys have expired on both servers", || {
            left.retain(|key| {
                let exists = Request::exact(&["EXISTS", key]);
                let Pair { redis, bitroster } = &mut pair;
                let exists = |client| send_all(client, std::slice::from_ref(&exists));
                (exists(redis), exists(bitroster)) != (vec![NOT_THERE], vec![NOT_THERE])
            });
            left.is_empty().then_some(())
        });
        if let Err(difference) = self.compare_keyspaces() {
            panic!("after keys had expired: {difference}");
        }
    }

    /// Compares all that can be seen: whole keys, and each segment by itself.
    fn compare_keyspaces(&self) -> Result<(), String> {
        let mut pair = self.pair();
        pair.compare(&[Request::exact(&["DBSIZE"])])?;
        for key in KEYS {
            let mut requests: Vec<Request> = ["EXISTS", "STRLEN", "BITCOUNT", "GET"]
                .iter()
                .map(|name| Request::exact(&[*name, key]))
                .collect();
            let times = Request::exact(&["PTTL", key]);
            requests.push(Request { compare: Compare::Within(30_000), ..times });
            for edge in (0..self.shape.offsets).step_by(step(self.shape.segment_bits)) {
                let bit = (edge + LOOK_BITS).to_string();
                let across = edge.saturating_sub(LOOK_BITS / 2).to_string();
                let field = format!("u{LOOK_BITS}");
                requests.push(Request::exact(&["GETBIT", key, &bit]));
                requests.push(Request::exact(&["BITFIELD_RO", key, "GET", &field, &across]));
            }
            pair.compare(&requests)?;
        }
        let found = scan(&mut pair.bitroster);
        let expected = send_all(&mut pair.redis, &[Request::exact(&["KEYS", "*"])]);
        let found = Frame::Array(found);
        if agree(Compare::Unordered, &expected[0], &found) {
            return Ok(());
        }
        Err(format!("SCAN finds {}, redis has {}", brief(&found), brief(&expected[0])))
    }

    /// Plays fewer and fewer commands until each that is left is needed, or the time is over.
    fn shrunk(&self, mut history: Vec<Request>, first: &str) -> String {
        let Some(at_once) = [1, BATCH].into_iter().find(|at_once| {
            let difference = self.replay(&history, *at_once);
            difference.is_some()
        }) else {
            let tail = &history[history.len().saturating_sub(BATCH)..];
            return format!("{first}\nnot seen again when replayed; before:\n{}", shown_all(tail));
        };
        let began = Instant::now();
        let mut difference = first.to_owned();
        let mut step = history.len().div_ceil(2);
        while began.elapsed() < SHRINK_TIME {
            let mut at = 0;
            let before = history.len();
            while at < history.len() && began.elapsed() < SHRINK_TIME {
                let mut fewer = history.clone();
                drop(fewer.drain(at..(at + step).min(history.len())));
                match self.replay(&fewer, at_once) {
                    Some(found) => (history, difference) = (fewer, found),
                    None => at += step,
                }
            }
            if step == 1 && history.len() == before {
                break;
            }
            step = step.div_ceil(2);
        }
        format!("{difference}\n{at_once} at once:\n{}", shown_all(&history))
    }

    /// Plays commands on empty servers; the first difference.
    fn replay(&self, history: &[Request], at_once: usize) -> Option<String> {
        let mut pair = self.emptied();
        for requests in history.chunks(at_once) {
            if let Err(difference) = pair.compare(requests) {
                return Some(difference);
            }
        }
        self.compare_keyspaces().err()
    }

    fn pair(&self) -> Pair {
        Pair { redis: self.redis.client(), bitroster: self.bitroster.client() }
    }

    fn emptied(&self) -> Pair {
        let mut pair = self.pair();
        pair.compare(&[Request::exact(&["FLUSHALL"])]).expect("both can be emptied");
        pair
    }
}

const NOT_THERE: Frame = Frame::Integer(0);

impl Pair {
    fn compare(&mut self, requests: &[Request]) -> Result<(), String> {
        let expected = send_all(&mut self.redis, requests);
        let got = send_all(&mut self.bitroster, requests);
        for ((request, expected), got) in requests.iter().zip(&expected).zip(&got) {
            if !agree(request.compare, expected, got) {
                return Err(told_apart(request, expected, got));
            }
        }
        Ok(())
    }
}

/// Sends requests at once and reads the replies.
///
/// # Panics
///
/// If the server is gone.
pub fn send_all(client: &mut Client, requests: &[Request]) -> Vec<Frame> {
    let mut bytes = BytesMut::new();
    for request in requests {
        encode_request(&request.args, &mut bytes);
    }
    client.send_raw(&bytes).expect("the server reads");
    requests.iter().map(|_| client.receive().expect("the server answers")).collect()
}

/// All keys, by SCAN.
fn scan(client: &mut Client) -> Vec<Frame> {
    let (mut cursor, mut found) = ("0".to_owned(), Vec::new());
    loop {
        let reply = client.words(&format!("SCAN {cursor}")).expect("a page");
        let Frame::Array(parts) = &reply else { panic!("SCAN answered {reply:?}") };
        let [Frame::Bulk(next), Frame::Array(keys)] = &parts[..] else {
            panic!("SCAN answered {reply:?}")
        };
        found.extend_from_slice(keys);
        cursor = String::from_utf8_lossy(next).into_owned();
        if cursor == "0" {
            return found;
        }
    }
}

fn agree(compare: Compare, expected: &Frame, got: &Frame) -> bool {
    match (compare, expected, got) {
        (Compare::Within(slack), Frame::Integer(a), Frame::Integer(b)) if *a >= 0 => {
            *b >= 0 && (a - b).abs() <= slack
        }
        (Compare::Unordered, Frame::Array(a), Frame::Array(b)) => {
            let sorted = |frames: &[Frame]| {
                let mut texts: Vec<String> = frames.iter().map(|f| format!("{f:?}")).collect();
                texts.sort();
                texts
            };
            sorted(a) == sorted(b)
        }
        _ => expected == got,
    }
}

/// A difference, with the place where long values part.
fn told_apart(request: &Request, expected: &Frame, got: &Frame) -> String {
    let mut text = format!(
        "{}\nredis:     {}\nbitroster: {}",
        shown(&request.args),
        brief(expected),
        brief(got)
    );
    if let (Frame::Bulk(expected), Frame::Bulk(got)) = (expected, got) {
        let same = expected.iter().zip(got).take_while(|(a, b)| a == b).count();
        write!(text, "\nequal in the first {same} bytes").expect("a string takes all");
    }
    text
}

fn brief(frame: &Frame) -> String {
    let text = format!("{frame:?}");
    if text.len() <= 600 {
        return text;
    }
    if let Frame::Bulk(bytes) = frame {
        return format!("{} bytes", bytes.len());
    }
    if let Frame::Array(frames) = frame {
        return format!("[{}]", frames.iter().map(brief).collect::<Vec<_>>().join(", "));
    }
    text
}

fn shown_all(requests: &[Request]) -> String {
    let lines: Vec<String> = requests.iter().map(|request| shown(&request.args)).collect();
    format!("        {}", lines.join("\n        "))
}

fn shown(args: &[Vec<u8>]) -> String {
    let word = |arg: &Vec<u8>| match arg.len() {
        0..=60 => format!("\"{}\"", arg.escape_ascii()),
        len => format!("<{len} bytes of {}>", arg[len / 2]),
    };
    args.iter().map(word).collect::<Vec<_>>().join(" ")
}

fn step(bits: u64) -> usize {
    usize::try_from(bits).expect("a segment's width fits")
}
