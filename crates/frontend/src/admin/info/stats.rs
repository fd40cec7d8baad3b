//! The section `Stats`.

use super::Fields;
use crate::{pubsub::Kind, server::Shared, status::Status};

/// Counters of Redis's that exporters read and that have no counterpart here.
const NEVER: [&str; 31] = [
    "total_net_repl_input_bytes",
    "total_net_repl_output_bytes",
    "sync_full",
    "sync_partial_ok",
    "sync_partial_err",
    "expired_time_cap_reached_count",
    "expire_cycle_cpu_milliseconds",
    "evicted_keys",
    "evicted_clients",
    "total_eviction_exceeded_time",
    "current_eviction_exceeded_time",
    "keyspace_hits",
    "keyspace_misses",
    "latest_fork_usec",
    "total_forks",
    "migrate_cached_sockets",
    "slave_expires_tracked_keys",
    "active_defrag_hits",
    "active_defrag_misses",
    "active_defrag_key_hits",
    "active_defrag_key_misses",
    "total_active_defrag_time",
    "current_active_defrag_time",
    "tracking_total_keys",
    "tracking_total_items",
    "tracking_total_prefixes",
    "unexpected_error_replies",
    "dump_payload_sanitizations",
    "io_threaded_reads_processed",
    "io_threaded_writes_processed",
    "acl_access_denied_auth",
];

pub(super) fn section(shared: &Shared, status: &Status, out: &mut Fields) {
    let totals = shared.metrics.totals();
    let rates = shared.rates();
    out.section("Stats");
    out.field("total_connections_received", totals.accepted);
    out.field("total_commands_processed", totals.commands);
    out.field("instantaneous_ops_per_sec", rates.commands);
    out.field("total_net_input_bytes", totals.received_bytes);
    out.field("total_net_output_bytes", totals.sent_bytes);
    out.field("instantaneous_input_kbps", kilobytes(rates.received_bytes));
    out.field("instantaneous_output_kbps", kilobytes(rates.sent_bytes));
    out.field("instantaneous_input_repl_kbps", "0.00");
    out.field("instantaneous_output_repl_kbps", "0.00");
    out.field("rejected_connections", totals.refused);
    out.field("expired_keys", status.expired);
    out.field("expired_stale_perc", "0.00");
    out.field("pubsub_channels", shared.pubsub.len(Kind::Channel));
    out.field("pubsub_patterns", shared.pubsub.len(Kind::Pattern));
    out.field("pubsubshard_channels", shared.pubsub.len(Kind::Shard));
    out.field("total_error_replies", totals.errors);
    out.field("total_reads_processed", totals.turns);
    out.field("total_writes_processed", totals.turns);
    out.field("client_query_buffer_limit_disconnections", totals.protocol_errors);
    out.field("client_output_buffer_limit_disconnections", shared.pubsub.dropped());
    for name in NEVER {
        out.field(name, 0);
    }
}

#[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
fn kilobytes(bytes: u64) -> String {
    format!("{:.2}", bytes as f64 / 1024.0)
}
