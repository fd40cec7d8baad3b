//! Bytes that processes send each other, as the kernel counts them: `ss` (iproute2) tells of every
//! socket how many bytes it sent. Both ends of a connection are here, so the sum over all sockets
//! with a node's port at either end is what crossed, in both directions.
//!
//! The nodes' own counter stands beside it as a check. It counts messages before HTTP/2 frames
//! them, so it is a little lower.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::servers::{self, Running};

/// What is still on the way when a command was answered (the third replica's copy) arrives within
/// this time.
const SETTLE: Duration = Duration::from_millis(150);
/// Less than this in one [`SETTLE`] is heartbeats.
const QUIET_BYTES: u64 = 128 << 10;
/// How often that is waited for: half a minute.
const QUIET_TRIES: usize = 200;
const COUNTER: &str = "bitroster_rpc_sent_bytes_total";

/// The connections between a cluster's processes.
pub(super) struct Links {
    node_ports: Vec<u16>,
    admins: Vec<SocketAddr>,
}

/// Bytes sent so far.
struct Reading {
    /// By each socket, named by its two ends.
    sockets: BTreeMap<String, u64>,
    /// By the nodes' own count.
    counted: u64,
}

/// What some work moved.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moved {
    /// More than in an idle time of the same length; below zero where the idle time was busier.
    pub(super) bytes: i64,
    /// In that idle time.
    pub(super) idle_bytes: i64,
    /// As `bytes`, by the nodes' own count.
    pub(super) counted_bytes: i64,
}

impl Links {
    /// # Errors
    ///
    /// If `ss` does not tell of any connection between the nodes.
    pub(super) fn of(running: &Running) -> Result<Self> {
        let (node_ports, admins) = (running.node_ports.clone(), running.admins.clone());
        let links = Self { node_ports, admins };
        let sockets = links.read()?.sockets.len();
        ensure!(sockets > 0, "ss (of iproute2) shows no connection between the nodes");
        Ok(links)
    }

    /// Waits until only heartbeats are sent.
    ///
    /// # Errors
    ///
    /// If that is not so within half a minute.
    pub(super) fn wait_quiet(&self) -> Result<()> {
        let mut last = self.read()?;
        for _ in 0..QUIET_TRIES {
            thread::sleep(SETTLE);
            let next = self.read()?;
            if next.since(&last).is_some_and(|moved| moved.0 < QUIET_BYTES as i64) {
                return Ok(());
            }
            last = next;
        }
        bail!("the nodes do not fall silent")
    }

    /// What `work` moves. None if connections were closed meanwhile, since their counts are lost.
    ///
    /// # Errors
    ///
    /// If the work fails, or the counts cannot be read.
    pub(super) fn moved_by(&self, work: impl FnOnce() -> Result<()>) -> Result<Option<Moved>> {
        self.wait_quiet()?;
        let begin = self.read()?;
        let started = Instant::now();
        work()?;
        thread::sleep(SETTLE);
        let done = self.read()?;
        thread::sleep(started.elapsed());
        let end = self.read()?;
        let (Some(busy), Some(idle)) = (done.since(&begin), end.since(&done)) else {
            return Ok(None);
        };
        Ok(Some(Moved {
            bytes: busy.0 - idle.0,
            idle_bytes: idle.0,
            counted_bytes: busy.1 - idle.1,
        }))
    }

    fn read(&self) -> Result<Reading> {
        // Established TCP connections, one a line, numbers instead of names, with the counters.
        let output = Command::new("ss").args(["-tinOH"]).output();
        let output = output.context("cannot run ss (of iproute2)")?;
        ensure!(output.status.success(), "ss: {}", String::from_utf8_lossy(&output.stderr));
        let sockets = sockets(&String::from_utf8_lossy(&output.stdout), &self.node_ports);
        let mut counted = 0;
        for admin in &self.admins {
            counted += counter(&servers::get(*admin, "/metrics")?);
        }
        Ok(Reading { sockets, counted })
    }
}

