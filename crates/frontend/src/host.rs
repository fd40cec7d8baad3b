//! Names that hosts go by in a browser.

use std::net::IpAddr;

/// Whether a host, with or without a port, is this machine's own name or an address.
///
/// While nobody needs a password only such hosts may ask: a page may make its own host's name point
/// at this machine, and its browser then takes it for the page's own. An address it cannot.
pub fn is_own(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').unwrap_or(("", "")),
        None => host.find(':').map_or((host, ""), |at| host.split_at(at)),
    };
    let is_port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
        && (name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_and_addresses_are_own() {
        for own in ["localhost", "LOCALHOST:9380", "127.0.0.1:9380", "[::1]:9380", "10.0.0.1"] {
            assert!(is_own(own), "{own}");
        }
        for foreign in [
            "",
            "evil.example",
            "localhost.evil.example:9380",
            "127.0.0.1.evil.example",
            "127.0.0.1@evil.example",
            "[evil]:1",
            "[::1].evil.example",
            "[::1",
            "127.1:x.y",
            "127.0.0.1:x",
        ] {
            assert!(!is_own(foreign), "{foreign}");
        }
    }
}
