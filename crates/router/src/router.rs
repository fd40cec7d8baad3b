//! The router's face: one command in, one reply out.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use bitroster_command::{Command, CommandError, Pending, Reply};
use bitroster_placement::ClusterMap;
use bitroster_types::{GroupId, Key, LogIndex};
use futures_util::stream::{self, StreamExt};

use crate::{
    Reading, Transport, Turn,
    call::Call,
    map::{Maps, NO_EPOCH},
    metrics::Metrics,
    plan,
};

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
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) options: RouterOptions,
    /// How a write's plan reads.
    pub(crate) linearizable: Reading,
    pub(crate) metrics: Metrics,
}

impl Router {
    /// A router over the groups of `map`. It follows newer ones as it is [told](Self::follow).
    ///
    /// Its metrics go to the recorder that is installed at this moment.
    pub fn new(map: ClusterMap, transport: Arc<dyn Transport>, options: RouterOptions) -> Self {
        Self::over(Maps::new(Arc::new(map)), transport, options)
    }

    /// A router that has no map yet: it refuses every command with `LOADING` until it
    /// [follows](Self::follow) one.
    pub fn without_map(transport: Arc<dyn Transport>, options: RouterOptions) -> Self {
        Self::over(Maps::none(), transport, options)
    }

    fn over(maps: Maps, transport: Arc<dyn Transport>, options: RouterOptions) -> Self {
        let (linearizable, metrics) = (Reading::default(), Metrics::new());
        Self(Arc::new(Inner { maps, transport, options, linearizable, metrics }))
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
        self.0.maps.follow(map)
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
        let call = Call::new(&self.0, reading);
        self.0.metrics.note(&command);
        let reply = call.complete(&command).await;
        self.0.metrics.run_done(call.elapsed());
        reply
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
        let reply = Box::pin(call.attempts(run)).await.into();
        self.0.metrics.run_done(call.elapsed());
        reply
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
