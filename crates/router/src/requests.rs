//! The requests to groups on their way, counted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use bitroster_command::{CommandError, OpBatch, Outcome, ReadOp, Reply};
use bitroster_placement::ClusterMap;
use bitroster_telemetry::metric::{Histogram, Page};
use bitroster_types::{Deadline, GroupId};
use parking_lot::RwLock;

use crate::{Reading, Target, Transport, TransportError};

/// What a request asks for: the label `op`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Read,
    Write,
}

const KINDS: [(Kind, &str); 2] = [(Kind::Read, "read"), (Kind::Write, "write")];

/// How a request ended: the label `code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Code {
    Ok,
    StaleMap,
    NoLeader,
    Busy,
    Refused,
    Unknown,
}

const CODES: [&str; 6] = ["ok", "stale_map", "no_leader", "busy", "refused", "unknown"];

impl Code {
    fn of<T>(result: &Result<T, TransportError>) -> Self {
        match result {
            Ok(_) => Self::Ok,
            Err(TransportError::StaleMap { .. }) => Self::StaleMap,
            Err(
                TransportError::NoLeader { .. } | TransportError::Refused(CommandError::Loading),
            ) => Self::NoLeader,
            Err(TransportError::Refused(CommandError::Busy(_))) => Self::Busy,
            Err(TransportError::Refused(_)) => Self::Refused,
            Err(TransportError::OutcomeUnknown { .. }) => Self::Unknown,
        }
    }
}

/// What is counted of one kind of requests to one group.
#[derive(Debug)]
struct Cells {
    codes: [AtomicU64; CODES.len()],
    durations: Histogram,
}

impl Default for Cells {
    fn default() -> Self {
        Self { codes: Default::default(), durations: Histogram::of_seconds() }
    }
}

/// What is counted of one group.
#[derive(Debug, Default)]
struct Group {
    kinds: [Cells; KINDS.len()],
    /// Whether its last request was answered by the group.
    serves: AtomicBool,
    /// Whether a request has ended since [`Requests::quiet`] last looked.
    was_asked: AtomicBool,
}

/// The way to the groups, with what was sent over it. Costs some 100 nanoseconds a request.
pub(crate) struct Requests {
    transport: Arc<dyn Transport>,
    /// Ascending.
    groups: RwLock<Vec<(GroupId, Arc<Group>)>>,
    in_flight: AtomicU64,
    /// Bytes of partial results that came back.
    partial_bytes: AtomicU64,
}

/// A request under way; one that is dropped has no end.
struct Running<'a> {
    requests: &'a Requests,
    group: Arc<Group>,
    kind: Kind,
    started: Instant,
}

impl Running<'_> {
    fn end<T>(self, result: &Result<T, TransportError>) {
        let code = Code::of(result);
        let cells = &self.group.kinds[self.kind as usize];
        cells.codes[code as usize].fetch_add(1, Relaxed);
        cells.durations.record_time(self.started.elapsed());
        match code {
            Code::Ok | Code::Busy | Code::Refused => self.group.serves.store(true, Relaxed),
            Code::NoLeader | Code::Unknown => self.group.serves.store(false, Relaxed),
            Code::StaleMap => {}
        }
        self.group.was_asked.store(true, Relaxed);
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.requests.in_flight.fetch_sub(1, Relaxed);
    }
}

impl Requests {
    pub(crate) fn new(transport: Arc<dyn Transport>) -> Self {
        let (groups, in_flight) = (RwLock::default(), AtomicU64::new(0));
        Self { transport, groups, in_flight, partial_bytes: AtomicU64::new(0) }
    }

    pub(crate) fn transport(&self) -> &dyn Transport {
        &*self.transport
    }

    /// See [`Transport::read_now`]. What is answered in place is no request.
    #[inline]
    pub(crate) fn read_now(&self, to: Target, op: &ReadOp) -> Option<Outcome> {
        self.transport.read_now(to, op)
    }

    /// See [`Transport::read`].
    pub(crate) async fn read(
        &self,
        to: Target,
        op: ReadOp,
        reading: &Reading,
        deadline: Deadline,
    ) -> Result<Outcome, TransportError> {
        let running = self.begin(to.group, Kind::Read);
        let is_partial = !matches!(op, ReadOp::Command(_));
        let result = self.transport.read(to, op, reading, deadline).await;
        running.end(&result);
        if let (true, Ok(Outcome::Reply(Reply::Bulk(bytes)))) = (is_partial, &result) {
            self.partial_bytes.fetch_add(bytes.len() as u64, Relaxed);
        }
        result
    }

