//! Certificates: read, read again when they change, and shown to clients and other nodes.

use std::{
    fmt, io,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use bitroster_frontend::Handshake;
use bitroster_rpc::{LinkTls, tls::Material};
use futures_util::future::BoxFuture;
use parking_lot::{Mutex, RwLock};
use tokio::{
    net::TcpStream,
    signal::unix::{SignalKind, signal},
    time::interval,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
        server::WebPkiClientVerifier,
    },
    server::TlsStream,
};
use tracing::{info, warn};

use crate::config::{AuthWord, TlsConfig};

/// How often the files are looked at.
const WATCH_INTERVAL: Duration = Duration::from_secs(30);

/// Time between two log lines about handshakes that failed: whoever reaches the port decides how
/// many there are.
const REFUSALS_PAUSE: Duration = Duration::from_secs(1);

/// Longest file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The node's certificates.
pub(crate) struct Tls {
    config: TlsConfig,
    current: RwLock<Current>,
    refusals: Refusals,
}

/// What the files made.
struct Current {
    files: Arc<Material>,
    clients: Arc<ServerConfig>,
    nodes: Option<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads the files; `None` where TLS is not wanted.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or makes no sense, by its name.
    pub(crate) fn open(config: &TlsConfig) -> anyhow::Result<Option<Arc<Self>>> {
        if !config.clients.has_tls() && !config.nodes {
            return Ok(None);
        }
        let current = make(config, read(config)?)?;
        let (config, current) = (config.clone(), RwLock::new(current));
        Ok(Some(Arc::new(Self { config, current, refusals: Refusals::default() })))
    }

    /// TLS for links, where they have it.
    pub(crate) fn of_links(self: &Arc<Self>) -> Option<Arc<dyn LinkTls>> {
        self.config.nodes.then(|| Arc::clone(self) as _)
    }

    /// Reads the files again at SIGHUP and now and then, for as long as the node runs. Files that
    /// make no sense change nothing.
    pub(crate) async fn watch(&self) {
        let mut ticks = interval(WATCH_INTERVAL);
        let mut hangups = match signal(SignalKind::hangup()) {
            Ok(hangups) => hangups,
            Err(error) => return warn!(%error, "certificates are not read again"),
        };
        ticks.tick().await;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                _ = hangups.recv() => info!(signal = "SIGHUP", "reading certificates"),
            }
            match tokio::task::block_in_place(|| self.reload()) {
                Ok(true) => info!("certificates changed"),
                Ok(false) => {}
                Err(error) => {
                    let error = format!("{error:#}");
                    warn!(error, "certificates cannot be used; the old ones stay");
                }
            }
        }
    }

    /// Says whether the files are others than before.
    fn reload(&self) -> anyhow::Result<bool> {
        let files = read(&self.config)?;
        let old = Arc::clone(&self.current.read().files);
        let is_same =
            files.chain == old.chain && files.key == old.key && files.authority == old.authority;
        if is_same {
            return Ok(false);
        }
        let made = make(&self.config, files)?;
        *self.current.write() = made;
        Ok(true)
    }

    async fn shake_with(
        &self,
        config: Arc<ServerConfig>,
        stream: TcpStream,
        from: SocketAddr,
        who: &'static str,
    ) -> Option<TlsStream<TcpStream>> {
        match TlsAcceptor::from(config).accept(stream).await {
            Ok(stream) => Some(stream),
            Err(error) => {
                self.refusals.log(from, who, &reason(&error));
                None
            }
        }
    }
}

impl Handshake for Tls {
    fn shake(
        &self,
        stream: TcpStream,
        from: SocketAddr,
    ) -> BoxFuture<'_, Option<TlsStream<TcpStream>>> {
        let config = Arc::clone(&self.current.read().clients);
        Box::pin(self.shake_with(config, stream, from, "client"))
    }

    fn note_timeout(&self, from: SocketAddr) {
        self.refusals.log(from, "client", "it took too long");
    }
}

impl LinkTls for Tls {
    fn material(&self) -> Arc<Material> {
        Arc::clone(&self.current.read().files)
    }

