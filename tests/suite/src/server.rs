//! Bitroster and redis-server as child processes on loopback.

use std::{
    env, fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

use bitroster_resp::Frame;
use tempfile::TempDir;

use crate::{
    Client,
    node::{TAIL_LINES, ask_admin},
    scenario::say,
    wait,
};

/// How often a port may be lost to somebody else.
const PORTS_TRIED: usize = 8;

/// A server process. Killed when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    port: u16,
    data_dir: Option<TempDir>,
    args: Vec<String>,
}

impl Server {
    /// Starts `bitroster dev` with a fresh data directory and waits until it serves.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn bitroster(extra_args: &[&str]) -> Self {
        let data_dir = tempfile::tempdir().expect("a temporary folder");
        let args = extra_args.iter().map(|arg| (*arg).to_owned()).collect();
        Self::start_bitroster(data_dir, args)
    }

    /// Starts Debian's redis-server without persistence and waits until it serves.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn redis() -> Self {
        on_a_free_port(|port| {
            // A folder of its own, or a snapshot that another one left would be loaded.
            let data_dir = tempfile::tempdir().expect("a temporary folder");
            let child = Command::new("redis-server")
                .arg("--dir")
                .arg(data_dir.path())
                .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
                .args(["--appendonly", "no", "--daemonize", "no"])
                .stdout(Stdio::null())
                .spawn()
                .expect("redis-server starts; `cargo xtask test` installs it");
            Self { child, port, data_dir: Some(data_dir), args: Vec::new() }
        })
    }

    /// The port it serves.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The port at which Bitroster serves gRPC clients, from its banner.
    ///
    /// # Panics
    ///
    /// If the banner does not tell of it.
    pub fn grpc_port(&self) -> u16 {
        let folder = self.data_dir.as_ref().expect("a Bitroster with a data directory").path();
        let banner = fs::read_to_string(folder.join("banner")).expect("the banner's file");
        let line = banner.lines().find(|line| line.trim_start().starts_with("grpc "));
        let (_, address) = line.expect("a line for gRPC").split_once("127.0.0.1:").expect("a port");
        let (port, _) = address.split_once(' ').expect("a port");
        port.parse().expect("a port")
    }

    /// A new connection.
    ///
    /// # Panics
    ///
    /// If the server does not accept it.
    pub fn client(&self) -> Client {
        Client::connect(self.port).expect("the server accepts connections")
    }

    /// Ends the process as a power cut of the process would: SIGKILL, nothing flushed.
    ///
    /// # Panics
    ///
    /// If it cannot be killed.
    pub fn kill(&mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait for the killed server");
    }

    /// Kills the process if it still runs, and starts Bitroster again on the same data.
    ///
    /// # Panics
    ///
    /// If it does not start.
    #[must_use]
    pub fn restart(mut self) -> Self {
        self.kill();
        let data_dir = self.data_dir.take().expect("a Bitroster with a data directory");
        Self::start_bitroster(data_dir, std::mem::take(&mut self.args))
    }

    /// Ends Bitroster by SIGTERM and starts it again on the same data; the exit code.
    ///
    /// # Panics
    ///
    /// If it cannot be signalled or does not start.
    #[must_use]
    pub fn terminate_and_restart(mut self) -> (Option<i32>, Self) {
        let signalled = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status()
            .expect("kill starts");
        assert!(signalled.success(), "kill -TERM failed");
        let code = self.child.wait().expect("wait for the terminated server").code();
        (code, self.restart())
    }

    /// Sends the process a signal, such as `HUP`.
    ///
    /// # Panics
    ///
    /// If it cannot be signalled.
    pub fn signal(&self, name: &str) {
        let signalled = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status()
            .expect("kill starts");
        assert!(signalled.success(), "kill -{name} failed");
    }

    /// Resident memory in bytes, as the kernel counts it.
    ///
    /// # Panics
    ///
    /// If the process is gone.
    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .expect("the process runs");
        let kib = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB"))
            .expect("the kernel tells VmRSS");
        kib.trim().parse::<u64>().expect("a number") << 10
    }

    /// Whether the process still runs.
    ///
    /// # Panics
    ///
    /// If its state cannot be read.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("the child's state").is_none()
    }

    /// Bitroster chooses a port itself and tells it in its banner, once it serves.
    fn start_bitroster(data_dir: TempDir, args: Vec<String>) -> Self {
        let banner_path = data_dir.path().join("banner");
        let mut log = fs::OpenOptions::new();
        let log = log.create(true).append(true).open(data_dir.path().join("server.log"));
        let log = log.expect("the server's log file");
        let child = Command::new(binary())
            .args(["dev", "--port", "0", "--grpc-port", "0", "--admin-port", "0"])
            .arg("--data-dir")
            .arg(data_dir.path().join("data"))
            .args(&args)
            .stdin(Stdio::null())
            .stdout(fs::File::create(&banner_path).expect("a file for the banner"))
            .stderr(log)
            .spawn()
            .expect("bitroster starts; `cargo xtask test` builds it");
        let mut server = Self { child, port: 0, data_dir: Some(data_dir), args };
        server.port = wait::until("bitroster serves", || {
            if let Some(status) = server.child.try_wait().expect("the child's state") {
                panic!("bitroster ended with {status}:\n{}", server.log());
            }
            let banner = fs::read_to_string(&banner_path).expect("the banner's file");
            let (_, address) = banner.split_once("127.0.0.1:")?;
            let (port, _) = address.split_once(' ')?;
            Some(port.parse().expect("a port"))
        });
        server
    }

    /// Waits until this very process serves. False if it has ended: somebody else took the port.
    fn serves(&mut self) -> bool {
        let process = u64::from(self.child.id());
        wait::until("the server serves", || {
            if self.child.try_wait().expect("the child's state").is_some() {
                return Some(false);
            }
            let mut client = Client::connect(self.port).ok()?;
            let ready = client.words("GET ready").ok()?;
            let by = client.info("server", "process_id").ok()?;
            (ready == Frame::Nil && by == process).then_some(true)
        })
    }

    /// Where Bitroster's gRPC API listens, as its banner says.
    ///
    /// # Panics
    ///
    /// If it does not say.
    pub fn grpc_address(&self) -> SocketAddr {
        let folder = self.data_dir.as_ref().expect("a data directory").path();
        grpc_address(&folder.join("banner")).expect("the banner names the gRPC address")
    }

    /// Where Bitroster's admin server listens, as its banner says.
    ///
    /// # Panics
    ///
    /// If it does not say.
    pub fn admin_address(&self) -> SocketAddr {
        let folder = self.data_dir.as_ref().expect("a data directory").path();
        let banner = fs::read_to_string(folder.join("banner")).expect("the banner's file");
        let line = banner.lines().find_map(|line| line.trim().strip_prefix("admin"));
        let address = line.and_then(|line| line.trim().strip_prefix("http://"));
        let address = address.and_then(|address| address.split('/').next());
        address.and_then(|it| it.parse().ok()).expect("the banner names the admin address")
    }

    /// What Bitroster's admin server answers to a scrape; `None` if it does not.
    ///
    /// # Panics
    ///
    /// If the banner does not say where it listens.
    pub fn metrics(&self) -> Option<String> {
        let (status, text) = ask_admin(self.admin_address(), "/metrics")?;
        (status == 200).then_some(text)
    }

    /// What Bitroster has logged.
    ///
    /// # Panics
    ///
    /// If the log cannot be read.
    pub fn log(&self) -> String {
        let folder = self.data_dir.as_ref().map_or(Path::new("/nonexistent"), TempDir::path);
        fs::read_to_string(folder.join("server.log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            say(&lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n"));
        }
        // The process may have ended by itself, and a destructor must not panic.
        if self.child.kill().is_ok() {
            drop(self.child.wait());
        }
    }
}

/// The address that a banner names for gRPC.
pub(crate) fn grpc_address(banner: &Path) -> Option<SocketAddr> {
    let banner = fs::read_to_string(banner).ok()?;
    let line = banner.lines().find_map(|line| line.trim().strip_prefix("grpc"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The binary under test: `SUITE_BINARY`, else what `cargo xtask test` has built.
pub fn binary() -> PathBuf {
    env::var_os("SUITE_BINARY")
        .map_or_else(|| workspace().join("target/suite/bitroster"), PathBuf::from)
}

/// The workspace's top folder.
///
/// # Panics
///
/// Never, in a checkout.
pub fn workspace() -> PathBuf {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    top.expect("tests/suite lies two folders deep").to_owned()
}

/// Starts a server on a port that is free, and on another one if somebody was quicker.
fn on_a_free_port(mut start: impl FnMut(u16) -> Server) -> Server {
    for _ in 0..PORTS_TRIED {
        let mut server = start(free_port());
        if server.serves() {
            return server;
        }
    }
    panic!("none of {PORTS_TRIED} free ports stayed free");
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}
