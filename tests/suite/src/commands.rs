//! Random commands of every kind that has a twin in Redis, crowded around the edges.
//!
//! A [`Generator`] makes [`Request`]s from a seed and a [`Shape`]: the shape says how long bitmaps
//! become and where the borders between segments lie, and offsets, ranges and values gather there.
//! Some words are wrong on purpose. What Bitroster answers other than Redis (`differential.md`,
//! beside the suite) is generated around.

use crate::Random;

mod arguments;

/// Keys that commands are about: with equal and other hash tags, empty, and with bytes that need
/// care.
pub const KEYS: &[&str] = &["a", "b", "c", "{t}1", "{t}2", "long", "word", "n", "", "k\r\n\u{0}"];

/// Stands for a generated value among the words of a request.
const VALUE: &str = "\u{1}value";

/// Requests that are wrong, or about no key.
const ODD: &str = "PING|PING x|PING x y|ECHO x|ECHO|SELECT 0|SELECT 99|SELECT x|NOSUCH|NOSUCH a b|\
                   GETBIT|SETBIT a|BITOP|BITOP AND|EXEC|DISCARD|UNWATCH|SCAN x|SCAN x COUNT 0|\
                   FLUSHALL x|TIME x|FLUSHALL";

/// How a reply is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// Equal, to the byte.
    Exactly,
    /// Arrays without order: KEYS.
    Unordered,
    /// Times that pass while the two servers are asked, in the reply's own unit.
    Within(i64),
}

/// A request and how its reply is judged.
#[derive(Clone, Debug)]
pub struct Request {
    /// The words.
    pub args: Vec<Vec<u8>>,
    /// How two servers' replies to it must agree.
    pub compare: Compare,
}

impl Request {
    /// A request whose replies must be equal.
    pub fn exact(words: &[impl AsRef<[u8]>]) -> Self {
        let args = words.iter().map(|word| word.as_ref().to_vec()).collect();
        Self { args, compare: Compare::Exactly }
    }
}

/// How long bitmaps become and where they are cut.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// No offset at or past this, in bits, so that redis-server's memory stays small.
    pub offsets: u64,
    /// Bits of a segment; a power of two, at least 2^16.
    pub segment_bits: u64,
}

impl Shape {
    /// Whether bitmaps reach over several segments.
    pub fn has_edges(self) -> bool {
        self.segment_bits < self.offsets
    }
}

/// Makes requests.
#[derive(Clone, Debug)]
pub struct Generator {
    random: Random,
    shape: Shape,
}

impl Generator {
    /// A generator of commands in this shape.
    pub fn new(random: Random, shape: Shape) -> Self {
        Self { random, shape }
    }

    /// What else is left to chance.
    pub fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    /// The next requests, to be sent at once: now and then with a transaction among them.
    pub fn batch(&mut self, len: usize) -> Vec<Request> {
        let mut requests: Vec<Request> = (0..len).map(|_| self.request()).collect();
        if self.random.one_in(5) {
            // Times inside a transaction's reply are left out.
            requests.retain(|request| request.compare == Compare::Exactly);
            let end = requests.len().min(12);
            requests.insert(end, Request::exact(&["EXEC"]));
            requests.insert(2.min(end), Request::exact(&["MULTI"]));
        }
        requests
    }

    /// The next request.
    pub fn request(&mut self) -> Request {
        let mut compare = Compare::Exactly;
        let mut words = if self.shape.has_edges() && self.random.one_in(6) {
            self.of_whole_keys()
        } else {
            self.of_any_kind(&mut compare)
        };
        if self.random.one_in(40) {
            self.spoil(&mut words);
        }
        let mut arg = |word: String| if word == VALUE { self.value() } else { word.into_bytes() };
        let args = words.into_iter().map(&mut arg).collect();
        Request { args, compare }
    }

