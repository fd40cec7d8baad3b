//! What is asked of servers and nodes, once a round.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bitroster_resp::{Frame, Version};
use tokio::runtime::Runtime;

use crate::cli::{
    cluster::{Door, Report},
    node::{NodeArgs, client_addresses, nodes_known_to},
    remote::{Address, Remote, RemoteArgs, Target},
};

/// How long one round waits for a node: one that hangs must not hold up what the others tell.
const NODE_TIMEOUT_MAX: Duration = Duration::from_secs(2);

/// Calls of a command so far, and how long they took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Calls {
    pub(super) calls: u64,
    pub(super) usecs: u64,
    pub(super) failed: u64,
    /// Microseconds, ascending, and how many calls took no longer.
    pub(super) histogram: Vec<(u64, u64)>,
}

/// What one server tells its clients.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    pub(super) product: String,
    pub(super) run_id: String,
    pub(super) uptime_secs: u64,
    pub(super) clients: u64,
    pub(super) memory_bytes: u64,
    pub(super) memory_limit_bytes: u64,
    pub(super) keys: u64,
    pub(super) commands: BTreeMap<String, Calls>,
}

/// One round.
pub(super) struct Sample {
    pub(super) at: Instant,
    pub(super) cluster: Option<Report>,
    /// Each server's address and figures; `None` where it does not answer.
    pub(super) servers: Vec<(String, Option<Figures>)>,
}

/// Asks, round after round, and keeps the connections.
pub(super) struct Sampler {
    args: RemoteArgs,
    first: Target,
    /// Where nodes may be asked, in the order in which it is tried.
    nodes: Vec<String>,
    door: Door,
    runtime: Runtime,
    connections: BTreeMap<String, Remote>,
}

impl Sampler {
    /// Finds the server or a node.
    ///
    /// # Errors
    ///
    /// If neither answers.
    pub(super) fn open(args: &RemoteArgs, nodes: &NodeArgs) -> anyhow::Result<Self> {
        let first = args.target()?;
        let timeout = Duration::from_millis(args.access.timeout_ms.max(1));
        let door = nodes.door(timeout.min(NODE_TIMEOUT_MAX))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut connections = BTreeMap::new();
        let mut known: Vec<String> = nodes.node.iter().cloned().collect();
        match first.connect(Version::Resp2) {
            Ok(mut remote) => {
                if known.is_empty() {
                    known = nodes_known_to(&mut remote);
                }
                connections.insert(first.address().to_string(), remote);
            }
            // A shard node serves no clients; what it knows is enough.
            Err(_) if !known.is_empty() => {
                runtime.block_on(door.gather(&known[0]))?;
            }
            Err(error) => return Err(error),
        }
        Ok(Self { args: args.clone(), first, nodes: known, door, runtime, connections })
    }

    /// Asks everybody once.
    pub(super) fn sample(&mut self) -> Sample {
        let (door, runtime, nodes) = (&self.door, &self.runtime, &self.nodes);
        let cluster = nodes.iter().find_map(|node| runtime.block_on(door.gather(node)).ok());
        if let Some(report) = &cluster {
            // Those that answer now are asked first when this one does not answer any more.
            let answering = report.nodes.iter().filter(|node| node.status.is_some());
            let answering: Vec<String> = answering.map(|node| node.address.clone()).collect();
            self.nodes.sort_by_key(|node| !answering.contains(node));
            self.nodes.extend(answering.iter().cloned());
            let mut seen = Vec::new();
            self.nodes.retain(|node| {
                let is_new = !seen.contains(node);
                seen.push(node.clone());
                is_new
            });
        }
        let mut addresses = vec![self.first.address().to_string()];
        addresses.extend(cluster.iter().flat_map(client_addresses));
        let mut servers: Vec<(String, Option<Figures>)> = Vec::new();
        for address in addresses {
            if servers.iter().any(|(known, _)| *known == address) {
                continue;
            }
            let figures = self.ask(&address);
            // One server may have several addresses.
            let is_known = figures.as_ref().is_some_and(|figures| {
                servers.iter().flat_map(|(_, known)| known).any(|it| it.run_id == figures.run_id)
            });
            if !is_known {
                servers.push((address, figures));
            }
        }
        // The address that nobody named and where nobody is is no server that is gone.
        if cluster.is_some() && servers.len() > 1 && servers[0].1.is_none() {
            servers.remove(0);
        }
        Sample { at: Instant::now(), cluster, servers }
    }

    fn ask(&mut self, address: &str) -> Option<Figures> {
        let mut remote = match self.connections.remove(address) {
            Some(remote) => remote,
            None => self.target(address)?.connect(Version::Resp2).ok()?,
        };
        let figures = figures_of(&mut remote)?;
        self.connections.insert(address.to_owned(), remote);
        Some(figures)
    }

