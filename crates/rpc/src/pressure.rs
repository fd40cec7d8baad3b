//! Which other nodes have more allocated than their `maxmemory`.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use bitroster_types::NodeId;
use parking_lot::Mutex;
use tracing::{info, warn};

/// Which other nodes have more allocated than their `maxmemory`, as their links say.
#[derive(Debug, Default)]
pub(crate) struct Pressure {
    /// Each with the number of its link: a node that moves has two for a moment.
    above: Mutex<BTreeSet<(NodeId, usize)>>,
    is_any: Arc<AtomicBool>,
}

impl Pressure {
    /// A node is above its limit, or no longer, by what one of its links says; one without a link
    /// counts as below.
    pub(crate) fn set(&self, node: NodeId, link: usize, is_above: bool) {
        let mut above = self.above.lock();
        if is_above && above.insert((node, link)) {
            warn!(%node, "a node is above its maxmemory: writes refused");
        } else if !is_above && above.remove(&(node, link)) {
            info!(%node, "a node is below its maxmemory again, or gone");
        }
        self.is_any.store(!above.is_empty(), Relaxed);
    }

    /// Whether any node is.
    pub(crate) fn is_any(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_any)
    }
}
