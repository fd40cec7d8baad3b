//! The links of this node to all others.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use bitroster_placement::ClusterState;
use bitroster_proto::internal::Published;
use bitroster_types::{Deadline, NodeId, limits::RPC_PIECE_BYTES};
use parking_lot::Mutex;
use tokio::{sync::Notify, time::timeout_at};

use crate::{
    Spawn,
    dispatcher::Dispatcher,
    error::CallError,
    identity::Identity,
    link::{Ends, Lane, Route, Run},
    metrics::Metrics,
    publish::Audience,
    request::{Request, Response},
    state::StateCell,
    tls::LinkTls,
};

/// How much later than its deadline a call to this node itself is given up.
const GRACE: Duration = Duration::from_millis(20);

/// The links of this node to all others. Clones are the same links.
///
/// There is a link to each member of the cluster, from when its address is known until it is no
/// member any more; over it each side follows the other's [`StateCell`]. A call to this node itself
/// is a function call.
#[derive(Clone)]
pub struct Links {
    shared: Arc<Shared>,
}

struct Shared {
    ends: Ends,
    dispatcher: Arc<Dispatcher>,
    spawn: Arc<dyn Spawn>,
    /// `None` once closed.
    peers: Mutex<Option<HashMap<NodeId, Peer>>>,
    closing: Notify,
}

/// Two lanes to one node.
struct Peer {
    address: String,
    short: Arc<Lane>,
    bulk: Arc<Lane>,
}

impl Peer {
    fn close(&self) {
        self.short.close();
        self.bulk.close();
    }
}

impl Links {
    /// Links that follow the members of the state in `states`, opened from now on by tasks of
    /// `spawn`. `dispatcher` answers calls to this node itself.
    pub fn open(
        identity: Identity,
        states: StateCell,
        dispatcher: Arc<Dispatcher>,
        spawn: Arc<dyn Spawn>,
    ) -> Self {
        Self::open_with(identity, states, dispatcher, spawn, None)
    }

    /// As [`open`](Self::open), by TLS where `tls` is given.
    pub fn open_with(
        identity: Identity,
        states: StateCell,
        dispatcher: Arc<Dispatcher>,
        spawn: Arc<dyn Spawn>,
        tls: Option<Arc<dyn LinkTls>>,
    ) -> Self {
        let (identity, metrics) = (Arc::new(identity), Metrics::new());
        let (audience, pressure) = (Arc::default(), Arc::default());
        let ends = Ends { identity, states, metrics, audience, pressure, tls };
        let peers = Mutex::new(Some(HashMap::new()));
        let shared = Shared { ends, dispatcher, spawn, peers, closing: Notify::new() };
        let links = Self { shared: Arc::new(shared) };
        links.shared.spawn.spawn("links", Box::pin(links.clone().tend()));
        links
    }

    /// Who this node is.
    pub fn identity(&self) -> &Identity {
        &self.shared.ends.identity
    }

    /// The newest state of the cluster.
    pub fn states(&self) -> &StateCell {
        &self.shared.ends.states
    }

    /// The dispatcher of this node's own replicas.
    pub(crate) fn dispatcher(&self) -> &Arc<Dispatcher> {
        &self.shared.dispatcher
    }

    pub(crate) fn ends(&self) -> &Ends {
        &self.shared.ends
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.shared.ends.metrics
    }

    pub(crate) fn spawn(&self) -> &Arc<dyn Spawn> {
        &self.shared.spawn
    }

    /// Whether `node` is this node.
    pub fn is_here(&self, node: NodeId) -> bool {
        self.shared.ends.identity.node == Some(node)
    }

    /// The other nodes that a link is up to, ascending.
    pub fn linked(&self) -> Vec<NodeId> {
        let peers = self.shared.peers.lock();
        let up = peers.iter().flatten().filter(|(_, peer)| peer.short.is_up());
        let mut nodes: Vec<NodeId> = up.map(|(node, _)| *node).collect();
        nodes.sort_unstable();
        nodes
    }

