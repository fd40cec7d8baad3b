//! The cluster and its clients at one moment of one execution, and the steps that lead on.

use std::{
    collections::{BTreeMap, HashMap, hash_map::DefaultHasher},
    env,
    hash::{Hash, Hasher},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use bitroster_command::{Command, Op, OpBatch, Outcome, OutcomeWriter, Pending, Reply, WriteOp};
use bitroster_engine::Engine;
use bitroster_router::{Reading, Router, RouterOptions, TransportError};
use bitroster_types::{GroupId, LogIndex, UnixMillis};
use futures_util::future::BoxFuture;

use super::{
    check::{Record, precedence},
    finish,
    model::Seen,
    scenario::{START, Scenario, bytes_of},
    wire::{End, Heard, Wire, unknown},
};

/// Most requests of one command: a plan that makes more starts again for ever.
const REQUESTS_MAX: usize = 60;

/// How often a command may start again: two that keep each other from their ends could do it for
/// ever. So many identical writes, such as reservations, make one too many.
const ATTEMPTS_MAX: usize = 3;

/// As [`ATTEMPTS_MAX`], for reads: a plan may look at a record more than once in each attempt.
const LOOKS_MAX: usize = 8;

/// How often all may be brought to rest in one execution: before and after late requests.
const RESTS_MAX: u32 = 2;

/// What may happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// A request reaches its group, and the answer its caller, if it still listens.
    Deliver(usize),
    /// A request is refused: nothing is applied.
    NoLeader(usize),
    /// A caller hears nothing; its request may arrive later, or never.
    Unknown(usize),
    /// A router dies; what it has sent may arrive later, or never.
    Kill(usize),
    /// All clocks jump.
    Jump,
    /// Home's leaders begin to finish what is pending.
    Finisher,
    /// All comes to rest, without what is still under way.
    Rest,
}

/// Somebody who runs commands one after the other, each with a router of its own.
#[derive(Default)]
pub(super) struct Actor {
    /// How many commands it has begun; with the one under way.
    begun: usize,
    future: Option<BoxFuture<'static, Reply>>,
    /// Whether a request of the command under way has been dealt with: till then it might as well
    /// not have begun.
    is_invoked: bool,
    /// Whether one of its requests has met a fault.
    is_hurt: bool,
    /// What the command under way has heard so far.
    heard: u64,
    /// Requests made before the command under way.
    made_before: usize,
    /// How often the command under way has been answered each of its requests.
    repeats: HashMap<u64, usize>,
}

pub(crate) struct World<'s> {
    pub(super) scenario: &'s Scenario,
    pub(super) engines: BTreeMap<GroupId, Engine>,
    /// A hash of each group's log, which decides its state.
    digests: BTreeMap<GroupId, u64>,
    /// How many jumps the clocks have made.
    jumped: usize,
    pub(super) wire: Arc<Wire>,
    pub(super) actors: Vec<Actor>,
    /// By actor and place in its script.
    pub(super) records: BTreeMap<(usize, usize), Record<'s>>,
    pub(super) now: u32,
    faults: u32,
    finishers: u32,
    pub(super) rests: u32,
    pub(super) is_rested: bool,
    /// Whether the execution goes no further.
    pub(crate) is_cut: bool,
    /// Whether steps are told to people.
    pub(crate) tells: Option<Vec<String>>,
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A step's failure: what is wrong.
pub(crate) type Verdict = Result<(), String>;

impl<'s> World<'s> {
    pub(crate) fn new(scenario: &'s Scenario) -> Self {
        let restore = |(group, bytes): (&GroupId, &Vec<u8>)| {
            let config = scenario.config[group].clone();
            (*group, Engine::restore(config, &mut bytes.as_slice()).unwrap())
        };
        let clients = scenario.clients.len();
        Self {
            scenario,
            engines: scenario.base.iter().map(restore).collect(),
            digests: BTreeMap::new(),
            jumped: 0,
            wire: Arc::default(),
            actors: (0..clients).map(|_| Actor::default()).collect(),
            records: BTreeMap::new(),
            now: 0,
            faults: 0,
            finishers: 0,
            rests: 0,
            is_rested: false,
            is_cut: false,
            tells: None,
        }
    }

    /// Lets all clients begin.
    pub(crate) fn begin(&mut self) -> Verdict {
        (0..self.actors.len()).try_for_each(|actor| self.go_on(actor))
    }

    pub(crate) fn engines(&self) -> impl Iterator<Item = (GroupId, &Engine)> {
        self.engines.iter().map(|(group, engine)| (*group, engine))
    }

