//! The server on a node's port: links of other nodes, the cluster's service, and health.
//!
//! | module    | job                                            |
//! |-----------|------------------------------------------------|
//! | `peer`    | the node's end of links that others open       |
//! | `answers` | a link's answers on their way back             |
//! | `control` | the service `Cluster`, answered by the node    |

mod answers;
mod control;
mod peer;

use std::{sync::Arc, time::Duration};

use bitroster_proto::internal::{cluster_server::ClusterServer, peer_server::PeerServer};
use bitroster_types::limits::RPC_MESSAGE_BYTES_MAX;
use futures_util::future::Either;
use tokio::{net::TcpListener, sync::watch};
use tonic::transport::{Server, server::TcpIncoming};
use tonic_health::ServingStatus;

use crate::{
    error::{Error, with_causes},
    link::WINDOW_BYTES,
    tls::{LinkTls, incoming},
};
use control::ControlService;
use peer::PeerService;

pub use control::{Control, ControlError};
pub use peer::PeerHost;

/// How often a silent connection is asked whether it lives.
const PING_INTERVAL: Duration = Duration::from_secs(1);

/// How long the answer to that may take.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// How long connections may take to end once asked to.
const SHUTDOWN_MAX: Duration = Duration::from_secs(6);

/// What a node's port offers.
pub struct Services {
    /// Answers operators, and nodes that look for a cluster.
    pub control: Arc<dyn Control>,
    /// Takes the links of other nodes.
    pub peers: Arc<PeerHost>,
    /// Whether the node serves, for `grpc.health.v1.Health`.
    pub serving: watch::Receiver<bool>,
    /// How connections are made; plain where `None`.
    pub tls: Option<Arc<dyn LinkTls>>,
}

/// Serves the node's port until `shutdown` is done; then takes no new calls, answers what is open,
/// and ends within seconds.
///
/// # Errors
///
/// [`Error::Server`] if the server fails.
///
/// # Cancel safety
///
/// Dropping the future ends the server at once.
pub async fn serve(
    listener: TcpListener,
    services: Services,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), Error> {
    let Services { control, peers, mut serving, tls } = services;
    let (close, closing) = watch::channel(false);
    let (reporter, health) = tonic_health::server::health_reporter();
    let peer = PeerServer::new(PeerService { host: peers, closing: closing.clone() })
        .max_decoding_message_size(RPC_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(RPC_MESSAGE_BYTES_MAX);
    let mut closed = closing;
    let closed = async move {
        // Its sender lives until the server has ended.
        drop(closed.wait_for(|closed| *closed).await);
    };
    let server = Server::builder()
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .http2_keepalive_interval(Some(PING_INTERVAL))
        .http2_keepalive_timeout(Some(PING_TIMEOUT))
        .add_service(peer)
        .add_service(ClusterServer::new(ControlService { control }))
        .add_service(health);
    let server = match tls {
        None => {
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            Either::Left(server.serve_with_incoming_shutdown(incoming, closed))
        }
        Some(tls) => Either::Right(
            server.serve_with_incoming_shutdown(Box::pin(incoming(listener, tls)), closed),
        ),
    };
    let follow_health = async move {
        loop {
            let status = if *serving.borrow_and_update() {
                ServingStatus::Serving
            } else {
                ServingStatus::NotServing
            };
            reporter.set_service_status("", status).await;
            if serving.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    };
    let ended = async {
        shutdown.await;
        close.send_replace(true);
        tokio::time::sleep(SHUTDOWN_MAX).await;
    };
    tokio::select! {
        served = server => served.map_err(|error| Error::Server(with_causes(&error))),
        () = follow_health => Ok(()),
        () = ended => {
            tracing::info!("connections of the node's port did not end in time");
            Ok(())
        }
    }
}
