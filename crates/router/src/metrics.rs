//! What the router counts. Handles are made once; the hot path adds to plain cells of a turn.

use std::time::Duration;

use bitroster_command::{Command, ReadCommand, WriteCommand};
use metrics::{Counter, Histogram, counter, histogram};

/// What a command is about: the closed set of the metrics' label `family`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// Bits and bit fields of one key.
    Bit,
    /// Values read or written whole or by bytes.
    String,
    /// Names and expiries.
    Key,
    /// Several keys, or the whole keyspace.
    Multi,
}

const FAMILIES: [&str; 4] = ["bit", "string", "key", "multi"];

/// Commands counted since the last [`publish`](Self::publish).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts([u64; FAMILIES.len()]);

impl Counts {
    pub(crate) fn note_read(&mut self, read: &ReadCommand) {
        self.0[family_of_read(read) as usize] += 1;
    }

    pub(crate) fn note_write(&mut self, write: &WriteCommand) {
        self.0[family_of_write(write) as usize] += 1;
    }

    /// Adds what was counted to the metrics.
    pub(crate) fn publish(&mut self, metrics: &Metrics) {
        for (count, counter) in self.0.iter_mut().zip(&metrics.commands) {
            if *count > 0 {
                counter.increment(std::mem::take(count));
            }
        }
    }
}

/// The router's metrics.
pub(crate) struct Metrics {
    /// `bitroster_router_commands_total`: commands taken, by family.
    commands: [Counter; FAMILIES.len()],
    /// `bitroster_router_plans_total`: commands that needed more than one request to a group.
    plans: Counter,
    /// `bitroster_router_restarts_total`: plans that started again as a key or the map changed.
    restarts: Counter,
    /// `bitroster_router_outcomes_unknown_total`: writes sent and not answered.
    unknown: Counter,
    /// `bitroster_router_fan_out_count`: groups that one step of a plan asked at once.
    fan_out: Histogram,
    /// `bitroster_router_turn_duration_seconds`: from a turn's flush to its last reply.
    turn_duration: Histogram,
    /// `bitroster_router_run_duration_seconds`: one command that a turn could not queue.
    run_duration: Histogram,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        Self {
            commands: FAMILIES
                .map(|family| counter!("bitroster_router_commands_total", "family" => family)),
            plans: counter!("bitroster_router_plans_total"),
            restarts: counter!("bitroster_router_restarts_total"),
            unknown: counter!("bitroster_router_outcomes_unknown_total"),
            fan_out: histogram!("bitroster_router_fan_out_count"),
            turn_duration: histogram!("bitroster_router_turn_duration_seconds"),
            run_duration: histogram!("bitroster_router_run_duration_seconds"),
        }
    }

    /// Counts one command outside a turn's queues.
    pub(crate) fn note(&self, command: &Command) {
        let family = match command {
            Command::Read(read) => family_of_read(read),
            Command::Write(write) => family_of_write(write),
            Command::Composite(_) => Family::Multi,
            Command::Session(_) => return,
        };
        self.commands[family as usize].increment(1);
    }

    pub(crate) fn plan_begun(&self) {
        self.plans.increment(1);
    }

    pub(crate) fn restarted(&self) {
        self.restarts.increment(1);
    }

    pub(crate) fn outcome_unknown(&self) {
        self.unknown.increment(1);
    }

    #[expect(clippy::cast_precision_loss, reason = "a few groups")]
    pub(crate) fn fanned_out(&self, groups: usize) {
        self.fan_out.record(groups as f64);
    }

    pub(crate) fn turn_done(&self, elapsed: Duration) {
        self.turn_duration.record(elapsed.as_secs_f64());
    }

    pub(crate) fn run_done(&self, elapsed: Duration) {
        self.run_duration.record(elapsed.as_secs_f64());
    }
}

fn family_of_read(read: &ReadCommand) -> Family {
    match read {
        ReadCommand::GetBit { .. }
        | ReadCommand::BitCount { .. }
        | ReadCommand::BitPos { .. }
        | ReadCommand::BitFieldRo { .. } => Family::Bit,
        ReadCommand::Get { .. } | ReadCommand::StrLen { .. } | ReadCommand::GetRange { .. } => {
            Family::String
        }
        ReadCommand::Type { .. }
        | ReadCommand::Ttl { .. }
        | ReadCommand::Exists { .. }
        | ReadCommand::FindIds { .. }
        | ReadCommand::FindNames { .. }
        | ReadCommand::SpaceInfo { .. } => Family::Key,
        ReadCommand::BitOpCard { .. }
        | ReadCommand::MGet { .. }
        | ReadCommand::Scan { .. }
        | ReadCommand::Keys { .. }
        | ReadCommand::DbSize
        | ReadCommand::RandomKey
        | ReadCommand::Spaces => Family::Multi,
    }
}

fn family_of_write(write: &WriteCommand) -> Family {
    match write {
        WriteCommand::SetBit { .. }
        | WriteCommand::BitField { .. }
        | WriteCommand::Merge { .. }
        | WriteCommand::Touch { .. } => Family::Bit,
        WriteCommand::Set { .. }
        | WriteCommand::GetDel { .. }
        | WriteCommand::GetEx { .. }
        | WriteCommand::Append { .. }
        | WriteCommand::SetRange { .. }
        | WriteCommand::IncrBy { .. }
        | WriteCommand::Restore { .. } => Family::String,
        WriteCommand::Delete { .. }
        | WriteCommand::Expire { .. }
        | WriteCommand::Persist { .. }
        | WriteCommand::AssignIds { .. }
        | WriteCommand::DropSpace { .. } => Family::Key,
        WriteCommand::BitOp { .. }
        | WriteCommand::MSet { .. }
        | WriteCommand::Rename { .. }
        | WriteCommand::Copy { .. }
        | WriteCommand::Flush => Family::Multi,
    }
}