    fn clock(&self) -> UnixMillis {
        UnixMillis(if self.jumped == 0 { START } else { self.scenario.jumps[self.jumped - 1] })
    }

    pub(super) fn router(&self, actor: usize) -> Router {
        let end = Arc::new(End { wire: Arc::clone(&self.wire), actor });
        let options = RouterOptions {
            request_timeout: Duration::from_secs(36_000),
            fan_out_max: 8,
            value_bytes_max: 1 << 20,
        };
        Router::new(self.scenario.map.clone(), end, options)
    }

    pub(super) fn say(&mut self, line: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.tells {
            lines.push(line());
        }
    }

    /// All that may happen next, always in the same order.
    pub(crate) fn choices(&self) -> Vec<Choice> {
        let mut choices: Vec<Choice> = Vec::new();
        if self.is_cut {
            return choices;
        }
        let waiting = self.wire.waiting();
        choices.extend(waiting.iter().map(|place| Choice::Deliver(*place)));
        choices.extend(self.wire.orphans().into_iter().map(Choice::Deliver));
        let is_over = waiting.is_empty();
        if is_over && !self.is_rested && self.rests < RESTS_MAX {
            choices.push(Choice::Rest);
        } else if is_over && self.rests == RESTS_MAX {
            return Vec::new();
        }
        if !self.is_rested && self.jumped < self.scenario.jumps.len() {
            choices.push(Choice::Jump);
        }
        if !is_over && self.finishers < self.scenario.finishers && !self.pending().is_empty() {
            choices.push(Choice::Finisher);
        }
        if self.faults < self.scenario.faults {
            self.faults_of(&waiting, &mut choices);
        }
        choices
    }

    fn faults_of(&self, waiting: &[usize], choices: &mut Vec<Choice>) {
        let requests = self.wire.requests();
        for place in waiting {
            let request = &requests[*place];
            if self.is_writer(request.actor) {
                choices.push(Choice::NoLeader(*place));
                if !request.is_read {
                    choices.push(Choice::Unknown(*place));
                }
            }
        }
        for (at, actor) in self.actors.iter().enumerate() {
            if actor.is_invoked && self.is_writer(at) {
                choices.push(Choice::Kill(at));
            }
        }
    }

    /// Whether the actor's command under way changes anything; a read's death is of no interest.
    fn is_writer(&self, actor: usize) -> bool {
        let script = self.scenario.clients.get(actor);
        script.is_none_or(|script| {
            let at = self.actors[actor].begun.saturating_sub(1);
            script
                .get(at)
                .is_some_and(|command| matches!(command, Command::Write(_) | Command::Composite(_)))
        })
    }

    fn pending(&self) -> Vec<(GroupId, Vec<Pending>)> {
        let rows = |(group, engine): (&GroupId, &Engine)| {
            (*group, finish::pending(engine, self.scenario.is_hasty))
        };
        self.engines.iter().map(rows).filter(|(_, rows)| !rows.is_empty()).collect()
    }

    /// Takes a step.
    pub(crate) fn step(&mut self, choice: Choice) -> Verdict {
        self.now += 1;
        match choice {
            Choice::Deliver(place) => self.deliver(place),
            Choice::NoLeader(place) => {
                let (group, ops) = self.wire.land(place);
                self.say(|| format!("no leader of group {group} for {}", names(ops)));
                self.hurt(place, Err(TransportError::NoLeader { group }))
            }
            Choice::Unknown(place) => self.hurt(place, Err(unknown())),
            Choice::Kill(at) => {
                self.faults += 1;
                self.say(|| format!("client {at}'s router dies"));
                self.is_rested = false;
                self.actors[at].is_hurt = true;
                self.end(at, Seen::Unknown)?;
                self.go_on(at)
            }
            Choice::Jump => {
                self.jump();
                Ok(())
            }
            Choice::Finisher => {
                self.finishers += 1;
                let (at, pending) = (self.actors.len(), self.pending());
                self.say(|| format!("finisher {at} begins with {pending:?}"));
                let future = finish::finish(self.router(at), pending);
                self.actors.push(Actor { future: Some(future), ..Actor::default() });
                self.poll(at)
            }
            Choice::Rest => self.rest(),
        }
    }

