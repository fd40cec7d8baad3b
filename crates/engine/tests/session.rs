//! Goal: a batch of an open session is applied exactly once, whatever is lost, repeated or
//! reordered; a repeat is answered as the first time, or honestly not at all; all of it is bounded
//! and survives a snapshot.
//!
//! Method: routers send numbered batches through encoded entries; copies of each arrive in any
//! order, any number of times, or never. A naive twin keeps every answer for ever and applies each
//! batch once, to an engine that knows nothing of sessions. Snapshots are taken in between.
//!
//! Mutants killed: a repeat applied again; a batch applied below the answered mark; a window
//! without an end; outcomes kept beyond their bound; a session that never ends, or ends early; an
//! id given twice after a restart; a snapshot without sessions; an answer that depends on how the
//! state is kept, not on what it is; a SETBIT whose short cut leaves another mark.

#![allow(
    clippy::cast_lossless,
    clippy::cast_possible_truncation,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "whatever is not as it should be fails the test"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use bitroster_command::{
    CommandError, EntryReader, Numbered, NumberedOutcome, Op, OpBatch, Outcome, OutcomeWriter,
    ReadCommand, Reply, WriteCommand, WriteOp, encode_entry,
};
use bitroster_engine::{Batch, Engine};
use bitroster_types::{
    LogIndex, SessionId,
    limits::{
        SESSION_IDLE_MS_MAX, SESSION_REPLY_BYTES_MAX, SESSION_WINDOW_MAX, SESSIONS_MAX,
        SESSIONS_REPLY_BYTES_MAX,
    },
};
use bytes::Bytes;
use common::{Lone, config, key};
use proptest::{collection::vec, prelude::*};

fn ops_of(batch: &OpBatch) -> Vec<Op> {
    let (mut ops, mut reader) = (Vec::new(), batch.clone().into_reader());
    while let Some(op) = reader.next_op().unwrap() {
        ops.push(op);
    }
    ops
}

fn batch(ops: &[Op]) -> OpBatch {
    let mut batch = OpBatch::new();
    ops.iter().for_each(|op| batch.push(op));
    batch
}

fn incr(name: &str) -> Op {
    WriteCommand::IncrBy { key: key(name), by: 1 }.into()
}

fn count(lone: &mut Lone, name: &str) -> Reply {
    lone.run(&ReadCommand::Get { key: key(name) }.into())
}

fn open(lone: &mut Lone) -> SessionId {
    match lone.op(&WriteOp::OpenSession) {
        Outcome::Session(session) => session,
        other => panic!("no session: {other:?}"),
    }
}

fn numbered(session: SessionId, number: u64, answered: u64, ops: &[Op]) -> WriteOp {
    WriteOp::Numbered(Numbered { session, number, answered, ops: batch(ops) })
}

fn send(lone: &mut Lone, session: SessionId, number: u64, answered: u64, ops: &[Op]) -> Outcome {
    lone.op(&numbered(session, number, answered, ops))
}

fn applied(outcome: Outcome) -> Vec<Outcome> {
    match outcome {
        Outcome::Numbered(NumberedOutcome::Applied(batch)) => batch.decode().unwrap(),
        other => panic!("not applied: {other:?}"),
    }
}

fn image(engine: &Engine) -> Vec<u8> {
    let mut bytes = Vec::new();
    engine.snapshot().write_to(&mut bytes).unwrap();
    bytes
}

/// Applies an entry, `in_slices` as a state machine does that takes a batch's ops one by one, and
/// SETBITs by their short cut.
fn deliver(lone: &mut Lone, entry: Bytes, in_slices: bool) -> Outcome {
    let reader = EntryReader::new(entry).unwrap();
    let engine = &mut lone.engine;
    engine.begin(LogIndex(engine.applied().0 + 1), reader.time());
    let Some(Op::Write(op)) = reader.into_ops().next_op().unwrap() else {
        panic!("an entry of one write")
    };
    let outcome = match (op, in_slices) {
        (WriteOp::Numbered(Numbered { session, number, answered, ops }), true) => {
            match engine.begin_batch(session, number, answered) {
                Batch::Repeat(outcome) => Outcome::Numbered(outcome),
                Batch::Refused(error) => error.into(),
                Batch::Fresh => {
                    let (mut ops, mut outcomes) = (ops.into_reader(), OutcomeWriter::new());
                    let mut bits = Vec::new();
                    loop {
                        if let Some(key) = ops.next_set_bits(&mut bits, 5) {
                            engine.apply_set_bits(key, &bits, |outcome| outcomes.push(&outcome));
                            continue;
                        }
                        let Some(op) = ops.next_op().unwrap() else { break };
                        outcomes.push(&match op {
                            Op::Read(op) => engine.read(&op, engine.time()),
                            Op::Write(op) => engine.apply(&op),
                        });
                    }
                    let outcomes = outcomes.finish();
                    engine.end_batch(session, number, outcomes.clone());
                    Outcome::Numbered(NumberedOutcome::Applied(outcomes))
                }
            }
        }
        (op, _) => engine.apply(&op),
    };
    engine.end();
    outcome
}

