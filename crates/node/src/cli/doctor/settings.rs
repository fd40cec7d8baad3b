//! Checks of a configuration, and of the certificates that it names.

use std::{
    fs,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject as _};

use super::{Check, Verdict, certificate};
use crate::{
    cli::serve::{ConfigArgs, gather},
    config::{Config, Loaded, Size},
};

/// Days before a certificate's end from which it is time.
const CERTIFICATE_DAYS: i64 = 30;

/// Adds the checks of the configuration in `file`, if one is named; the configuration, if it is
/// well.
pub(super) fn checks(file: Option<&Path>, checks: &mut Vec<Check>) -> Option<Loaded> {
    let file = file?;
    let args = ConfigArgs { config: Some(file.to_owned()), set: Vec::new() };
    let loaded = match gather(&args, Vec::new(), Vec::new()) {
        Ok(loaded) => loaded,
        Err(error) => {
            let found = format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ");
            let remedy = "'bitroster config example' prints every field with what it may be";
            checks.push(Check::fail("config", found, remedy));
            return None;
        }
    };
    checks.push(Check::pass("config", format!("{} is well", file.display())));
    checks.push(listening(&loaded.config));
    checks.push(limits(&loaded.config));
    checks.extend(certificates(&loaded.config));
    Some(loaded)
}

/// Whether others can reach what has no lock.
fn listening(config: &Config) -> Check {
    let Config { server, cluster, tls, .. } = config;
    let mut found = Vec::new();
    if server.role.serves_clients() && !server.bind.is_loopback() && server.requirepass.is_empty() {
        let text = format!("server.bind is {} and server.requirepass empty", server.bind);
        found.push((Verdict::Fail, text));
    }
    if config.is_clustered() && !cluster.bind.is_loopback() && !tls.nodes {
        let text = format!("cluster.bind is {} without tls.nodes", cluster.bind);
        found.push((Verdict::Warn, text));
    }
    if !server.admin_bind.is_loopback() {
        let text = format!("server.admin_bind is {}, which has no password", server.admin_bind);
        found.push((Verdict::Warn, text));
    }
    Check::worst(
        "listening",
        found,
        "nothing is open to other machines without a password or certificate",
        "bind to loopback or a private network, set server.requirepass, or set tls.nodes",
    )
}

fn limits(config: &Config) -> Check {
    if config.server.role.keeps_data() && config.storage.maxmemory == Size(0) {
        let found = "storage.maxmemory is 0: the system ends the process when memory runs out";
        return Check::warn(
            "limits",
            found,
            "set it to about three quarters of the machine's memory",
        );
    }
    Check::pass("limits", format!("storage.maxmemory is {}", config.storage.maxmemory))
}

fn certificates(config: &Config) -> Option<Check> {
    let tls = &config.tls;
    if !tls.clients.has_tls() && !tls.nodes {
        return None;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let mut found = Vec::new();
    let mut soonest = i64::MAX;
    for file in [&tls.cert_file, &tls.ca_file].into_iter().filter(|file| !file.is_empty()) {
        match days_left(Path::new(file), now) {
            Ok(days) => {
                soonest = soonest.min(days);
                if days < 0 {
                    found.push((Verdict::Fail, format!("{file} ended {} days ago", -days)));
                } else if days < CERTIFICATE_DAYS {
                    found.push((Verdict::Warn, format!("{file} ends in {days} days")));
                }
            }
            Err(reason) => found.push((Verdict::Fail, format!("{file}: {reason}"))),
        }
    }
    Some(Check::worst(
        "certificates",
        found,
        format!("the first to end does so in {soonest} days"),
        "put a new certificate into the file; nodes read it within half a minute",
    ))
}

/// Days until the first certificate of a file ends.
fn days_left(file: &Path, now: i64) -> Result<i64, String> {
    let pem = fs::read(file).map_err(|error| error.to_string())?;
    let ends = CertificateDer::pem_slice_iter(&pem).map(|certificate| {
        let certificate = certificate.map_err(|error| error.to_string())?;
        certificate::ends_at(&certificate).ok_or_else(|| "holds no certificate".to_owned())
    });
    let ends: Vec<i64> = ends.collect::<Result<_, String>>()?;
    let first = ends.into_iter().min().ok_or_else(|| "holds no certificate".to_owned())?;
    Ok((first - now).div_euclid(86_400))
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn what_is_open_to_everybody_is_told() {
        let mut config = Config::default();
        assert_eq!(listening(&config).verdict, Verdict::Pass);
        config.server.admin_bind = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        assert_eq!(listening(&config).verdict, Verdict::Warn);
        config.server.bind = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        assert_eq!(listening(&config).verdict, Verdict::Fail);
        config.server.requirepass = "secret".to_owned();
        assert_eq!(listening(&config).verdict, Verdict::Warn);
    }

    #[test]
    fn days_are_counted_to_the_first_end() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pair.pem");
        let key = KeyPair::generate().unwrap();
        let pem = |year| {
            let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
            params.not_after = date_time_ymd(year, 1, 11);
            params.self_signed(&key).unwrap().pem()
        };
        fs::write(&file, pem(2051) + &pem(2030)).unwrap();
        // 2030-01-01.
        assert_eq!(days_left(&file, 1_893_456_000), Ok(10));
        assert_eq!(days_left(&file, 1_893_456_000 + 11 * 86_400), Ok(-1));
        fs::write(&file, "nothing").unwrap();
        assert!(days_left(&file, 0).is_err());
        assert!(days_left(&folder.path().join("absent"), 0).is_err());
    }

    #[test]
    fn a_file_with_problems_fails_and_one_that_is_well_is_looked_into() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("b.toml");
        fs::write(&file, "[server]\nprot = 1\n").unwrap();
        let mut found = Vec::new();
        assert!(checks(Some(&file), &mut found).is_none());
        assert!(found[0].verdict == Verdict::Fail && found[0].found.contains("server.prot"));
        fs::write(&file, "[storage]\nmaxmemory = \"1gb\"\n").unwrap();
        found.clear();
        assert!(checks(Some(&file), &mut found).is_some());
        assert!(found.iter().all(|check| check.verdict == Verdict::Pass), "{found:?}");
    }
}
