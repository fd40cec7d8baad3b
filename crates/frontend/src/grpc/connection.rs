//! Connections: let in, shaken hands with, counted and ended.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::stream::{self, Stream, StreamExt as _};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tonic::transport::server::Connected;
use tracing::{debug, warn};

use crate::{
    Frontend, Handshake,
    client::Client,
    metrics::{Carrier, Refusal},
    server::Shared,
    tls::{HANDSHAKE_MAX, TlsStream},
};

/// Time between two attempts to accept while the system has no more file handles.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// The connections that are let in, after their handshakes. A client that is slow with its own
/// holds up nobody.
pub(super) fn connections(
    frontend: &Frontend,
    listener: TcpListener,
    handshake: Option<Arc<dyn Handshake>>,
) -> impl Stream<Item = io::Result<Connection>> + use<> {
    let clients_max = frontend.shared.settings.clients_max().max(1);
    accepted(frontend.clone(), listener)
        .map(move |connection| shaken(connection, handshake.clone()))
        .buffer_unordered(clients_max)
        .filter_map(|connection| async move { connection.map(Ok) })
}

/// The connections that are let in.
fn accepted(
    frontend: Frontend,
    listener: TcpListener,
) -> impl Stream<Item = Connection<TcpStream>> {
    stream::unfold((frontend, listener), |(frontend, listener)| async move {
        loop {
            match listener.accept().await {
                Ok((stream, addr)) => {
                    if let Some(connection) = Connection::admit(&frontend, stream, addr) {
                        return Some((connection, (frontend, listener)));
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

/// A connection after its handshake; `None` where that fails.
async fn shaken(
    connection: Connection<TcpStream>,
    handshake: Option<Arc<dyn Handshake>>,
) -> Option<Connection> {
    let Connection { stream, admitted } = connection;
    let Some(handshake) = handshake else {
        return Some(Connection { stream: Io::Plain(stream), admitted });
    };
    let Ok(shaken) = timeout(HANDSHAKE_MAX, handshake.shake(stream, admitted.addr)).await else {
        handshake.note_timeout(admitted.addr);
        admitted.shared.metrics.add_refused(Refusal::Tls);
        return None;
    };
    let Some(stream) = shaken else {
        admitted.shared.metrics.add_refused(Refusal::Tls);
        return None;
    };
    Some(Connection { stream: Io::Tls(Box::new(stream)), admitted })
}

/// The client of a connection, for its calls.
#[derive(Clone)]
pub(super) struct Peer(pub(super) Arc<Client>);

/// A client as long as its connection is open.
struct Admitted {
    client: Arc<Client>,
    addr: SocketAddr,
    shared: Arc<Shared>,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.shared.clients.remove(&self.client);
    }
}

/// What a connection's bytes go through.
pub(super) enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// One connection.
pub(super) struct Connection<S = Io> {
    stream: S,
    admitted: Admitted,
}

impl Connection<TcpStream> {
    fn admit(frontend: &Frontend, stream: TcpStream, addr: SocketAddr) -> Option<Self> {
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "a client left before it was served");
            return None;
        }
        let local_addr = stream.local_addr().unwrap_or(addr);
        // There is no word for a refusal before a call.
        let client = frontend.register(Carrier::Grpc, addr, local_addr).ok()?;
        let admitted = Admitted { client, addr, shared: Arc::clone(&frontend.shared) };
        Some(Self { stream, admitted })
    }
}

impl Connection {
    fn stream(self: Pin<&mut Self>) -> Pin<&mut dyn Duplex> {
        match &mut self.get_mut().stream {
            Io::Plain(stream) => Pin::new(stream),
            Io::Tls(stream) => Pin::new(&mut **stream),
        }
    }

    /// Whether the client was told to go. At the server's end calls are answered first.
    fn is_ended(&self, cx: &Context<'_>) -> bool {
        let Admitted { client, shared, .. } = &self.admitted;
        client.poll_ending(cx.waker()) && !shared.is_stopping()
    }

    fn note_sent(&self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = written {
            self.admitted.shared.metrics.add_sent(Carrier::Grpc, *bytes);
        }
    }
}

/// Bytes in both directions.
trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        Peer(Arc::clone(&self.admitted.client))
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
        let read = self.as_mut().stream().poll_read(cx, buf);
        if read.is_ready() {
            let bytes = buf.filled().len() - before;
            self.admitted.shared.metrics.add_received(Carrier::Grpc, bytes);
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
        let written = self.as_mut().stream().poll_write(cx, buf);
        self.note_sent(&written);
        written
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = self.as_mut().stream().poll_write_vectored(cx, bufs);
        self.note_sent(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Io::Plain(stream) => stream.is_write_vectored(),
            Io::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
