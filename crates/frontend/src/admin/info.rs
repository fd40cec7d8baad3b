//! INFO, with Redis's sections and field names, so that exporters and dashboards just work.

mod memory;
mod stats;

use std::{
    fmt::{Display, Write as _},
    sync::atomic::Ordering::Relaxed,
    time::Duration,
};

use bitroster_command::{Command, ReadCommand, Reply};
use bitroster_router::Reading;
use bitroster_telemetry::build;
use tokio::time::timeout;

use super::{ratio, unix_time};
use crate::{metrics::CommandFigures, server::Shared, status::Status};

/// The Redis release whose commands and replies we follow. Clients decide by it what they may
/// send: `CLIENT SETINFO` needs 7.2, `BITOP DIFF` and its like 8.2.
pub(crate) const REDIS_VERSION: &str = "8.2.0";

/// All sections in Redis's order; the flag says whether plain INFO shows them.
const SECTIONS: [(&str, bool); 14] = [
    ("server", true),
    ("clients", true),
    ("memory", true),
    ("persistence", true),
    ("stats", true),
    ("replication", true),
    ("cpu", true),
    ("modules", true),
    ("commandstats", false),
    ("errorstats", true),
    ("latencystats", false),
    ("cluster", true),
    ("spread", true),
    ("keyspace", true),
];

/// Longest wait for the number of keys where other nodes keep them: monitoring must not hang while
/// a group has no leader.
const KEYS_WAIT_MAX: Duration = Duration::from_secs(1);

/// As [`info`]; a node that keeps no keys itself shows the cluster's, if they can be counted soon.
pub(crate) async fn info_of_cluster(shared: &Shared, sections: &[String]) -> Reply {
    let mut status = shared.status.status();
    let is_shown = shown(sections).any(|name| name == "keyspace");
    if is_shown && status.keys == 0 && shared.is_ready() {
        let (count, reading) = (Command::Read(ReadCommand::DbSize), Reading::default());
        let counted = timeout(KEYS_WAIT_MAX, shared.router.run(count, &reading)).await;
        if let Ok(Reply::Integer(keys)) = counted {
            status.keys = u64::try_from(keys).unwrap_or(0);
        }
    }
    text(shared, &status, sections)
}

/// The text of the `sections` (lower case) that were asked for; of the usual ones where none was.
pub(crate) fn info(shared: &Shared, sections: &[String]) -> Reply {
    text(shared, &shared.status.status(), sections)
}

/// Names of the sections that are shown.
fn shown(sections: &[String]) -> impl Iterator<Item = &'static str> {
    let asked = |name: &str| sections.iter().any(|section| section == name);
    let all = asked("all") || asked("everything");
    let usual = sections.is_empty() || asked("default");
    let is_shown = move |(name, is_usual): &(&str, bool)| all || asked(name) || usual && *is_usual;
    SECTIONS.into_iter().filter(is_shown).map(|(name, _)| name)
}

fn text(shared: &Shared, status: &Status, sections: &[String]) -> Reply {
    let mut out = Fields { out: String::with_capacity(4096) };
    for name in shown(sections) {
        if !out.out.is_empty() {
            out.out.push_str("\r\n");
        }
        match name {
            "server" => server(shared, status, &mut out),
            "clients" => clients(shared, &mut out),
            "memory" => memory::section(status, &mut out),
            "persistence" => persistence(shared, status, &mut out),
            "stats" => stats::section(shared, status, &mut out),
            "replication" => replication(shared, status, &mut out),
            "cpu" => cpu(status, &mut out),
            "modules" => out.section("Modules"),
            "commandstats" => command_stats(shared, &mut out),
            "errorstats" => error_stats(shared, &mut out),
            "latencystats" => latency_stats(shared, &mut out),
            "cluster" => {
                out.section("Cluster");
                out.field("cluster_enabled", 0);
            }
            "spread" => spread(status, &mut out),
            _ => keyspace(status, &mut out),
        }
    }
    Reply::Text(out.out.into())
}

/// The text as it grows.
struct Fields {
    out: String,
}

impl Fields {
    fn section(&mut self, title: &str) {
        write!(self.out, "# {title}\r\n").expect("writing to a string does not fail");
    }

    fn field(&mut self, name: &str, value: impl Display) {
        write!(self.out, "{name}:{value}\r\n").expect("writing to a string does not fail");
    }

    /// A size twice: in bytes, and for people.
    fn size(&mut self, name: &str, bytes: u64) {
        self.field(name, bytes);
        self.field(&format!("{name}_human"), human(bytes));
    }
}