/// What one session promises, without any bound on memory.
#[derive(Default)]
struct Told {
    answered: u64,
    used: u64,
    applied: BTreeMap<u64, Vec<Outcome>>,
}

/// Applies each batch once and remembers every answer.
struct Twin {
    plain: Lone,
    sessions: BTreeMap<SessionId, Told>,
    opened: u64,
}

impl Twin {
    fn apply(&mut self, now: u64, op: &WriteOp) -> Outcome {
        self.plain.now.0 = now;
        self.sessions.retain(|_, told| told.used + SESSION_IDLE_MS_MAX > now);
        let sent = match op {
            WriteOp::OpenSession => {
                self.plain.op(&WriteOp::Tick);
                self.opened += 1;
                let told = Told { used: now, ..Told::default() };
                self.sessions.insert(SessionId(self.opened), told);
                return Outcome::Session(SessionId(self.opened));
            }
            WriteOp::Numbered(sent) => sent,
            other => panic!("not sent here: {other:?}"),
        };
        let Some(told) = self.sessions.get_mut(&sent.session) else {
            self.plain.op(&WriteOp::Tick);
            return Outcome::Numbered(NumberedOutcome::NoSession);
        };
        told.used = now;
        told.answered = told.answered.max(sent.answered);
        let window = told.applied.range(told.answered + 1..).count();
        let is_known = told.applied.contains_key(&sent.number) || sent.number <= told.answered;
        if is_known || window >= SESSION_WINDOW_MAX {
            self.plain.op(&WriteOp::Tick);
        }
        if sent.number <= told.answered {
            return Outcome::Numbered(NumberedOutcome::Forgotten);
        }
        if !is_known && window >= SESSION_WINDOW_MAX {
            return CommandError::SESSION_WINDOW.into();
        }
        let outcomes = told.applied.entry(sent.number).or_insert_with(|| {
            let engine = &mut self.plain.engine;
            engine.begin(LogIndex(engine.applied().0 + 1), self.plain.now);
            let outcomes = ops_of(&sent.ops).into_iter().map(|op| match op {
                Op::Read(op) => engine.read(&op, engine.time()),
                Op::Write(op) => engine.apply(&op),
            });
            let outcomes = outcomes.collect();
            engine.end();
            outcomes
        });
        let mut writer = OutcomeWriter::new();
        outcomes.iter().for_each(|outcome| writer.push(outcome));
        if is_known && writer.len_bytes() > SESSION_REPLY_BYTES_MAX {
            return Outcome::Numbered(NumberedOutcome::Forgotten);
        }
        Outcome::Numbered(NumberedOutcome::Applied(writer.finish()))
    }
}

#[derive(Clone, Debug)]
enum Event {
    /// Log time goes on.
    Wait(u64),
    /// A router, or its successor, opens a session.
    Open(usize),
    /// A router sends a batch. It may arrive later, never or several times.
    Send(usize, Vec<Op>),
    /// A copy of one of the last batches arrives.
    Arrive(prop::sample::Index, bool),
    /// A router takes note of an answer that it has got.
    Note(prop::sample::Index),
    /// The engine is saved and restored.
    Restart,
}

