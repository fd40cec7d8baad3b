//! A cluster of real processes: shard nodes and routers, their faults, and their state.

use std::{
    collections::BTreeMap,
    env, fs,
    net::{Ipv4Addr, SocketAddr},
    ops::Range,
    process::Output,
    thread,
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    Client, Random,
    network::Network,
    node::{Kind, Node, Ports},
    server::binary,
    status::Status,
    wait,
};

/// How often ports may be lost to somebody else.
const STARTS_TRIED: usize = 4;

/// How long a cluster may take to come up or to settle. CI machines stall.
const PATIENCE: Duration = Duration::from_secs(90);

/// Time between two looks at a cluster: each starts a process.
const LOOK_PAUSE: Duration = Duration::from_millis(100);

/// How a cluster is made.
#[derive(Clone, Debug)]
pub struct ClusterBuilder {
    shards: usize,
    shard_kind: Kind,
    routers: usize,
    args: Vec<String>,
    environment: Vec<(Range<usize>, String, String)>,
    network: Option<Network>,
    order: Option<u64>,
    binary: std::path::PathBuf,
}

/// A running cluster. Its processes are killed and its files removed when it is dropped; then, in a
/// test that fails, the ends of the nodes' logs are printed.
#[derive(Debug)]
pub struct Cluster {
    builder: ClusterBuilder,
    nodes: Vec<Node>,
    shards: usize,
    folder: TempDir,
}

impl ClusterBuilder {
    /// Settings for every node, as `table.field=value`.
    #[must_use]
    pub fn set(mut self, settings: &[&str]) -> Self {
        for setting in settings {
            self.args.extend(["--set".to_owned(), (*setting).to_owned()]);
        }
        self
    }

    /// Lets the shard nodes serve clients too, as routers do.
    #[must_use]
    pub fn serving_shards(mut self) -> Self {
        self.shard_kind = Kind::All;
        self
    }

    /// An environment variable for some nodes, by their places.
    #[must_use]
    pub fn environment(mut self, nodes: Range<usize>, name: &str, value: &str) -> Self {
        self.environment.push((nodes, name.to_owned(), value.to_owned()));
        self
    }

    /// Puts each node in a network namespace: shard nodes first, then routers.
    #[must_use]
    pub fn network(mut self, network: &Network) -> Self {
        self.network = Some(network.clone());
        self
    }

    /// Starts the processes in an order drawn from this seed.
    #[must_use]
    pub fn random_order(mut self, seed: u64) -> Self {
        self.order = Some(seed);
        self
    }

    /// Runs this binary.
    #[must_use]
    pub fn binary(mut self, binary: std::path::PathBuf) -> Self {
        self.binary = binary;
        self
    }

    /// Starts all processes and waits until each is ready.
    ///
    /// # Panics
    ///
    /// If they do not come up. Ports that somebody else took are no reason: then others are tried.
    pub fn start(self) -> Cluster {
        for _ in 1..STARTS_TRIED {
            let mut cluster = self.clone().make();
            if cluster.try_start() {
                return cluster;
            }
        }
        let mut cluster = self.make();
        assert!(cluster.try_start(), "a node ended while the cluster came up");
        cluster
    }

    fn make(self) -> Cluster {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (shards, routers) = (self.shards, self.routers);
        let mut cluster = Cluster { builder: self, nodes: Vec::new(), shards, folder };
        for at in 0..shards + routers {
            let kind = if at < shards { cluster.builder.shard_kind } else { Kind::Router };
            cluster.add_node(kind);
        }
        cluster
    }
}

impl Cluster {
    /// A cluster of so many shard nodes and routers, with four groups of three replicas.
    pub fn builder(shards: usize, routers: usize) -> ClusterBuilder {
        let builder = ClusterBuilder {
            shards,
            shard_kind: Kind::Shard,
            routers,
            args: Vec::new(),
            environment: Vec::new(),
            network: None,
            order: None,
            binary: binary(),
        };
        builder.set(&["cluster.groups=4", "log.format=text"])
    }

    /// Makes a node's folder and addresses.
    fn add_node(&mut self, kind: Kind) -> usize {
        let at = self.nodes.len();
        let (address, namespace, ports) = match &self.builder.network {
            None => (Ipv4Addr::LOCALHOST, None, Ports::free()),
            Some(network) => (network.address(at), Some(network.namespace(at)), Ports::default()),
        };
        let name = match kind {
            Kind::Shard | Kind::All => format!("shard-{at}"),
            Kind::Router => format!("router-{at}"),
        };
        let folder = self.folder.path().join(&name);
        fs::create_dir_all(&folder).expect("a node's folder");
        self.nodes.push(Node::new(name, kind, address, ports, namespace, folder));
        at
    }