    /// Sends a request to a node and waits for its answer until the deadline.
    ///
    /// Messages between replicas that are short arrive in the order in which their calls were first
    /// polled, see [`Peers::call`](bitroster_shard::Peers::call); other requests in any order.
    ///
    /// # Errors
    ///
    /// [`CallError`]; at once where the node is not known, not reached of late, or too much waits
    /// for it.
    ///
    /// # Cancel safety
    ///
    /// A call whose future is dropped is forgotten; it may arrive all the same.
    pub async fn call(
        &self,
        node: NodeId,
        request: Request,
        deadline: Deadline,
    ) -> Result<Response, CallError> {
        if self.is_here(node) {
            let answer = self.shared.dispatcher.handle(request, deadline);
            // The replica knows the deadline, and says more about it than this does.
            let late = deadline.instant() + GRACE;
            let answer = timeout_at(late.into(), answer).await;
            return answer.map_err(|_| CallError::lost("no answer in time"));
        }
        let lane = self.lane(node, request.body_len() > RPC_PIECE_BYTES);
        let lane = lane.ok_or_else(|| CallError::not_sent(format!("node {node} is not known")))?;
        lane.call(request, deadline).await
    }

    /// Sends a message that a client published to every other member that a link is up to, as well
    /// as may be. With `passes_on` the first of them hands it to routers.
    pub(crate) fn publish(&self, published: &Published, passes_on: bool) {
        let lanes: Vec<Arc<Lane>> = {
            let peers = self.shared.peers.lock();
            peers.iter().flat_map(HashMap::values).map(|peer| Arc::clone(&peer.short)).collect()
        };
        let mut pass_on = passes_on;
        for lane in lanes {
            if lane.publish(Published { pass_on, ..published.clone() }) {
                pass_on = false;
            }
        }
    }

    /// Names who hears what other nodes' clients publish; later calls change nothing.
    pub fn set_audience(&self, audience: Arc<dyn Audience>) {
        self.shared.ends.audience.get_or_init(|| audience);
    }

    /// Whether another node that a link is up to has more allocated than its `maxmemory`, kept up
    /// to date: what clients write would only make it more.
    pub fn is_over_memory(&self) -> Arc<AtomicBool> {
        self.shared.ends.pressure.is_any()
    }

    /// Closes all links for good; open calls fail.
    pub fn close(&self) {
        let peers = self.shared.peers.lock().take();
        peers.iter().flatten().for_each(|(_, peer)| peer.close());
        self.shared.closing.notify_one();
    }

    fn lane(&self, node: NodeId, is_bulk: bool) -> Option<Arc<Lane>> {
        let mut peers = self.shared.peers.lock();
        let peers = peers.as_mut()?;
        let peer = match peers.entry(node) {
            Entry::Occupied(peer) => peer.into_mut(),
            Entry::Vacant(place) => {
                place.insert(self.peer(node, self.shared.ends.states.address(node)?))
            }
        };
        Some(Arc::clone(if is_bulk { &peer.bulk } else { &peer.short }))
    }

    fn peer(&self, node: NodeId, address: String) -> Peer {
        let lane = |is_kept_open| {
            let ends = self.shared.ends.clone();
            let lane = Lane::new(ends.metrics.clone());
            let route = Route { node, address: address.clone(), is_kept_open };
            let run = Run { lane: Arc::clone(&lane), route, ends };
            self.shared.spawn.spawn("link", Box::pin(run.run()));
            lane
        };
        Peer { short: lane(true), bulk: lane(false), address }
    }

    /// Has a link to each member and to nobody else, until the links are closed.
    async fn tend(self) {
        let mut states = self.shared.ends.states.subscribe();
        states.mark_changed();
        loop {
            tokio::select! {
                // The cell lives as long as `self`, and its sender with it.
                changed = states.changed() => drop(changed),
                () = self.shared.closing.notified() => return,
            }
            let state = states.borrow_and_update().clone();
            if state.is_some_and(|state| !self.fit(&state)) {
                return;
            }
        }
    }

    /// Opens and closes links as the state says. Says whether the links are not closed for good.
    fn fit(&self, state: &ClusterState) -> bool {
        let mut peers = self.shared.peers.lock();
        let Some(peers) = peers.as_mut() else { return false };
        peers.retain(|node, peer| {
            let stays = state.address(*node) == Some(&peer.address);
            if !stays {
                peer.close();
            }
            stays
        });
        for (node, entry) in &state.nodes {
            if !self.is_here(*node) && !peers.contains_key(node) {
                peers.insert(*node, self.peer(*node, entry.address.clone()));
            }
        }
        true
    }
}
