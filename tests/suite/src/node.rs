//! One process of a cluster.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::{
    http,
    server::{free_port, grpc_address},
    wait,
};

/// How long an answer of the admin server may take.
const ADMIN_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a node may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(60);

/// Lines of a log that are printed when a test fails.
pub(crate) const TAIL_LINES: usize = 40;

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Keeps data.
    Shard,
    /// Keeps data and serves clients.
    All,
    /// Serves clients.
    Router,
}

/// Where a node listens.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// For clients.
    pub client: u16,
    /// For admin HTTP.
    pub admin: u16,
    /// For nodes.
    pub cluster: u16,
}

/// A node: its process, while it runs, and what it keeps when it does not. Killed when dropped.
#[derive(Debug)]
pub struct Node {
    name: String,
    kind: Kind,
    address: Ipv4Addr,
    ports: Ports,
    namespace: Option<String>,
    folder: PathBuf,
    process: Option<Child>,
}

impl Default for Ports {
    fn default() -> Self {
        Self { client: 6379, admin: 9380, cluster: 7380 }
    }
}

impl Ports {
    /// Ports that were free a moment ago.
    pub(crate) fn free() -> Self {
        Self { client: free_port(), admin: free_port(), cluster: free_port() }
    }
}

impl Node {
    pub(crate) fn new(
        name: String,
        kind: Kind,
        address: Ipv4Addr,
        ports: Ports,
        namespace: Option<String>,
        folder: PathBuf,
    ) -> Self {
        Self { name, kind, address, ports, namespace, folder, process: None }
    }

    /// Its name in this test.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where clients connect, if it serves any.
    pub fn client_address(&self) -> SocketAddr {
        (self.address, self.ports.client).into()
    }

    /// Where its gRPC API listens, once its banner says.
    pub fn grpc_address(&self) -> Option<SocketAddr> {
        grpc_address(&self.folder.join("banner"))
    }

    /// Where its admin server listens.
    pub fn admin_address(&self) -> SocketAddr {
        (self.address, self.ports.admin).into()
    }

    /// Where nodes connect.
    pub fn cluster_address(&self) -> String {
        format!("{}:{}", self.address, self.ports.cluster)
    }

    /// Where its data lies.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The process's number, while it runs.
    pub fn process_id(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// The whole command line of this node, but for what the cluster adds.
    fn command(&self, binary: &Path) -> Command {
        // The kernel ends the node if this test's thread ends without doing so.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if let Some(namespace) = &self.namespace {
            command.args(["ip", "netns", "exec", namespace]);
        }
        command.arg(binary).args(["server", "--role"]);
        match self.kind {
            Kind::Shard => command.arg("shard").arg("--data-dir").arg(self.data_dir()),
            Kind::All => command.arg("all").arg("--data-dir").arg(self.data_dir()),
            Kind::Router => command.arg("router"),
        };
        let Ports { client, admin, cluster } = self.ports;
        let address = self.address;
        command
            .args(["--port", &client.to_string(), "--admin-port", &admin.to_string()])
            .args(["--cluster-port", &cluster.to_string(), "--grpc-port", "0", "--insecure"])
            .args(["--set", &format!("server.bind={address}")])
            .args(["--set", &format!("server.admin_bind={address}")])
            .args(["--set", &format!("server.grpc_bind={address}")])
            .args(["--set", &format!("cluster.bind={address}")])
            .args(["--set", &format!("cluster.advertise={}", self.cluster_address())]);
        command
    }

    /// Starts the process. Only a thread that lives as long as the cluster may do so: the process
    /// ends with it.
    pub(crate) fn start(
        &mut self,
        binary: &Path,
        seeds: &[String],
        founders: Option<usize>,
        args: &[String],
        environment: &[(&str, &str)],
    ) {
        assert!(self.process.is_none(), "{} runs already", self.name);
        let mut command = self.command(binary);
        for seed in seeds {
            command.args(["--seed", seed]);
        }
        if let (Kind::Shard | Kind::All, Some(founders)) = (self.kind, founders) {
            command.args(["--bootstrap-expect", &founders.to_string()]);
        }
        let log = fs::OpenOptions::new().create(true).append(true).open(self.folder.join("log"));
        command
            .args(args)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(fs::File::create(self.folder.join("banner")).expect("a file for the banner"))
            .stderr(log.expect("the node's log file"));
        self.process = Some(command.spawn().expect("setpriv starts; it is part of util-linux"));
    }

    /// Whether its admin server says that it is ready.
    pub fn is_ready(&self) -> bool {
        self.process.is_some() && self.admin("/readyz").is_some_and(|answer| answer.0 == 200)
    }

    /// Asks the admin server: status and body.
    pub fn admin(&self, path: &str) -> Option<(u16, String)> {
        ask_admin((self.address, self.ports.admin).into(), path)
    }

    /// Whether it was started and has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.process
            .as_mut()
            .is_some_and(|process| process.try_wait().expect("the child's state").is_some())
    }

    pub(crate) fn is_running_shard(&self) -> bool {
        self.kind != Kind::Router && self.process.is_some()
    }

    /// Kills the process, if it runs.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("kill");
            process.wait().expect("wait for the killed node");
        }
    }

    /// Ends the process by SIGTERM; its exit code.
    pub(crate) fn terminate(&mut self) -> Option<i32> {
        self.signal("TERM");
        let mut process = self.process.take().expect("the node runs");
        let ended = wait::within(GRACE, Duration::from_millis(5), || {
            process.try_wait().expect("the child's state")
        });
        if ended.is_none() {
            drop(process.kill());
            drop(process.wait());
        }
        let status = ended.unwrap_or_else(|| panic!("{} ignores SIGTERM", self.name));
        status.code()
    }

    /// Waits until the process ends by itself; its exit code.
    ///
    /// # Panics
    ///
    /// If it does not run, or does not end.
    pub fn wait_for_end(&mut self) -> Option<i32> {
        let process = self.process.as_mut().expect("the node was started");
        let ended = wait::until("the node ends", || process.try_wait().expect("the child's state"));
        self.process = None;
        ended.code()
    }

    pub(crate) fn signal(&self, signal: &str) {
        let Some(process) = self.process_id() else { panic!("{} does not run", self.name) };
        let signalled = Command::new("kill")
            .args([&format!("-{signal}"), &process.to_string()])
            .status()
            .expect("kill starts");
        assert!(signalled.success(), "kill -{signal} {} failed", self.name);
    }

    pub(crate) fn wipe(&self) {
        assert!(self.process.is_none(), "{} still runs", self.name);
        fs::remove_dir_all(self.data_dir()).expect("the node's data can be removed");
    }

    /// What it has logged, over all its runs.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    #[expect(clippy::print_stderr, reason = "the log must be seen when a test fails")]
    pub(crate) fn print_log_tail(&self) {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let state = if self.process.is_some() { "was running" } else { "was not running" };
        eprintln!("--- {} ({state}, {}):", self.name, self.cluster_address());
        for line in &lines[lines.len().saturating_sub(TAIL_LINES)..] {
            eprintln!("{line}");
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It may have ended by itself, and a destructor must not panic.
            if process.kill().is_ok() {
                drop(process.wait());
            }
        }
    }
}

/// Asks an admin server: status and body.
pub(crate) fn ask_admin(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    http::get_within(address, path, ADMIN_TIMEOUT)
}
