//! What the router counts: plain cells, which a scrape reads. A turn counts in its own and adds up
//! at its end.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{SystemTime, UNIX_EPOCH},
};

use bitroster_placement::ClusterMap;
use bitroster_telemetry::metric::{Histogram, Page};

use crate::{requests::Requests, transport::TransportFigures};

/// Why a command was begun again by the router itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restart {
    /// The map, or the group that was asked, was not the newest.
    SlotMoved,
    /// A key changed under a plan.
    KeyChanged,
}

/// The router's counters beside those of its [`Requests`].
pub(crate) struct Metrics {
    reads_in_place: AtomicU64,
    plans: AtomicU64,
    restarts: [AtomicU64; 2],
    scatter_groups: Histogram,
    /// Unix time in milliseconds.
    map_updated: AtomicU64,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        Self {
            reads_in_place: AtomicU64::new(0),
            plans: AtomicU64::new(0),
            restarts: Default::default(),
            scatter_groups: Histogram::of_counts(),
            map_updated: AtomicU64::new(unix_millis()),
        }
    }

    /// Adds reads that a replica in this process has answered at once, and forgets them.
    #[inline]
    pub(crate) fn add_reads_in_place(&self, reads: &mut u64) {
        if *reads > 0 {
            self.reads_in_place.fetch_add(std::mem::take(reads), Relaxed);
        }
    }

    /// A command needs more than one request to a group.
    pub(crate) fn plan_begun(&self) {
        self.plans.fetch_add(1, Relaxed);
    }

    pub(crate) fn restarted(&self, why: Restart) {
        self.restarts[why as usize].fetch_add(1, Relaxed);
    }

    /// One step of a plan asks this many groups at once.
    pub(crate) fn fanned_out(&self, groups: usize) {
        self.scatter_groups.record(groups as u64);
    }

    /// A newer map is followed from now on.
    pub(crate) fn map_changed(&self) {
        self.map_updated.store(unix_millis(), Relaxed);
    }

    /// Shows what was counted.
    pub(crate) fn publish(
        &self,
        map: &ClusterMap,
        requests: &Requests,
        transport: Option<&TransportFigures>,
        page: &mut Page,
    ) {
        requests.publish(map, page);
        if let Some(figures) = transport {
            page.histogram(
                "bitroster_router_batch_ops",
                "Ops in one message to a group, of all clients together",
            )
            .buckets(&[("op", "read")], &figures.read_batch)
            .buckets(&[("op", "write")], &figures.write_batch);
        }
        page.counter(
            "bitroster_router_reads_in_place_total",
            "Reads answered at once by a replica in this process, which are no requests",
        )
        .row(&[], self.reads_in_place.load(Relaxed));
        self.publish_retries(transport, page);
        Self::publish_folds(transport, page);
        page.counter(
            "bitroster_router_plans_total",
            "Commands that took more than one request to a group",
        )
        .row(&[], self.plans.load(Relaxed));
        page.histogram(
            "bitroster_router_scatter_groups",
            "Groups that one step of a command asked at once",
        )
        .buckets(&[], &self.scatter_groups);
        page.gauge("bitroster_router_slot_map_version", "Epoch of the slot map that is followed")
            .row(&[], map.epoch());
        #[expect(clippy::cast_precision_loss, reason = "metrics are floats")]
        let updated = self.map_updated.load(Relaxed) as f64 / 1e3;
        page.gauge(
            "bitroster_router_slot_map_updated_timestamp_seconds",
            "When the slot map last changed here",
        )
        .row(&[], updated);
    }

    fn publish_retries(&self, transport: Option<&TransportFigures>, page: &mut Page) {
        let mut family = page.counter(
            "bitroster_router_retries_total",
            "Tries to reach a group that failed, and commands that were begun again, by reason",
        );
        for (place, reason) in TransportFigures::REASONS.into_iter().enumerate() {
            let count = transport.map_or(0, |figures| figures.retries[place].load(Relaxed));
            family.row(&[("reason", reason)], count);
        }
        for (reason, count) in ["slot_moved", "key_changed"].iter().zip(&self.restarts) {
            family.row(&[("reason", reason)], count.load(Relaxed));
        }
    }

    fn publish_folds(transport: Option<&TransportFigures>, page: &mut Page) {
        let mut family = page.counter(
            "bitroster_router_folds_total",
            "Evaluations over several groups that one node was asked for, by outcome",
        );
        for (place, outcome) in TransportFigures::FOLDS.into_iter().enumerate() {
            let count = transport.map_or(0, |figures| figures.folds[place].load(Relaxed));
            family.row(&[("outcome", outcome)], count);
        }
    }
}

fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
