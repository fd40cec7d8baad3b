//! Goal: for random commands of every kind, Bitroster answers what Redis answers.
//!
//! Method: a seeded generator makes commands that crowd around the edges (offsets, negative
//! ranges, wrong arguments, missing and repeated keys) and sends each to Debian's redis-server and
//! to Bitroster; the replies must be equal, and at intervals the whole keyspace. What differs on
//! purpose is the list in `tests/differential.md`, and is generated around or compared loosely, as
//! said there.

use bitroster_resp::{Frame, encode_request};
use bitroster_suite::{Client, Random, Server};
use bytes::BytesMut;

const COMMANDS: usize = 100_000;
const BATCH: usize = 50;
const KEYS: &[&str] = &["a", "b", "c", "{t}1", "{t}2", "long", "word", "n", "", "k\r\n\u{0}"];

/// How a reply is compared.
#[derive(Clone, Copy, PartialEq)]
enum Compare {
    Exactly,
    /// Arrays without order: KEYS.
    Unordered,
    /// Times that pass while the two servers are asked, in the reply's own unit.
    Within(i64),
}

struct Request {
    args: Vec<Vec<u8>>,
    compare: Compare,
}

/// Requests that are wrong, or about no key.
const ODD: &str = "PING|PING x|PING x y|ECHO x|ECHO|SELECT 0|SELECT 99|SELECT x|NOSUCH|NOSUCH a b|\
                   GETBIT|SETBIT a|BITOP|BITOP AND|EXEC|DISCARD|UNWATCH|SCAN x|SCAN x COUNT 0|\
                   FLUSHALL x|TIME x";

/// Makes requests.
struct Generator {
    random: Random,
    /// No offset at or past this, so that redis-server's memory stays small.
    offsets: u64,
}

impl Generator {
    fn key(&mut self) -> String {
        self.random.pick(KEYS).to_owned()
    }

    /// A bit offset: mostly near an edge, sometimes wrong.
    fn offset(&mut self) -> String {
        let edge = 1u64 << self.random.below(u64::from(self.offsets.ilog2()));
        let near = (edge + self.random.below(5)).saturating_sub(2) % self.offsets;
        match self.random.below(12) {
            0 => self
                .random
                .pick(&[
                    "-1",
                    "+1",
                    "01",
                    "",
                    " 1",
                    "1 ",
                    "0x1",
                    "4294967296",
                    "18446744073709551616",
                    "a",
                    "9223372036854775807",
                    "1.0",
                    "-0",
                ])
                .to_owned(),
            1..=5 => self.random.below(64).to_string(),
            6..=9 => near.to_string(),
            _ => self.random.below(self.offsets).to_string(),
        }
    }

    /// An index of a range: around the ends, negative, sometimes wrong.
    fn index(&mut self) -> String {
        match self.random.below(14) {
            0 => self.random.pick(&["", "a", "1.5", "9223372036854775808", "+1"]).to_owned(),
            1 => self
                .random
                .pick(&["9223372036854775807", "-9223372036854775808", "4294967296"])
                .to_owned(),
            2..=4 => format!("-{}", 1 + self.random.below(20)),
            5 => format!("-{}", self.random.below(self.offsets / 4)),
            6 => self.random.below(self.offsets / 4).to_string(),
            _ => self.random.below(24).to_string(),
        }
    }

    fn value(&mut self) -> Vec<u8> {
        match self.random.below(8) {
            0 => Vec::new(),
            1 => self.number().into_bytes(),
            2 => {
                let len = self.random.below(self.offsets / 8);
                vec![self.random.byte(); usize::try_from(len).expect("a small length")]
            }
            _ => (0..self.random.below(40)).map(|_| self.random.byte()).collect(),
        }
    }

    fn number(&mut self) -> String {
        match self.random.below(8) {
            0 => self
                .random
                .pick(&[
                    "9223372036854775807",
                    "-9223372036854775808",
                    "9223372036854775808",
                    "x",
                    "",
                    "1.0",
                    "007",
                    "-0",
                ])
                .to_owned(),
            1 => format!("-{}", self.random.below(1000)),
            _ => self.random.below(1000).to_string(),
        }
    }