/// A size as Redis writes it for people: `1.50M`.
#[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
fn human(bytes: u64) -> String {
    const UNITS: [(u32, char); 4] = [(40, 'T'), (30, 'G'), (20, 'M'), (10, 'K')];
    let unit = UNITS.iter().find(|(shift, _)| bytes >= 1 << shift);
    unit.map_or_else(
        || format!("{bytes}B"),
        |(shift, unit)| format!("{:.2}{unit}", bytes as f64 / (1_u64 << shift) as f64),
    )
}

fn server(shared: &Shared, status: &Status, out: &mut Fields) {
    let uptime_secs = shared.uptime().as_secs();
    let (bind, port) = (&shared.settings.bind, shared.settings.port);
    out.section("Server");
    out.field("redis_version", REDIS_VERSION);
    out.field("redis_git_sha1", "00000000");
    out.field("redis_git_dirty", 0);
    out.field("redis_build_id", 0);
    out.field("redis_mode", "standalone");
    out.field("server_name", "bitroster");
    out.field("bitroster_version", build::VERSION);
    out.field("bitroster_commit", build::commit());
    out.field("bitroster_groups", status.groups);
    out.field("os", std::env::consts::OS);
    out.field("arch_bits", usize::BITS);
    out.field("monotonic_clock", "POSIX clock_gettime");
    out.field("multiplexing_api", "epoll");
    out.field("atomicvar_api", "rust-builtin");
    out.field("process_id", std::process::id());
    out.field("process_supervised", "no");
    out.field("run_id", &status.run_id);
    out.field("tcp_port", shared.settings.port);
    out.field("server_time_usec", unix_time().as_micros());
    out.field("uptime_in_seconds", uptime_secs);
    out.field("uptime_in_days", uptime_secs / 86_400);
    out.field("hz", 10);
    out.field("configured_hz", 10);
    // The clock by which Redis finds what was not used for long: seconds, in 24 bits.
    out.field("lru_clock", unix_time().as_secs() & 0xff_ffff);
    out.field("executable", "");
    out.field("config_file", "");
    out.field("io_threads_active", 0);
    out.field("listener0", format_args!("name=tcp,bind={bind},port={port}"));
}

fn clients(shared: &Shared, out: &mut Fields) {
    let clients = shared.clients.all();
    let listening = clients.iter().filter(|client| client.listener.is_listening()).count();
    let watching = clients.iter().filter(|client| client.watched.load(Relaxed) > 0).count();
    let watched: u64 = clients.iter().map(|client| client.watched.load(Relaxed)).sum();
    let mail = clients.iter().map(|client| client.listener.mailbox.waiting_bytes()).max();
    out.section("Clients");
    out.field("connected_clients", clients.len());
    out.field("cluster_connections", 0);
    out.field("maxclients", shared.settings.clients_max());
    out.field("client_recent_max_input_buffer", 0);
    out.field("client_recent_max_output_buffer", mail.unwrap_or(0));
    out.field("blocked_clients", 0);
    out.field("tracking_clients", 0);
    out.field("pubsub_clients", listening);
    out.field("watching_clients", watching);
    out.field("clients_in_timeout_table", 0);
    out.field("total_watched_keys", watched);
    out.field("total_blocking_keys", 0);
    out.field("total_blocking_keys_on_nokey", 0);
}

fn persistence(shared: &Shared, status: &Status, out: &mut Fields) {
    let zeros = |out: &mut Fields, names: &[&str]| names.iter().for_each(|n| out.field(n, 0));
    out.section("Persistence");
    out.field("loading", u8::from(!shared.is_ready()));
    zeros(out, &["async_loading", "current_cow_peak", "current_cow_size", "current_cow_size_age"]);
    out.field("current_fork_perc", "0.00");
    zeros(out, &["current_save_keys_processed", "current_save_keys_total"]);
    // Every acknowledged write is in the log.
    out.field("rdb_changes_since_last_save", 0);
    out.field("rdb_bgsave_in_progress", u8::from(status.snapshot_running));
    out.field("rdb_last_save_time", status.snapshot_time_secs);
    out.field("rdb_last_bgsave_status", if status.snapshot_ok { "ok" } else { "err" });
    out.field("rdb_last_bgsave_time_sec", -1);
    out.field("rdb_current_bgsave_time_sec", -1);
    zeros(out, &["rdb_saves", "rdb_last_cow_size"]);
    zeros(out, &["rdb_last_load_keys_expired", "rdb_last_load_keys_loaded"]);
    out.field("aof_enabled", 1);
    zeros(out, &["aof_rewrite_in_progress", "aof_rewrite_scheduled"]);
    out.field("aof_last_rewrite_time_sec", -1);
    out.field("aof_current_rewrite_time_sec", -1);
    out.field("aof_last_bgrewrite_status", "ok");
    zeros(out, &["aof_rewrites", "aof_rewrites_consecutive_failures"]);
    // A log that cannot be written ends the process.
    out.field("aof_last_write_status", "ok");
    zeros(out, &["aof_last_cow_size", "module_fork_in_progress", "module_fork_last_cow_size"]);
    out.field("aof_current_size", status.log_bytes);
    out.field("aof_base_size", 0);
    zeros(out, &["aof_pending_rewrite", "aof_buffer_length", "aof_pending_bio_fsync"]);
    out.field("aof_delayed_fsync", 0);
}

