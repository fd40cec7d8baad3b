//! TLS for clients.
//!
//! Certificates are files and so the node's business: it makes the handshakes, by this trait. A
//! client counts from the moment it is accepted, before its handshake.

use std::{net::SocketAddr, time::Duration};

use bitroster_types::limits::TLS_HANDSHAKE_SECS_MAX;
use futures_util::future::BoxFuture;
use tokio::net::TcpStream;

pub use tokio_rustls::server::TlsStream;

/// How long a handshake may take.
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(TLS_HANDSHAKE_SECS_MAX);

/// Makes a TLS connection of a plain one.
pub trait Handshake: Send + Sync + 'static {
    /// Shakes hands with a client. `None` where that fails: the implementation has logged why.
    ///
    /// The caller bounds the time, by [`HANDSHAKE_MAX`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    fn shake(
        &self,
        stream: TcpStream,
        from: SocketAddr,
    ) -> BoxFuture<'_, Option<TlsStream<TcpStream>>>;

    /// Says that a client's handshake was given up because it took too long.
    fn note_timeout(&self, from: SocketAddr);
}
