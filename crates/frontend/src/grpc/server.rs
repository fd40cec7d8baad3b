//! The listener: connections, limits and services.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bitroster_proto::public::{
    DESCRIPTION, bitmaps_server::BitmapsServer, commands_server::CommandsServer,
    ids_server::IdsServer, keys_server::KeysServer,
};
use bitroster_types::limits::{GRPC_CALLS_MAX, GRPC_ENVELOPE_BYTES_MAX, GRPC_MESSAGE_BYTES_MAX};
use futures_util::stream::{self, Stream};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tonic::{
    service::interceptor::InterceptedService,
    transport::server::{Connected, Server},
};
use tonic_health::pb::{FILE_DESCRIPTOR_SET as HEALTH_DESCRIPTION, health_server::HealthServer};
use tonic_reflection::server::Builder as Reflection;
use tonic_web::GrpcWebLayer;
use tracing::{debug, warn};

use super::{
    bitmaps::BitmapsService, commands::CommandsService, gate::Gate, health::HealthService,
    ids::IdsService, keys::KeysService,
};
use crate::{Frontend, client::Client, server::Shared};

/// How often a silent connection is asked whether it lives.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// How long the answer to that may take.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Time between two attempts to accept while the system has no more file handles.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

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
    /// HTTP/2 without TLS, and gRPC-Web over HTTP/1.1. The services `Bitmaps`, `Keys`, `Ids` and
    /// `Commands` of `bitroster.v1`, health, and reflection.
    ///
    /// # Errors
    ///
    /// Where the server fails; an accepted connection's failure is its own.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the listener and leaves the open connections to themselves.
    pub async fn serve_grpc(&self, listener: TcpListener) -> Result<(), GrpcError> {
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
            .serve_with_incoming_shutdown(accepted(Arc::clone(&self.shared), listener), stopped)
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

/// The connections that are let in.
fn accepted(
    shared: Arc<Shared>,
    listener: TcpListener,
) -> impl Stream<Item = io::Result<Connection>> {
    stream::unfold((shared, listener), |(shared, listener)| async move {
        loop {
            match listener.accept().await {
                Ok((stream, addr)) => {
                    if let Some(connection) = Connection::admit(&shared, stream, addr) {
                        return Some((Ok(connection), (shared, listener)));
                    }
                }
                Err(error) => {
                    warn!(%error, "cannot accept a client");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
    })
}

/// The client of a connection, for its calls.
#[derive(Clone)]
pub(super) struct Peer(pub(super) Arc<Client>);

/// One connection, a client as long as it is open.
struct Connection {
    stream: TcpStream,
    client: Arc<Client>,
    shared: Arc<Shared>,
}

impl Connection {
    fn admit(shared: &Arc<Shared>, stream: TcpStream, addr: SocketAddr) -> Option<Self> {
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "a client left before it was served");
            return None;
        }
        let local_addr = stream.local_addr().unwrap_or(addr);
        let clients_max = shared.settings.clients_max();
        let added = shared.clients.add(addr, local_addr, shared.now_secs(), clients_max);
        let Some(client) = added else {
            shared.metrics.add_refused();
            return None;
        };
        shared.metrics.add_accepted();
        Some(Self { stream, client, shared: Arc::clone(shared) })
    }

    /// Whether the client was told to go. At the server's end calls are answered first.
    fn is_ended(&self, cx: &Context<'_>) -> bool {
        self.client.poll_ending(cx.waker()) && !self.shared.is_stopping()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.clients.remove(&self.client);
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        Peer(Arc::clone(&self.client))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_ended(cx) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_ready() {
            self.shared.metrics.add_received(buf.filled().len() - before);
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        if let Poll::Ready(Ok(bytes)) = &written {
            self.shared.metrics.add_sent(*bytes);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        if let Poll::Ready(Ok(bytes)) = &written {
            self.shared.metrics.add_sent(*bytes);
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
