//! Clients that swap the values of keys they share: no value may be taken twice, and none be lost.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
};

use bitroster_resp::Frame;

use super::{
    Link, Shared,
    link::Reply,
    value::{self, value},
};
use crate::Random;

/// Keys that all traders share.
const KEYS: usize = 2;

/// What traders put into their keys and took out.
#[derive(Clone, Debug, Default)]
pub(super) struct Trades {
    /// Editions that were put.
    put: BTreeSet<u64>,
    /// Editions that were sent and not acknowledged.
    unknown: BTreeSet<u64>,
    /// Editions that were taken out, whoever did.
    taken: BTreeSet<u64>,
    /// Requests without an answer that may have taken something.
    lost_answers: usize,
    /// Whether what is left at the end has been taken too.
    is_over: bool,
    complaints: Vec<String>,
}

impl Trades {
    /// Names of the keys.
    pub(super) fn names() -> impl Iterator<Item = String> {
        (0..KEYS).map(|key| format!("traded:{key}"))
    }

    /// How often an edition was put.
    pub(super) fn len(&self) -> usize {
        self.put.len()
    }

    /// Notes that somebody has got the value of a key.
    fn take(&mut self, by: &str, frame: &Frame) {
        let Frame::Bulk(bytes) = frame else {
            if *frame != Frame::Nil {
                self.complaints.push(format!("{by} was answered {frame:?}"));
            }
            return;
        };
        match value::edition_of(bytes) {
            Err(text) => self.complaints.push(format!("{by} took {text}")),
            Ok(edition) if !self.taken.insert(edition) => {
                self.complaints
                    .push(format!("{by} took edition {edition}, which was taken before"));
            }
            Ok(_) => {}
        }
    }

    /// What cannot have happened.
    pub(super) fn contradictions(&self) -> Vec<String> {
        let mut found = self.complaints.clone();
        let strange =
            self.taken.iter().filter(|it| !self.put.contains(it) && !self.unknown.contains(it));
        found.extend(strange.map(|edition| format!("edition {edition} was taken and never put")));
        let missing: Vec<&u64> = self.put.difference(&self.taken).collect();
        if self.is_over && missing.len() > self.lost_answers {
            let lost = self.lost_answers;
            found.push(format!("editions {missing:?} are gone, but only {lost} answers are lost"));
        }
        found
    }
}

/// One client that swaps.
pub(super) struct Trader {
    shared: Arc<Shared>,
    link: Link,
    random: Random,
}

impl Trader {
    pub(super) fn new(shared: Arc<Shared>, number: usize, random: Random) -> Self {
        let link = Link::new(Arc::clone(&shared), number);
        Self { shared, link, random }
    }

    pub(super) fn run(mut self) {
        let names: Vec<String> = Trades::names().collect();
        while !self.shared.is_over() {
            let name = names[self.random.index(KEYS)].as_bytes();
            match self.random.below(8) {
                0 | 1 => self.take(name),
                2 => self.put(name, &["NX"]),
                3 => self.put(name, &["XX", "GET"]),
                _ => self.put(name, &["GET"]),
            }
        }
    }

    /// Takes what is left.
    pub(super) fn finish(mut self) {
        for name in Trades::names() {
            let left = self.link.insist(&["GET", &name]);
            self.shared.ledger().trades.take("the end", &left);
        }
        self.shared.ledger().trades.is_over = true;
    }

    fn take(&mut self, name: &[u8]) {
        let reply = self.link.ask(&[b"GETDEL", name]);
        let trades = &mut self.shared.ledger().trades;
        match reply {
            Reply::Answer(frame) => trades.take("GETDEL", &frame),
            Reply::Unknown => trades.lost_answers += 1,
            Reply::Refused => {}
        }
    }

    /// Puts a new edition, where the options allow it, and takes the old one if they say GET.
    fn put(&mut self, name: &[u8], options: &[&str]) {
        if !self.link.connect() {
            return;
        }
        let edition = self.shared.editions.fetch_add(1, Ordering::Relaxed);
        let new = value(edition);
        let mut args: Vec<&[u8]> = vec![b"SET", name, &new];
        args.extend(options.iter().map(|option| option.as_bytes()));
        // Others may take it before this client knows that it was put.
        self.shared.ledger().trades.unknown.insert(edition);
        let reply = self.link.ask(&args);
        let trades = &mut self.shared.ledger().trades;
        let gets = options.contains(&"GET");
        match reply {
            Reply::Answer(frame) => {
                let is_put = options == ["GET"] || frame != Frame::Nil;
                trades.unknown.remove(&edition);
                if is_put {
                    trades.put.insert(edition);
                    self.shared.written.fetch_add(1, Ordering::Relaxed);
                }
                if gets {
                    trades.take(&format!("SET {options:?} of {edition}"), &frame);
                } else if is_put && frame != Frame::Simple("OK".into()) {
                    trades.complaints.push(format!("SET {options:?} was answered {frame:?}"));
                }
            }
            Reply::Unknown => trades.lost_answers += usize::from(gets),
            Reply::Refused => {
                trades.unknown.remove(&edition);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trades(put: &[u64], taken: &[u64], lost_answers: usize) -> Vec<String> {
        let put = put.iter().copied().collect();
        let mut trades = Trades { put, lost_answers, is_over: true, ..Trades::default() };
        for edition in taken {
            trades.take("somebody", &Frame::Bulk(value(*edition).into()));
        }
        trades.contradictions()
    }

    #[test]
    fn each_value_is_taken_once_unless_an_answer_is_lost() {
        assert!(trades(&[1, 2, 3], &[3, 1, 2], 0).is_empty());
        assert!(!trades(&[1, 2, 3], &[1, 2, 2, 3], 0).is_empty(), "taken twice");
        assert!(!trades(&[1, 2, 3], &[1, 3], 0).is_empty(), "lost");
        assert!(trades(&[1, 2, 3], &[1, 3], 1).is_empty(), "perhaps taken");
        assert!(!trades(&[1, 2], &[1, 2, 3], 0).is_empty(), "never put");
    }
}
