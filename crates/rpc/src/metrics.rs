//! What links and senders count. Handles are made once.

use std::sync::Arc;

use bitroster_proto::internal::Status;
use bitroster_router::TransportFigures;
use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};

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
    frames: Counter,
    messages: Counter,
    /// What routers count of their way to the groups.
    pub(crate) figures: Arc<TransportFigures>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        describe();
        let kinds = |name: &'static str| KINDS.map(|kind| counter!(name, "kind" => kind));
        Self {
            links: gauge!("bitroster_rpc_links"),
            sent: kinds("bitroster_rpc_calls_sent_total"),
            received: kinds("bitroster_rpc_calls_received_total"),
            answers: STATUSES
                .map(|status| counter!("bitroster_rpc_answers_total", "status" => status)),
            lost: counter!("bitroster_rpc_calls_lost_total"),
            sent_bytes: counter!("bitroster_rpc_sent_bytes_total"),
            received_bytes: counter!("bitroster_rpc_received_bytes_total"),
            frames: counter!("bitroster_rpc_frames_sent_total"),
            messages: counter!("bitroster_rpc_messages_sent_total"),
            figures: Arc::default(),
        }
    }

    pub(crate) fn call_sent(&self, kind: Kind) {
        self.sent[kind as usize].increment(1);
    }

    pub(crate) fn call_received(&self, kind: Kind) {
        self.received[kind as usize].increment(1);
    }

    /// Counts a frame with this many calls or answers, if it has any: there are frames that only
    /// greet or hand on the cluster's state.
    pub(crate) fn frame_sent(&self, messages: usize) {
        if messages > 0 {
            self.frames.increment(1);
            self.messages.increment(messages as u64);
        }
    }

    /// Counts an answer that this node gave.
    pub(crate) fn answered(&self, status: Status) {
        self.answers[status as usize].increment(1);
    }
}

/// Tells the recorder what each name means.
fn describe() {
    describe_gauge!("bitroster_rpc_links", "Links to other nodes that are up");
    describe_counter!("bitroster_rpc_calls_sent_total", "Calls sent to other nodes");
    describe_counter!("bitroster_rpc_calls_received_total", "Calls of other nodes");
    describe_counter!("bitroster_rpc_calls_lost_total", "Calls that were sent and not answered");
    describe_counter!("bitroster_rpc_answers_total", "Answers given to other nodes");
    describe_counter!(
        "bitroster_rpc_frames_sent_total",
        "Frames sent, each with the calls and answers that were ready"
    );
    describe_counter!("bitroster_rpc_messages_sent_total", "Calls and answers in the frames sent");
    describe_counter!("bitroster_rpc_sent_bytes_total", "Bytes of bodies sent to other nodes");
    describe_counter!(
        "bitroster_rpc_received_bytes_total",
        "Bytes of bodies that other nodes sent"
    );
}
