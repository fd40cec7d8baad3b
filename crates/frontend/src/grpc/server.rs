//! The server: limits and services.

use std::{sync::Arc, time::Duration};

use bitroster_proto::public::{
    DESCRIPTION, bitmaps_server::BitmapsServer, commands_server::CommandsServer,
    ids_server::IdsServer, keys_server::KeysServer,
};
use bitroster_types::limits::{GRPC_CALLS_MAX, GRPC_ENVELOPE_BYTES_MAX, GRPC_MESSAGE_BYTES_MAX};
use tokio::{net::TcpListener, sync::watch};
use tonic::{service::interceptor::InterceptedService, transport::server::Server};
use tonic_health::pb::{FILE_DESCRIPTOR_SET as HEALTH_DESCRIPTION, health_server::HealthServer};
use tonic_reflection::server::Builder as Reflection;
use tonic_web::GrpcWebLayer;

use super::{
    bitmaps::BitmapsService, commands::CommandsService, connection::connections, gate::Gate,
    health::HealthService, ids::IdsService, keys::KeysService,
};
use crate::{Frontend, Handshake};

/// How often a silent connection is asked whether it lives.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// How long the answer to that may take.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Bytes that a client may send ahead on one stream, and on all streams of a connection.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// Why the gRPC server ended.
#[derive(Debug, thiserror::Error)]
pub enum GrpcError {
    /// The descriptions of the services cannot be read.
    #[error("the gRPC services cannot be described: {0}")]
    Description(#[from] tonic_reflection::server::Error),
    /// The server failed.
    #[error("the gRPC server failed: {0}")]
    Server(#[from] tonic::transport::Error),
}

impl Frontend {
    /// Serves the public gRPC API until [`shutdown`](Self::shutdown): then takes no new calls and
    /// answers those that are open. Each connection is a client, counts towards the most clients
    /// and is in CLIENT LIST; where there are too many it is closed at once.
    ///
    /// HTTP/2, and gRPC-Web over HTTP/1.1; by TLS where there is a `handshake`, which must agree
    /// on `h2` or `http/1.1` (ALPN). The services `Bitmaps`, `Keys`, `Ids` and `Commands` of
    /// `bitroster.v1`, health, and reflection.
    ///
    /// # Errors
    ///
    /// Where the server fails; an accepted connection's failure is its own.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the listener and leaves the open connections to themselves.
    pub async fn serve_grpc(
        &self,
        listener: TcpListener,
        handshake: Option<Arc<dyn Handshake>>,
    ) -> Result<(), GrpcError> {
        let (close, closing) = watch::channel(false);
        let gate = Gate { shared: Arc::clone(&self.shared), closing };
        let bulk_bytes_max = self.shared.settings.parse_limits.bulk_bytes_max;
        let value_bytes_max = bulk_bytes_max.saturating_add(GRPC_ENVELOPE_BYTES_MAX);
        let bitmaps = BitmapsServer::new(BitmapsService(gate.clone()))
            .max_decoding_message_size(GRPC_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(value_bytes_max);
        let keys = KeysServer::new(KeysService(gate.clone()))
            .max_decoding_message_size(value_bytes_max)
            .max_encoding_message_size(value_bytes_max);
        let ids = IdsServer::new(IdsService(gate.clone()))
            .max_decoding_message_size(GRPC_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(value_bytes_max);
        let commands = CommandsServer::new(CommandsService(gate.clone()))
            .max_decoding_message_size(value_bytes_max)
            .max_encoding_message_size(value_bytes_max);
        let shared = Arc::clone(&self.shared);
        let stopped = async move {
            shared.stopped().await;
            close.send_replace(true);
        };
        Server::builder()
            .accept_http1(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_concurrent_streams(GRPC_CALLS_MAX)
            .http2_keepalive_interval(Some(PING_INTERVAL))
            .http2_keepalive_timeout(Some(PING_TIMEOUT))
            .layer(GrpcWebLayer::new())
            .add_service(InterceptedService::new(bitmaps, gate.clone()))
            .add_service(InterceptedService::new(keys, gate.clone()))
            .add_service(InterceptedService::new(ids, gate.clone()))
            .add_service(InterceptedService::new(commands, gate.clone()))
            .add_service(HealthServer::new(HealthService(gate)))
            .add_service(described().build_v1()?)
            .add_service(described().build_v1alpha()?)
            .serve_with_incoming_shutdown(connections(self, listener, handshake), stopped)
            .await?;
        Ok(())
    }
}

/// What reflection tells of.
fn described() -> Reflection<'static> {
    Reflection::configure()
        .register_encoded_file_descriptor_set(DESCRIPTION)
        .register_encoded_file_descriptor_set(HEALTH_DESCRIPTION)
}
