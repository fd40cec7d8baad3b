//! Asking a cluster's nodes what they see.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bitroster_placement::ClusterState;
use bitroster_proto::internal as wire;
use bitroster_rpc::{LinkTls, client};
use futures_util::future::join_all;

use super::report::{NodeView, Report, RouterView};
use crate::{
    app::tls::Tls,
    cli::exit::{Code, Failing as _, Failure},
    config::{Config, TlsConfig},
};

/// What this program shows to nodes whose links are TLS; files, and the name that theirs have.
pub(crate) struct Entry<'a> {
    pub(crate) tls: bool,
    pub(crate) ca: &'a str,
    pub(crate) cert: &'a str,
    pub(crate) key: &'a str,
    pub(crate) name: &'a str,
}

/// The way to nodes' node ports.
#[derive(Clone)]
pub(crate) struct Door {
    timeout: Duration,
    tls: Option<Arc<dyn LinkTls>>,
}

impl Door {
    /// Reads the certificates, if there are any. Each node has `timeout` to answer.
    ///
    /// # Errors
    ///
    /// Certificates that cannot be read.
    pub(crate) fn open(entry: &Entry<'_>, timeout: Duration) -> anyhow::Result<Self> {
        if !entry.tls {
            return Ok(Self { timeout, tls: None });
        }
        let config = TlsConfig {
            nodes: true,
            ca_file: entry.ca.to_owned(),
            cert_file: entry.cert.to_owned(),
            key_file: entry.key.to_owned(),
            nodes_name: entry.name.to_owned(),
            ..Config::default().tls
        };
        let tls = Tls::open(&config).failing(Code::Usage)?;
        Ok(Self { timeout, tls: tls.as_ref().and_then(Tls::of_links) })
    }

    /// The same way, with at least so much time for each answer.
    #[must_use]
    pub(crate) fn patient(&self, timeout: Duration) -> Self {
        Self { timeout: self.timeout.max(timeout), ..self.clone() }
    }

    /// Connects to a node.
    ///
    /// # Errors
    ///
    /// With [`Code::Unreachable`] if nobody answers there.
    pub(crate) async fn connect(&self, address: &str) -> anyhow::Result<client::ClusterClient> {
        let connected = client::connect_with(address, self.timeout, self.tls.as_deref()).await;
        connected.failing_with(
            Code::Unreachable,
            "is it a node's address (cluster.port, not the clients' port)? does it speak TLS?",
        )
    }

    /// Asks one node for the state, and then all nodes and routers what they see.
    ///
    /// # Errors
    ///
    /// If that one does not answer, or is in no cluster yet.
    pub(crate) async fn gather(&self, address: &str) -> anyhow::Result<Report> {
        let mut node = self.connect(address).await?;
        let asked = node.state(wire::StateRequest {}).await;
        let bytes = client::answer(asked).failing(Code::Unreachable)?.state;
        if bytes.is_empty() {
            let text = format!("the node at {address} is not in a cluster yet");
            let hint = "ask its /readyz?verbose what it waits for";
            return Err(Failure::new(Code::Bad, text).hint(hint).into());
        }
        let state = ClusterState::decode(&bytes)?;
        let nodes = state.nodes.iter().map(|(id, entry)| async {
            let (id, address) = (*id, entry.address.clone());
            let asked = unix_ms();
            let status = self.status(&address).await.ok();
            let answered = unix_ms();
            let clock = status.as_ref().and_then(|status| status.host.as_ref());
            let clock = clock.and_then(|host| i64::try_from(host.clock_unix_ms).ok());
            // As well as half the time of the question tells.
            let ahead_ms = clock.map(|clock| clock - i64::midpoint(asked, answered));
            NodeView { id, address, status, ahead_ms }
        });
        let nodes = join_all(nodes).await;
        let mut routers: Vec<String> = nodes
            .iter()
            .filter_map(|node| node.status.as_ref())
            .flat_map(|status| status.routers.iter().cloned())
            .collect();
        routers.sort_unstable();
        routers.dedup();
        let routers = routers.into_iter().map(|address| async {
            RouterView { status: self.status(&address).await.ok(), address }
        });
        let routers = join_all(routers).await;
        Ok(Report { state, nodes, routers })
    }

    /// What one node sees.
    async fn status(&self, address: &str) -> anyhow::Result<wire::StatusReply> {
        let mut node = client::connect_with(address, self.timeout, self.tls.as_deref()).await?;
        Ok(client::answer(node.status(wire::StatusRequest {}).await)?)
    }
}

fn unix_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}
