//! Network namespaces of a test's own, one a node, whose links can be cut each way.
//!
//! A hub routes between the nodes: node `n` has the address `10.99.n.1` at its end of a pair of
//! veth interfaces, the hub `10.99.n.254` at the other. None of this is seen outside of the
//! namespaces. A rule in the hub that drops what goes from one node to another cuts that one
//! direction without a word to either end, as a broken link would.
//!
//! The test runs twice: outside, where it makes the namespaces, starts itself again in the hub's,
//! and removes everything whatever happens there; and inside, where the clients live.

use std::{
    collections::BTreeSet,
    env, fs,
    net::Ipv4Addr,
    path::Path,
    process::{Command, id},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use anyhow::{Context as _, Result, bail};

/// Tells the test that it runs inside: the namespaces' common beginning.
const INSIDE: &str = "SUITE_NETWORK";

/// Names the file that the inside leaves when it has run to its end: a misspelt test would not.
const DONE: &str = "SUITE_NETWORK_DONE";

/// What every namespace of a test begins with, before the number of the process that made it.
const PREFIX: &str = "bitroster-suite";

/// Where `ip netns` keeps the names.
const NAMES: &str = "/run/netns";

/// The first number of the rules that cut links.
const RULES_FROM: usize = 1000;

/// Namespaces, seen from inside the hub.
#[derive(Clone, Debug)]
pub struct Network {
    prefix: String,
    size: usize,
    cuts: Arc<Mutex<BTreeSet<(usize, usize)>>>,
}

/// Runs `body` in a network of `size` nodes of its own. `test` is the calling test's name, in full.
///
/// Where namespaces cannot be made, says so on stderr and returns without running it.
///
/// # Panics
///
/// If `body` does.
#[expect(clippy::print_stderr, reason = "nobody must believe that a test ran that did not")]
pub fn inside(test: &str, size: usize, body: impl FnOnce(&Network)) {
    if let Ok(prefix) = env::var(INSIDE) {
        let network = Network { prefix, size, cuts: Arc::default() };
        body(&network);
        let done = env::var(DONE).expect("the outside names a file");
        fs::write(done, b"").expect("the file can be written");
        return;
    }
    remove_leftovers();
    let outside = match Outside::make(size) {
        Ok(outside) => outside,
        Err(error) => {
            eprintln!("NOT RUN: {test}: no network namespaces here ({error:#})");
            return;
        }
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let done = folder.path().join("done");
    let program = env::current_exe().expect("the test knows its program");
    let status = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "ip", "netns", "exec", &outside.hub()])
        .arg(program)
        .args(["--exact", test, "--nocapture", "--test-threads", "1"])
        .env(INSIDE, &outside.prefix)
        .env(DONE, &done)
        .status()
        .expect("setpriv starts; it is part of util-linux");
    drop(outside);
    assert!(status.success(), "inside its network the test ended with {status}");
    assert!(done.exists(), "no test of the name {test} ran inside its network");
}

impl Network {
    /// A node's address.
    ///
    /// # Panics
    ///
    /// If the network was not made for so many.
    pub fn address(&self, node: usize) -> Ipv4Addr {
        assert!(node < self.size, "a network of {} nodes has no node {node}", self.size);
        address(node)
    }

    /// A node's namespace.
    pub fn namespace(&self, node: usize) -> String {
        format!("{}-{node}", self.prefix)
    }

    /// Drops whatever goes from one node to another, but not back.
    ///
    /// # Panics
    ///
    /// If the kernel refuses.
    pub fn cut_one_way(&self, from: usize, to: usize) {
        if self.cuts.lock().expect("nobody panics with it").insert((from, to)) {
            self.rule("add", from, to);
        }
    }

    /// Drops whatever goes between two nodes.
    pub fn cut(&self, one: usize, other: usize) {
        self.cut_one_way(one, other);
        self.cut_one_way(other, one);
    }

    /// Cuts a node off from all other nodes.
    pub fn isolate(&self, node: usize) {
        for other in (0..self.size).filter(|other| *other != node) {
            self.cut(node, other);
        }
    }

    /// Lets a node hear the others, while they do not hear it.
    pub fn mute(&self, node: usize) {
        for other in (0..self.size).filter(|other| *other != node) {
            self.cut_one_way(node, other);
        }
    }

    /// Lets the others hear a node, while it does not hear them.
    pub fn deafen(&self, node: usize) {
        for other in (0..self.size).filter(|other| *other != node) {
            self.cut_one_way(other, node);
        }
    }

    /// Mends every link.
    ///
    /// # Panics
    ///
    /// If the kernel refuses.
    pub fn heal(&self) {
        let mut cuts = self.cuts.lock().expect("nobody panics with it");
        for (from, to) in std::mem::take(&mut *cuts) {
            self.rule("del", from, to);
        }
    }

