//! The first lines on stdout: where everything is, and what to try.

use std::net::SocketAddr;

use bitroster_telemetry::build;

use super::data_dir::Home;
use crate::config::{Config, SyncWord};

/// Where the node listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    pub(crate) clients: SocketAddr,
    pub(crate) operators: SocketAddr,
}

/// Prints the banner, once the node answers.
#[expect(clippy::print_stdout, reason = "people and scripts read where the node listens")]
pub(crate) fn print(config: &Config, home: &Home, addresses: &Addresses) {
    print!("{}", text(config, home, addresses));
}

fn text(config: &Config, home: &Home, addresses: &Addresses) -> String {
    let durability = match config.storage.sync {
        SyncWord::Always => "every acknowledged write is on disk".to_owned(),
        SyncWord::Interval => {
            format!(
                "synced every {} ms; a power cut may lose that much",
                config.storage.sync_interval_ms
            )
        }
    };
    let Addresses { clients, operators } = addresses;
    let auth = if config.server.requirepass.is_empty() { "none" } else { "password" };
    format!(
        "Bitroster {version}\n\
         \x20 clients     {clients} (RESP2, RESP3; authentication: {auth})\n\
         \x20 admin       http://{operators}/ (livez, readyz, metrics)\n\
         \x20 data        {path} ({groups} groups)\n\
         \x20 durability  {durability}\n\
         \x20 try         redis-cli -p {port} SETBIT visitors:today 42 1\n",
        version = build::VERSION,
        path = home.path.display(),
        groups = home.map.groups().len(),
        port = clients.port(),
    )
}