    fn deliver(&mut self, place: usize) -> Verdict {
        let actor = self.touch(place);
        let (group, ops) = self.wire.land(place);
        let (is_read, mark) = {
            let request = &self.wire.requests()[place];
            (request.is_read, request.mark)
        };
        let repeats = self.actors[actor].repeats.entry(mark).or_default();
        *repeats += 1;
        self.is_cut |= *repeats > if is_read { LOOKS_MAX } else { ATTEMPTS_MAX };
        let outcomes = self.apply(group, ops.clone(), is_read);
        self.say(|| format!("{actor} -> group {group}: {} = {}", names(ops), cut(&outcomes)));
        self.is_rested &= is_read;
        self.hear(place, Ok(outcomes))
    }

    /// Lets a request fail.
    fn hurt(&mut self, place: usize, heard: Heard) -> Verdict {
        self.faults += 1;
        let actor = self.touch(place);
        self.say(|| format!("{actor} hears {heard:?}"));
        if let Some(actor) = self.actors.get_mut(actor) {
            actor.is_hurt = true;
        }
        self.hear(place, heard)
    }

    /// Notes that a request's fate is being decided: its command has begun at the latest.
    fn touch(&mut self, place: usize) -> usize {
        let (at, is_awaited) = {
            let request = &self.wire.requests()[place];
            (request.actor, request.is_awaited())
        };
        let actor = &mut self.actors[at];
        if is_awaited && !actor.is_invoked {
            actor.is_invoked = true;
            if at < self.scenario.clients.len() {
                let nth = actor.begun - 1;
                self.note(at, nth);
            }
        }
        at
    }

    fn note(&mut self, at: usize, nth: usize) {
        let steps = &self.scenario.steps[at][nth];
        let name = &self.scenario.names[at][nth];
        let record = Record { name, steps, invoked: self.now, answered: None };
        self.records.insert((at, nth), record);
    }

    /// Hands an answer to its caller, if it still listens, and lets it go on.
    fn hear(&mut self, place: usize, heard: Heard) -> Verdict {
        let (at, mark, is_awaited) = {
            let request = &self.wire.requests()[place];
            (request.actor, request.mark, request.is_awaited())
        };
        if !is_awaited {
            return Ok(());
        }
        let mut hasher = DefaultHasher::new();
        mark.hash(&mut hasher);
        match &heard {
            Ok(outcomes) => {
                let mut writer = OutcomeWriter::new();
                outcomes.iter().for_each(|outcome| writer.push(outcome));
                writer.finish().bytes().hash(&mut hasher);
            }
            Err(error) => error.to_string().hash(&mut hasher),
        }
        // A sum: what a fan-out has heard does not depend on the order.
        self.actors[at].heard = self.actors[at].heard.wrapping_add(hasher.finish());
        self.wire.tell(place, heard);
        self.poll(at)
    }

    /// Applies ops as one entry.
    pub(super) fn apply(&mut self, group: GroupId, ops: OpBatch, is_read: bool) -> Vec<Outcome> {
        let now = self.clock();
        let engine = self.engines.get_mut(&group).unwrap();
        if is_read {
            let Ok(Some(Op::Read(op))) = ops.clone().into_reader().next_op() else {
                panic!("not a read")
            };
            let outcome = engine.read(&op, now);
            if outcome != Outcome::Tick {
                return vec![outcome];
            }
        }
        let mut hasher = DefaultHasher::new();
        (self.digests.get(&group), now, is_read, ops.as_bytes()).hash(&mut hasher);
        let digest = hasher.finish();
        self.digests.insert(group, digest);
        engine.begin(LogIndex(engine.applied().0 + 1), now);
        if is_read {
            engine.apply(&WriteOp::Tick);
        }
        let mut reader = ops.into_reader();
        let mut outcomes = Vec::new();
        while let Some(op) = reader.next_op().unwrap() {
            outcomes.push(match op {
                Op::Read(read) => engine.read(&read, engine.time()),
                Op::Write(write) => engine.apply(&write),
            });
        }
        engine.end();
        if digest.is_multiple_of(restore_interval()) {
            let bytes = bytes_of(engine);
            let config = self.scenario.config[&group].clone();
            *engine = Engine::restore(config, &mut bytes.as_slice()).unwrap();
            assert!(bytes == bytes_of(engine), "a restored engine is another one");
        }
        outcomes
    }

    /// Polls an actor's command as far as it goes, and begins the next one where it ends.
    fn poll(&mut self, at: usize) -> Verdict {
        let flag = Arc::new(Flag(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&flag));
        let mut context = Context::from_waker(&waker);
        let actor = &mut self.actors[at];
        let Some(future) = actor.future.as_mut() else { return Ok(()) };
        while flag.0.swap(false, Ordering::Relaxed) {
            if let Poll::Ready(reply) = future.as_mut().poll(&mut context) {
                self.end(at, reply.into())?;
                return self.go_on(at);
            }
        }
        let made = self.wire.made_by(at) - self.actors[at].made_before;
        self.is_cut |= made > REQUESTS_MAX;
        let waits =
            self.wire.waiting().iter().any(|place| self.wire.requests()[*place].actor == at);
        if waits { Ok(()) } else { Err(format!("client {at} waits for nothing that will come")) }
    }

