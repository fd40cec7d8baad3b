//! Goal: clients and nodes talk by TLS to whom they should, and nobody else gets in.
//!
//! Method: certificates made here: a good authority and another one, certificates that are valid
//! and expired. Real processes use them; clients come with the right ones, the wrong ones, expired
//! ones and without TLS at all. The logs must say why each was refused, and the nodes go on.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
    time::Duration,
};

use bitroster_resp::Frame;
use bitroster_suite::{Cluster, Server, wait};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use tempfile::TempDir;
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// An authority and what it signs.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, PEM.
struct Certificate {
    chain: String,
    key: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self { issuer: CertifiedIssuer::self_signed(params, key).expect("an authority") }
    }

    fn certificate(&self, is_expired: bool) -> Certificate {
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let mut params = CertificateParams::new(names).expect("good names");
        if is_expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2020, 2, 1);
        }
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Certificate { chain: certificate.pem(), key: key.serialize_pem() }
    }
}

/// Files that settings name.
fn files(authority: &Authority, certificate: &Certificate) -> (TempDir, Vec<String>) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).expect("a file");
        path.to_str().expect("a plain path").to_owned()
    };
    let settings = vec![
        format!("tls.ca_file={}", file("ca.pem", &authority.issuer.pem())),
        format!("tls.cert_file={}", file("cert.pem", &certificate.chain)),
        format!("tls.key_file={}", file("key.pem", &certificate.key)),
    ];
    (dir, settings)
}

/// A lone node that serves TLS, its folder, and where.
fn serve(
    authority: &Authority,
    certificate: &Certificate,
    more: &[&str],
) -> (Server, TempDir, SocketAddr) {
    let (dir, mut settings) = files(authority, certificate);
    settings.extend(["tls.clients=yes".to_owned(), "tls.port=0".to_owned()]);
    settings.extend(more.iter().map(|setting| (*setting).to_owned()));
    let args: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
    let server = Server::bitroster(&args);
    let address = wait::until("the log says where TLS is served", || {
        let log = server.log();
        let (_, rest) = log.split_once("clients_tls")?;
        let (_, rest) = rest.split_once("127.0.0.1:")?;
        let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
        Some(SocketAddr::from(([127, 0, 0, 1], port.parse().ok()?)))
    });
    (server, dir, address)
}

/// What a client that trusts `authority` and shows `certificate` is answered to PING.
fn ping(
    address: SocketAddr,
    authority: &Authority,
    certificate: Option<&Certificate>,
) -> io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.issuer.der().clone()).expect("an authority");
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    let config = match certificate {
        None => builder.with_no_client_auth(),
        Some(certificate) => {
            let chain = CertificateDer::pem_slice_iter(certificate.chain.as_bytes());
            let chain = chain.collect::<Result<Vec<_>, _>>().expect("a chain");
            let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).expect("a key");
            builder.with_client_auth_cert(chain, key).expect("they fit")
        }
    };
    let name = ServerName::try_from("localhost").expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut stream = StreamOwned::new(connection, stream);
    stream.write_all(b"PING\r\n")?;
    let mut reply = [0; 7];
    stream.read_exact(&mut reply)?;
    Ok(String::from_utf8_lossy(&reply).into_owned())
}

/// Waits until a log says that a handshake failed, and why.
fn wait_for_reason(what: &str, log: impl Fn() -> String, reason: &str) {
    wait::until(what, || {
        let log = log();
        let mut lines = log.lines().filter(|line| line.contains("a TLS handshake failed"));
        lines.any(|line| line.contains(reason)).then_some(())
    });
}

