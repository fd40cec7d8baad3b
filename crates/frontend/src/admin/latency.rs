//! LATENCY: how long commands take, and when they took long.

use std::fmt::Write as _;

use bitroster_command::{CommandError, Reply, lookup};
use bytes::Bytes;

use super::{help, integer, subcommand, unknown_subcommand, utf8, wrong_arity};
use crate::{
    catalog,
    latency::{Histogram, Samples},
    server::Shared,
};

const HELP: &[&str] = &[
    "LATENCY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "DOCTOR",
    "    Return a human readable latency analysis report.",
    "GRAPH <event>",
    "    Refused; see HISTORY.",
    "HISTORY <event>",
    "    Return time-latency samples for the <event> class.",
    "LATEST",
    "    Return the latest latency samples for all events.",
    "RESET [<event> ...]",
    "    Reset latency data of one or more <event> classes.",
    "    (default: reset all data for all event classes)",
    "HISTOGRAM [COMMAND ...]",
    "    Return a cumulative distribution of latencies in the format of a histogram for the \
     specified command names.",
    "    If no commands are specified then all histograms are replied.",
    "HELP",
    "    Print this help.",
];

const MONITOR_IS_OFF: &str = "Latency monitoring is off. \"CONFIG SET latency-monitor-threshold \
<milliseconds>\" turns it on; LATENCY HISTOGRAM and INFO latencystats need nothing to be turned \
on.\n";

pub(super) fn run(shared: &Shared, args: &[Bytes]) -> Result<Reply, CommandError> {
    let (name, rest) = subcommand("latency", args)?;
    match (name.as_str(), rest) {
        ("latest", []) => Ok(latest(shared)),
        ("history", [event]) => Ok(history(shared, utf8(event))),
        ("reset", events) => {
            let is_meant = |event: &str| {
                events.is_empty()
                    || events.iter().any(|given| given.eq_ignore_ascii_case(event.as_bytes()))
            };
            Ok(Reply::Integer(integer(shared.latency.forget(is_meant) as u64)))
        }
        ("histogram", names) => Ok(histograms(shared, names)),
        ("doctor", []) => Ok(Reply::Text(doctor(shared).into())),
        ("graph", [event]) => {
            let event = String::from_utf8_lossy(event);
            let event: String = event.chars().take(128).collect();
            Err(CommandError::Message(if shared.latency.events().contains_key(event.as_str()) {
                format!("ERR LATENCY GRAPH is not supported, see LATENCY HISTORY {event}")
            } else {
                format!("ERR No samples available for event '{event}'")
            }))
        }
        ("help", []) => Ok(help(HELP)),
        ("latest" | "history" | "doctor" | "graph" | "help", _) => {
            Err(wrong_arity(&format!("latency|{name}")))
        }
        _ => Err(unknown_subcommand("latency", args)),
    }
}

fn latest(shared: &Shared) -> Reply {
    let row = |(event, samples): (&str, Samples)| {
        let (secs, millis) = samples.recent.back().copied().unwrap_or_default();
        Reply::Array(vec![
            Reply::bulk(event),
            Reply::Integer(integer(secs)),
            Reply::Integer(integer(millis)),
            Reply::Integer(integer(samples.longest_ms)),
        ])
    };
    Reply::Array(shared.latency.events().into_iter().map(row).collect())
}

fn history(shared: &Shared, event: &str) -> Reply {
    let pair = |(secs, millis): (u64, u64)| {
        Reply::Array(vec![Reply::Integer(integer(secs)), Reply::Integer(integer(millis))])
    };
    let samples = shared.latency.events().remove(event).unwrap_or_default();
    Reply::Array(samples.recent.into_iter().map(pair).collect())
}

/// Of the named commands, or of all that ran.
fn histograms(shared: &Shared, names: &[Bytes]) -> Reply {
    let mut places: Vec<u16> = if names.is_empty() {
        bitroster_command::COMMANDS.iter().map(catalog::index).collect()
    } else {
        names.iter().filter_map(|name| lookup(name)).map(catalog::index).collect()
    };
    places.sort_unstable();
    places.dedup();
    let rows = places.into_iter().filter_map(|place| {
        let name = bitroster_command::COMMANDS[usize::from(place)].name;
        Some((Reply::bulk(name), histogram(shared.metrics.durations(place)?)))
    });
    Reply::Map(rows.collect())
}

fn histogram(durations: &Histogram) -> Reply {
    let rows = durations.cumulative();
    let pairs = rows
        .into_iter()
        .map(|(usecs, count)| (Reply::Integer(integer(usecs)), Reply::Integer(integer(count))));
    Reply::Map(vec![
        (Reply::bulk("calls"), Reply::Integer(integer(durations.count()))),
        (Reply::bulk("histogram_usec"), Reply::Map(pairs.collect())),
    ])
}

fn doctor(shared: &Shared) -> String {
    let threshold_ms = shared.latency.threshold_ms();
    if threshold_ms == 0 {
        return MONITOR_IS_OFF.to_owned();
    }
    let events = shared.latency.events();
    if events.is_empty() {
        return format!("No event took {threshold_ms} milliseconds or longer.\n");
    }
    let mut text = String::new();
    for (event, samples) in events {
        let count = samples.recent.len();
        let sum: u64 = samples.recent.iter().map(|(_, millis)| millis).sum();
        let mean = sum / (count as u64).max(1);
        let longest = samples.longest_ms;
        let line = writeln!(
            text,
            "{event}: {count} latency spikes of {threshold_ms} ms or longer, {mean} ms on average, \
             {longest} ms at worst. SLOWLOG GET names the requests; LATENCY HISTORY {event} the \
             times."
        );
        line.expect("writing to a string does not fail");
    }
    text
}