    /// Starts everything; false if a process ended because somebody else has its port.
    fn try_start(&mut self) -> bool {
        let mut order: Vec<usize> = (0..self.nodes.len()).collect();
        if let Some(seed) = self.builder.order {
            Random::new(seed).shuffle(&mut order);
        }
        for at in order {
            self.start_node(at);
        }
        for at in 0..self.nodes.len() {
            let ready = wait::within(PATIENCE, Duration::from_millis(10), || {
                let ended = self.nodes.iter_mut().position(Node::has_ended);
                if let Some(gone) = ended.map(|at| &self.nodes[at]) {
                    let log = gone.log();
                    assert!(log.contains("in use"), "{} ended:\n{log}", gone.name());
                    return Some(false);
                }
                self.nodes[at].is_ready().then_some(true)
            });
            let name = self.nodes[at].name();
            if !ready.unwrap_or_else(|| panic!("waited {PATIENCE:?} until {name} was ready")) {
                return false;
            }
        }
        true
    }

    /// The shard nodes that the cluster began with.
    pub fn shards(&self) -> Range<usize> {
        0..self.shards
    }

    /// The routers.
    pub fn routers(&self) -> Range<usize> {
        self.shards..self.shards + self.builder.routers
    }

    /// A node, by its place: shard nodes first, then routers, then those that joined.
    pub fn node(&self, at: usize) -> &Node {
        &self.nodes[at]
    }

    /// Where clients may connect.
    pub fn router_addresses(&self) -> Vec<SocketAddr> {
        self.routers().map(|at| self.nodes[at].client_address()).collect()
    }

    /// A connection to the first router.
    ///
    /// # Panics
    ///
    /// If it does not accept it.
    pub fn client(&self) -> Client {
        self.client_of(self.shards)
    }

    /// A connection to a router, or a shard node that serves clients, by its place.
    ///
    /// # Panics
    ///
    /// If it does not accept it.
    pub fn client_of(&self, at: usize) -> Client {
        Client::connect_to(self.nodes[at].client_address(), Duration::from_secs(20))
            .expect("the node accepts connections")
    }

    /// Ends a node as a power cut of the process would: SIGKILL, nothing flushed.
    pub fn kill(&mut self, at: usize) {
        self.nodes[at].kill();
    }

    /// Kills several nodes within microseconds, before one can act on the death of another.
    pub fn kill_all(&mut self, nodes: &[usize]) {
        let running = nodes.iter().filter_map(|at| self.nodes[*at].process_id());
        let numbers: Vec<String> = running.map(|number| number.to_string()).collect();
        let signalled = std::process::Command::new("kill").arg("-KILL").args(&numbers).status();
        assert!(signalled.expect("kill starts").success(), "kill -KILL {numbers:?} failed");
        for at in nodes {
            self.nodes[*at].kill();
        }
    }

    /// Ends a node by SIGTERM; its exit code.
    pub fn terminate(&mut self, at: usize) -> Option<i32> {
        self.nodes[at].terminate()
    }

    /// Stops a node's clockwork: SIGSTOP.
    pub fn pause(&self, at: usize) {
        self.nodes[at].signal("STOP");
    }

    /// Lets a paused node go on: SIGCONT.
    pub fn resume(&self, at: usize) {
        self.nodes[at].signal("CONT");
    }

    /// Starts a node that has ended, on the same data.
    pub fn start_node(&mut self, at: usize) {
        let ClusterBuilder { args, environment, binary, shards, .. } = &self.builder;
        let seeds: Vec<String> = self.nodes[..*shards].iter().map(Node::cluster_address).collect();
        // Only the nodes that the cluster began with found it.
        let founders = (at < *shards).then_some(*shards);
        let environment: Vec<(&str, &str)> = environment
            .iter()
            .filter(|(nodes, ..)| nodes.contains(&at))
            .map(|(_, name, value)| (name.as_str(), value.as_str()))
            .collect();
        self.nodes[at].start(binary, &seeds, founders, args, &environment);
    }

    /// Waits until a node ends by itself; its exit code.
    pub fn wait_for_end(&mut self, at: usize) -> Option<i32> {
        self.nodes[at].wait_for_end()
    }

    /// Removes all that a node has on disk. It must have ended.
    pub fn wipe(&self, at: usize) {
        self.nodes[at].wipe();
    }

    /// Makes one more shard node, starts it, and waits until it is ready; its place.
    pub fn join(&mut self) -> usize {
        let at = self.add_node(self.builder.shard_kind);
        self.start_node(at);
        self.wait_ready(at);
        at
    }