#[test]
fn a_client_with_the_right_authority_is_served_and_others_are_told_why_not() {
    let (good, other) = (Authority::new("good"), Authority::new("other"));
    let (server, _dir, address) = serve(&good, &good.certificate(false), &[]);
    assert_eq!(ping(address, &good, None).expect("an answer"), "+PONG\r\n");
    assert!(ping(address, &other, None).is_err());
    wait_for_reason("the wrong authority is logged", || server.log(), "UnknownCA");
    // Without TLS the connection ends, and the log says why. The pause between two lines is a
    // second, so it is asked again.
    wait::until("a plain client is logged", || {
        let mut plain = TcpStream::connect_timeout(&address, PATIENCE).expect("a connection");
        plain.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        plain.write_all(b"*1\r\n$4\r\nPING\r\n").expect("written");
        let mut rest = Vec::new();
        // The end may come as a reset.
        drop(plain.read_to_end(&mut rest));
        assert!(!rest.starts_with(b"+PONG"), "{rest:?}");
        server.log().contains("does not speak TLS").then_some(())
    });
    assert_eq!(ping(address, &good, None).expect("an answer"), "+PONG\r\n");
    // The plain port is another one.
    assert_eq!(server.client().words("PING").expect("an answer"), Frame::Simple("PONG".into()));
}

#[test]
fn a_client_must_show_a_valid_certificate_where_it_is_asked_for_one() {
    let (good, other) = (Authority::new("good"), Authority::new("other"));
    let (server, _dir, address) = serve(&good, &good.certificate(false), &["tls.auth_clients=yes"]);
    let valid = good.certificate(false);
    assert_eq!(ping(address, &good, Some(&valid)).expect("an answer"), "+PONG\r\n");
    for (certificate, reason) in [
        (None, "peer sent no certificates"),
        (Some(good.certificate(true)), "certificate expired"),
        (Some(other.certificate(false)), "UnknownIssuer"),
    ] {
        // Once a second one is logged.
        wait::until("the refusal is logged", || {
            assert!(ping(address, &good, certificate.as_ref()).is_err(), "{reason}");
            let log = server.log();
            log.lines()
                .any(|line| line.contains("handshake") && line.contains(reason))
                .then_some(())
        });
    }
    assert_eq!(ping(address, &good, Some(&valid)).expect("an answer"), "+PONG\r\n");
}

#[test]
fn certificates_are_read_again_at_a_signal() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let (server, dir, address) = serve(&old, &old.certificate(false), &[]);
    assert!(ping(address, &old, None).is_ok());
    let certificate = new.certificate(false);
    let write = |name: &str, text: &str| {
        fs::write(Path::new(dir.path()).join(name), text).expect("a file");
    };
    write("cert.pem", &certificate.chain);
    write("key.pem", &certificate.key);
    server.signal("HUP");
    wait::until("the new certificate is shown", || ping(address, &new, None).ok());
    assert!(ping(address, &old, None).is_err());
}

#[test]
fn nodes_prove_each_other_who_they_are() {
    let (good, other) = (Authority::new("good"), Authority::new("other"));
    let (dir, mut settings) = files(&good, &good.certificate(false));
    settings.push("tls.nodes=true".to_owned());
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let cluster = Cluster::builder(3, 1).set(&settings).start();
    let mut client = cluster.client();
    assert_eq!(client.words("SETBIT a 9000000 1").expect("an answer"), Frame::Integer(0));
    assert_eq!(client.words("GETBIT a 9000000").expect("an answer"), Frame::Integer(1));
    // Neither who speaks no TLS nor who has no certificate, another's or an old one gets in.
    let address: SocketAddr = cluster.node(0).cluster_address().parse().expect("an address");
    let refused = cluster.command(0, &["status"]);
    assert!(!refused.status.success());
    for certificate in [None, Some(good.certificate(true)), Some(other.certificate(false))] {
        assert!(ping(address, &good, certificate.as_ref()).is_err());
    }
    let path = |name: &str| dir.path().join(name).to_str().expect("a plain path").to_owned();
    let (ca, cert, key) = (path("ca.pem"), path("cert.pem"), path("key.pem"));
    let by_tls = ["status", "--tls", "--tls-ca", &ca, "--tls-cert", &cert, "--tls-key", &key];
    let shown = cluster.command(0, &by_tls);
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    wait_for_reason("the refusals are logged", || cluster.node(0).log(), "");
    let answer = client.words("GETBIT a 9000000").expect("an answer");
    assert_eq!(answer, Frame::Integer(1));
}