/// The whole cluster is one master. Where its replicas are is not said: clients would connect to
/// them.
fn replication(shared: &Shared, status: &Status, out: &mut Fields) {
    let view = shared.status.cluster();
    out.section("Replication");
    out.field("role", "master");
    out.field("connected_slaves", view.followers_linked());
    out.field("master_failover_state", "no-failover");
    out.field("master_replid", view.data_id().unwrap_or_else(|| status.run_id.clone()));
    out.field("master_replid2", "0000000000000000000000000000000000000000");
    out.field("master_repl_offset", view.applied_entries);
    out.field("second_repl_offset", -1);
    out.field("repl_backlog_active", 0);
    out.field("repl_backlog_size", 0);
    out.field("repl_backlog_first_byte_offset", 0);
    out.field("repl_backlog_histlen", 0);
}

fn cpu(status: &Status, out: &mut Fields) {
    out.section("CPU");
    out.field("used_cpu_sys", format_args!("{:.6}", status.cpu_system_seconds));
    out.field("used_cpu_user", format_args!("{:.6}", status.cpu_user_seconds));
    out.field("used_cpu_sys_children", "0.000000");
    out.field("used_cpu_user_children", "0.000000");
}

/// Calls of a command and the time that they took, waiting for groups and disks included; a command
/// of a pipeline has its share of the pipeline's time.
fn command_stats(shared: &Shared, out: &mut Fields) {
    out.section("Commandstats");
    for figures in shared.metrics.commands() {
        let CommandFigures { name, calls, nanos, rejected, failed } = figures;
        let usec = nanos / 1000;
        let per_call = ratio(usec, calls);
        out.field(
            &format!("cmdstat_{name}"),
            format_args!(
                "calls={calls},usec={usec},usec_per_call={per_call:.2},rejected_calls={rejected},\
                 failed_calls={failed}"
            ),
        );
    }
}

fn latency_stats(shared: &Shared, out: &mut Fields) {
    out.section("Latencystats");
    for (name, percentiles) in shared.metrics.percentiles() {
        let values = percentiles.map(|(percentile, usecs)| format!("{percentile}={usecs:.3}"));
        out.field(&format!("latency_percentiles_usec_{name}"), values.join(","));
    }
}

fn error_stats(shared: &Shared, out: &mut Fields) {
    out.section("Errorstats");
    for (code, count) in shared.metrics.errors() {
        out.field(&format!("errorstat_{code}"), format_args!("count={count}"));
    }
}

/// Keys over several groups: what changes under way and dead routers have left.
fn spread(status: &Status, out: &mut Fields) {
    let spread = &status.spread;
    out.section("Spread");
    out.field("spread_parts", spread.parts);
    out.field("spread_staged", spread.staged);
    out.field("spread_pending", spread.pending);
    out.field("spread_reserved", spread.reserved);
    out.field("spread_enlisted", spread.enlisted);
}

fn keyspace(status: &Status, out: &mut Fields) {
    out.section("Keyspace");
    if status.keys > 0 {
        let (keys, expires) = (status.keys, status.expires);
        out.field("db0", format_args!("keys={keys},expires={expires},avg_ttl=0"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_for_people_have_two_decimals_and_a_unit() {
        assert_eq!(human(0), "0B");
        assert_eq!(human(1023), "1023B");
        assert_eq!(human(1536), "1.50K");
        assert_eq!(human(3 << 20), "3.00M");
        assert_eq!(human(5 << 30), "5.00G");
    }
}
