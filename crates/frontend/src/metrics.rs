//! What the front end counts.
//!
//! Sessions add to plain atomics, once a turn where they can; a scrape reads them. Labels are
//! closed sets: names from the lists below and our own words. Never a key, an address or an
//! error's text.

mod publish;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bitroster_command::{CommandError, table::COMMANDS};
use bitroster_telemetry::metric;

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

/// What carries a client's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// RESP, by TLS or not.
    Resp,
    /// gRPC, by TLS or not.
    Grpc,
    /// The console's calls.
    Http,
}

/// The carriers' labels, in their order.
const CARRIERS: [(Carrier, &str); 3] =
    [(Carrier::Resp, "resp"), (Carrier::Grpc, "grpc"), (Carrier::Http, "http")];

/// Why a client is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// As many are connected as may be.
    ClientsMax,
    /// It is on another machine, and there is no password.
    Protected,
    /// Its handshake failed or took too long.
    Tls,
}

/// The refusals' labels, in their order.
const REFUSALS: [&str; 3] = ["maxclients", "protected", "tls"];

/// What is counted of one command.
#[derive(Debug, Default)]
struct Tally {
    calls: AtomicU64,
    nanos: AtomicU64,
    rejected: AtomicU64,
    failed: AtomicU64,
    slow: AtomicU64,
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
    /// Commands a turn.
    turns: metric::Histogram,
    received_bytes: [AtomicU64; CARRIERS.len()],
    sent_bytes: [AtomicU64; CARRIERS.len()],
    accepted: [AtomicU64; CARRIERS.len()],
    refused: [AtomicU64; REFUSALS.len()],
    protocol_errors: AtomicU64,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        Self {
            commands: COMMANDS.iter().map(|_| Tally::default()).collect(),
            errors: Default::default(),
            turns: metric::Histogram::of_counts(),
            received_bytes: Default::default(),
            sent_bytes: Default::default(),
            accepted: Default::default(),
            refused: Default::default(),
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

    /// Counts a request for the command at `index` that went into the slow log.
    #[cold]
    pub(crate) fn add_slow(&self, index: u16) {
        if let Some(command) = self.commands.get(usize::from(index)) {
            command.slow.fetch_add(1, Relaxed);
        }
    }

    #[inline]
    pub(crate) fn add_turn(&self, commands: usize) {
        self.turns.record(commands as u64);
    }

    #[inline]
    pub(crate) fn add_received(&self, carrier: Carrier, bytes: usize) {
        self.received_bytes[carrier as usize].fetch_add(bytes as u64, Relaxed);
    }

    #[inline]
    pub(crate) fn add_sent(&self, carrier: Carrier, bytes: usize) {
        self.sent_bytes[carrier as usize].fetch_add(bytes as u64, Relaxed);
    }

    #[cold]
    pub(crate) fn add_error(&self, error: &CommandError) {
        let text = error.to_string();
        let code = text.split(' ').next().unwrap_or_default();
        let index = ERROR_CODES.iter().position(|known| *known == code);
        self.errors[index.unwrap_or(ERROR_CODES.len() - 1)].fetch_add(1, Relaxed);
    }

    pub(crate) fn add_accepted(&self, carrier: Carrier) {
        self.accepted[carrier as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn add_refused(&self, refusal: Refusal) {
        self.refused[refusal as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn add_protocol_error(&self) {
        self.protocol_errors.fetch_add(1, Relaxed);
    }

    /// Sets every counter to zero (`CONFIG RESETSTAT`); a scrape sees a restart.
    pub(crate) fn reset(&self) {
        let of_commands = self
            .commands
            .iter()
            .flat_map(|c| [&c.calls, &c.nanos, &c.rejected, &c.failed, &c.slow]);
        let of_carriers = [&self.received_bytes, &self.sent_bytes, &self.accepted];
        let rest = of_carriers.into_iter().flatten().chain(&self.refused).chain(&self.errors);
        for counter in of_commands.chain(rest).chain([&self.protocol_errors]) {
            counter.store(0, Relaxed);
        }
        self.turns.reset();
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
            turns: self.turns.count(),
            errors: sum(&self.errors),
            received_bytes: sum(&self.received_bytes),
            sent_bytes: sum(&self.sent_bytes),
            accepted: sum(&self.accepted),
            refused: sum(&self.refused),
        }
    }
}

fn sum(counters: &[AtomicU64]) -> u64 {
    counters.iter().map(|counter| counter.load(Relaxed)).sum()
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