    /// Ends an actor's command: answered, or its router died.
    fn end(&mut self, at: usize, seen: Seen) -> Verdict {
        self.say(|| format!("client {at} is told {}", cut(&seen)));
        let actor = &mut self.actors[at];
        actor.future = None;
        actor.is_invoked = false;
        let is_fault = matches!(seen, Seen::Unknown | Seen::NotDone(_));
        let is_hurt = std::mem::take(&mut actor.is_hurt);
        if let Some(nth) = actor.begun.checked_sub(1) {
            if !self.records.contains_key(&(at, nth)) {
                self.note(at, nth);
            }
            let record = self.records.get_mut(&(at, nth)).unwrap();
            record.answered = Some((self.now, seen));
            if is_fault && !is_hurt && env::var_os("EXPLORE_UNKNOWN").is_none() {
                return Err(format!("nothing went wrong, and yet: {record:?}"));
            }
        }
        Ok(())
    }

    /// Begins an actor's next command, if there is one.
    fn go_on(&mut self, at: usize) -> Verdict {
        let script = self.scenario.clients.get(at).map_or(&[][..], Vec::as_slice);
        let made_before = self.wire.made_by(at);
        let router = self.router(at);
        let actor = &mut self.actors[at];
        let Some(command) = script.get(actor.begun).cloned() else { return Ok(()) };
        actor.begun += 1;
        (actor.heard, actor.made_before) = (0, made_before);
        actor.repeats.clear();
        actor.future =
            Some(Box::pin(async move { router.run(command, &Reading::default()).await }));
        self.poll(at)
    }

    /// Lets time pass: from now on, for every key.
    fn jump(&mut self) {
        self.jumped += 1;
        self.is_rested = false;
        let clock = self.clock();
        self.say(|| format!("the clocks jump to {}", clock.0));
        for at in 0..self.scenario.keys.len() {
            let (steps, name) =
                (&self.scenario.time_steps[self.jumped - 1][at..=at], "time passes");
            let answered = Some((self.now, Seen::Ok));
            let record = Record { name, steps, invoked: self.now, answered };
            self.records.insert((usize::MAX - at, self.jumped), record);
        }
    }

    /// A hash of all that decides what can happen from here on and whether it is right.
    pub(crate) fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.digests.hash(&mut hasher);
        self.jumped.hash(&mut hasher);
        for actor in &self.actors {
            (actor.begun, actor.future.is_some(), actor.is_invoked).hash(&mut hasher);
            (actor.is_hurt, actor.heard).hash(&mut hasher);
        }
        for (place, record) in &self.records {
            let seen = record.answered.as_ref().map(|(_, seen)| seen);
            (place, seen).hash(&mut hasher);
        }
        precedence(&self.records).hash(&mut hasher);
        let orphans = self.wire.orphans();
        let marks = |places: Vec<usize>| {
            let requests = self.wire.requests();
            let mut marks: Vec<u64> = places.iter().map(|place| requests[*place].mark).collect();
            marks.sort_unstable();
            marks
        };
        marks(self.wire.waiting()).hash(&mut hasher);
        marks(orphans).hash(&mut hasher);
        (self.faults, self.finishers, self.rests, self.is_rested).hash(&mut hasher);
        hasher.finish()
    }
}

/// One entry of so many is followed by a change of leader: the engine goes on from its snapshot.
fn restore_interval() -> u64 {
    static INTERVAL: LazyLock<u64> =
        LazyLock::new(|| if env::var_os("EXPLORE_RESTORE").is_some() { 1 } else { 97 });
    *INTERVAL
}

/// What a request asks for, for people.
pub(super) fn names(ops: OpBatch) -> String {
    let mut reader = ops.into_reader();
    let mut names = Vec::new();
    while let Ok(Some(op)) = reader.next_op() {
        names.push(match op {
            Op::Read(op) => cut(&op),
            Op::Write(op) => cut(&op),
        });
    }
    names.join("; ")
}

/// A value's text, up to a length that people read.
pub(crate) fn cut(value: &impl std::fmt::Debug) -> String {
    let text = format!("{value:?}").replace("\\0", "");
    if text.len() < 400 {
        text
    } else {
        format!("{}...", text.chars().take(400).collect::<String>())
    }
}