fn op() -> impl Strategy<Value = Op> {
    let name = || prop::sample::select(vec!["a", "b", "c"]).prop_map(key);
    let long = Bytes::from(vec![b'x'; SESSION_REPLY_BYTES_MAX / 2]);
    prop_oneof![
        4 => name().prop_map(|key| WriteCommand::IncrBy { key, by: 1 }.into()),
        3 => (name(), 0..99_u64, any::<bool>())
            .prop_map(|(key, offset, value)| WriteCommand::SetBit { key, offset, value }.into()),
        3 => name().prop_map(|key| ReadCommand::Get { key }.into()),
        1 => name().prop_map(|key| ReadCommand::Type { key }.into()),
        1 => Just(ReadCommand::RandomKey.into()),
        1 => Just(ReadCommand::Keys { pattern: Bytes::from_static(b"*") }.into()),
        1 => name().prop_map(|key| WriteCommand::Delete { keys: vec![key] }.into()),
        1 => name().prop_map(move |key| WriteCommand::Append { key, value: long.clone() }.into()),
        1 => Just(WriteCommand::Flush.into()),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let wait = prop_oneof![8 => 0..500_u64, 1 => 0..SESSION_IDLE_MS_MAX * 2];
    prop_oneof![
        2 => wait.prop_map(Event::Wait),
        1 => (0..3_usize).prop_map(Event::Open),
        12 => (0..3_usize, vec(op(), 0..4)).prop_map(|(router, ops)| Event::Send(router, ops)),
        20 => (any::<prop::sample::Index>(), any::<bool>()).prop_map(|(i, s)| Event::Arrive(i, s)),
        4 => any::<prop::sample::Index>().prop_map(Event::Note),
        1 => Just(Event::Restart),
    ]
}

/// A router as far as its numbers go.
#[derive(Default)]
struct Router {
    session: SessionId,
    sent: u64,
    noted: BTreeSet<u64>,
}

impl Router {
    /// All up to this number are answered.
    fn answered(&self) -> u64 {
        (0..self.sent).take_while(|number| self.noted.contains(&(number + 1))).count() as u64
    }
}

struct World {
    lone: Lone,
    twin: Twin,
    routers: [Router; 3],
    sent: Vec<(usize, Numbered)>,
}

impl World {
    fn new() -> Self {
        let plain = Lone::new();
        let twin = Twin { plain, sessions: BTreeMap::new(), opened: 0 };
        Self { lone: Lone::new(), twin, routers: Default::default(), sent: Vec::new() }
    }

    /// Both apply an op, and must answer the same.
    fn both(&mut self, op: WriteOp, in_slices: bool) -> Outcome {
        let now = self.lone.now;
        let mut sent = OpBatch::new();
        sent.push_write(&op);
        let got = deliver(&mut self.lone, encode_entry(now, [&sent]), in_slices);
        assert_eq!(got, self.twin.apply(now.0, &op), "{op:?}");
        got
    }

    fn step(&mut self, event: &Event) {
        match event {
            Event::Wait(millis) => self.lone.now.0 += millis,
            Event::Open(router) => {
                let Outcome::Session(session) = self.both(WriteOp::OpenSession, false) else {
                    panic!("three routers do not open a thousand sessions")
                };
                self.routers[*router] = Router { session, ..Router::default() };
            }
            Event::Send(at, ops) => {
                let router = &mut self.routers[*at];
                router.sent += 1;
                let (session, number) = (router.session, router.sent);
                let answered = router.answered().min(number - 1);
                self.sent.push((*at, Numbered { session, number, answered, ops: batch(ops) }));
            }
            Event::Arrive(which, in_slices) => {
                // Mostly of the last ones, so that windows fill up and empty again.
                let recent = self.sent.len().saturating_sub(100);
                if recent < self.sent.len() {
                    let (_, sent) = &self.sent[recent + which.index(self.sent.len() - recent)];
                    self.both(WriteOp::Numbered(sent.clone()), *in_slices);
                }
            }
            Event::Note(which) => {
                if let Some((at, sent)) = self.sent.get(which.index(self.sent.len().max(1))) {
                    let router = &mut self.routers[*at];
                    let told = self.twin.sessions.get(&sent.session);
                    let is_applied = told.is_some_and(|t| t.applied.contains_key(&sent.number));
                    if router.session == sent.session && is_applied {
                        router.noted.insert(sent.number);
                    }
                }
            }
            Event::Restart => {
                let saved = image(&self.lone.engine);
                self.lone.engine = Engine::restore(config(), &mut &saved[..]).unwrap();
                assert!(saved == image(&self.lone.engine), "restored as it was saved");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 50, ..ProptestConfig::default() })]

    #[test]
    fn ops_that_are_taken_one_by_one_leave_the_same_state(batches in vec(vec(op(), 0..8), 1..30)) {
        let (mut whole, mut sliced) = (Lone::new(), Lone::new());
        let session = open(&mut whole);
        prop_assert_eq!(open(&mut sliced), session);
        for (number, ops) in (1..).zip(&batches) {
            let mut sent = OpBatch::new();
            sent.push_write(&numbered(session, number, number - 1, ops));
            let entry = encode_entry(whole.now, [&sent]);
            let outcome = deliver(&mut whole, entry.clone(), false);
            prop_assert_eq!(deliver(&mut sliced, entry, true), outcome);
            prop_assert!(image(&sliced.engine) == image(&whole.engine), "after {:?}", ops);
        }
    }

    #[test]
    fn each_batch_is_applied_once_and_repeats_answer_the_same(events in vec(event(), 1..150)) {
        let mut world = World::new();
        for router in 0..3 {
            world.step(&Event::Open(router));
        }
        for event in &events {
            world.step(event);
        }
        for name in ["a", "b", "c"] {
            prop_assert_eq!(count(&mut world.lone, name), count(&mut world.twin.plain, name));
        }
    }

    #[test]
    fn a_window_fills_and_empties_as_the_twin_says(
        arrivals in vec((0..3 * SESSION_WINDOW_MAX as u64, 0..5_u64), 1..400),
    ) {
        let mut world = World::new();
        world.step(&Event::Open(0));
        let session = world.routers[0].session;
        let mut answered = 0;
        for (number, step) in arrivals {
            let number = answered + 1 + number;
            if step == 0 {
                answered += 1;
            }
            world.both(numbered(session, number, answered.min(number - 1), &[incr("n")]), false);
        }
        prop_assert_eq!(count(&mut world.lone, "n"), count(&mut world.twin.plain, "n"));
    }
}

#[test]
fn a_repeat_is_answered_and_not_applied() {
    let mut lone = Lone::new();
    let session = open(&mut lone);
    let read: Op = ReadCommand::Get { key: key("n") }.into();
    let first = applied(send(&mut lone, session, 1, 0, &[incr("n"), read.clone()]));
    assert_eq!(first, [Reply::Integer(1).into(), Reply::bulk("1").into()]);
    // Another writer comes between.
    lone.run(&incr("n"));
    assert_eq!(applied(send(&mut lone, session, 1, 0, &[incr("n"), read])), first);
    assert_eq!(count(&mut lone, "n"), Reply::bulk("2"));
    // Once answered it is forgotten, and still not applied.
    send(&mut lone, session, 2, 1, &[]);
    let late = send(&mut lone, session, 1, 0, &[incr("n")]);
    assert_eq!(late, Outcome::Numbered(NumberedOutcome::Forgotten));
    assert_eq!(count(&mut lone, "n"), Reply::bulk("2"));
}

#[test]
fn a_batch_beyond_the_window_is_refused_and_may_come_again() {
    let mut lone = Lone::new();
    let session = open(&mut lone);
    let last = SESSION_WINDOW_MAX as u64;
    for number in 1..=last {
        applied(send(&mut lone, session, number, 0, &[incr("n")]));
    }
    let refused = Outcome::from(CommandError::SESSION_WINDOW);
    assert_eq!(send(&mut lone, session, last + 1, 0, &[incr("n")]), refused);
    assert_eq!(count(&mut lone, "n"), Reply::bulk(last.to_string()));
    // A repeat within the window is answered all the same.
    applied(send(&mut lone, session, last, 0, &[incr("n")]));
    applied(send(&mut lone, session, last + 1, 1, &[incr("n")]));
    assert_eq!(count(&mut lone, "n"), Reply::bulk((last + 1).to_string()));
}

#[test]
fn a_session_ends_when_it_is_idle_and_its_id_never_comes_again() {
    let mut lone = Lone::new();
    let (idle, busy) = (open(&mut lone), open(&mut lone));
    for number in 1..=4 {
        lone.now.0 += SESSION_IDLE_MS_MAX / 4;
        let outcome = send(&mut lone, busy, number, number - 1, &[incr("n")]);
        assert_eq!(applied(outcome).len(), 1);
    }
    assert_eq!(lone.engine.stats().sessions, 1);
    let gone = send(&mut lone, idle, 1, 0, &[incr("n")]);
    assert_eq!(gone, Outcome::Numbered(NumberedOutcome::NoSession));
    assert_eq!(count(&mut lone, "n"), Reply::bulk("4"));
    // A millisecond before its end a session is still there.
    lone.now.0 += SESSION_IDLE_MS_MAX - 1;
    applied(send(&mut lone, busy, 5, 4, &[]));

    lone.now.0 += SESSION_IDLE_MS_MAX;
    lone.op(&WriteOp::Tick);
    assert_eq!(lone.engine.stats().sessions, 0);
    lone.engine = Engine::restore(config(), &mut &image(&lone.engine)[..]).unwrap();
    assert!(open(&mut lone) > busy);
}

#[test]
fn sessions_past_the_limit_are_refused_until_some_end() {
    let mut lone = Lone::new();
    for _ in 0..SESSIONS_MAX {
        open(&mut lone);
    }
    assert_eq!(lone.op(&WriteOp::OpenSession), CommandError::SESSIONS.into());
    lone.now.0 += SESSION_IDLE_MS_MAX;
    assert_eq!(open(&mut lone), SessionId(SESSIONS_MAX as u64 + 1));
}

#[test]
fn the_outcomes_kept_are_bounded_and_batches_stay_known() {
    let mut lone = Lone::new();
    let value = Bytes::from(vec![7; SESSION_REPLY_BYTES_MAX - 100]);
    lone.write(&WriteCommand::Append { key: key("long"), value });
    let before = lone.engine.stats().dataset_bytes;
    let ops = [incr("n"), ReadCommand::Get { key: key("long") }.into()];
    let kept = SESSIONS_REPLY_BYTES_MAX as usize / (SESSION_REPLY_BYTES_MAX - 100);
    let sent = kept + SESSION_WINDOW_MAX;
    let places = (0..sent).map(|n| (n / SESSION_WINDOW_MAX, (n % SESSION_WINDOW_MAX) as u64 + 1));
    let mut sessions = Vec::new();
    for (session, number) in places.clone() {
        if session == sessions.len() {
            sessions.push(open(&mut lone));
        }
        assert_eq!(applied(send(&mut lone, sessions[session], number, 0, &ops)).len(), 2);
    }
    let held = lone.engine.stats().dataset_bytes - before;
    assert!(held < SESSIONS_REPLY_BYTES_MAX + (sent as u64 * 200), "{held} bytes");
    let mut forgotten = 0;
    for (session, number) in places {
        match send(&mut lone, sessions[session], number, 0, &ops) {
            Outcome::Numbered(NumberedOutcome::Forgotten) => forgotten += 1,
            other => assert_eq!(applied(other)[1], count(&mut lone, "long").into()),
        }
    }
    assert_eq!(forgotten, sent - kept);
    assert_eq!(count(&mut lone, "n"), Reply::bulk(sent.to_string()));
    // What ends gives its room back.
    lone.now.0 += SESSION_IDLE_MS_MAX;
    let session = open(&mut lone);
    assert!(lone.engine.stats().dataset_bytes < before + 1000);
    let first = send(&mut lone, session, 1, 0, &ops);
    assert_eq!(send(&mut lone, session, 1, 0, &ops), first);
}

#[test]
fn a_batch_that_must_not_be_is_refused_whole() {
    let mut lone = Lone::new();
    let session = open(&mut lone);
    let inner = [Op::Write(numbered(session, 1, 0, &[incr("n")])), Op::Write(WriteOp::OpenSession)];
    for op in inner {
        let ops = batch(&[incr("n"), op]);
        let sent = Numbered { session, number: 2, answered: 0, ops };
        let outcome = lone.op(&WriteOp::Numbered(sent));
        assert!(matches!(outcome, Outcome::Reply(Reply::Error(_))), "{outcome:?}");
    }
    assert_eq!(count(&mut lone, "n"), Reply::Nil);
    assert_eq!(applied(send(&mut lone, session, 2, 0, &[incr("n")])).len(), 1);
}

#[test]
#[should_panic(expected = "was not begun")]
fn a_batch_that_was_not_begun_cannot_end() {
    let mut lone = Lone::new();
    let session = open(&mut lone);
    lone.engine.end_batch(session, 1, OutcomeWriter::new().finish());
}
