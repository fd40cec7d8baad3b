//! What the front end counts.
//!
//! Sessions add to plain atomics, once a turn where they can; `publish` copies them to
//! the recorder when somebody looks. Labels are closed sets: names from the command table, error
//! codes from the list below, and our own words. Never a key, an address or an error's text.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use metrics::{Counter, Gauge, Unit, counter, describe_counter, describe_gauge, gauge};

use bitroster_command::{CommandError, table::COMMANDS};

use crate::latency::{Histogram, Percentile};

/// The codes that errors begin with; others count as the last.
const ERROR_CODES: [&str; 16] = [
    "ERR",
    "WRONGTYPE",
    "OOM",
    "NOAUTH",
    "NOPERM",
    "WRONGPASS",
    "NOPROTO",
    "NOTBUSY",
    "DENIED",
    "EXECABORT",
    "BUSY",
    "BUSYKEY",
    "LOADING",
    "CLUSTERDOWN",
    "UNKNOWNOUTCOME",
    "other",
];

/// Turn sizes: the most commands that a class of turns holds, and the class's label.
const TURN_CLASSES: [(usize, &str); 5] =
    [(1, "1"), (4, "2-4"), (16, "5-16"), (64, "17-64"), (usize::MAX, "65+")];

/// What is counted of one command.
#[derive(Debug, Default)]
struct Tally {
    calls: AtomicU64,
    nanos: AtomicU64,
    rejected: AtomicU64,
    failed: AtomicU64,
    durations: Histogram,
}

/// How often a command ran and what that took.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CommandFigures {
    pub(crate) name: &'static str,
    pub(crate) calls: u64,
    pub(crate) nanos: u64,
    /// Refused before they ran.
    pub(crate) rejected: u64,
    /// Answered with an error.
    pub(crate) failed: u64,
}

