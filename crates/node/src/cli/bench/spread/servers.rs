//! The servers of the spread suite: started here, on loopback and free ports, and killed when their
//! [`Running`] is dropped, with their data.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde::Serialize;

use super::super::{connection::Connection, target::Target};

/// Elections, and founding a cluster, take a second or two.
const READY_MAX: Duration = Duration::from_secs(60);
const READY_POLL: Duration = Duration::from_millis(50);
/// Patience with one HTTP request.
const HTTP_MAX: Duration = Duration::from_secs(5);
/// Most bytes of an HTTP answer that are read.
const HTTP_BYTES_MAX: u64 = 16 << 20;
/// Lines of a server's log that are shown when it does not start.
const LOG_LINES_SHOWN: usize = 12;
/// Shard nodes of a cluster; each holds a replica of every group.
const NODES: usize = 3;

/// How a Bitroster is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Shape {
    /// All groups in one process, one replica each.
    Lone { groups: u16 },
    /// Three shard nodes and a router, three replicas of each group.
    Cluster { groups: u16 },
}

impl Shape {
    /// For people.
    pub(super) fn name(self) -> String {
        let (place, groups) = match self {
            Self::Lone { groups } => ("1 process", groups),
            Self::Cluster { groups } => ("3 nodes", groups),
        };
        format!("{place}, {groups} group{}", if groups == 1 { "" } else { "s" })
    }

    /// The same place with one group, that others are compared with.
    pub(super) fn with_one_group(self) -> Self {
        match self {
            Self::Lone { .. } => Self::Lone { groups: 1 },
            Self::Cluster { .. } => Self::Cluster { groups: 1 },
        }
    }
}

/// What is started, and where its data go.
#[derive(Clone, Copy)]
pub(super) struct Programs<'a> {
    pub(super) bitroster: &'a Path,
    pub(super) redis: &'a Path,
    pub(super) folder: &'a Path,
}

/// Servers that answer, until they are dropped.
pub(super) struct Running {
    /// Where clients connect.
    pub(super) target: Target,
    /// Ports on which its nodes hear each other; none of a lone process.
    pub(super) node_ports: Vec<u16>,
    /// The nodes' admin HTTP servers.
    pub(super) admins: Vec<SocketAddr>,
    processes: Vec<Process>,
    data: PathBuf,
}

struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Running {
    /// The processes' numbers.
    pub(super) fn pids(&self) -> Vec<u32> {
        self.processes.iter().map(|process| process.child.id()).collect()
    }

    /// Waits until `is_ready`, or tells why that will not be.
    fn wait(&mut self, mut is_ready: impl FnMut(&Self) -> bool) -> Result<()> {
        let started = Instant::now();
        while !is_ready(self) {
            let late = started.elapsed() > READY_MAX;
            for process in &mut self.processes {
                if late || process.child.try_wait()?.is_some() {
                    let why = if late { "is not ready after a minute" } else { "ended" };
                    bail!("{} {why}; its log ends:\n{}", process.name, process.last_lines());
                }
            }
            thread::sleep(READY_POLL);
        }
        Ok(())
    }
}

impl Process {
    fn last_lines(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for process in &mut self.processes {
            // Nothing can be done about a process that cannot be killed; one that is gone is fine.
            drop(process.child.kill());
        }
        for process in &mut self.processes {
            drop(process.child.wait());
        }
        drop(fs::remove_dir_all(&self.data));
    }
}

