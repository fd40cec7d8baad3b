//! The client's end of TLS.

use std::{env, fs, io, net::TcpStream, path::Path, sync::Arc};

use anyhow::{Context as _, Result, bail};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};

use super::AccessArgs;

/// Where systems keep the authorities that they trust.
const SYSTEM_BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// A connection after its handshake.
pub(super) type Connection = StreamOwned<ClientConnection, TcpStream>;

/// What is trusted and what is shown.
#[derive(Clone, Debug)]
pub(super) struct Client(Arc<ClientConfig>);

impl Client {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or makes no sense, by its name.
    pub(super) fn open(access: &AccessArgs) -> Result<Self> {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .context("TLS has no protocol")?
            .with_root_certificates(roots(access.tls_ca.as_deref())?);
        let config = match (&access.tls_cert, &access.tls_key) {
            (Some(certificate), Some(key)) => {
                let chain = certificates(certificate)?;
                let private = PrivateKeyDer::from_pem_slice(&read(key)?)
                    .ok()
                    .with_context(|| format!("{} holds no private key", key.display()))?;
                builder.with_client_auth_cert(chain, private).with_context(|| {
                    let (certificate, key) = (certificate.display(), key.display());
                    format!("{certificate} and {key} cannot be used together")
                })?
            }
            _ => builder.with_no_client_auth(),
        };
        Ok(Self(Arc::new(config)))
    }

    /// Shakes hands with the server, whose certificate must be for `host`.
    pub(super) fn shake(&self, host: &str, mut stream: TcpStream) -> Result<Connection> {
        let name = ServerName::try_from(host.to_owned()).context("the host has no TLS name")?;
        let mut connection = ClientConnection::new(Arc::clone(&self.0), name)?;
        while connection.is_handshaking() {
            let shaken = connection.complete_io(&mut stream);
            shaken.map_err(explained).context("the TLS handshake failed")?;
        }
        Ok(StreamOwned::new(connection, stream))
    }
}

/// A handshake's failure in words for who has to mend it.
fn explained(error: io::Error) -> anyhow::Error {
    let text = error.to_string();
    let hint = if text.contains("UnknownIssuer") {
        "its authority is not trusted; name it by --tls-ca"
    } else if text.contains("InvalidContentType") || error.kind() == io::ErrorKind::UnexpectedEof {
        "the server seems not to speak TLS here"
    } else {
        return error.into();
    };
    anyhow::Error::new(error).context(hint)
}

fn roots(file: Option<&Path>) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = file {
        for authority in certificates(path)? {
            let added = roots.add(authority);
            added.with_context(|| format!("{} holds no authority", path.display()))?;
        }
        return Ok(roots);
    }
    let named = env::var("SSL_CERT_FILE").ok();
    let mut bundles = named.iter().map(String::as_str).chain(SYSTEM_BUNDLES);
    let Some(bundle) = bundles.find(|path| Path::new(path).exists()) else {
        bail!("the system has no list of authorities; name one by --tls-ca");
    };
    // A system's list may hold what this library does not take.
    roots.add_parsable_certificates(certificates(Path::new(bundle))?);
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let pem = read(path)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match read {
        Ok(read) if !read.is_empty() => Ok(read),
        Ok(_) | Err(_) => bail!("{} holds no certificate", path.display()),
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
