//! What happens when a replica cannot go on.
//!
//! After a failed sync nobody knows what the disk holds; after a committed entry that cannot be
//! applied the replica would differ from its peers. In both cases the process must end before it
//! answers anything more: the rest of the group goes on without it.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bitroster_types::GroupId;

use crate::error::Error;

/// Ends the process, or does what the owner asked for instead. Clones share the fact.
#[derive(Clone)]
pub struct Fatal {
    inner: Arc<Inner>,
}

struct Inner {
    stopped: AtomicBool,
    end: Box<dyn Fn(&Error) + Send + Sync>,
}

impl Fatal {
    /// Calls `end` at the first failure, on the thread that found it. `end` should not return
    /// outside tests.
    pub fn new(end: impl Fn(&Error) + Send + Sync + 'static) -> Self {
        Self { inner: Arc::new(Inner { stopped: AtomicBool::new(false), end: Box::new(end) }) }
    }

    /// Ends the process at the first failure.
    pub fn abort() -> Self {
        Self::new(|_| std::process::abort())
    }

    /// Tells of a failure; only the first one is logged and ends the process.
    pub(crate) fn stop(&self, group: GroupId, cause: &dyn StdError) {
        if self.inner.stopped.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut reason = cause.to_string();
        let mut source = cause.source();
        while let Some(cause) = source {
            reason.push_str(": ");
            reason.push_str(&cause.to_string());
            source = cause.source();
        }
        let error = Error::Stopped { group, reason };
        tracing::error!(%error, "a replica cannot go on; the process ends");
        (self.inner.end)(&error);
    }
}

impl Default for Fatal {
    fn default() -> Self {
        Self::abort()
    }
}

impl fmt::Debug for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stopped = self.inner.stopped.load(Ordering::Acquire);
        f.debug_struct("Fatal").field("stopped", &stopped).finish_non_exhaustive()
    }
}