    /// A server, with the password that was given for the first one.
    fn target(&self, address: &str) -> Option<Target> {
        if address == self.first.address().to_string() {
            return Some(self.first.clone());
        }
        let given = &self.args.addr;
        let found: Address = address.parse().ok()?;
        let address = Address { host: found.host, port: found.port, ..given.clone() };
        let most = u64::try_from(NODE_TIMEOUT_MAX.as_millis()).unwrap_or(u64::MAX);
        let mut access = self.args.access.clone();
        access.timeout_ms = access.timeout_ms.min(most);
        Target::new(&address, &access, "BITROSTER_PASSWORD").ok()
    }
}

fn figures_of(remote: &mut Remote) -> Option<Figures> {
    let requests: Vec<Vec<&str>> = ["server", "clients", "memory", "commandstats", "keyspace"]
        .iter()
        .map(|section| vec!["INFO", *section])
        .chain([vec!["LATENCY", "HISTOGRAM"]])
        .collect();
    let replies = remote.pipeline(&requests).ok()?;
    let mut figures = Figures::default();
    for reply in &replies[..replies.len() - 1] {
        let Frame::Bulk(text) = reply else { return None };
        figures.read(&String::from_utf8_lossy(text));
    }
    // Redis has it since version 7.
    if let Some(Frame::Array(rows)) = replies.last() {
        for pair in rows.chunks_exact(2) {
            figures.read_histogram(&pair[0], &pair[1]);
        }
    }
    Some(figures)
}

impl Figures {
    /// Takes what it knows from a text of INFO.
    fn read(&mut self, text: &str) {
        for line in text.lines() {
            let Some((name, value)) = line.trim_end().split_once(':') else { continue };
            let number = || value.parse().unwrap_or(0);
            match name {
                "redis_version" if self.product.is_empty() => {
                    self.product = format!("Redis {value}");
                }
                "bitroster_version" => self.product = format!("Bitroster {value}"),
                "valkey_version" => self.product = format!("Valkey {value}"),
                "run_id" => value.clone_into(&mut self.run_id),
                "uptime_in_seconds" => self.uptime_secs = number(),
                "connected_clients" => self.clients = number(),
                "used_memory" => self.memory_bytes = number(),
                "maxmemory" => self.memory_limit_bytes = number(),
                name if name.starts_with("db") => self.keys += field(value, "keys"),
                name => {
                    let Some(command) = name.strip_prefix("cmdstat_") else { continue };
                    let calls = self.commands.entry(command.to_owned()).or_default();
                    calls.calls = field(value, "calls");
                    calls.usecs = field(value, "usec");
                    calls.failed = field(value, "failed_calls") + field(value, "rejected_calls");
                }
            }
        }
    }

    fn read_histogram(&mut self, name: &Frame, row: &Frame) {
        let (Frame::Bulk(name), Frame::Array(row)) = (name, row) else { return };
        let name = String::from_utf8_lossy(name).into_owned();
        let Some(calls) = self.commands.get_mut(&name) else { return };
        let Some(Frame::Array(buckets)) = row.last() else { return };
        calls.histogram = buckets
            .chunks_exact(2)
            .filter_map(|pair| match pair {
                [Frame::Integer(usecs), Frame::Integer(count)] => {
                    Some((u64::try_from(*usecs).ok()?, u64::try_from(*count).ok()?))
                }
                _ => None,
            })
            .collect();
    }
}

/// A number of `a=1,b=2`; 0 where there is none of this name.
fn field(value: &str, name: &str) -> u64 {
    let pairs = value.split(',').filter_map(|pair| pair.split_once('='));
    let mut values = pairs.filter(|(key, _)| *key == name).map(|(_, value)| value);
    values.next().and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// What one command did between two rounds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Rate {
    pub(super) name: String,
    pub(super) per_second: f64,
    pub(super) failed_per_second: f64,
    /// Mean seconds of a call.
    pub(super) mean: f64,
    /// Seconds that 99 of 100 calls took at the most; `None` where nobody knows.
    pub(super) p99: Option<f64>,
    /// Calls since the servers' start.
    pub(super) calls: u64,
}

/// What happened between two rounds.
#[derive(Clone, Debug, Default)]
pub(super) struct Rates {
    pub(super) all: Rate,
    pub(super) commands: Vec<Rate>,
}

impl Rates {
    /// What happened from `before` to `now`. A server that was not there before, or began anew,
    /// counts from the next round on.
    pub(super) fn between(before: &Sample, now: &Sample) -> Self {
        let seconds = now.at.duration_since(before.at).as_secs_f64().max(1e-3);
        let mut deltas: BTreeMap<&str, Delta> = BTreeMap::new();
        for (address, figures) in &now.servers {
            let then = before.servers.iter().find(|(known, _)| known == address);
            let Some(figures) = figures else { continue };
            let then = then.and_then(|(_, then)| then.as_ref());
            let then = then.filter(|then| then.run_id == figures.run_id);
            for (name, calls) in &figures.commands {
                // What this program asks is not of interest.
                if matches!(name.as_str(), "info" | "latency" | "latency|histogram") {
                    continue;
                }
                let delta = deltas.entry(name).or_default();
                delta.total += calls.calls;
                if let Some(then) = then {
                    let nothing = Calls::default();
                    delta.add(then.commands.get(name).unwrap_or(&nothing), calls);
                }
            }
        }
        let mut all = Delta::default();
        for delta in deltas.values() {
            all.merge(delta);
        }
        let commands = deltas.iter().map(|(name, delta)| delta.rate(name, seconds)).collect();
        Self { all: all.rate("", seconds), commands }
    }
}

