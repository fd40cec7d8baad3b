//! One client that publishes, moves and removes keys of its own.

use std::{sync::Arc, sync::atomic::Ordering, time::Duration};

use bitroster_resp::Frame;

use super::{
    Link, Shared, State,
    ledger::Outcome,
    link::Reply,
    value::{self, value},
};
use crate::{Random, wait};

/// Keys that a writer has at a time.
const KEYS: usize = 3;

/// An expiry that no test lives to see.
const FAR_SECONDS: &str = "100000";

/// How much earlier a key may go than the writer's clock says.
const SLACK: Duration = Duration::from_millis(50);

/// Commands that leave the destination as the source is.
const COMBINATIONS: &[&str] =
    &["OR source", "OR source none", "AND source source", "XOR none source"];

/// One of the writer's keys.
struct Slot {
    key: usize,
    name: String,
    /// What it is; nothing where a write was not answered.
    state: Option<State>,
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    link: Link,
    random: Random,
    number: usize,
    slots: Vec<Slot>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, number: usize, random: Random) -> Self {
        let link = Link::new(Arc::clone(&shared), number);
        let mut writer = Self { shared, link, random, number, slots: Vec::new() };
        writer.slots = (0..KEYS).map(|_| writer.new_slot()).collect();
        writer
    }

    pub(super) fn run(mut self) {
        while !self.shared.is_over() {
            self.step();
        }
    }

    fn new_slot(&self) -> Slot {
        let mut ledger = self.shared.ledger();
        let name = format!("w{}:{}", self.number, ledger.len());
        let key = ledger.add_key(name.clone());
        Slot { key, name, state: Some(State::Absent) }
    }

    fn step(&mut self) {
        // What is in doubt stays so for ever: mostly another key goes on in its place.
        for at in 0..KEYS {
            if self.slots[at].state.is_none() && !self.random.one_in(4) {
                self.shared.ledger().retire(self.slots[at].key);
                self.slots[at] = self.new_slot();
            }
        }
        let at = self.random.index(KEYS);
        let other = (at + 1 + self.random.index(KEYS - 1)) % KEYS;
        let present = |slot: &Slot| matches!(slot.state, Some(State::Of { .. }));
        if !present(&self.slots[at]) {
            return self.set(at);
        }
        match self.random.below(20) {
            0..=4 => self.set(at),
            5..=8 => self.combine(at, other),
            9 | 10 => self.rename(at, other),
            11 | 12 => self.copy(at, other),
            13 => self.remove(at, "DEL"),
            14 => self.remove(at, "UNLINK"),
            15 => self.take(at),
            16 | 17 => self.expire(at),
            18 => self.set_two(at, other),
            _ => self.pass(at),
        }
    }

    /// Sends a write, notes how it ended, and compares its answer; whether it was acknowledged.
    fn write(
        &mut self,
        args: &[impl AsRef<[u8]>],
        by: &'static str,
        effects: &[(usize, State)],
        expected: &Frame,
    ) -> bool {
        if !self.link.connect() {
            return false;
        }
        let invoked = self.shared.now();
        let mut writes = Vec::new();
        {
            let mut ledger = self.shared.ledger();
            for (at, state) in effects {
                writes.push(ledger.send(self.slots[*at].key, by, *state, invoked));
            }
        }
        let reply = self.link.ask(args);
        let outcome = match &reply {
            Reply::Answer(frame) if frame == expected => Outcome::Done(self.shared.now()),
            Reply::Answer(_) | Reply::Unknown => Outcome::Unknown,
            Reply::Refused => Outcome::Refused,
        };
        let mut ledger = self.shared.ledger();
        if let (Reply::Answer(frame), Outcome::Unknown) = (&reply, outcome) {
            let name = &self.slots[effects[0].0].name;
            let known: Vec<Option<State>> =
                effects.iter().map(|(at, _)| self.slots[*at].state).collect();
            let told = format!("{frame:?}");
            ledger.complain(format!(
                "{by} of {name} at {invoked} ns, known as {known:?}, was answered {told:.200}"
            ));
        }
        for ((at, state), write) in effects.iter().zip(writes) {
            let slot = &mut self.slots[*at];
            ledger.end(slot.key, write, outcome);
            match outcome {
                // A key that was in doubt stays so: what was not answered may still come.
                Outcome::Done(_) => slot.state = slot.state.map(|_| *state),
                Outcome::Unknown => slot.state = None,
                Outcome::Refused => {}
            }
        }
        let is_done = matches!(outcome, Outcome::Done(_));
        if is_done {
            self.shared.written.fetch_add(1, Ordering::Relaxed);
        }
        is_done
    }

    fn edition(&self) -> u64 {
        self.shared.editions.fetch_add(1, Ordering::Relaxed)
    }

    fn name(&self, at: usize) -> Vec<u8> {
        self.slots[at].name.clone().into_bytes()
    }

    fn set(&mut self, at: usize) {
        let edition = self.edition();
        let expires = self.random.one_in(4);
        let mut args = vec![b"SET".to_vec(), self.name(at), value(edition)];
        if expires {
            args.extend([b"EX".to_vec(), FAR_SECONDS.into()]);
        }
        match self.slots[at].state {
            Some(State::Absent) if self.random.one_in(4) => args.push(b"NX".to_vec()),
            Some(State::Of { .. }) if self.random.one_in(4) => args.push(b"XX".to_vec()),
            _ => {}
        }
        self.write(&args, "SET", &[(at, State::Of { edition, expires })], &ok());
    }

    fn set_two(&mut self, at: usize, other: usize) {
        let (one, two) = (self.edition(), self.edition());
        let words = [b"MSET".to_vec(), self.name(at), value(one), self.name(other), value(two)];
        let of = |edition| State::Of { edition, expires: false };
        self.write(&words, "MSET", &[(at, of(one)), (other, of(two))], &ok());
    }

    /// Makes `other` what `at` is.
    fn combine(&mut self, at: usize, other: usize) {
        let Some(State::Of { edition, .. }) = self.slots[at].state else { return };
        let (source, target) = (self.slots[at].name.clone(), self.slots[other].name.clone());
        let combination = self.random.pick(COMBINATIONS);
        let mut words = combination.split(' ');
        let mut args = vec!["BITOP", words.next().expect("an operation"), &target];
        args.extend(words.map(|word| if word == "source" { &source[..] } else { word }));
        let state = State::Of { edition, expires: false };
        self.write(&args, "BITOP", &[(other, state)], &integer(value::len(edition)));
    }

    fn rename(&mut self, at: usize, other: usize) {
        let Some(state) = self.slots[at].state else { return };
        let args = [b"RENAME".to_vec(), self.name(at), self.name(other)];
        self.write(&args, "RENAME", &[(at, State::Absent), (other, state)], &ok());
    }

    fn copy(&mut self, at: usize, other: usize) {
        let Some(state) = self.slots[at].state else { return };
        let args = [b"COPY".to_vec(), self.name(at), self.name(other), b"REPLACE".to_vec()];
        self.write(&args, "COPY", &[(other, state)], &integer(1));
    }

    fn remove(&mut self, at: usize, command: &'static str) {
        let args = [command.into(), self.name(at)];
        self.write(&args, command, &[(at, State::Absent)], &integer(1));
    }

    fn take(&mut self, at: usize) {
        let Some(State::Of { edition, .. }) = self.slots[at].state else { return };
        let args = [b"GETDEL".to_vec(), self.name(at)];
        let expected = Frame::Bulk(value(edition).into());
        self.write(&args, "GETDEL", &[(at, State::Absent)], &expected);
    }

    /// Takes an expiry away, or gives one.
    fn expire(&mut self, at: usize) {
        let Some(State::Of { edition, expires }) = self.slots[at].state else { return };
        let state = State::Of { edition, expires: !expires };
        let name = self.slots[at].name.clone();
        if expires {
            self.write(&["PERSIST", &name], "PERSIST", &[(at, state)], &integer(1));
        } else {
            self.write(&["EXPIRE", &name, FAR_SECONDS], "EXPIRE", &[(at, state)], &integer(1));
        }
    }

    /// Gives the key a short time, and waits until that is over.
    fn pass(&mut self, at: usize) {
        let Some(State::Of { edition, .. }) = self.slots[at].state else { return };
        let time = Duration::from_millis(150 + self.random.below(150));
        let sent = self.shared.now();
        let millis = time.as_millis().to_string();
        let name = self.slots[at].name.clone();
        let state = State::Of { edition, expires: true };
        let is_done =
            self.write(&["PEXPIRE", &name, &millis], "PEXPIRE", &[(at, state)], &integer(1));
        if !is_done && self.slots[at].state.is_some() {
            return;
        }
        let early = u64::try_from((time - SLACK).as_nanos()).expect("a short time");
        let key = self.slots[at].key;
        let write = self.shared.ledger().send(key, "expiry", State::Absent, sent + early);
        if !is_done {
            return;
        }
        // Whether it comes is for the readers to say, if it does not come soon.
        let gone = wait::within(Duration::from_secs(20), Duration::from_millis(5), || {
            (self.link.ask(&["EXISTS", &name]) == Reply::Answer(integer(0))).then_some(())
        });
        let mut ledger = self.shared.ledger();
        if gone.is_some() {
            ledger.end(key, write, Outcome::Done(self.shared.now()));
            self.slots[at].state = Some(State::Absent);
        } else {
            ledger.complain(format!("{name} should have expired at {} ns", sent + early));
            self.slots[at].state = None;
        }
    }
}

fn ok() -> Frame {
    Frame::Simple("OK".into())
}

fn integer(number: u64) -> Frame {
    Frame::Integer(i64::try_from(number).expect("a small number"))
}
