//! What links and senders count. Handles are made once.

use bitroster_proto::internal::Status;
use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram,
};

use crate::request::Kind;

const KINDS: [&str; 3] = ["raft", "read", "write"];

const STATUSES: [&str; 7] =
    ["ok", "not_leader", "stale_epoch", "refused", "busy", "unavailable", "unknown"];

/// A node's instruments. Clones share the counts.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    /// Links to other nodes that are up.
    pub(crate) links: Gauge,
    sent: [Counter; KINDS.len()],
    received: [Counter; KINDS.len()],
    answers: [Counter; STATUSES.len()],
    /// Calls that were never answered.
    pub(crate) lost: Counter,
    /// Bytes of bodies in frames sent, calls and answers.
    pub(crate) sent_bytes: Counter,
    /// Bytes of bodies in frames received.
    pub(crate) received_bytes: Counter,
    /// Calls and answers in one frame sent.
    pub(crate) frame_messages: Histogram,
    /// Repeated sends of a batch.
    pub(crate) retries: Counter,
    /// Batches whose outcome nobody learnt.
    pub(crate) unknown: Counter,
    /// Ops in one batch of writes.
    pub(crate) write_batch: Histogram,
    /// Ops in one batch of reads.
    pub(crate) read_batch: Histogram,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        describe();
        let kinds = |name: &'static str| KINDS.map(|kind| counter!(name, "kind" => kind));
        Self {
            links: gauge!("bitroster_rpc_links_count"),
            sent: kinds("bitroster_rpc_calls_sent_total"),
            received: kinds("bitroster_rpc_calls_received_total"),
            answers: STATUSES
                .map(|status| counter!("bitroster_rpc_answers_total", "status" => status)),
            lost: counter!("bitroster_rpc_calls_lost_total"),
            sent_bytes: counter!("bitroster_rpc_sent_bytes_total"),
            received_bytes: counter!("bitroster_rpc_received_bytes_total"),
            frame_messages: histogram!("bitroster_rpc_frame_messages_count"),
            retries: counter!("bitroster_rpc_retries_total"),
            unknown: counter!("bitroster_rpc_outcomes_unknown_total"),
            write_batch: histogram!("bitroster_rpc_write_batch_ops"),
            read_batch: histogram!("bitroster_rpc_read_batch_ops"),
        }
    }

    pub(crate) fn call_sent(&self, kind: Kind) {
        self.sent[kind as usize].increment(1);
    }

    pub(crate) fn call_received(&self, kind: Kind) {
        self.received[kind as usize].increment(1);
    }

    /// Counts an answer that this node gave.
    pub(crate) fn answered(&self, status: Status) {
        self.answers[status as usize].increment(1);
    }
}

/// Tells the recorder what each name means.
fn describe() {
    describe_gauge!("bitroster_rpc_links_count", "Links to other nodes that are up.");
    describe_counter!("bitroster_rpc_calls_sent_total", "Calls sent to other nodes, by kind.");
    describe_counter!("bitroster_rpc_calls_received_total", "Calls of other nodes, by kind.");
    describe_counter!("bitroster_rpc_answers_total", "Answers given to other nodes, by status.");
    describe_counter!("bitroster_rpc_calls_lost_total", "Calls that were sent and not answered.");
    describe_counter!("bitroster_rpc_sent_bytes_total", "Bytes of bodies sent to other nodes.");
    describe_counter!("bitroster_rpc_received_bytes_total", "Bytes of bodies of other nodes.");
    describe_histogram!(
        "bitroster_rpc_frame_messages_count",
        Unit::Count,
        "Calls and answers in one frame sent."
    );
    describe_counter!("bitroster_rpc_retries_total", "Repeated sends of a batch to a group.");
    describe_counter!(
        "bitroster_rpc_outcomes_unknown_total",
        "Batches of writes that were sent and whose outcome was never learnt."
    );
    describe_histogram!("bitroster_rpc_write_batch_ops", Unit::Count, "Ops in a batch of writes.");
    describe_histogram!("bitroster_rpc_read_batch_ops", Unit::Count, "Ops in a batch of reads.");
}