    /// Waits until a node answers that it is ready.
    ///
    /// # Panics
    ///
    /// If it ends, or is not ready after a long time.
    pub fn wait_ready(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let ready = wait::within(PATIENCE, Duration::from_millis(10), || {
            assert!(!node.has_ended(), "{} ended:\n{}", node.name(), node.log());
            node.is_ready().then_some(())
        });
        assert!(ready.is_some(), "waited {PATIENCE:?} until {} was ready", self.nodes[at].name());
    }

    /// Runs `bitroster cluster ARGS` against a node.
    ///
    /// # Panics
    ///
    /// If the program does not start.
    pub fn command(&self, at: usize, args: &[&str]) -> Output {
        let address = self.nodes[at].cluster_address();
        std::process::Command::new(&self.builder.binary)
            .arg("cluster")
            .args(args)
            .args(["--addr", &address])
            .output()
            .expect("bitroster starts")
    }

    /// Runs `bitroster cluster ARGS` against a node and wants it to succeed; what it printed.
    ///
    /// # Panics
    ///
    /// If it fails.
    pub fn change(&self, at: usize, args: &[&str]) -> String {
        let output = self.command(at, args);
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(output.status.success(), "bitroster cluster {args:?} failed: {said}");
        said
    }

    /// The cluster as the first node that answers sees it.
    pub fn status(&self) -> Option<Status> {
        let shards = (0..self.nodes.len()).filter(|at| self.nodes[*at].is_running_shard());
        shards.into_iter().find_map(|at| self.status_from(at))
    }

    /// The cluster as a node sees it, if it answers.
    ///
    /// # Panics
    ///
    /// If what it says cannot be read.
    pub fn status_from(&self, at: usize) -> Option<Status> {
        let output = self.command(at, &["status", "--output", "json", "--timeout-ms", "1000"]);
        let text = String::from_utf8_lossy(&output.stdout);
        // 1 tells that it is degraded: also a status. Where nobody answers nothing is printed.
        (!text.is_empty()).then(|| Status::parse(&text).expect("a status"))
    }

    /// Looks at the cluster until `condition` gives a value.
    ///
    /// # Panics
    ///
    /// After a long time, with the last status.
    pub fn until<T>(&self, what: &str, mut condition: impl FnMut(&Status) -> Option<T>) -> T {
        let mut last = None;
        let found = wait::within(PATIENCE, LOOK_PAUSE, || {
            let status = self.status()?;
            let found = condition(&status);
            last = Some(status);
            found
        });
        found.unwrap_or_else(|| panic!("waited {PATIENCE:?} until {what}; status: {last:#?}"))
    }

    /// Waits until all nodes that run are ready and every replica has its group's log.
    pub fn wait_whole(&mut self) -> Status {
        for at in 0..self.nodes.len() {
            if self.nodes[at].process_id().is_some() {
                self.wait_ready(at);
            }
        }
        self.wait_settled()
    }

    /// Waits until every group has a leader and every replica all but the last entries.
    pub fn wait_settled(&self) -> Status {
        self.until("every replica has everything", |status| {
            status.is_settled().then(|| status.clone())
        })
    }

    /// Waits until every running replica has applied as much as the others of its group.
    ///
    /// What was acknowledged is then on all of them, as long as nothing more is written: who
    /// acknowledged it had applied it.
    pub fn wait_applied(&self) {
        wait::until("all replicas have applied as much", || {
            let running = self.shards().filter(|at| self.nodes[*at].is_running_shard());
            let pages = running.map(|at| Some(applied(&self.nodes[at].admin("/metrics")?.1)));
            let pages = pages.collect::<Option<Vec<_>>>()?;
            let first = pages.first()?;
            (!first.is_empty() && pages.iter().all(|page| page == first)).then_some(())
        });
    }

    /// The cluster's number of a node.
    pub fn id_of(&self, status: &Status, at: usize) -> Option<u64> {
        status.id_of(&self.nodes[at].cluster_address())
    }

    /// The place of the node that leads a group; waits until there is one.
    pub fn leader_of(&self, group: u64) -> usize {
        self.until("the group has a leader", |status| {
            let leader = status.leader(group)?;
            (0..self.nodes.len()).find(|at| self.id_of(status, *at) == Some(leader))
        })
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !thread::panicking() {
            return;
        }
        for node in &self.nodes {
            node.print_log_tail();
        }
        if env::var_os("SUITE_KEEP").is_some() {
            self.folder.disable_cleanup(true);
        }
    }
}

/// The last applied entry of each group on a metrics page.
fn applied(page: &str) -> BTreeMap<String, u64> {
    let head = "bitroster_raft_applied_index{group=\"";
    let rows = page.lines().filter_map(|line| line.strip_prefix(head)?.split_once("\"} "));
    rows.map(|(group, index)| (group.to_owned(), index.parse().expect("an index"))).collect()
}
