//! A replicated system under measurement: what it speaks, where, and which processes are it.

use std::{net::SocketAddr, str::FromStr};

use anyhow::{Context as _, Error, Result};
use clap::ValueEnum;
use serde::Serialize;

use super::target::Target;

/// What a system is, and so what it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    /// A cluster's routers: SETBIT, GETBIT.
    Bitroster,
    /// A Redis with replicas: SETBITs followed by WAIT 1 0.
    RedisWait,
    /// A Redis without replicas: GETBIT.
    Redis,
    /// A member of an etcd cluster: puts.
    Etcd,
}

impl Kind {
    /// As on the command line.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bitroster => "bitroster",
            Self::RedisWait => "redis-wait",
            Self::Redis => "redis",
            Self::Etcd => "etcd",
        }
    }
}

/// A running system, from `KIND=HOST:PORT,...[@PID,...]`.
#[derive(Clone, Debug)]
pub(super) struct System {
    pub(super) kind: Kind,
    /// Where clients connect, in turn.
    pub(super) targets: Vec<Target>,
    /// What uses the processors for it.
    pub(super) processes: Vec<u32>,
}

impl System {
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.targets.iter().map(|target| target.address).collect()
    }
}

impl FromStr for System {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (kind, rest) = text.split_once('=').context("expected KIND=HOST:PORT")?;
        let kind = Kind::from_str(kind, false).map_err(Error::msg)?;
        let (targets, processes) = match rest.split_once('@') {
            None => (rest, None),
            Some((targets, processes)) => (targets, Some(processes)),
        };
        let targets = targets.split(',').map(str::parse).collect::<Result<_>>()?;
        let pids = processes.into_iter().flat_map(|pids| pids.split(','));
        let processes = pids
            .map(|pid| pid.parse().with_context(|| format!("'{pid}' is no process's number")))
            .collect::<Result<_>>()?;
        Ok(Self { kind, targets, processes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_names_its_kind_its_addresses_and_its_processes() {
        let system: System = "redis-wait=127.0.0.1:7,127.0.0.1:8@1,22".parse().unwrap();
        assert_eq!(system.kind, Kind::RedisWait);
        assert_eq!(system.addresses().iter().map(SocketAddr::port).collect::<Vec<_>>(), [7, 8]);
        assert_eq!(system.processes, [1, 22]);
        assert!("etcd=127.0.0.1:7".parse::<System>().unwrap().processes.is_empty());
    }

    #[test]
    fn what_is_no_system_is_refused() {
        for text in ["", "127.0.0.1:7", "zookeeper=127.0.0.1:7", "etcd=127.0.0.1:7@", "etcd=@1"] {
            assert!(text.parse::<System>().is_err(), "{text}");
        }
    }
}
