//! The router's face: one command in, one reply out.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use bitroster_command::{Command, CommandError, Pending, ReadOp, Reply};
use bitroster_placement::ClusterMap;
use bitroster_telemetry::metric::Page;
use bitroster_types::{GroupId, Key, LogIndex};
use futures_util::{
    future::join_all,
    stream::{self, StreamExt},
};

use crate::{
    Reading, Spawn, Transport, Turn,
    aside::Unawaited,
    call::Call,
    map::{Maps, NO_EPOCH},
    metrics::Metrics,
    plan,
    requests::Requests,
};

/// The key that groups are asked for to see whether they answer; that they may not own it does not
/// matter.
const PROBED_KEY: &[u8] = b"probe";

/// What a router may be told.
#[derive(Clone, Debug)]
pub struct RouterOptions {
    /// How long a request may take in all; its deadline is made once, when the request is sent.
    pub request_timeout: Duration,
    /// Most requests to groups that one command has in flight at a time.
    pub fan_out_max: usize,
    /// Longest value that is gathered or written whole, in bytes (`proto-max-bulk-len`).
    pub value_bytes_max: u64,
}

/// A key that a transaction watches, as it was when the watch began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    pub(crate) key: Key,
    /// The groups that held the key, home first, and the log entry that last changed it there.
    pub(crate) marks: Vec<(GroupId, LogIndex)>,
    /// The epoch of the map by which they did.
    pub(crate) epoch: u64,
}

impl Watched {
    /// How many bytes it holds.
    pub fn bytes_len(&self) -> usize {
        size_of::<Self>() + self.key.len() + size_of_val(&self.marks[..])
    }
}

/// Turns commands into plans over the groups of a cluster map. A clone is cheap and shares all.
#[derive(Clone)]
pub struct Router(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) maps: Maps,
    pub(crate) requests: Requests,
    pub(crate) options: RouterOptions,
    /// How a write's plan reads.
    pub(crate) linearizable: Reading,
    pub(crate) metrics: Metrics,
    pub(crate) unawaited: Unawaited,
}

impl Router {
    /// A router over the groups of `map`. It follows newer ones as it is [told](Self::follow).
    pub fn new(map: ClusterMap, transport: Arc<dyn Transport>, options: RouterOptions) -> Self {
        Self::over(Maps::new(Arc::new(map)), transport, options)
    }

    /// A router that has no map yet: it refuses every command with `LOADING` until it
    /// [follows](Self::follow) one.
    pub fn without_map(transport: Arc<dyn Transport>, options: RouterOptions) -> Self {
        Self::over(Maps::none(), transport, options)
    }

    /// The same router, which has tasks started that no request waits for.
    ///
    /// # Panics
    ///
    /// If the router was cloned before.
    #[must_use]
    pub fn with_spawn(self, spawn: Arc<dyn Spawn>) -> Self {
        let mut inner = Arc::into_inner(self.0).expect("nobody shares the router yet");
        inner.unawaited = Unawaited::new(Some(spawn));
        Self(Arc::new(inner))
    }

    fn over(maps: Maps, transport: Arc<dyn Transport>, options: RouterOptions) -> Self {
        let (linearizable, metrics) = (Reading::default(), Metrics::new());
        let requests = Requests::new(transport);
        let unawaited = Unawaited::new(None);
        Self(Arc::new(Inner { maps, requests, options, linearizable, metrics, unawaited }))
    }

    /// The cluster map that is followed. Before the first one it is a map of epoch 0 with the meta
    /// group alone, by which nothing is routed.
    pub fn map(&self) -> Arc<ClusterMap> {
        self.0.maps.newest()
    }

    /// Whether there is a map to route by. Costs a load.
    #[inline]
    pub fn has_map(&self) -> bool {
        self.0.maps.epoch() != NO_EPOCH
    }

