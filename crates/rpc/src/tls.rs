//! TLS between nodes: each end shows a certificate and accepts what its authority has signed.
//!
//! Certificates are files and so the node's business; here are the trait by which it hands them
//! over, and its use on both ends.

use std::{
    collections::BTreeMap,
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bitroster_types::limits::{
    TLS_HANDSHAKE_SECS_MAX, TLS_HANDSHAKES_MAX, TLS_HANDSHAKES_OF_ONE_MAX,
};
use futures_util::{
    Stream, StreamExt as _,
    future::{BoxFuture, ready},
    stream,
};
use parking_lot::Mutex;
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

pub use tokio_rustls::server::TlsStream;

/// How long a handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(TLS_HANDSHAKE_SECS_MAX);

/// Time between two attempts to accept while the system has no more file handles.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// What a node shows to the nodes that it connects to, and what it wants of them; all PEM.
#[derive(Clone)]
pub struct Material {
    /// The authorities of other nodes.
    pub authority: Vec<u8>,
    /// The node's certificate and those between it and the authority.
    pub chain: Vec<u8>,
    /// The certificate's private key.
    pub key: Vec<u8>,
    /// The name that other nodes' certificates must have; the host of their address where `None`.
    pub name: Option<String>,
}

impl fmt::Debug for Material {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Material").field("name", &self.name).finish_non_exhaustive()
    }
}

/// TLS of a node's links. Implemented by the node.
pub trait LinkTls: fmt::Debug + Send + Sync + 'static {
    /// What this node shows at present.
    fn material(&self) -> Arc<Material>;

    /// Shakes hands with a node that connects. `None` where that fails: the implementation has
    /// logged why.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    fn shake(
        &self,
        stream: TcpStream,
        from: SocketAddr,
    ) -> BoxFuture<'_, Option<TlsStream<TcpStream>>>;

    /// Logs a handshake that was given up, and why.
    fn note_refused(&self, from: SocketAddr, reason: &str);
}

/// Handshakes under way, by address.
#[derive(Debug, Default)]
struct UnderWay(Arc<Mutex<BTreeMap<IpAddr, usize>>>);

/// One handshake under way.
struct Place {
    of: Arc<Mutex<BTreeMap<IpAddr, usize>>>,
    from: IpAddr,
}

impl UnderWay {
    /// A place for one more handshake from an address, if it has not too many.
    fn enter(&self, from: IpAddr) -> Option<Place> {
        let mut counts = self.0.lock();
        let count = counts.entry(from).or_default();
        if *count >= TLS_HANDSHAKES_OF_ONE_MAX {
            return None;
        }
        *count += 1;
        Some(Place { of: Arc::clone(&self.0), from })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.of.lock();
        if let Some(count) = counts.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.from);
            }
        }
    }
}

/// How this node's own connections are made.
pub(crate) fn client_config(tls: &dyn LinkTls) -> ClientTlsConfig {
    let material = tls.material();
    let config = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(&material.authority))
        .identity(Identity::from_pem(&material.chain, &material.key));
    match &material.name {
        Some(name) => config.domain_name(name),
        None => config,
    }
}

/// The connections that come in, after their handshakes; those that fail or take too long are left
/// out, as are those of an address that has too many under way, so that none holds up another
/// address's.
pub(crate) fn incoming(
    listener: TcpListener,
    tls: Arc<dyn LinkTls>,
) -> impl Stream<Item = io::Result<TlsStream<TcpStream>>> {
    let accepted = stream::unfold(listener, |listener| async move {
        loop {
            match listener.accept().await {
                Ok(accepted) => return Some((accepted, listener)),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection of a node");
                    sleep(ACCEPT_RETRY).await;
                }
            }
        }
    });
    let under_way = UnderWay::default();
    let shaken = accepted.map(move |(stream, from)| {
        let tls = Arc::clone(&tls);
        let place = under_way.enter(from.ip());
        async move {
            let Some(_place) = place else {
                tls.note_refused(from, "its address has too many under way");
                return None;
            };
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "a node left before it was served");
                return None;
            }
            let shaken = timeout(HANDSHAKE_MAX, tls.shake(stream, from)).await;
            shaken.unwrap_or_else(|_| {
                tls.note_refused(from, "it took too long");
                None
            })
        }
    });
    shaken.buffer_unordered(TLS_HANDSHAKES_MAX).filter_map(|stream| ready(stream.map(Ok)))
}
