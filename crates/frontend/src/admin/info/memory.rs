//! The section `Memory`.

use super::{Fields, ratio};
use crate::status::Status;

pub(super) fn section(status: &Status, out: &mut Fields) {
    let overhead = status.allocated_bytes.saturating_sub(status.dataset_bytes);
    out.section("Memory");
    out.size("used_memory", status.allocated_bytes);
    out.size("used_memory_rss", status.resident_bytes);
    out.size("used_memory_peak", status.allocated_bytes_max);
    let of_peak = ratio(status.allocated_bytes, status.allocated_bytes_max) * 100.0;
    out.field("used_memory_peak_perc", format_args!("{of_peak:.2}%"));
    out.field("used_memory_overhead", overhead);
    out.field("used_memory_startup", 0);
    out.field("used_memory_dataset", status.dataset_bytes);
    let of_used = ratio(status.dataset_bytes, status.allocated_bytes) * 100.0;
    out.field("used_memory_dataset_perc", format_args!("{of_used:.2}%"));
    out.field("allocator_allocated", status.allocated_bytes);
    out.field("allocator_active", status.allocated_bytes);
    out.field("allocator_resident", status.resident_bytes);
    out.size("total_system_memory", status.machine_bytes);
    // There are no scripts.
    out.size("used_memory_lua", 0);
    out.size("used_memory_vm_total", 0);
    out.size("used_memory_scripts", 0);
    for name in ["number_of_cached_scripts", "number_of_functions", "number_of_libraries"] {
        out.field(name, 0);
    }
    out.size("maxmemory", status.memory_bytes_max);
    out.field("maxmemory_policy", "noeviction");
    let loose = status.resident_bytes.saturating_sub(status.allocated_bytes);
    let fragmentation = ratio(status.resident_bytes, status.allocated_bytes);
    out.field("allocator_frag_ratio", "1.00");
    out.field("allocator_frag_bytes", 0);
    out.field("allocator_rss_ratio", format_args!("{fragmentation:.2}"));
    out.field("allocator_rss_bytes", loose);
    out.field("rss_overhead_ratio", "1.00");
    out.field("rss_overhead_bytes", 0);
    out.field("mem_fragmentation_ratio", format_args!("{fragmentation:.2}"));
    out.field("mem_fragmentation_bytes", loose);
    for name in [
        "mem_not_counted_for_evict",
        "mem_replication_backlog",
        "mem_total_replication_buffers",
        "mem_clients_slaves",
        "mem_clients_normal",
        "mem_cluster_links",
        "mem_aof_buffer",
    ] {
        out.field(name, 0);
    }
    out.field("mem_allocator", "jemalloc");
    out.field("active_defrag_running", 0);
    out.field("lazyfree_pending_objects", 0);
    out.field("lazyfreed_objects", 0);
}
