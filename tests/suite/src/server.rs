//! Bitroster and redis-server as child processes on loopback.

use std::{
    env, fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use bitroster_resp::Frame;
use tempfile::TempDir;

use crate::{Client, wait};

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
        let port = free_port();
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--appendonly", "no", "--daemonize", "no"])
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server starts; `cargo xtask test` installs it");
        let server = Self { child, port, data_dir: None, args: Vec::new() };
        server.wait_ready();
        server
    }

    /// The port it serves.
    pub fn port(&self) -> u16 {
        self.port
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

    fn start_bitroster(data_dir: TempDir, args: Vec<String>) -> Self {
        let port = free_port();
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(data_dir.path().join("server.log"))
            .expect("the server's log file");
        let child = Command::new(binary())
            .args(["dev", "--port", &port.to_string()])
            .args(["--admin-port", &free_port().to_string()])
            .arg("--data-dir")
            .arg(data_dir.path().join("data"))
            .args(&args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("bitroster starts");
        let mut server = Self { child, port, data_dir: Some(data_dir), args };
        server.wait_ready_or_log();
        server
    }

    fn wait_ready(&self) {
        wait::until("redis-server serves", || self.is_ready().then_some(()));
    }

    fn wait_ready_or_log(&mut self) {
        wait::until("bitroster serves", || {
            if let Some(status) = self.child.try_wait().expect("the child's state") {
                panic!("bitroster ended with {status}:\n{}", self.log());
            }
            self.is_ready().then_some(())
        });
    }

    fn is_ready(&self) -> bool {
        let reply = Client::connect(self.port).and_then(|mut client| client.words("GET ready"));
        matches!(reply, Ok(Frame::Nil | Frame::Bulk(_)))
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
        // The process may have ended by itself, and a destructor must not panic.
        if self.child.kill().is_ok() {
            drop(self.child.wait());
        }
    }
}

/// The binary under test: `SUITE_BINARY`, else the release build of this workspace.
fn binary() -> PathBuf {
    env::var_os("SUITE_BINARY")
        .map_or_else(|| workspace().join("target/release/bitroster"), PathBuf::from)
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

/// A port that was free a moment ago.
///
/// # Panics
///
/// If loopback has none.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}