/// The front end's counters. Shared by all sessions.
#[derive(Debug)]
pub struct Metrics {
    commands: Vec<Tally>,
    errors: [AtomicU64; ERROR_CODES.len()],
    turns: [AtomicU64; TURN_CLASSES.len()],
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
    protocol_errors: AtomicU64,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        Self {
            commands: COMMANDS.iter().map(|_| Tally::default()).collect(),
            errors: Default::default(),
            turns: Default::default(),
            received_bytes: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            protocol_errors: AtomicU64::new(0),
        }
    }

    /// Adds `count` runs of the command at `index` in the table, of `nanos` each.
    #[inline]
    pub(crate) fn add_commands(&self, index: u16, count: u64, nanos: u64) {
        if let Some(command) = self.commands.get(usize::from(index)) {
            command.calls.fetch_add(count, Relaxed);
            command.nanos.fetch_add(nanos.saturating_mul(count), Relaxed);
            command.durations.add(nanos, count);
        }
    }

    /// Counts a request for the command at `index` that was refused before it ran.
    #[cold]
    pub(crate) fn add_rejected(&self, index: u16) {
        if let Some(command) = self.commands.get(usize::from(index)) {
            command.rejected.fetch_add(1, Relaxed);
        }
    }

    /// Counts a run of the command at `index` that ended in an error.
    #[cold]
    pub(crate) fn add_failed(&self, index: u16) {
        if let Some(command) = self.commands.get(usize::from(index)) {
            command.failed.fetch_add(1, Relaxed);
        }
    }

    #[inline]
    pub(crate) fn add_turn(&self, commands: usize) {
        let class = TURN_CLASSES.iter().position(|(max, _)| commands <= *max);
        self.turns[class.unwrap_or(TURN_CLASSES.len() - 1)].fetch_add(1, Relaxed);
    }

    #[inline]
    pub(crate) fn add_received(&self, bytes: usize) {
        self.received_bytes.fetch_add(bytes as u64, Relaxed);
    }

    #[inline]
    pub(crate) fn add_sent(&self, bytes: usize) {
        self.sent_bytes.fetch_add(bytes as u64, Relaxed);
    }

    #[cold]
    pub(crate) fn add_error(&self, error: &CommandError) {
        let text = error.to_string();
        let code = text.split(' ').next().unwrap_or_default();
        let index = ERROR_CODES.iter().position(|known| *known == code);
        self.errors[index.unwrap_or(ERROR_CODES.len() - 1)].fetch_add(1, Relaxed);
    }

    pub(crate) fn add_accepted(&self) {
        self.accepted.fetch_add(1, Relaxed);
    }

    pub(crate) fn add_refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    pub(crate) fn add_protocol_error(&self) {
        self.protocol_errors.fetch_add(1, Relaxed);
    }

    /// Sets every counter to zero (`CONFIG RESETSTAT`); the recorder sees a restart.
    pub(crate) fn reset(&self) {
        let single = [
            &self.received_bytes,
            &self.sent_bytes,
            &self.accepted,
            &self.refused,
            &self.protocol_errors,
        ];
        let of_commands =
            self.commands.iter().flat_map(|c| [&c.calls, &c.nanos, &c.rejected, &c.failed]);
        for counter in of_commands.chain(&self.errors).chain(&self.turns).chain(single) {
            counter.store(0, Relaxed);
        }
        self.reset_durations();
    }

    /// Forgets how long commands took (`LATENCY RESET` does not, `CONFIG RESETSTAT` does).
    fn reset_durations(&self) {
        self.commands.iter().for_each(|command| command.durations.reset());
    }

    /// The commands that ran or were refused at least once, in the table's order.
    pub(crate) fn commands(&self) -> impl Iterator<Item = CommandFigures> {
        COMMANDS
            .iter()
            .zip(&self.commands)
            .map(|(spec, tally)| CommandFigures {
                name: spec.name,
                calls: tally.calls.load(Relaxed),
                nanos: tally.nanos.load(Relaxed),
                rejected: tally.rejected.load(Relaxed),
                failed: tally.failed.load(Relaxed),
            })
            .filter(|figures| figures.calls + figures.rejected > 0)
    }

    /// How long runs of the command at `index` took; `None` before its first.
    pub(crate) fn durations(&self, index: u16) -> Option<&Histogram> {
        let durations = &self.commands.get(usize::from(index))?.durations;
        (!durations.is_empty()).then_some(durations)
    }

    /// How many runs of each command took how long, by the histogram's classes, in the table's
    /// order; nothing for one that never ran.
    pub(crate) fn classes(&self) -> impl Iterator<Item = (&'static str, Vec<u64>)> {
        let rows = COMMANDS.iter().zip(&self.commands);
        rows.map(|(spec, tally)| {
            let has_run = tally.calls.load(Relaxed) > 0;
            (spec.name, if has_run { tally.durations.counts() } else { Vec::new() })
        })
    }

    /// The usual percentiles of the commands that ran, in the table's order.
    pub(crate) fn percentiles(&self) -> impl Iterator<Item = (&'static str, [Percentile; 3])> {
        let rows = COMMANDS.iter().zip(&self.commands);
        rows.filter(|(_, tally)| !tally.durations.is_empty())
            .map(|(spec, tally)| (spec.name, tally.durations.percentiles()))
    }

    /// Codes and counts of the errors that were sent at least once.
    pub(crate) fn errors(&self) -> impl Iterator<Item = (&'static str, u64)> {
        ERROR_CODES
            .iter()
            .zip(&self.errors)
            .map(|(code, count)| (*code, count.load(Relaxed)))
            .filter(|(_, count)| *count > 0)
    }

    pub(crate) fn totals(&self) -> Totals {
        Totals {
            commands: self.commands.iter().map(|command| command.calls.load(Relaxed)).sum(),
            protocol_errors: self.protocol_errors.load(Relaxed),
            turns: self.turns.iter().map(|count| count.load(Relaxed)).sum(),
            errors: self.errors.iter().map(|count| count.load(Relaxed)).sum(),
            received_bytes: self.received_bytes.load(Relaxed),
            sent_bytes: self.sent_bytes.load(Relaxed),
            accepted: self.accepted.load(Relaxed),
            refused: self.refused.load(Relaxed),
        }
    }
}

