//! One client that looks at keys, whole and in part.

use std::{sync::Arc, thread, time::Duration};

use bitroster_resp::Frame;

use super::{
    Link, Shared,
    ledger::Seen,
    link::Reply,
    value::{self, BLOCK_BYTES, HEAD_BYTES},
};
use crate::Random;

/// Blocks that are looked at: one more than the longest value has.
const BLOCKS: u64 = 17;

/// Time between two looks: the writers want the processors too, and looks are kept till the end.
const PAUSE: Duration = Duration::from_micros(300);

pub(super) struct Reader {
    shared: Arc<Shared>,
    link: Link,
    random: Random,
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>, number: usize, random: Random) -> Self {
        let link = Link::new(Arc::clone(&shared), number);
        Self { shared, link, random }
    }

    pub(super) fn run(mut self) {
        while !self.shared.is_over() {
            if let Some((key, name)) = self.choose() {
                self.look(key, &name);
            }
            thread::park_timeout(PAUSE);
        }
    }

    /// Looks at every key once: whole, and at each block by itself.
    pub(super) fn read_all(mut self) {
        let count = self.shared.ledger().len();
        for key in 0..count {
            let name = self.shared.ledger().name(key).to_owned();
            self.insist(key, &["GET", &name], &whole);
            for at in 0..BLOCKS {
                let field = bit_of_block(at);
                self.insist(key, &["BITFIELD_RO", &name, "GET", "i64", &field], &block(at));
            }
        }
    }

    /// A key: mostly one that is still written to.
    fn choose(&mut self) -> Option<(usize, String)> {
        let ledger = self.shared.ledger();
        let present = ledger.present();
        if present.is_empty() {
            return None;
        }
        let is_any = self.random.one_in(6);
        let key = if is_any {
            self.random.index(ledger.len())
        } else {
            present[self.random.index(present.len())]
        };
        Some((key, ledger.name(key).to_owned()))
    }

    fn look(&mut self, key: usize, name: &str) {
        match self.random.below(12) {
            0..=2 => drop(self.see(key, &["GET", name], &whole)),
            3 | 4 => self.look_at_range(key, name),
            5 => drop(self.see(key, &["BITCOUNT", name], &|frame| number(frame).map(Seen::Count))),
            6 => drop(self.see(key, &["STRLEN", name], &|frame| number(frame).map(Seen::Len))),
            7 => drop(self.see(key, &["TTL", name], &expiry)),
            _ => {
                // Two blocks, one after the other: the second must not be older.
                for _ in 0..2 {
                    self.look_at_block(key, name);
                }
            }
        }
    }

    /// Some blocks in one command.
    fn look_at_range(&mut self, key: usize, name: &str) {
        let first = self.random.below(BLOCKS - 1);
        let last = first + 1 + self.random.below(BLOCKS - first - 1);
        let from = (first * BLOCK_BYTES).to_string();
        let to = (last * BLOCK_BYTES + HEAD_BYTES - 1).to_string();
        self.see(key, &["GETRANGE", name, &from, &to], &|frame| blocks(frame, first, last));
    }

    fn look_at_block(&mut self, key: usize, name: &str) {
        let at = self.random.below(BLOCKS);
        if self.random.one_in(3) {
            let from = (at * BLOCK_BYTES).to_string();
            let to = (at * BLOCK_BYTES + HEAD_BYTES - 1).to_string();
            self.see(key, &["GETRANGE", name, &from, &to], &|frame| blocks(frame, at, at));
        } else {
            let field = bit_of_block(at);
            self.see(key, &["BITFIELD_RO", name, "GET", "i64", &field], &block(at));
        }
    }

    /// Asks, and notes what was seen; false if there was no answer.
    fn see(&mut self, key: usize, args: &[&str], seen: &dyn Fn(&Frame) -> Option<Seen>) -> bool {
        let invoked = self.shared.now();
        let reply = self.link.ask(args);
        let completed = self.shared.now();
        let Reply::Answer(frame) = reply else { return false };
        let mut ledger = self.shared.ledger();
        match seen(&frame) {
            Some(seen) => ledger.look(key, invoked, completed, seen),
            None => ledger.complain(format!("{args:?} was answered {frame:?}")),
        }
        true
    }

    fn insist(&mut self, key: usize, args: &[&str], seen: &dyn Fn(&Frame) -> Option<Seen>) {
        crate::wait::until("a key can be read", || self.see(key, args, seen).then_some(()));
    }
}

/// The offset of a block's first bit, as a word.
fn bit_of_block(at: u64) -> String {
    (at * BLOCK_BYTES * 8).to_string()
}

fn whole(frame: &Frame) -> Option<Seen> {
    if *frame == Frame::Nil {
        return Some(Seen::Whole(None));
    }
    let Frame::Bulk(bytes) = frame else { return None };
    Some(match value::edition_of(bytes) {
        Ok(edition) => Seen::Whole(Some(edition)),
        Err(text) => Seen::Torn(text),
    })
}

/// The heads of blocks `first` to `last`, which a range begins and ends with.
fn blocks(frame: &Frame, first: u64, last: u64) -> Option<Seen> {
    let Frame::Bulk(bytes) = frame else { return None };
    let heads = value::heads(bytes);
    let mut seen = Vec::new();
    for (at, place) in (first..=last).zip(0..) {
        let head = heads.get(place).filter(|(edition, _)| *edition != 0);
        if head.is_some_and(|(_, told)| *told != at) {
            return Some(Seen::Torn(format!("blocks {first} to {last}: {heads:?}")));
        }
        seen.push((at, head.map(|(edition, _)| *edition)));
    }
    Some(Seen::Blocks(seen))
}

fn block(at: u64) -> impl Fn(&Frame) -> Option<Seen> {
    move |frame| {
        let Frame::Array(values) = frame else { return None };
        let edition = number(values.first()?)?;
        Some(Seen::Blocks(vec![(at, Some(edition).filter(|edition| *edition != 0))]))
    }
}

fn expiry(frame: &Frame) -> Option<Seen> {
    let Frame::Integer(seconds) = frame else { return None };
    (-2..).contains(seconds).then(|| Seen::Expires((*seconds != -2).then_some(*seconds >= 0)))
}

fn number(frame: &Frame) -> Option<u64> {
    let Frame::Integer(number) = frame else { return None };
    u64::try_from(*number).ok()
}