    /// See [`Transport::read_short`].
    pub(crate) async fn read_short(
        &self,
        to: Target,
        ops: OpBatch,
        reading: &Reading,
        deadline: Deadline,
    ) -> Result<Vec<Outcome>, TransportError> {
        let running = self.begin(to.group, Kind::Read);
        let result = self.transport.read_short(to, ops, reading, deadline).await;
        running.end(&result);
        result
    }

    /// See [`Transport::write`].
    pub(crate) async fn write(
        &self,
        to: Target,
        batch: OpBatch,
        deadline: Deadline,
    ) -> Result<Vec<Outcome>, TransportError> {
        let running = self.begin(to.group, Kind::Write);
        let result = self.transport.write(to, batch, deadline).await;
        running.end(&result);
        result
    }

    fn begin(&self, group: GroupId, kind: Kind) -> Running<'_> {
        self.in_flight.fetch_add(1, Relaxed);
        let group = self.group(group);
        Running { requests: self, group, kind, started: Instant::now() }
    }

    fn group(&self, id: GroupId) -> Arc<Group> {
        {
            let groups = self.groups.read();
            if let Ok(place) = groups.binary_search_by_key(&id, |(id, _)| *id) {
                return Arc::clone(&groups[place].1);
            }
        }
        let mut groups = self.groups.write();
        match groups.binary_search_by_key(&id, |(id, _)| *id) {
            Ok(place) => Arc::clone(&groups[place].1),
            Err(place) => {
                let group = Arc::<Group>::default();
                groups.insert(place, (id, Arc::clone(&group)));
                group
            }
        }
    }

    /// The groups of `map` of which nothing good was heard since this was last asked.
    pub(crate) fn quiet(&self, map: &ClusterMap) -> Vec<GroupId> {
        let is_quiet = |id: &GroupId| {
            let group = self.group(*id);
            !group.was_asked.swap(false, Relaxed) || !group.serves.load(Relaxed)
        };
        groups_of(map).filter(is_quiet).collect()
    }

    /// Whether all groups of `map` have answered their last requests.
    pub(crate) fn all_serve(&self, map: &ClusterMap) -> bool {
        groups_of(map).all(|id| self.group(id).serves.load(Relaxed))
    }

    /// Shows what was counted of the groups of `map`.
    pub(crate) fn publish(&self, map: &ClusterMap, page: &mut Page) {
        let groups: Vec<(GroupId, String, Arc<Group>)> =
            groups_of(map).map(|id| (id, id.to_string(), self.group(id))).collect();
        page.gauge(
            "bitroster_router_inflight_requests",
            "Requests to groups that are not answered yet",
        )
        .row(&[], self.in_flight.load(Relaxed));
        let mut family = page.counter(
            "bitroster_router_shard_requests_total",
            "Requests to groups that have ended, by how they ended",
        );
        for (_, name, group) in &groups {
            for (kind, op) in KINDS {
                for (code, count) in CODES.iter().zip(&group.kinds[kind as usize].codes) {
                    let labels = [("group", name.as_str()), ("op", op), ("code", code)];
                    family.row(&labels, count.load(Relaxed));
                }
            }
        }
        let mut family = page.histogram(
            "bitroster_router_shard_request_duration_seconds",
            "From sending a request to a group to its end, retries included",
        );
        for (_, name, group) in &groups {
            for (kind, op) in KINDS {
                let durations = &group.kinds[kind as usize].durations;
                family.buckets(&[("group", name), ("op", op)], durations);
            }
        }
        page.counter(
            "bitroster_router_scatter_bytes_total",
            "Bytes of partial results that groups answered to commands over several groups",
        )
        .row(&[], self.partial_bytes.load(Relaxed));
        let serving: Vec<GroupId> = groups
            .iter()
            .filter(|(.., group)| group.serves.load(Relaxed))
            .map(|(id, ..)| *id)
            .collect();
        let covered = map.owners().iter().filter(|owner| serving.binary_search(owner).is_ok());
        page.gauge(
            "bitroster_router_slots_covered",
            "Slots whose group answered its last request; 16384 when all is well",
        )
        .row(&[], covered.count());
    }
}

