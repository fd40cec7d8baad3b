use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use super::*;
use crate::config::{ClientsWord, Config};

/// A folder with an authority and a certificate of it.
fn folder() -> (TempDir, TlsConfig) {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let config = TlsConfig {
        clients: ClientsWord::Yes,
        cert_file: path("cert.pem"),
        key_file: path("key.pem"),
        ca_file: path("ca.pem"),
        auth_clients: AuthWord::Optional,
        nodes: true,
        ..Config::default().tls
    };
    issue(&config);
    (dir, config)
}

fn issue(config: &TlsConfig) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    write(&config.ca_file, &authority.pem());
    write(&config.cert_file, &certificate.pem());
    write(&config.key_file, &key.serialize_pem());
}

#[allow(clippy::disallowed_methods, reason = "the test makes the files")]
fn write(path: &str, text: &str) {
    std::fs::write(path, text).unwrap();
}

#[test]
fn without_tls_no_file_is_needed() {
    assert!(Tls::open(&Config::default().tls).unwrap().is_none());
}

#[test]
fn a_file_that_makes_no_sense_is_named() {
    let (_dir, config) = folder();
    assert!(Tls::open(&config).unwrap().is_some());
    for path in [&config.cert_file, &config.key_file, &config.ca_file] {
        issue(&config);
        write(path, "nonsense");
        let error = format!("{:#}", Tls::open(&config).unwrap_err());
        assert!(error.contains(path.as_str()), "{error}");
    }
    let missing = TlsConfig { key_file: "/nowhere/key.pem".to_owned(), ..config };
    let error = format!("{:#}", Tls::open(&missing).unwrap_err());
    assert!(error.contains("/nowhere/key.pem"), "{error}");
}

#[test]
fn changed_files_are_taken_and_bad_ones_change_nothing() {
    let (_dir, config) = folder();
    let tls = Tls::open(&config).unwrap().unwrap();
    let first = tls.material();
    assert!(!tls.reload().unwrap());
    issue(&config);
    assert!(tls.reload().unwrap());
    let second = tls.material();
    assert_ne!(first.chain, second.chain);
    write(&config.key_file, "nonsense");
    assert!(tls.reload().is_err());
    assert_eq!(tls.material().key, second.key);
    assert!(!format!("{tls:?}{second:?}").contains("PRIVATE"));
}