    /// Seconds far enough away that nothing expires during the run, or at once.
    fn seconds(&mut self) -> String {
        match self.random.below(10) {
            0 => self.random.pick(&["0", "-1", "x", "9223372036854775807", "-99999999"]).to_owned(),
            _ => (10_000 + self.random.below(100_000)).to_string(),
        }
    }

    fn millis(&mut self) -> String {
        match self.random.below(10) {
            0 => self.random.pick(&["0", "-1", "x", "9223372036854775807"]).to_owned(),
            _ => (10_000_000 + self.random.below(100_000_000)).to_string(),
        }
    }

    fn field(&mut self) -> Vec<String> {
        let kind = match self.random.below(12) {
            0 => self.random.pick(&["u64", "i65", "u0", "U8", "u08", "x", ""]).to_owned(),
            1 => self.random.pick(&["i64", "u63", "i1", "u1"]).to_owned(),
            _ => format!("{}{}", self.random.pick(&["u", "i"]), 1 + self.random.below(40)),
        };
        let offset = match self.random.below(5) {
            0 => format!("#{}", self.random.below(2000)),
            1 => self.offset(),
            _ => self.random.below(200).to_string(),
        };
        vec![kind, offset]
    }

    fn keys(&mut self, count_max: u64) -> Vec<String> {
        (0..1 + self.random.below(count_max)).map(|_| self.key()).collect()
    }

    fn request(&mut self) -> Request {
        let mut compare = Compare::Exactly;
        let mut value_at_end = None;
        let mut words: Vec<String> = match self.random.below(64) {
            0..=8 => vec!["SETBIT".into(), self.key(), self.offset(), self.bit()],
            9..=13 => vec!["GETBIT".into(), self.key(), self.offset()],
            14..=18 => self.bit_count(),
            19..=23 => self.bit_pos(),
            24..=29 => self.bit_op(),
            30..=34 => self.bit_field(),
            35..=37 => self.set(&mut value_at_end),
            38 => vec!["GET".into(), self.key()],
            39 => self.set_family(&mut value_at_end),
            40 => self.get_family(),
            41 => [vec!["MGET".into()], self.keys(4)].concat(),
            42 => self.mset(),
            43 => vec!["STRLEN".into(), self.key()],
            44 => {
                value_at_end = Some(self.value());
                vec!["APPEND".into(), self.key()]
            }
            45 | 46 => {
                let name = self.random.pick(&["GETRANGE", "SUBSTR"]).to_owned();
                vec![name, self.key(), self.index(), self.index()]
            }
            47 | 48 => {
                value_at_end = Some(self.value());
                let at = self.index();
                vec!["SETRANGE".into(), self.key(), at]
            }
            49 | 50 => self.increment(),
            51 => {
                let name = self.random.pick(&["DEL", "UNLINK", "EXISTS", "TOUCH"]).to_owned();
                [vec![name], self.keys(3)].concat()
            }
            52 => vec!["TYPE".into(), self.key()],
            53..=55 => self.expire(),
            56 | 57 => self.time_to_live(&mut compare),
            58 => vec!["PERSIST".into(), self.key()],
            59 => {
                let name = self.random.pick(&["RENAME", "RENAMENX"]).to_owned();
                vec![name, self.key(), self.key()]
            }
            60 => self.copy(),
            61 => {
                compare = Compare::Unordered;
                let pattern = self.random.pick(&["*", "{t}?", "[a-c]", "[^a]", "l*g", "\\a", "k*"]);
                vec!["KEYS".into(), pattern.to_owned()]
            }
            62 => vec!["DBSIZE".into()],
            _ => self.odd(),
        };
        if self.random.one_in(40) {
            self.spoil(&mut words);
        }
        let mut args: Vec<Vec<u8>> = words.into_iter().map(String::into_bytes).collect();
        args.extend(value_at_end);
        Request { args, compare }
    }

    fn bit(&mut self) -> String {
        match self.random.below(20) {
            0 => self.random.pick(&["2", "-1", "", "x", "01"]).to_owned(),
            n => (n % 2).to_string(),
        }
    }

