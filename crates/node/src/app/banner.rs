//! The first lines on stdout: where everything is, and what to try.

use std::{fmt::Write as _, net::SocketAddr};

use bitroster_telemetry::build;

use crate::config::{Config, RoleWord, SyncWord};

/// Where clients connect, by each way that is served.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Addresses {
    /// RESP.
    pub(crate) plain: Option<SocketAddr>,
    /// RESP by TLS.
    pub(crate) tls: Option<SocketAddr>,
    /// gRPC.
    pub(crate) grpc: Option<SocketAddr>,
}

/// Where the node listens and what it keeps.
#[derive(Clone, Debug)]
pub(crate) struct Banner {
    /// For clients.
    pub(crate) clients: Addresses,
    /// The admin server.
    pub(crate) operators: SocketAddr,
    /// Whether the console is there too.
    pub(crate) console: bool,
    /// For other nodes, and this node's number (0 for a router).
    pub(crate) nodes: Option<(SocketAddr, u64)>,
    /// The data's folder and the number of groups with a replica in it.
    pub(crate) data: Option<(String, usize)>,
}

impl Banner {
    /// Prints the banner, once the node answers.
    #[expect(clippy::print_stdout, reason = "people and scripts read where the node listens")]
    pub(crate) fn print(&self, config: &Config) {
        print!("{}", self.text(config));
    }

    fn text(&self, config: &Config) -> String {
        let auth = if config.server.requirepass.is_empty() { "none" } else { "password" };
        let mut out = format!("Bitroster {}\n", build::VERSION);
        let mut line = |name: &str, text: String| {
            writeln!(out, "  {name:<11} {text}").expect("writing to a string does not fail");
        };
        let Addresses { plain, tls, grpc } = self.clients;
        if let Some(clients) = plain {
            line("clients", format!("{clients} (RESP2, RESP3; authentication: {auth})"));
        }
        if let Some(clients) = tls {
            line("clients TLS", format!("{clients} (RESP2, RESP3; authentication: {auth})"));
        }
        if let Some(grpc) = grpc {
            line("grpc", format!("{grpc} (gRPC with reflection, gRPC-Web)"));
        }
        line("admin", format!("http://{}/ (livez, readyz, metrics)", self.operators));
        if self.console {
            line("console", format!("http://{}/console/", self.operators));
        }
        if let Some((address, node)) = self.nodes {
            let who = if node == 0 { "router".to_owned() } else { format!("node {node}") };
            line("cluster", format!("{address} ({who}, role {})", role(config.server.role)));
        }
        if let Some((path, groups)) = &self.data {
            line("data", format!("{path} ({groups} groups)"));
            line("durability", durability(config));
        }
        if let Some(clients) = plain {
            let port = clients.port();
            line("try", format!("redis-cli -p {port} SETBIT visitors:today 42 1"));
        }
        out
    }
}

fn role(role: RoleWord) -> &'static str {
    match role {
        RoleWord::All => "all",
        RoleWord::Shard => "shard",
        RoleWord::Router => "router",
    }
}

fn durability(config: &Config) -> String {
    match config.storage.sync {
        SyncWord::Always => "every acknowledged write is on disk".to_owned(),
        SyncWord::Interval => format!(
            "synced every {} ms; a power cut may lose that much",
            config.storage.sync_interval_ms
        ),
    }
}