impl Programs<'_> {
    /// Starts a Bitroster of that shape and waits until it serves.
    ///
    /// # Errors
    ///
    /// If a process ends or is not ready within a minute, with the end of its log.
    pub(super) fn start(&self, shape: Shape) -> Result<Running> {
        let mut running = match shape {
            Shape::Lone { groups } => self.lone(groups)?,
            Shape::Cluster { groups } => self.cluster(groups)?,
        };
        running.wait(|running| {
            let ready = |admin: &SocketAddr| get(*admin, "/readyz").is_ok();
            running.admins.iter().all(ready)
        })?;
        Ok(running)
    }

    /// Starts a redis-server that keeps nothing on disk.
    ///
    /// # Errors
    ///
    /// As [`Self::start`].
    pub(super) fn start_redis(&self) -> Result<Running> {
        let [port] = free_ports()?;
        let mut running = self.running("redis", port)?;
        let mut command = Command::new(self.redis);
        let port = port.to_string();
        command.args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.arg("--dir").arg(&running.data);
        spawn(&mut running, "redis-server", command)?;
        running.wait(|running| {
            Connection::open(&running.target).is_ok_and(|mut redis| redis.call(&["PING"]).is_ok())
        })?;
        Ok(running)
    }

    fn lone(&self, groups: u16) -> Result<Running> {
        let [port, admin] = free_ports()?;
        let mut running = self.running(&format!("lone-{groups}"), port)?;
        let mut command = Command::new(self.bitroster);
        command.args(["dev", "--port", &port.to_string(), "--admin-port", &admin.to_string()]);
        command.args(["--grpc-port", "0"]);
        command.args(["--groups", &groups.to_string()]).arg("--data-dir").arg(&running.data);
        running.admins.push(local(admin));
        spawn(&mut running, "bitroster", command)?;
        Ok(running)
    }

    fn cluster(&self, groups: u16) -> Result<Running> {
        let ports: [u16; 1 + 2 * (NODES + 1)] = free_ports()?;
        let (clients, ports) = (ports[0], &ports[1..]);
        let (node_ports, admins) = ports.split_at(NODES + 1);
        let mut running = self.running(&format!("cluster-{groups}"), clients)?;
        for at in 0..=NODES {
            let mut command = Command::new(self.bitroster);
            command.arg("server").args(["--cluster-port", &node_ports[at].to_string()]);
            command.args(["--admin-port", &admins[at].to_string(), "--grpc-port", "0"]);
            for seed in &node_ports[..NODES] {
                command.args(["--seed", &local(*seed).to_string()]);
            }
            let name = if at == NODES {
                command.args(["--role", "router", "--port", &clients.to_string()]);
                "router".to_owned()
            } else {
                command.args(["--role", "shard", "--bootstrap-expect", &NODES.to_string()]);
                command.args(["--set", &format!("cluster.groups={groups}")]);
                command.arg("--data-dir").arg(running.data.join(at.to_string()));
                format!("shard-{at}")
            };
            running.admins.push(local(admins[at]));
            running.node_ports.push(node_ports[at]);
            spawn(&mut running, &name, command)?;
        }
        Ok(running)
    }

    /// No process yet, but a folder for its data.
    fn running(&self, name: &str, port: u16) -> Result<Running> {
        let data = self.folder.join(name);
        fs::create_dir_all(&data).with_context(|| format!("cannot make {}", data.display()))?;
        let target = format!("redis://{}", local(port)).parse()?;
        let (node_ports, admins, processes) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Running { target, node_ports, admins, processes, data })
    }
}

fn spawn(running: &mut Running, name: &str, mut command: Command) -> Result<()> {
    let log = running.data.join(format!("{name}.log"));
    let out = File::create(&log)?;
    command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
    let program = command.get_program().to_owned();
    let child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
    running.processes.push(Process { name: name.to_owned(), child, log });
    Ok(())
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Different ports that nobody uses: all are held while they are picked.
fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let mut held = Vec::with_capacity(N);
    for _ in 0..N {
        held.push(TcpListener::bind(local(0))?);
    }
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(&held) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

/// The body of an HTTP answer.
///
/// # Errors
///
/// If there is none within five seconds, or its status is not 200.
pub(super) fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, HTTP_MAX)?;
    stream.set_read_timeout(Some(HTTP_MAX))?;
    stream.set_write_timeout(Some(HTTP_MAX))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(HTTP_BYTES_MAX).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").context("an HTTP answer without an end")?;
    if head.split(' ').nth(1) != Some("200") {
        bail!("{address}{path} answers {head}");
    }
    Ok(body.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn programs<'a>(redis: &'a Path, folder: &'a Path) -> Programs<'a> {
        Programs { bitroster: Path::new("/bin/false"), redis, folder }
    }

    #[test]
    fn ports_picked_together_differ() {
        let mut ports: [u16; 20] = free_ports().unwrap();
        ports.sort_unstable();
        assert!(ports.windows(2).all(|pair| pair[0] < pair[1]), "{ports:?}");
    }

    #[test]
    fn a_server_that_ends_at_once_is_told_with_its_log_and_leaves_no_data() {
        let folder = tempfile::tempdir().unwrap();
        // Not a redis-server: it prints its arguments and ends.
        let programs = programs(Path::new("/bin/echo"), folder.path());
        let error = programs.start_redis().err().unwrap().to_string();
        assert!(error.contains("redis-server ended"), "{error}");
        assert!(error.contains("--appendonly no"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = programs(Path::new("/no/such/redis"), folder.path()).start_redis().err();
        assert!(error.unwrap().to_string().contains("/no/such/redis"));
    }

    #[test]
    fn a_shape_is_compared_with_one_group_in_the_same_place() {
        assert_eq!(Shape::Lone { groups: 4 }.with_one_group().name(), "1 process, 1 group");
        assert_eq!(Shape::Cluster { groups: 3 }.with_one_group().name(), "3 nodes, 1 group");
        assert_eq!(Shape::Cluster { groups: 3 }.name(), "3 nodes, 3 groups");
    }
}
