//! MEMORY STATS, DOCTOR, MALLOC-STATS and PURGE. MEMORY USAGE asks a key, so it is the router's.

use std::fmt::Write as _;

use bitroster_command::{CommandError, Reply};
use bytes::Bytes;

use super::{help, integer, ratio, subcommand, unknown_subcommand, wrong_arity};
use crate::{server::Shared, status::Status};

const HELP: &[&str] = &[
    "MEMORY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "DOCTOR",
    "    Return memory problems reports.",
    "MALLOC-STATS",
    "    Return internal statistics report from the memory allocator.",
    "PURGE",
    "    Accepted; the allocator returns unused pages by itself.",
    "STATS",
    "    Return information about the memory usage of the server.",
    "USAGE <key> [SAMPLES <count>]",
    "    Return memory in bytes used by <key> and its value.",
    "HELP",
    "    Print this help.",
];

/// A node with less data than this has nothing to be diagnosed, in bytes. Redis's.
const DIAGNOSED_BYTES_MIN: u64 = 5 << 20;

/// Above this ratio of resident to allocated memory the doctor speaks. Redis's.
const FRAGMENTATION_MAX: f64 = 1.4;

pub(super) fn run(shared: &Shared, args: &[Bytes]) -> Result<Reply, CommandError> {
    let (name, rest) = subcommand("memory", args)?;
    match (name.as_str(), rest) {
        ("stats", []) => Ok(stats(&shared.status.status())),
        ("doctor", []) => Ok(Reply::Text(doctor(&shared.status.status()).into())),
        ("malloc-stats", []) => Ok(Reply::Text(malloc(&shared.status.status()).into())),
        ("purge", []) => Ok(Reply::Ok),
        ("help", []) => Ok(help(HELP)),
        ("stats" | "doctor" | "malloc-stats" | "purge" | "help", _) => {
            Err(wrong_arity(&format!("memory|{name}")))
        }
        _ => Err(unknown_subcommand("memory", args)),
    }
}

/// Redis's fields, in its order; those of things that there are not here are 0.
fn stats(status: &Status) -> Reply {
    let int = |bytes: u64| Reply::Integer(integer(bytes));
    let zero = || Reply::Integer(0);
    let overhead = status.allocated_bytes.saturating_sub(status.dataset_bytes);
    let loose = status.resident_bytes.saturating_sub(status.allocated_bytes);
    let per_key = status.dataset_bytes.checked_div(status.keys).unwrap_or(0);
    let fragmentation = ratio(status.resident_bytes, status.allocated_bytes);
    let rows = vec![
        ("peak.allocated", int(status.allocated_bytes_max)),
        ("total.allocated", int(status.allocated_bytes)),
        ("startup.allocated", zero()),
        ("replication.backlog", zero()),
        ("clients.slaves", zero()),
        ("clients.normal", zero()),
        ("cluster.links", zero()),
        ("aof.buffer", zero()),
        ("lua.caches", zero()),
        ("functions.caches", zero()),
        ("overhead.total", int(overhead)),
        ("keys.count", int(status.keys)),
        ("keys.bytes-per-key", int(per_key)),
        ("dataset.bytes", int(status.dataset_bytes)),
        (
            "dataset.percentage",
            Reply::Double(ratio(status.dataset_bytes, status.allocated_bytes) * 100.0),
        ),
        (
            "peak.percentage",
            Reply::Double(ratio(status.allocated_bytes, status.allocated_bytes_max) * 100.0),
        ),
        ("allocator.allocated", int(status.allocated_bytes)),
        ("allocator.active", int(status.allocated_bytes)),
        ("allocator.resident", int(status.resident_bytes)),
        ("allocator-fragmentation.ratio", Reply::Double(1.0)),
        ("allocator-fragmentation.bytes", zero()),
        ("allocator-rss.ratio", Reply::Double(fragmentation)),
        ("allocator-rss.bytes", int(loose)),
        ("rss-overhead.ratio", Reply::Double(1.0)),
        ("rss-overhead.bytes", zero()),
        ("fragmentation", Reply::Double(fragmentation)),
        ("fragmentation.bytes", int(loose)),
    ];
    Reply::Map(rows.into_iter().map(|(name, value)| (Reply::bulk(name), value)).collect())
}

fn doctor(status: &Status) -> String {
    if status.dataset_bytes < DIAGNOSED_BYTES_MIN {
        return "This node holds very little data: there is nothing to diagnose.\n".to_owned();
    }
    let mut text = String::new();
    let mut say = |line: std::fmt::Arguments<'_>| {
        writeln!(text, "{line}").expect("writing to a string does not fail");
    };
    let (used, limit) = (status.allocated_bytes, status.memory_bytes_max);
    if limit > 0 && used >= limit {
        say(format_args!("* maxmemory: {used} bytes are used of {limit}: writes are refused."));
    } else if limit > 0 && used / 10 >= limit / 11 {
        say(format_args!("* maxmemory: {used} bytes are used of {limit}: writes will be refused."));
    }
    let fragmentation = ratio(status.resident_bytes, used);
    if fragmentation > FRAGMENTATION_MAX {
        say(format_args!(
            "* Fragmentation: the process takes {fragmentation:.2} times what is allocated."
        ));
    }
    if ratio(status.allocated_bytes_max, used) > 1.5 {
        let peak = status.allocated_bytes_max;
        say(format_args!("* Peak: {peak} bytes were used once, {used} are now."));
    }
    if text.is_empty() { "No memory issue was found.\n".to_owned() } else { text }
}

fn malloc(status: &Status) -> String {
    format!(
        "allocated: {}\nallocated at most: {}\nresident: {}\n",
        status.allocated_bytes, status.allocated_bytes_max, status.resident_bytes
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_doctor_names_what_is_wrong_and_only_that() {
        let well = Status {
            dataset_bytes: 100 << 20,
            allocated_bytes: 120 << 20,
            allocated_bytes_max: 121 << 20,
            resident_bytes: 130 << 20,
            ..Status::default()
        };
        assert_eq!(doctor(&well), "No memory issue was found.\n");
        assert!(doctor(&Status::default()).contains("very little"));
        let full = Status { memory_bytes_max: 120 << 20, ..well.clone() };
        assert!(doctor(&full).contains("writes are refused"));
        let loose = Status { resident_bytes: 240 << 20, ..well };
        assert!(doctor(&loose).contains("2.00 times"));
    }
}