    /// Follows `map` from now on: whether it does. A map that is no newer than the one followed is
    /// left aside, and one of another segment width too, with an error in the log.
    ///
    /// Requests under way finish by the map of their start, unless a group refuses them because of
    /// it; connections take the new one with their next pipeline.
    pub fn follow(&self, map: Arc<ClusterMap>) -> bool {
        let is_newer = self.0.maps.follow(map);
        if is_newer {
            self.0.metrics.map_changed();
        }
        is_newer
    }

    /// An empty turn; a connection makes one and uses it again and again.
    pub fn turn(&self) -> Turn {
        Turn::new(self.clone())
    }

    /// Runs any one read or write to its end; a read is as fresh as `reading` wants it.
    ///
    /// Where a group does not own what the map says, it waits for a newer map and starts again,
    /// until the deadline.
    ///
    /// # Cancel safety
    ///
    /// A write may be applied although the future was dropped.
    pub async fn run(&self, command: Command, reading: &Reading) -> Reply {
        Call::new(&self.0, reading).complete(&command).await
    }

    /// Notes the state of `keys` for a later [`transaction`](Self::transaction).
    ///
    /// # Errors
    ///
    /// Those of a read of the keys.
    pub async fn watch(&self, keys: &[Key]) -> Result<Vec<Watched>, CommandError> {
        let call = Call::new(&self.0, &self.0.linearizable);
        let mut watched = Vec::with_capacity(keys.len());
        for key in keys {
            let watch = |call| async move { plan::transaction::watch(&call, key).await };
            watched.push(call.attempts(watch).await?);
        }
        Ok(watched)
    }

    /// Runs the commands of a MULTI in order: an array of their replies, or no array where a
    /// watched key has changed.
    ///
    /// Atomic and isolated where all commands and watched keys lie in one group; otherwise the
    /// watches are checked first and the commands run one after the other. A watched key whose
    /// bits have moved to another group since counts as changed. All reads are linearizable.
    pub async fn transaction(&self, watched: &[Watched], commands: Vec<Command>) -> Reply {
        let call = Call::new(&self.0, &self.0.linearizable);
        let commands = &commands;
        let run = |call| async move { plan::transaction::run(&call, watched, commands).await };
        Box::pin(call.attempts(run)).await.into()
    }

    /// Asks each group of which nothing good was heard since the last call a short question, and
    /// waits for the answers or the deadline, so that it is known which slots are served. Whether
    /// all are.
    pub async fn probe(&self) -> bool {
        let call = Call::new(&self.0, &self.0.linearizable);
        let probes = self.0.requests.quiet(&call.map).into_iter().map(|group| {
            let key = Key::new(PROBED_KEY).expect("a key of a few bytes");
            let (to, op) = (call.target(group), ReadOp::Header { key });
            // What comes of it is noted where all requests are.
            let asked = self.0.requests.read(to, op, &call.reading, call.deadline);
            async move { drop(asked.await) }
        });
        join_all(probes).await;
        call.map.epoch() != NO_EPOCH && self.0.requests.all_serve(&call.map)
    }

    /// Shows what was counted.
    pub fn publish(&self, page: &mut Page) {
        let Inner { maps, requests, metrics, .. } = &*self.0;
        metrics.publish(&maps.newest(), requests, requests.transport().figures(), page);
    }

    /// Finishes what `home` remembers of changes that were not finished, such as those of a router
    /// that died. Reservations and leaves among it are taken back, whoever may still need them:
    /// give old ones only.
    ///
    /// What cannot be finished now stays with `home` for the next time. Whether nothing does.
    pub async fn finish(&self, pending: &[Pending], home: GroupId) -> bool {
        let is_all = &AtomicBool::new(true);
        let finish = |one| async move {
            let call = Call::new(&self.0, &self.0.linearizable);
            let finished =
                call.attempts(|call| async move { plan::finish::finish(&call, one).await });
            if let Err(error) = finished.await {
                tracing::debug!(group = home.0, %error, "an unfinished change is left for later");
                is_all.store(false, Relaxed);
            }
        };
        stream::iter(pending).for_each_concurrent(self.0.options.fan_out_max, finish).await;
        is_all.load(Relaxed)
    }
}