/// The difference of two [`Calls`], of several servers.
#[derive(Default)]
struct Delta {
    calls: u64,
    usecs: u64,
    failed: u64,
    total: u64,
    /// Microseconds, and calls that took so long and longer than the next lower.
    histogram: BTreeMap<u64, u64>,
}

impl Delta {
    fn add(&mut self, then: &Calls, now: &Calls) {
        self.calls += now.calls.saturating_sub(then.calls);
        self.usecs += now.usecs.saturating_sub(then.usecs);
        self.failed += now.failed.saturating_sub(then.failed);
        let mut below = 0;
        for (usecs, count) in &now.histogram {
            let earlier = then.histogram.iter().rfind(|(bound, _)| bound <= usecs);
            let risen = count.saturating_sub(earlier.map_or(0, |(_, count)| *count));
            *self.histogram.entry(*usecs).or_default() += risen.saturating_sub(below);
            below = risen.max(below);
        }
    }

    fn merge(&mut self, other: &Self) {
        self.calls += other.calls;
        self.usecs += other.usecs;
        self.failed += other.failed;
        self.total += other.total;
        for (usecs, count) in &other.histogram {
            *self.histogram.entry(*usecs).or_default() += count;
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "shown with two or three digits")]
    fn rate(&self, name: &str, seconds: f64) -> Rate {
        let mean = if self.calls == 0 { 0.0 } else { self.usecs as f64 / 1e6 / self.calls as f64 };
        Rate {
            name: name.to_owned(),
            per_second: self.calls as f64 / seconds,
            failed_per_second: self.failed as f64 / seconds,
            mean,
            p99: self.p99().map(|usecs| usecs as f64 / 1e6),
            calls: self.total,
        }
    }

    fn p99(&self) -> Option<u64> {
        let counted: u64 = self.histogram.values().sum();
        let rank = (counted.checked_mul(99)?).div_ceil(100);
        let mut seen = 0;
        let mut buckets = self.histogram.iter().filter(|(_, count)| **count > 0);
        let found = buckets.find(|(_, count)| {
            seen += **count;
            seen >= rank
        });
        found.map(|(usecs, _)| *usecs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: Instant, calls: Calls) -> Sample {
        let commands = BTreeMap::from([("setbit".to_owned(), calls)]);
        let figures = Figures { run_id: "r".to_owned(), commands, ..Figures::default() };
        Sample { at, cluster: None, servers: vec![("a:1".to_owned(), Some(figures))] }
    }

    #[test]
    fn rates_are_of_what_happened_between_two_rounds() {
        let start = Instant::now();
        let then =
            Calls { calls: 100, usecs: 1_000, failed: 1, histogram: vec![(8, 90), (64, 100)] };
        let now = Calls {
            calls: 300,
            usecs: 5_000,
            failed: 3,
            histogram: vec![(8, 91), (16, 280), (64, 298), (1024, 300)],
        };
        let now = sample(start + Duration::from_secs(2), now);
        let rates = Rates::between(&sample(start, then), &now);
        let [rate] = rates.commands.as_slice() else { panic!("one command") };
        assert_eq!((rate.per_second, rate.failed_per_second, rate.calls), (100.0, 1.0, 300));
        assert_eq!(rate.mean, 20e-6);
        // 1 to 8 us, 189 to 16 us, 8 to 64 us, 2 to 1024 us: the 198th of 200 is among the third.
        assert_eq!(rate.p99, Some(64e-6));
        assert_eq!(rates.all.per_second, 100.0);
    }

    #[test]
    fn a_server_that_began_anew_counts_from_the_next_round_on() {
        let start = Instant::now();
        let then = sample(start, Calls { calls: 100, ..Calls::default() });
        let mut now =
            sample(start + Duration::from_secs(1), Calls { calls: 7, ..Calls::default() });
        now.servers[0].1.as_mut().unwrap().run_id = "another".to_owned();
        let rates = Rates::between(&then, &now);
        assert_eq!((rates.all.per_second, rates.all.calls), (0.0, 7));
        assert_eq!(rates.all.p99, None);
    }

    #[test]
    fn texts_of_info_are_read() {
        let mut figures = Figures::default();
        figures.read(
            "# Server\r\nredis_version:7.4.0\r\nbitroster_version:0.1.0\r\nrun_id:abc\r\n\
             uptime_in_seconds:61\r\nused_memory:1024\r\ndb0:keys=7,expires=1,avg_ttl=0\r\n\
             cmdstat_setbit:calls=5,usec=50,rejected_calls=1,failed_calls=2\r\n",
        );
        assert_eq!(figures.product, "Bitroster 0.1.0");
        assert_eq!((figures.uptime_secs, figures.memory_bytes, figures.keys), (61, 1024, 7));
        let setbit = &figures.commands["setbit"];
        assert_eq!((setbit.calls, setbit.usecs, setbit.failed), (5, 50, 3));
    }
}