    fn bit_count(&mut self) -> Vec<String> {
        let mut words = vec!["BITCOUNT".into(), self.existing_or_missing()];
        if !self.random.one_in(3) {
            words.extend([self.good_index(), self.good_index()]);
            if self.random.one_in(2) {
                words.push(self.unit());
            }
        }
        words
    }

    fn bit_pos(&mut self) -> Vec<String> {
        let mut words = vec!["BITPOS".into(), self.existing_or_missing()];
        words.push(self.random.below(2).to_string());
        for _ in 0..self.random.below(3) {
            words.push(self.good_index());
        }
        if words.len() == 5 && self.random.one_in(2) {
            words.push(self.unit());
        }
        words
    }

    fn existing_or_missing(&mut self) -> String {
        if self.random.one_in(10) { "missing".into() } else { self.key() }
    }

    /// Redis 7.0 looks the key up before it parses a range, newer ones after: see the list.
    fn good_index(&mut self) -> String {
        loop {
            let index = self.index();
            if index.parse::<i64>().is_ok() && !index.starts_with('+') {
                return index;
            }
        }
    }

    fn unit(&mut self) -> String {
        self.random.pick(&["BIT", "BYTE", "bit", "Byte"]).to_owned()
    }

    fn bit_op(&mut self) -> Vec<String> {
        let name = self.random.pick(&["AND", "OR", "XOR", "NOT", "and", "Not", "NOPE"]).to_owned();
        let sources = if name.eq_ignore_ascii_case("not") && !self.random.one_in(5) {
            vec![self.existing_or_missing()]
        } else {
            self.keys(5)
        };
        [vec!["BITOP".into(), name, self.key()], sources].concat()
    }

    fn bit_field(&mut self) -> Vec<String> {
        let read_only = self.random.one_in(4);
        let name = if read_only { "BITFIELD_RO" } else { "BITFIELD" };
        let mut words = vec![name.to_owned(), self.key()];
        for _ in 0..self.random.below(4) {
            let action =
                if read_only && !self.random.one_in(10) { 0 } else { self.random.below(8) };
            match action {
                0..=2 => words.push("GET".into()),
                3 | 4 => words.push("SET".into()),
                5 | 6 => words.push("INCRBY".into()),
                _ => {
                    words.push("OVERFLOW".into());
                    words.push(self.random.pick(&["WRAP", "SAT", "FAIL", "sat", "NO"]).to_owned());
                    continue;
                }
            }
            words.extend(self.field());
            if action >= 3 {
                words.push(self.number());
            }
        }
        words
    }

    fn set(&mut self, value_at_end: &mut Option<Vec<u8>>) -> Vec<String> {
        if self.random.one_in(2) {
            *value_at_end = Some(self.value());
            return vec!["SET".into(), self.key()];
        }
        let mut words = vec!["SET".into(), self.key(), self.number()];
        for _ in 0..self.random.below(3) {
            match self.random.below(7) {
                0 => words.push("NX".into()),
                1 => words.push("xx".into()),
                2 => words.push("GET".into()),
                3 => words.push("KEEPTTL".into()),
                4 => words.extend(["EX".into(), self.seconds()]),
                5 => words.extend(["PX".into(), self.millis()]),
                _ => words.extend(["EXAT".into(), self.far_second()]),
            }
        }
        words
    }

    fn far_second(&mut self) -> String {
        (4_000_000_000 + self.random.below(1000)).to_string()
    }

    fn set_family(&mut self, value_at_end: &mut Option<Vec<u8>>) -> Vec<String> {
        *value_at_end = Some(self.value());
        match self.random.below(4) {
            0 => vec!["SETNX".into(), self.key()],
            1 => vec!["SETEX".into(), self.key(), self.seconds()],
            2 => vec!["PSETEX".into(), self.key(), self.millis()],
            _ => vec!["GETSET".into(), self.key()],
        }
    }

    fn get_family(&mut self) -> Vec<String> {
        let mut words = vec!["GETEX".into(), self.key()];
        match self.random.below(6) {
            0 => words[0] = "GETDEL".into(),
            // A bad time is not asked for: Redis 7.0 looks the key up first.
            1 => words.extend(["EX".into(), "12345".into()]),
            2 => words.extend(["PX".into(), "12345678".into()]),
            3 => words.push("PERSIST".into()),
            4 => words.extend(["EXAT".into(), self.far_second()]),
            _ => {}
        }
        words
    }

