//! What clients publish, on its way between this node's clients and those of the others.

use std::sync::Arc;

use bitroster_frontend::{Frontend, Relay};
use bitroster_rpc::{Audience, Links, PeerHost};
use bytes::Bytes;

/// Takes messages of this node's clients to the other nodes.
struct Courier(Arc<PeerHost>);

impl Relay for Courier {
    fn relay(&self, channel: &Bytes, message: &Bytes, sharded: bool) {
        self.0.publish(channel, message, sharded);
    }
}

/// This node's clients, as listeners to what others publish.
struct Clients(Frontend);

impl Audience for Clients {
    fn hear(&self, channel: Bytes, message: Bytes, sharded: bool) {
        self.0.deliver(&channel, &message, sharded);
    }
}

/// Connects the clients of this node with those of the others, both ways.
pub(super) fn connect(frontend: &Frontend, host: &Arc<PeerHost>, links: &Links) {
    frontend.set_relay(Arc::new(Courier(Arc::clone(host))));
    links.set_audience(Arc::new(Clients(frontend.clone())));
}
