//! What was counted, as a scrape shows it.

use std::sync::atomic::Ordering::Relaxed;

use bitroster_command::table::COMMANDS;
use bitroster_telemetry::metric::{Page, SECONDS};

use super::{CARRIERS, ERROR_CODES, Metrics, REFUSALS, Tally};
use crate::client::Clients;

/// The commands that have a label of their own, in alphabetical order: what hot paths use and what
/// takes long. A histogram each for all of the table would be thousands of series.
const LABELLED: [&str; 33] = [
    "bitcount",
    "bitfield",
    "bitfield_ro",
    "bitop",
    "bitopcard",
    "bitpos",
    "bm.export",
    "bm.getbits",
    "bm.import",
    "bm.mark",
    "bm.online",
    "bm.query",
    "bm.retention",
    "bm.setbits",
    "bm.touch",
    "bm.window",
    "del",
    "exec",
    "exists",
    "expire",
    "get",
    "getbit",
    "info",
    "mget",
    "mset",
    "ping",
    "publish",
    "scan",
    "set",
    "setbit",
    "strlen",
    "ttl",
    "unlink",
];

/// The label of all other commands.
const OTHER: &str = "other";

/// What was counted of the commands with one label.
#[derive(Clone, Default)]
struct Row {
    answered: u64,
    errors: u64,
    slow: u64,
    nanos: u64,
    durations: Vec<u64>,
}

impl Row {
    fn add(&mut self, tally: &Tally) {
        let failed = tally.failed.load(Relaxed);
        let calls = tally.calls.load(Relaxed);
        self.answered += calls.saturating_sub(failed);
        self.errors += failed + tally.rejected.load(Relaxed);
        self.slow += tally.slow.load(Relaxed);
        self.nanos += tally.nanos.load(Relaxed);
        tally.durations.add_to(&mut self.durations);
    }
}

/// Names and rows of the labelled commands, and last of all others together.
fn rows(tallies: &[Tally]) -> Vec<(&'static str, Row)> {
    let empty = Row { durations: vec![0; SECONDS.ends.len() + 1], ..Row::default() };
    let names = LABELLED.into_iter().chain([OTHER]);
    let mut rows: Vec<_> = names.map(|name| (name, empty.clone())).collect();
    for (spec, tally) in COMMANDS.iter().zip(tallies) {
        let place = LABELLED.binary_search(&spec.name).unwrap_or(LABELLED.len());
        rows[place].1.add(tally);
    }
    rows
}

impl Metrics {
    /// Shows what was counted.
    pub(crate) fn publish(&self, clients: &Clients, page: &mut Page) {
        self.publish_commands(page);
        self.publish_clients(clients, page);
    }

    fn publish_commands(&self, page: &mut Page) {
        let rows = rows(&self.commands);
        let mut family = page.counter(
            "bitroster_router_commands_total",
            "Commands answered, by name and whether the answer was an error",
        );
        for (cmd, row) in &rows {
            family.row(&[("cmd", cmd), ("status", "ok")], row.answered);
            family.row(&[("cmd", cmd), ("status", "error")], row.errors);
        }
        let mut family = page.counter(
            "bitroster_router_command_errors_total",
            "Error replies, by the word that they begin with",
        );
        for (code, count) in ERROR_CODES.iter().zip(&self.errors) {
            family.row(&[("code", code)], count.load(Relaxed));
        }
        let mut family = page.histogram(
            "bitroster_router_command_duration_seconds",
            "From taking a command to having its reply, an equal share of its pipeline's time each",
        );
        for (cmd, row) in &rows {
            family.counts(&[("cmd", cmd)], &SECONDS, &row.durations, row.nanos);
        }
        let mut family = page.counter(
            "bitroster_router_slow_commands_total",
            "Commands that went into the slow log",
        );
        for (cmd, row) in &rows {
            family.row(&[("cmd", cmd)], row.slow);
        }
        page.histogram(
            "bitroster_router_pipeline_depth",
            "Commands that were taken and answered together",
        )
        .buckets(&[], &self.turns);
    }

    fn publish_clients(&self, clients: &Clients, page: &mut Page) {
        let mut family = page.gauge("bitroster_router_connections", "Clients connected");
        for (carrier, name) in CARRIERS {
            family.row(&[("transport", name)], clients.len_of(carrier));
        }
        let of_carriers = [
            (
                "bitroster_router_connections_opened_total",
                "Connections of clients let in since the start; calls of the console are none",
                &self.accepted,
            ),
            (
                "bitroster_router_received_bytes_total",
                "Bytes that clients sent",
                &self.received_bytes,
            ),
            (
                "bitroster_router_sent_bytes_total",
                "Bytes that were sent to clients",
                &self.sent_bytes,
            ),
        ];
        for (name, help, counters) in of_carriers {
            let mut family = page.counter(name, help);
            for ((_, carrier), counter) in CARRIERS.iter().zip(counters) {
                family.row(&[("transport", carrier)], counter.load(Relaxed));
            }
        }
        let mut family = page.counter(
            "bitroster_router_connections_rejected_total",
            "Clients turned away, by reason",
        );
        for (reason, count) in REFUSALS.iter().zip(&self.refused) {
            family.row(&[("reason", reason)], count.load(Relaxed));
        }
        page.counter(
            "bitroster_router_protocol_errors_total",
            "Clients dropped because they broke the protocol",
        )
        .row(&[], self.protocol_errors.load(Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use bitroster_command::lookup;

    use super::*;
    use crate::catalog;

    #[test]
    fn labelled_commands_are_in_the_table_and_in_order() {
        assert!(LABELLED.is_sorted());
        for name in LABELLED {
            assert!(lookup(name.as_bytes()).is_some(), "{name} is no command");
        }
    }

    #[test]
    fn commands_are_shown_by_label_and_outcome_and_the_rest_together() {
        let metrics = Metrics::new();
        let index = |name: &str| catalog::index(lookup(name.as_bytes()).unwrap());
        metrics.add_commands(index("setbit"), 10, 50_000);
        metrics.add_failed(index("setbit"));
        metrics.add_rejected(index("setbit"));
        metrics.add_slow(index("setbit"));
        metrics.add_commands(index("append"), 2, 1_000);
        metrics.add_commands(index("echo"), 3, 2_000_000);
        let mut page = Page::default();
        metrics.publish(&Clients::default(), &mut page);
        let text = page.finish();
        for line in [
            "bitroster_router_commands_total{cmd=\"setbit\",status=\"ok\"} 9",
            "bitroster_router_commands_total{cmd=\"setbit\",status=\"error\"} 2",
            "bitroster_router_commands_total{cmd=\"other\",status=\"ok\"} 5",
            "bitroster_router_commands_total{cmd=\"getbit\",status=\"ok\"} 0",
            "bitroster_router_slow_commands_total{cmd=\"setbit\"} 1",
            "bitroster_router_command_duration_seconds_bucket{cmd=\"setbit\",le=\"0.00005\"} 10",
            "bitroster_router_command_duration_seconds_sum{cmd=\"setbit\"} 0.0005",
            "bitroster_router_command_duration_seconds_bucket{cmd=\"other\",le=\"0.001\"} 2",
            "bitroster_router_command_duration_seconds_bucket{cmd=\"other\",le=\"0.0025\"} 5",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} is not in\n{text}");
        }
    }
}
