//! What the engine's tests share.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own share of this")]
#![allow(
    clippy::cast_lossless,
    clippy::cast_possible_truncation,
    clippy::too_many_lines,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "whatever is not as it should be fails the test"
)]

pub mod cluster;
pub mod commands;
pub mod finish;
pub mod scene;
pub mod twin;

use bitroster_command::{
    Op, Outcome, ReadCommand, ReadOp, Reply, SetBitRef, WriteCommand, WriteOp,
};
use bitroster_engine::{Engine, EngineConfig};
use bitroster_types::{GroupId, Key, LogIndex, SegmentWidth, Slot, UnixMillis};

/// When every test starts.
pub const START: UnixMillis = UnixMillis(1_700_000_000_000);

/// Applies an op; every other SETBIT by its short cut.
pub fn apply(engine: &mut Engine, op: &WriteOp) -> Outcome {
    match op {
        WriteOp::Command(WriteCommand::SetBit { key, offset, value }) if offset % 2 == 1 => {
            engine.fetch(SetBitRef { key, offset: *offset, value: *value });
            let mut outcome = None;
            engine.apply_set_bits(key, &[(*offset, *value)], |told| outcome = Some(told));
            outcome.expect("told of one bit")
        }
        op => engine.apply(op),
    }
}

/// An engine with its log's next place and its clock.
pub struct Lone {
    pub engine: Engine,
    pub now: UnixMillis,
}

impl Lone {
    /// A group that owns all slots.
    pub fn new() -> Self {
        let mut lone = Self { engine: Engine::new(config()), now: START };
        let slots = (0..16_384).filter_map(Slot::new).collect();
        assert_eq!(lone.op(&WriteOp::Adopt { slots }), Reply::Ok.into());
        lone
    }

    /// Applies one op as an entry of its own.
    pub fn op(&mut self, op: &WriteOp) -> Outcome {
        self.engine.begin(LogIndex(self.engine.applied().0 + 1), self.now);
        let outcome = apply(&mut self.engine, op);
        self.engine.end();
        outcome
    }

    /// Applies one command as an entry of its own.
    pub fn write(&mut self, command: &WriteCommand) -> Outcome {
        self.op(&WriteOp::Command(command.clone()))
    }

    /// Reads, ticking where the engine asks for it.
    pub fn read(&mut self, op: &ReadOp) -> Outcome {
        if is_walk(op) && self.engine.time() < self.now {
            self.op(&WriteOp::Tick);
        }
        self.engine.fetch_reads(std::slice::from_ref(op));
        match self.engine.read(op, self.now) {
            Outcome::Tick => {
                self.op(&WriteOp::Tick);
                self.engine.read(op, self.now)
            }
            outcome => outcome,
        }
    }

    /// The reply to a command.
    pub fn run(&mut self, command: &Op) -> Reply {
        let outcome = match command {
            Op::Read(read) => self.read(read),
            Op::Write(write) => self.op(write),
        };
        match outcome {
            Outcome::Reply(reply) => reply,
            other => panic!("{command:?} answered {other:?}"),
        }
    }
}

/// Whether a read goes by the log's time alone. A leader ticks a moment after a key's expiry; tests
/// that compare with a twin do so before they ask.
pub fn is_walk(op: &ReadOp) -> bool {
    use ReadCommand::{DbSize, Keys, RandomKey, Scan};
    matches!(op, ReadOp::Command(DbSize | Keys { .. } | RandomKey | Scan { .. }))
}

/// The configuration of group 1 with the smallest segments.
pub fn config() -> EngineConfig {
    EngineConfig::new(GroupId(1), SegmentWidth::from_log2(16).unwrap())
}

pub fn key(name: &str) -> Key {
    Key::new(name.as_bytes()).unwrap()
}
