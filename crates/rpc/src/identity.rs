//! Who a node is, as it says at the beginning of a link.

use bitroster_proto::{
    convert,
    internal::{Hello, Role},
};
use bitroster_types::{ClusterId, NodeId};

/// The version of what nodes say to each other. Nodes of two versions do not talk.
pub const PROTOCOL: u32 = 2;

/// Who a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster that it is a member of.
    pub cluster: ClusterId,
    /// Its number; `None` for a router without data.
    pub node: Option<NodeId>,
    /// What it does.
    pub role: Role,
    /// Where other nodes reach it, `host:port`.
    pub address: String,
}

impl Identity {
    /// What the node says first.
    pub(crate) fn hello(&self) -> Hello {
        Hello {
            cluster: convert::cluster_bytes(self.cluster),
            node: convert::node_number(self.node),
            role: self.role.into(),
            address: self.address.clone(),
            protocol: PROTOCOL,
        }
    }

    /// Refuses a node of another cluster, or one that speaks another protocol; says why.
    pub(crate) fn check(&self, hello: &Hello) -> Result<(), String> {
        let Hello { address, protocol, .. } = hello;
        let cluster = convert::cluster(&hello.cluster).map_err(|error| error.to_string())?;
        if cluster != self.cluster {
            return Err(format!("{address} is of cluster {cluster}, not {}", self.cluster));
        }
        if *protocol != PROTOCOL {
            return Err(format!("{address} speaks protocol {protocol}, not {PROTOCOL}"));
        }
        Ok(())
    }
}