    fn mset(&mut self) -> Vec<String> {
        let mut words = vec![self.random.pick(&["MSET", "MSETNX"]).to_owned()];
        for _ in 0..1 + self.random.below(3) {
            words.extend([self.key(), self.number()]);
        }
        words
    }

    fn increment(&mut self) -> Vec<String> {
        match self.random.below(4) {
            0 => vec!["INCR".into(), self.key()],
            1 => vec!["DECR".into(), self.key()],
            2 => vec!["INCRBY".into(), self.key(), self.number()],
            _ => vec!["DECRBY".into(), self.key(), self.number()],
        }
    }

    fn expire(&mut self) -> Vec<String> {
        let mut words = match self.random.below(4) {
            0 => vec!["EXPIRE".into(), self.key(), self.seconds()],
            1 => vec!["PEXPIRE".into(), self.key(), self.millis()],
            2 => vec!["EXPIREAT".into(), self.key(), self.far_second()],
            _ => vec!["PEXPIREAT".into(), self.key(), self.far_second() + "123"],
        };
        for _ in 0..self.random.below(3) {
            words.push(self.random.pick(&["NX", "XX", "GT", "LT", "gt", "NO"]).to_owned());
        }
        words
    }

    fn time_to_live(&mut self, compare: &mut Compare) -> Vec<String> {
        let names = ["TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME"];
        let name = self.random.pick(&names).to_owned();
        *compare = Compare::Within(if name.starts_with('P') { 30_000 } else { 30 });
        vec![name, self.key()]
    }

    fn copy(&mut self) -> Vec<String> {
        let mut words = vec!["COPY".into(), self.key(), self.key()];
        if self.random.one_in(2) {
            words.push("REPLACE".into());
        }
        if self.random.one_in(6) {
            words.extend(["DB".into(), "0".into()]);
        }
        words
    }

    fn odd(&mut self) -> Vec<String> {
        let odd: Vec<&str> = ODD.split('|').collect();
        self.random.pick(&odd).split(' ').map(str::to_owned).collect()
    }

    /// Drops, doubles or replaces a word.
    fn spoil(&mut self, words: &mut Vec<String>) {
        if ["BITCOUNT", "BITPOS"].contains(&words[0].as_str()) {
            return;
        }
        let at = usize::try_from(self.random.below(words.len() as u64)).expect("an index");
        match self.random.below(3) {
            0 if at > 0 => drop(words.remove(at)),
            1 if at > 0 => words.push(words[at].clone()),
            _ => words[0] = words[0].to_lowercase(),
        }
    }
}