impl Reading {
    /// Bytes since an earlier reading, by the kernel's and by the nodes' count.
    fn since(&self, earlier: &Self) -> Option<(i64, i64)> {
        if earlier.sockets.keys().any(|socket| !self.sockets.contains_key(socket)) {
            return None;
        }
        let sum = |reading: &Self| reading.sockets.values().sum::<u64>();
        let difference = |now: u64, then: u64| now.cast_signed() - then.cast_signed();
        Some((difference(sum(self), sum(earlier)), difference(self.counted, earlier.counted)))
    }
}

/// The sockets that have one of the ports at either end, and what each sent.
fn sockets(text: &str, ports: &[u16]) -> BTreeMap<String, u64> {
    let mut sockets = BTreeMap::new();
    for line in text.lines() {
        let mut fields = line.split_ascii_whitespace();
        // State, bytes that wait to be read, bytes that wait to be sent, and the two ends.
        let (Some(from), Some(to)) = (fields.nth(3), fields.next()) else { continue };
        let is_node = |end: &str| {
            let port = end.rsplit(':').next().and_then(|port| port.parse().ok());
            port.is_some_and(|port| ports.contains(&port))
        };
        if is_node(from) || is_node(to) {
            // It is left out while it is 0.
            let sent = fields.find_map(|field| field.strip_prefix("bytes_sent:")?.parse().ok());
            sockets.insert(format!("{from} {to}"), sent.unwrap_or(0));
        }
    }
    sockets
}

/// The nodes' own count, from `/metrics`.
fn counter(text: &str) -> u64 {
    let samples = text.lines().filter(|line| line.starts_with(COUNTER));
    samples.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
ESTAB 0 0 127.0.0.1:4379 127.0.0.1:7001 cubic wscale:10,10 rto:204 bytes_sent:600 bytes_acked:601
ESTAB 0 0 127.0.0.1:7001 127.0.0.1:4379 cubic bytes_sent:70 bytes_retrans:5 bytes_acked:65
ESTAB 0 0 [::ffff:127.0.0.1]:7002 [::ffff:127.0.0.1]:4380 cubic bytes_received:12
ESTAB 0 0 127.0.0.1:6379 127.0.0.1:70010 cubic bytes_sent:9999
short line
";

    #[test]
    fn sockets_with_a_nodes_port_at_either_end_are_counted_and_no_others() {
        let found = sockets(TEXT, &[7001, 7002]);
        assert_eq!(found.values().copied().collect::<Vec<_>>(), [600, 70, 0]);
        assert!(sockets(TEXT, &[700]).is_empty());
    }

    #[test]
    fn a_connection_that_is_new_counts_and_one_that_is_gone_spoils_the_reading() {
        let reading = |text: &str| Reading { sockets: sockets(text, &[7001, 7002]), counted: 0 };
        let (few, all) = (reading(TEXT.split_once('\n').unwrap().0), reading(TEXT));
        assert_eq!(all.since(&few), Some((70, 0)));
        assert_eq!(few.since(&all), None);
    }

    #[test]
    fn the_nodes_own_count_is_the_sum_over_its_labels() {
        let text = "# HELP bitroster_rpc_sent_bytes_total Bytes\n\
                    bitroster_rpc_sent_bytes_total{to=\"1\"} 40\n\
                    bitroster_rpc_sent_bytes_total{to=\"2\"} 2\n\
                    bitroster_rpc_received_bytes_total 7\n";
        assert_eq!(counter(text), 42);
    }

    #[test]
    fn bytes_of_a_connection_here_are_seen_in_both_directions() {
        use std::io::{Read as _, Write as _};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut near = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        let links = Links { node_ports: vec![port], admins: Vec::new() };
        let before = links.read().unwrap();
        let exchange = |from: &mut std::net::TcpStream, to: &mut std::net::TcpStream, len| {
            from.write_all(&vec![7; len]).unwrap();
            to.read_exact(&mut vec![0; len]).unwrap();
        };
        exchange(&mut near, &mut far, 3000);
        exchange(&mut far, &mut near, 500);
        assert_eq!(links.read().unwrap().since(&before), Some((3500, 0)));
    }
}