/// Sums for INFO.
pub(crate) struct Totals {
    pub(crate) commands: u64,
    pub(crate) protocol_errors: u64,
    pub(crate) turns: u64,
    pub(crate) errors: u64,
    pub(crate) received_bytes: u64,
    pub(crate) sent_bytes: u64,
    pub(crate) accepted: u64,
    pub(crate) refused: u64,
}

/// The recorder's handles for [`Metrics`]; made once, when the recorder is installed.
pub(crate) struct Publisher {
    connections: Gauge,
    commands: Vec<Counter>,
    errors: Vec<Counter>,
    turns: Vec<Counter>,
    received_bytes: Counter,
    sent_bytes: Counter,
    accepted: Counter,
    refused: Counter,
    protocol_errors: Counter,
}

impl Publisher {
    pub(crate) fn new() -> Self {
        describe();
        Self {
            connections: gauge!("bitroster_frontend_connections"),
            commands: COMMANDS
                .iter()
                .map(|spec| counter!("bitroster_frontend_commands_total", "cmd" => spec.name))
                .collect(),
            errors: ERROR_CODES
                .iter()
                .map(|code| counter!("bitroster_frontend_errors_total", "code" => *code))
                .collect(),
            turns: TURN_CLASSES
                .iter()
                .map(|(_, size)| counter!("bitroster_frontend_turns_total", "commands" => *size))
                .collect(),
            received_bytes: counter!("bitroster_frontend_received_bytes_total"),
            sent_bytes: counter!("bitroster_frontend_sent_bytes_total"),
            accepted: counter!("bitroster_frontend_connections_accepted_total"),
            refused: counter!("bitroster_frontend_connections_refused_total"),
            protocol_errors: counter!("bitroster_frontend_protocol_errors_total"),
        }
    }

    /// Copies the counters to the recorder.
    #[expect(clippy::cast_precision_loss, reason = "metrics are floats")]
    pub(crate) fn publish(&self, metrics: &Metrics, connections: usize) {
        self.connections.set(connections as f64);
        for (counter, command) in self.commands.iter().zip(&metrics.commands) {
            counter.absolute(command.calls.load(Relaxed));
        }
        let rows = [(&self.errors, &metrics.errors[..]), (&self.turns, &metrics.turns)];
        for (counters, counts) in rows {
            for (counter, count) in counters.iter().zip(counts) {
                counter.absolute(count.load(Relaxed));
            }
        }
        self.received_bytes.absolute(metrics.received_bytes.load(Relaxed));
        self.sent_bytes.absolute(metrics.sent_bytes.load(Relaxed));
        self.accepted.absolute(metrics.accepted.load(Relaxed));
        self.refused.absolute(metrics.refused.load(Relaxed));
        self.protocol_errors.absolute(metrics.protocol_errors.load(Relaxed));
    }
}

fn describe() {
    describe_gauge!("bitroster_frontend_connections", "Clients connected");
    describe_counter!("bitroster_frontend_commands_total", "Commands that were run, by name");
    describe_counter!("bitroster_frontend_errors_total", "Error replies, by code");
    describe_counter!(
        "bitroster_frontend_turns_total",
        "Reads of a socket that held at least one command, by how many it held"
    );
    describe_counter!(
        "bitroster_frontend_received_bytes_total",
        Unit::Bytes,
        "Bytes that clients sent"
    );
    describe_counter!(
        "bitroster_frontend_sent_bytes_total",
        Unit::Bytes,
        "Bytes that were sent to clients"
    );
    describe_counter!("bitroster_frontend_connections_accepted_total", "Clients accepted");
    describe_counter!(
        "bitroster_frontend_connections_refused_total",
        "Clients refused because maxclients were connected"
    );
    describe_counter!(
        "bitroster_frontend_protocol_errors_total",
        "Clients dropped because they broke the protocol"
    );
}