fn send_all(client: &mut Client, requests: &[Request]) -> Vec<Frame> {
    let mut bytes = BytesMut::new();
    for request in requests {
        encode_request(&request.args, &mut bytes);
    }
    client.send_raw(&bytes).expect("the server reads");
    requests.iter().map(|_| client.receive().expect("the server answers")).collect()
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

fn shown(args: &[Vec<u8>]) -> String {
    let word = |arg: &Vec<u8>| match arg.len() {
        0..=60 => format!("\"{}\"", arg.escape_ascii()),
        len => format!("<{len} bytes of {}>", arg[0]),
    };
    args.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// Sends a run of commands to both servers.
fn compare_servers(offsets: u64, seed: u64, bitroster_args: &[&str]) {
    let (redis, bitroster) = (Server::redis(), Server::bitroster(bitroster_args));
    let (mut redis, mut bitroster) = (redis.client_of(), bitroster.client_of());
    let mut generator = Generator { random: Random::announced(seed), offsets };
    for batch in 0..COMMANDS / BATCH {
        let mut requests: Vec<Request> = (0..BATCH).map(|_| generator.request()).collect();
        if generator.random.one_in(5) {
            wrap_in_transaction(&mut requests);
        }
        let expected = send_all(&mut redis.1, &requests);
        let got = send_all(&mut bitroster.1, &requests);
        for (at, request) in requests.iter().enumerate() {
            assert!(
                agree(request.compare, &expected[at], &got[at]),
                "batch {batch}, command {at}: {}\nredis:     {:?}\nbitroster: {:?}\nbefore: {}",
                shown(&request.args),
                expected[at],
                got[at],
                requests[..at]
                    .iter()
                    .map(|r| shown(&r.args))
                    .collect::<Vec<_>>()
                    .join("\n        "),
            );
        }
        if batch % 20 == 0 {
            compare_keyspaces(batch, &mut redis.1, &mut bitroster.1);
        }
    }
    compare_keyspaces(COMMANDS / BATCH, &mut redis.1, &mut bitroster.1);
}

/// MULTI before a few of the commands and EXEC after them; times inside are left out.
fn wrap_in_transaction(requests: &mut Vec<Request>) {
    requests.retain(|request| request.compare == Compare::Exactly);
    let word = |word: &str| Request { args: vec![word.into()], compare: Compare::Exactly };
    let end = requests.len().min(12);
    requests.insert(end, word("EXEC"));
    requests.insert(2.min(end), word("MULTI"));
}

fn compare_keyspaces(batch: usize, redis: &mut Client, bitroster: &mut Client) {
    let mut requests = vec![Request { args: vec![b"DBSIZE".to_vec()], compare: Compare::Exactly }];
    for key in KEYS {
        for name in ["EXISTS", "STRLEN", "BITCOUNT", "GET"] {
            let args = vec![name.as_bytes().to_vec(), key.as_bytes().to_vec()];
            requests.push(Request { args, compare: Compare::Exactly });
        }
    }
    let expected = send_all(redis, &requests);
    let got = send_all(bitroster, &requests);
    for ((request, expected), got) in requests.iter().zip(&expected).zip(&got) {
        if expected != got {
            let (expected, got) = (format!("{expected:?}"), format!("{got:?}"));
            let same = expected.bytes().zip(got.bytes()).take_while(|(a, b)| a == b).count();
            panic!(
                "after batch {batch}: {} differs after {same} characters of {} and {}",
                shown(&request.args),
                expected.len(),
                got.len()
            );
        }
    }
}

/// A server with a connection to it, so that both live as long.
trait WithClient {
    fn client_of(self) -> (Server, Client);
}

impl WithClient for Server {
    fn client_of(self) -> (Server, Client) {
        let client = self.client();
        (self, client)
    }
}

#[test]
fn keys_of_one_segment_agree_with_redis() {
    compare_servers(1 << 19, 7, &["--groups", "4"]);
}

#[test]
fn keys_spread_over_groups_agree_with_redis() {
    compare_servers(1 << 19, 8, &["--groups", "4", "--set", "cluster.segment_width_log2=16"]);
}

#[test]
fn a_scan_returns_every_key_that_stays() {
    let (server, mut client) = Server::bitroster(&["--groups", "4"]).client_of();
    for number in 0..3000 {
        client.words(&format!("SETBIT key:{number} 3 1")).expect("an answer");
    }
    let mut other = server.client();
    let (mut cursor, mut found, mut calls) = ("0".to_owned(), Vec::new(), 0);
    loop {
        let reply = client.words(&format!("SCAN {cursor} COUNT 100 MATCH key:*")).expect("a page");
        let Frame::Array(parts) = reply else { panic!("SCAN answered {reply:?}") };
        let (Frame::Bulk(next), Frame::Array(keys)) = (&parts[0], &parts[1]) else {
            panic!("SCAN answered {parts:?}")
        };
        found.extend(keys.iter().map(|key| format!("{key:?}")));
        // Keys come and go between the pages.
        other.words(&format!("SETBIT new:{calls} 1 1")).expect("an answer");
        other.words(&format!("DEL new:{}", calls / 2)).expect("an answer");
        calls += 1;
        cursor = String::from_utf8_lossy(next).into_owned();
        if cursor == "0" {
            break;
        }
        assert!(calls < 3000, "the scan does not end");
    }
    found.sort();
    found.dedup();
    assert_eq!(found.len(), 3000);
    assert!(calls > 10, "COUNT is not heeded: {calls} pages");
}