/// The groups of data. The map of a router that has none yet names the meta group.
fn groups_of(map: &ClusterMap) -> impl Iterator<Item = GroupId> {
    map.groups().iter().copied().filter(|group| *group != GroupId::META)
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, time::Duration};

    use bitroster_types::SegmentWidth;
    use futures_util::{
        FutureExt as _,
        future::{BoxFuture, pending, ready},
    };
    use parking_lot::Mutex;

    use super::*;

    type Ended = Result<Vec<Outcome>, TransportError>;

    /// Ends writes as it is told, and those after in no time at all: never.
    struct Scripted(Mutex<VecDeque<Ended>>);

    impl Transport for Scripted {
        fn read_now(&self, _to: Target, _op: &ReadOp) -> Option<Outcome> {
            None
        }

        fn read(
            &self,
            _to: Target,
            _op: ReadOp,
            _reading: &Reading,
            _deadline: Deadline,
        ) -> BoxFuture<'_, Result<Outcome, TransportError>> {
            ready(Ok(Reply::Bulk(vec![7; 100].into()).into())).boxed()
        }

        fn write(&self, _to: Target, _batch: OpBatch, _deadline: Deadline) -> BoxFuture<'_, Ended> {
            match self.0.lock().pop_front() {
                Some(ended) => ready(ended).boxed(),
                None => pending().boxed(),
            }
        }
    }

    fn shown(requests: &Requests, map: &ClusterMap, line: &str) -> bool {
        let mut page = Page::default();
        requests.publish(map, &mut page);
        page.finish().lines().any(|shown| shown == line)
    }

    #[test]
    fn requests_are_counted_by_their_ends_and_those_under_way_apart() {
        let (one, two) = (GroupId(1), GroupId(2));
        let map = ClusterMap::plan(&[one, two], SegmentWidth::DEFAULT);
        let script = [
            Ok(Vec::new()),
            Err(TransportError::NoLeader { group: one }),
            Err(CommandError::Busy("too much waits").into()),
            Err(TransportError::OutcomeUnknown { waited: Duration::ZERO }),
        ];
        let requests = Requests::new(Arc::new(Scripted(Mutex::new(script.into()))));
        let deadline = Deadline::at(Instant::now() + Duration::from_secs(60));
        let to = |group| Target { group, epoch: 1 };
        let write = || requests.write(to(one), OpBatch::new(), deadline).now_or_never();
        let slots = map.owners().iter().filter(|owner| **owner == one).count();
        let covered = |slots: usize| format!("bitroster_router_slots_covered {slots}");
        assert!(shown(&requests, &map, &covered(0)));
        for is_covered in [true, false, true, false] {
            assert!(write().is_some());
            assert!(shown(&requests, &map, &covered(if is_covered { slots } else { 0 })));
        }
        for (code, count) in [("ok", 1), ("no_leader", 1), ("busy", 1), ("unknown", 1)] {
            let name = "bitroster_router_shard_requests_total";
            let line = format!("{name}{{group=\"1\",op=\"write\",code=\"{code}\"}} {count}");
            assert!(shown(&requests, &map, &line), "{line}");
        }
        let mut under_way = Box::pin(requests.write(to(one), OpBatch::new(), deadline));
        assert!((&mut under_way).now_or_never().is_none());
        assert!(shown(&requests, &map, "bitroster_router_inflight_requests 1"));
        drop(under_way);
        assert!(shown(&requests, &map, "bitroster_router_inflight_requests 0"));
        // Both are asked: one said nothing good, the other nothing at all.
        assert_eq!(requests.quiet(&map), [one, two]);
        let key = bitroster_types::Key::new(b"k").unwrap();
        let reading = Reading::default();
        let read = requests.read(to(two), ReadOp::Header { key }, &reading, deadline);
        assert!(read.now_or_never().is_some());
        assert!(shown(&requests, &map, "bitroster_router_scatter_bytes_total 100"));
        assert_eq!(requests.quiet(&map), [one]);
        assert!(!requests.all_serve(&map));
    }
}