    /// Makes a node's link slow and, where the kernel can, lossy; which of them it was.
    ///
    /// # Errors
    ///
    /// If the kernel knows no way to do it.
    pub fn slow(&self, node: usize) -> Result<&'static str> {
        let link = link(node);
        let begin = ["qdisc", "replace", "dev", &link, "root"];
        let netem = ["netem", "delay", "20ms", "10ms", "loss", "2%"];
        if run("tc", &[&begin[..], &netem[..]].concat()).is_ok() {
            return Ok("delay of 20 ms and loss of 2 % (netem)");
        }
        // No netem: a narrow link with a queue delays too, and loses what the queue cannot hold.
        let narrow = ["tbf", "rate", "2mbit", "burst", "8kb", "latency", "60ms"];
        run("tc", &[&begin[..], &narrow[..]].concat())?;
        Ok("2 Mbit/s with a queue of 60 ms (tbf: this kernel has no netem)")
    }

    /// Gives a node's link its speed back.
    pub fn hasten(&self, node: usize) {
        // There may be nothing to remove.
        drop(run("tc", &["qdisc", "del", "dev", &link(node), "root"]));
    }

    fn rule(&self, what: &str, from: usize, to: usize) {
        let number = (RULES_FROM + from * self.size + to).to_string();
        let (source, target) = (self.address(from).to_string(), self.address(to).to_string());
        let rule = ["rule", what, "pref", &number, "from", &source, "to", &target, "blackhole"];
        run("ip", &rule).expect("the hub's rules can be changed");
    }
}

/// The namespaces, seen from outside. Removed when dropped, and what still runs in them killed.
#[derive(Debug)]
struct Outside {
    prefix: String,
}

impl Outside {
    fn make(size: usize) -> Result<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let prefix = format!("{PREFIX}-{}-{}", id(), MADE.fetch_add(1, Ordering::Relaxed));
        // From here on, whatever was made is removed.
        let outside = Self { prefix };
        let hub = outside.hub();
        run("ip", &["netns", "add", &hub])?;
        run("ip", &["-n", &hub, "link", "set", "lo", "up"])?;
        let forward = "echo 1 > /proc/sys/net/ipv4/ip_forward";
        run("ip", &["netns", "exec", &hub, "sh", "-c", forward])?;
        for node in 0..size {
            outside.make_node(node)?;
        }
        Ok(outside)
    }

    fn make_node(&self, node: usize) -> Result<()> {
        let (hub, name, link) = (self.hub(), format!("{}-{node}", self.prefix), link(node));
        let (own, other) = (format!("{}/24", address(node)), format!("10.99.{node}.254"));
        run("ip", &["netns", "add", &name])?;
        let pair = ["type", "veth", "peer", "name", "eth0", "netns", &name];
        run("ip", &[&["-n", &hub, "link", "add", &link], &pair[..]].concat())?;
        run("ip", &["-n", &hub, "addr", "add", &format!("{other}/24"), "dev", &link])?;
        run("ip", &["-n", &hub, "link", "set", &link, "up"])?;
        run("ip", &["-n", &name, "link", "set", "lo", "up"])?;
        run("ip", &["-n", &name, "addr", "add", &own, "dev", "eth0"])?;
        run("ip", &["-n", &name, "link", "set", "eth0", "up"])?;
        run("ip", &["-n", &name, "route", "add", "default", "via", &other])
    }

    fn hub(&self) -> String {
        format!("{}-hub", self.prefix)
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        remove(&self.prefix);
    }
}

fn address(node: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 99, u8::try_from(node).expect("few nodes"), 1)
}

/// A node's link at the hub's end.
fn link(node: usize) -> String {
    format!("node{node}")
}

/// Removes the namespaces of tests whose process is gone, such as by a power cut of the test.
fn remove_leftovers() {
    for name in names(PREFIX) {
        let mut parts = name[PREFIX.len()..].split('-').skip(1);
        let (Some(process), Some(number)) = (parts.next(), parts.next()) else { continue };
        if !Path::new("/proc").join(process).exists() {
            remove(&format!("{PREFIX}-{process}-{number}"));
        }
    }
}

/// Removes the namespaces whose names begin so, and ends what runs in them.
fn remove(prefix: &str) {
    for name in names(&format!("{prefix}-")) {
        // Only what was started in these namespaces is in the list.
        let inside = Command::new("ip").args(["netns", "pids", &name]).output();
        let inside = inside.map(|output| output.stdout).unwrap_or_default();
        for process in String::from_utf8_lossy(&inside).split_whitespace() {
            drop(run("kill", &["-KILL", process]));
        }
        drop(run("ip", &["netns", "del", &name]));
    }
}

fn names(prefix: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(NAMES) else { return Vec::new() };
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(prefix)).collect()
}

fn run(program: &str, args: &[&str]) -> Result<()> {
    let output = Command::new(program).args(args).output();
    let output = output.with_context(|| format!("{program} does not start"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{program} {}: {}", args.join(" "), said.trim());
    }
    Ok(())
}
