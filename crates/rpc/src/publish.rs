//! Messages of clients on their way to clients of other nodes.
//!
//! A message takes the links that there are, beside calls and answers, and nobody confirms it.
//! Members of the cluster have links to each other; routers have links to members, and none to each
//! other. So a member sends a message to all members and to the routers linked to it; a router
//! sends it to all members, and one of them passes it on to the other routers. No node gets it
//! twice.

use bytes::Bytes;

/// Who hears what clients of other nodes publish.
pub trait Audience: Send + Sync + 'static {
    /// Hands on a message. Called on the link's task: must not wait.
    fn hear(&self, channel: Bytes, message: Bytes, sharded: bool);
}