    fn of_any_kind(&mut self, compare: &mut Compare) -> Vec<String> {
        match self.random.below(64) {
            0..=8 => vec!["SETBIT".into(), self.key(), self.offset(), self.bit()],
            9..=13 => vec!["GETBIT".into(), self.key(), self.offset()],
            14..=18 => self.bit_count(),
            19..=23 => self.bit_pos(),
            24..=29 => self.bit_op(),
            30..=34 => self.bit_field(),
            35..=37 => self.set(),
            38 => vec!["GET".into(), self.key()],
            39 => self.set_family(),
            40 => self.get_family(),
            41 => [vec!["MGET".into()], self.keys(4)].concat(),
            42 => self.mset(),
            43 => vec!["STRLEN".into(), self.key()],
            44 => vec!["APPEND".into(), self.key(), VALUE.into()],
            45 | 46 => {
                let name = self.random.pick(&["GETRANGE", "SUBSTR"]).to_owned();
                vec![name, self.key(), self.index(), self.index()]
            }
            47 | 48 => vec!["SETRANGE".into(), self.key(), self.byte_offset(), VALUE.into()],
            49 | 50 => self.increment(),
            51 => {
                let name = self.random.pick(&["DEL", "UNLINK", "EXISTS", "TOUCH"]).to_owned();
                [vec![name], self.keys(3)].concat()
            }
            52 => vec!["TYPE".into(), self.key()],
            53..=55 => self.expire(),
            56 | 57 => self.time_to_live(compare),
            58 => vec!["PERSIST".into(), self.key()],
            59 => self.rename(),
            60 => self.copy(),
            61 => {
                *compare = Compare::Unordered;
                let pattern = self.random.pick(&["*", "{t}?", "[a-c]", "[^a]", "l*g", "\\a", "k*"]);
                vec!["KEYS".into(), pattern.to_owned()]
            }
            62 => vec!["DBSIZE".into()],
            _ => self.odd(),
        }
    }

    /// Commands that publish, move or remove a key in all its groups.
    fn of_whole_keys(&mut self) -> Vec<String> {
        match self.random.below(12) {
            0 | 1 => self.set_with_options(VALUE.to_owned()),
            2 => self.rename(),
            3 => self.copy(),
            4 => self.get_family(),
            5 => self.mset(),
            6 => vec!["GETDEL".into(), self.key()],
            7 => vec!["PERSIST".into(), self.key()],
            8 => self.expire(),
            9 => vec!["APPEND".into(), self.key(), VALUE.into()],
            10 => vec!["SETRANGE".into(), self.key(), self.byte_offset(), VALUE.into()],
            _ => self.bit_op(),
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

    fn set(&mut self) -> Vec<String> {
        if self.random.one_in(2) {
            return vec!["SET".into(), self.key(), VALUE.into()];
        }
        let number = self.number();
        self.set_with_options(number)
    }

    fn set_with_options(&mut self, value: String) -> Vec<String> {
        let mut words = vec!["SET".into(), self.key(), value];
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

    fn set_family(&mut self) -> Vec<String> {
        let mut words = match self.random.below(4) {
            0 => vec!["SETNX".into(), self.key()],
            1 => vec!["SETEX".into(), self.key(), self.seconds()],
            2 => vec!["PSETEX".into(), self.key(), self.millis()],
            _ => vec!["GETSET".into(), self.key()],
        };
        words.push(VALUE.into());
        words
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
            let value = if self.random.one_in(3) { VALUE.to_owned() } else { self.number() };
            words.extend([self.key(), value]);
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

    fn rename(&mut self) -> Vec<String> {
        let name = self.random.pick(&["RENAME", "RENAMENX"]).to_owned();
        vec![name, self.key(), self.key()]
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
        let at = self.random.index(words.len());
        match self.random.below(3) {
            // A long value must not become a key: see the list.
            0 if at > 0 && !words.iter().any(|word| word == VALUE) => drop(words.remove(at)),
            1 if at > 0 => words.push(words[at].clone()),
            _ => words[0] = words[0].to_lowercase(),
        }
    }
}