    fn shake(
        &self,
        stream: TcpStream,
        from: SocketAddr,
    ) -> BoxFuture<'_, Option<TlsStream<TcpStream>>> {
        let config = self.current.read().nodes.clone();
        Box::pin(async move { self.shake_with(config?, stream, from, "node").await })
    }

    fn note_refused(&self, from: SocketAddr, reason: &str) {
        self.refusals.log(from, "node", reason);
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Logs handshakes that fail, not all of them.
#[derive(Default)]
struct Refusals {
    last: Mutex<Option<Instant>>,
    unsaid: AtomicU64,
}

impl Refusals {
    fn log(&self, from: SocketAddr, who: &'static str, reason: &str) {
        let now = Instant::now();
        let mut last = self.last.lock();
        if last.is_some_and(|last| now.duration_since(last) < REFUSALS_PAUSE) {
            self.unsaid.fetch_add(1, Relaxed);
            return;
        }
        *last = Some(now);
        let unsaid = self.unsaid.swap(0, Relaxed);
        warn!(%from, who, reason, unsaid, "a TLS handshake failed");
    }
}

/// Why a handshake failed, in words for who has to mend it.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    if text.contains("InvalidContentType") {
        return format!("the other side does not speak TLS ({text})");
    }
    text
}

/// The files as they are now.
fn read(config: &TlsConfig) -> anyhow::Result<Material> {
    let authority = match config.ca_file.as_str() {
        "" => Vec::new(),
        path => read_file(path)?,
    };
    let name = (!config.nodes_name.is_empty()).then(|| config.nodes_name.clone());
    let (chain, key) = (read_file(&config.cert_file)?, read_file(&config.key_file)?);
    Ok(Material { authority, chain, key, name })
}

#[allow(clippy::disallowed_methods, reason = "a certificate is configuration, no data")]
fn read_file(path: &str) -> anyhow::Result<Vec<u8>> {
    let len = std::fs::metadata(Path::new(path)).with_context(|| format!("cannot read {path}"))?;
    if len.len() > FILE_BYTES_MAX {
        bail!("{path} has {} bytes; at most {FILE_BYTES_MAX}", len.len());
    }
    std::fs::read(path).with_context(|| format!("cannot read {path}"))
}

fn make(config: &TlsConfig, files: Material) -> anyhow::Result<Current> {
    // gRPC clients ask for a protocol, Redis clients do not.
    let protocols: &[&[u8]] = &[b"h2", b"http/1.1"];
    let clients = server_config(config, &files, config.auth_clients, protocols)?;
    let nodes = match config.nodes {
        true => Some(server_config(config, &files, AuthWord::Yes, &[b"h2"])?),
        false => None,
    };
    Ok(Current { files: Arc::new(files), clients, nodes })
}

/// What is shown to who connects, and what is asked of them.
fn server_config(
    config: &TlsConfig,
    files: &Material,
    auth: AuthWord,
    protocols: &[&[u8]],
) -> anyhow::Result<Arc<ServerConfig>> {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .context("TLS has no protocol")?;
    let builder = if auth == AuthWord::No {
        builder.with_no_client_auth()
    } else {
        let path = &config.ca_file;
        let mut roots = RootCertStore::empty();
        for authority in certificates(path, &files.authority)? {
            roots.add(authority).with_context(|| format!("{path} holds no authority"))?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let verifier = match auth {
            AuthWord::Optional => verifier.allow_unauthenticated(),
            AuthWord::Yes | AuthWord::No => verifier,
        };
        let verifier = verifier.build().with_context(|| format!("{path} cannot be used"))?;
        builder.with_client_cert_verifier(verifier)
    };
    let chain = certificates(&config.cert_file, &files.chain)?;
    let key = PrivateKeyDer::from_pem_slice(&files.key)
        .ok()
        .with_context(|| format!("{} holds no private key", config.key_file))?;
    let mut made = builder.with_single_cert(chain, key).with_context(|| {
        format!("{} and {} cannot be used together", config.cert_file, config.key_file)
    })?;
    made.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(made))
}

fn certificates(path: &str, pem: &[u8]) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match read {
        Ok(read) if !read.is_empty() => Ok(read),
        Ok(_) | Err(_) => bail!("{path} holds no certificate"),
    }
}

#[cfg(test)]
mod tests;
