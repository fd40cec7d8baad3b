//! The router's face: one command in, one reply out.

use std::{sync::Arc, time::Duration};

use bitroster_command::{Command, CommandError, FollowUp, Reply};
use bitroster_placement::ClusterMap;
use bitroster_types::{GroupId, Key, LogIndex};

use crate::{Transport, Turn, call::Call, metrics::Metrics, plan};

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
    pub(crate) map: Arc<ClusterMap>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) options: RouterOptions,
    pub(crate) metrics: Metrics,
}

impl Router {
    /// A router over the groups of `map`.
    ///
    /// Its metrics go to the recorder that is installed at this moment.
    pub fn new(map: ClusterMap, transport: Arc<dyn Transport>, options: RouterOptions) -> Self {
        let metrics = Metrics::new();
        Self(Arc::new(Inner { map: Arc::new(map), transport, options, metrics }))
    }

    /// The cluster map that is followed.
    pub fn map(&self) -> Arc<ClusterMap> {
        Arc::clone(&self.0.map)
    }

    /// An empty turn; a connection makes one and uses it again and again.
    pub fn turn(&self) -> Turn {
        Turn::new(self.clone())
    }

    /// Runs any one read or write to its end.
    ///
    /// # Cancel safety
    ///
    /// A write may be applied although the future was dropped.
    pub async fn run(&self, command: Command) -> Reply {
        let call = Call::new(&self.0);
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
        let call = &Call::new(&self.0);
        let mut watched = Vec::with_capacity(keys.len());
        for key in keys {
            watched.push(call.attempts(|| plan::transaction::watch(call, key)).await?);
        }
        Ok(watched)
    }

    /// Runs the commands of a MULTI in order: an array of their replies, or no array where a
    /// watched key has changed.
    ///
    /// Atomic and isolated where all commands and watched keys lie in one group; otherwise the
    /// watches are checked first and the commands run one after the other.
    pub async fn transaction(&self, watched: &[Watched], commands: Vec<Command>) -> Reply {
        let call = &Call::new(&self.0);
        let run = || plan::transaction::run(call, watched, &commands);
        let reply = Box::pin(call.attempts(run)).await.into();
        self.0.metrics.run_done(call.elapsed());
        reply
    }

    /// Finishes clean-ups that `home` still remembers, such as those of a router that died.
    ///
    /// What cannot be finished now stays with `home` for the next time.
    pub async fn finish_cleanups(&self, pending: Vec<FollowUp>, home: GroupId) {
        for follow in pending {
            let call = Call::new(&self.0);
            if let Err(stop) = plan::retire::follow(&call, std::slice::from_ref(&follow)).await {
                tracing::debug!(group = home.0, ?stop, "a clean-up is left for later");
            }
        }
    }
}
