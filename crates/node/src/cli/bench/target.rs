//! A server under measurement.

use std::{
    net::{SocketAddr, ToSocketAddrs as _},
    str::FromStr,
};

use anyhow::{Context as _, Result};

/// Where a server listens, from `redis://host[:port]`.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// As given, for the report.
    pub(super) url: String,
    /// Resolved once.
    pub(super) address: SocketAddr,
}

impl FromStr for Target {
    type Err = anyhow::Error;

    fn from_str(url: &str) -> Result<Self> {
        let rest = url.strip_prefix("redis://").unwrap_or(url).trim_end_matches('/');
        let full = if rest.contains(':') { rest.to_owned() } else { format!("{rest}:6379") };
        let address = full
            .to_socket_addrs()
            .with_context(|| format!("'{url}' is not redis://host:port"))?
            .next()
            .with_context(|| format!("'{url}' has no address"))?;
        Ok(Self { url: url.to_owned(), address })
    }
}
