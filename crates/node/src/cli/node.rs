//! The way to the nodes of a cluster, for commands that start from a clients' port.

use std::{net::SocketAddr, time::Duration};

use bitroster_resp::Frame;
use clap::Args;

use super::{
    cluster::{Door, Entry, Report},
    remote::Remote,
};

/// How nodes are reached, beside the server at `--addr`.
#[derive(Clone, Debug, Args)]
pub(crate) struct NodeArgs {
    /// Node address of any node of the cluster [default: what the server at --addr knows]
    #[arg(long, value_name = "HOST:PORT", env = "BITROSTER_NODE")]
    pub(crate) node: Option<String>,
    /// Connects to nodes by TLS, as nodes with `tls.nodes` do.
    #[arg(long, env = "BITROSTER_TLS__NODES")]
    node_tls: bool,
    /// The nodes' authority.
    #[arg(long, value_name = "FILE", default_value = "", env = "BITROSTER_TLS__CA_FILE")]
    node_tls_ca: String,
    /// A certificate of that authority.
    #[arg(long, value_name = "FILE", default_value = "", env = "BITROSTER_TLS__CERT_FILE")]
    node_tls_cert: String,
    /// The certificate's private key.
    #[arg(long, value_name = "FILE", default_value = "", env = "BITROSTER_TLS__KEY_FILE")]
    node_tls_key: String,
    /// Name that the nodes' certificates have [default: the host of their address]
    #[arg(long, value_name = "NAME", default_value = "", env = "BITROSTER_TLS__NODES_NAME")]
    node_tls_name: String,
}

impl NodeArgs {
    /// The way to nodes; each has `timeout` to answer.
    ///
    /// # Errors
    ///
    /// Certificates that cannot be read.
    pub(crate) fn door(&self, timeout: Duration) -> anyhow::Result<Door> {
        let entry = Entry {
            tls: self.node_tls,
            ca: &self.node_tls_ca,
            cert: &self.node_tls_cert,
            key: &self.node_tls_key,
            name: &self.node_tls_name,
        };
        Door::open(&entry, timeout)
    }
}

/// Node addresses that a server tells its clients, those that it has a link to first. Empty where
/// it is no cluster, or nobody that tells.
pub(crate) fn nodes_known_to(remote: &mut Remote) -> Vec<String> {
    let Ok(reply) = remote.call(&["CLUSTER", "NODES"]) else { return Vec::new() };
    let (Frame::Bulk(text) | Frame::Verbatim { text, .. }) = reply else { return Vec::new() };
    addresses(&String::from_utf8_lossy(&text))
}

fn addresses(nodes: &str) -> Vec<String> {
    let mut found: Vec<(bool, &str)> = Vec::new();
    for line in nodes.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [_, address, flags, ..] = words.as_slice() else { continue };
        let address = address.split('@').next().unwrap_or_default();
        // A node that is alone, or a router's own line, has no host.
        if !address.is_empty() && !address.starts_with(':') {
            found.push((flags.contains("fail"), address));
        }
    }
    found.sort_by_key(|(fails, _)| *fails);
    found.into_iter().map(|(_, address)| address.to_owned()).collect()
}

/// Where the nodes and routers of a cluster serve clients, "host:port". One that listens on all
/// addresses is reached at the host at which nodes reach it.
pub(crate) fn client_addresses(report: &Report) -> Vec<String> {
    let nodes = report.nodes.iter().map(|node| (&node.address, &node.status));
    let routers = report.routers.iter().map(|router| (&router.address, &router.status));
    let found = nodes.chain(routers).filter_map(|(address, status)| {
        let host = status.as_ref()?.host.as_ref()?;
        let clients: SocketAddr = host.clients.parse().ok()?;
        if clients.ip().is_unspecified() {
            let (host, _) = address.rsplit_once(':')?;
            return Some(format!("{host}:{}", clients.port()));
        }
        Some(clients.to_string())
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_that_answer_come_first_and_those_without_host_not_at_all() {
        let text = "\
            a 10.0.0.1:7380@7380 slave,fail? b 0 0 1 disconnected\n\
            b 10.0.0.2:7380@7380 master - 0 0 1 connected 0-16383\n\
            c :0@0 myself,master - 0 0 1 connected\n";
        assert_eq!(addresses(text), ["10.0.0.2:7380", "10.0.0.1:7380"]);
        assert!(addresses("c :6379@16379 myself,master - 0 0 1 connected 0-16383\n").is_empty());
        assert!(addresses("").is_empty());
    }
}
