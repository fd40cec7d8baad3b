//! A container engine of a test's own, to run what is shipped as containers.
//!
//! Debian's dockerd, unpacked below `target` by `cargo xtask test`, runs in a network, with mounts
//! and among processes that only the test sees, and keeps images, volumes and its socket in a
//! temporary folder. When the test ends, however it ends, the kernel ends all processes in there,
//! and with them go mounts and network; nothing of the machine's own was touched. What stays are
//! empty cgroups, which are removed.
//!
//! The test runs twice: outside, where it makes the namespaces and starts itself again in them; and
//! inside, as their first process, where published ports are on loopback.

use std::{
    env, fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    scenario::say,
    server::{binary, workspace},
    wait,
};

/// Tells the test that it runs inside: the folder of its own.
const INSIDE: &str = "SUITE_ENGINE";

/// Where Debian's packages were unpacked.
const DEBIAN: &str = "target/debian";

/// Where the kernel shows control groups.
const CGROUPS: &str = "/sys/fs/cgroup";

/// How long the engine may take to answer.
const STARTUP: Duration = Duration::from_secs(60);

/// How long containers may take to become healthy. CI machines stall.
const PATIENCE: Duration = Duration::from_secs(120);

/// Lines of a log that are printed when something is wrong.
const TAIL_LINES: usize = 30;

/// A running engine, seen from inside.
#[derive(Debug)]
pub struct Engine {
    folder: PathBuf,
    process: Child,
}

/// A folder as a person has it who unpacked a release, and the containers of its compose file.
#[derive(Debug)]
pub struct Project<'engine> {
    engine: &'engine Engine,
    folder: TempDir,
    files: Vec<String>,
    environment: Vec<(String, String)>,
}

/// Runs `body` with a container engine of its own. `test` is the calling test's name, in full.
///
/// Where no engine can be started, says so on stderr and returns without running it.
///
/// # Panics
///
/// If `body` does.
pub fn inside(test: &str, body: impl FnOnce(&Engine)) {
    if let Some(folder) = env::var_os(INSIDE) {
        run_inside(Path::new(&folder), body);
        return;
    }
    let not_run = |why: &str| say(&format!("NOT RUN: {test}: no container engine here: {why}"));
    if let Err(why) = is_possible() {
        return not_run(&format!("{why:#}"));
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = env::current_exe().expect("the test knows its program");
    let status = namespaces()
        .arg(program)
        .args(["--exact", test, "--nocapture", "--test-threads", "1"])
        .env(INSIDE, folder.path())
        .status()
        .expect("setpriv starts; it is part of util-linux");
    remove_cgroups(&cgroup(folder.path()));
    if let Ok(why) = fs::read_to_string(folder.path().join("not-run")) {
        return not_run(&why);
    }
    assert!(status.success(), "beside its engine the test ended with {status}");
    assert!(folder.path().join("done").exists(), "no test of the name {test} ran inside");
}

/// Begins a command that runs in namespaces of its own, which end with it, as it does with us.
fn namespaces() -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "unshare", "--net", "--mount", "--pid", "--mount-proc"]);
    command.args(["--fork", "--kill-child=KILL"]);
    command
}

/// Why no engine can be started here.
fn is_possible() -> Result<()> {
    run(namespaces().arg("true")).context("no namespaces")?;
    for program in ["dockerd", "containerd", "runc"] {
        run(debian(program).arg("--version")).context("`cargo xtask test` unpacks it")?;
    }
    Ok(())
}

fn run_inside(folder: &Path, body: impl FnOnce(&Engine)) {
    match Engine::start(folder) {
        Ok(engine) => {
            body(&engine);
            fs::write(folder.join("done"), b"").expect("a file");
        }
        Err(why) => fs::write(folder.join("not-run"), format!("{why:#}")).expect("a file"),
    }
}

impl Engine {
    fn start(folder: &Path) -> Result<Self> {
        run(Command::new("ip").args(["link", "set", "lo", "up"]))?;
        // Where the engine would write though it is told other places. Only the test sees these.
        for place in ["/run", "/opt"] {
            run(Command::new("mount").args(["--types", "tmpfs", "tmpfs", place]))?;
        }
        let settings = json!({"deprecated-key-path": folder.join("key")});
        fs::write(folder.join("settings"), settings.to_string())?;
        let log = fs::File::create(folder.join("log"))?;
        let process = debian("dockerd")
            .arg("--data-root")
            .arg(folder.join("data"))
            .arg("--exec-root")
            .arg(folder.join("exec"))
            .arg("--pidfile")
            .arg(folder.join("pid"))
            .arg("--config-file")
            .arg(folder.join("settings"))
            .args(["--host", &socket(folder), "--cgroup-parent", &cgroup(folder)])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("dockerd does not start")?;
        let mut engine = Self { folder: folder.to_owned(), process };
        let answers = wait::within(STARTUP, Duration::from_millis(50), || {
            let ended = engine.process.try_wait().ok().flatten().is_some();
            let version = || run(engine.command("docker").arg("version"));
            if ended { Some(false) } else { version().ok().map(|_| true) }
        });
        ensure!(answers == Some(true), "dockerd does not serve:\n{}", engine.log_tail());
        Ok(engine)
    }

    fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        tail(&log)
    }

    /// A client of this engine.
    fn command(&self, program: &str) -> Command {
        let mut command = debian(program);
        command.env("DOCKER_HOST", socket(&self.folder)).env("DOCKER_CONFIG", &self.folder);
        // The classic builder: what was unpacked has no other.
        command.env("DOCKER_BUILDKIT", "0").env("COMPOSE_DOCKER_CLI_BUILD", "0");
        command
    }

    /// Runs `docker ARGS` and wants it to succeed; what it printed.
    ///
    /// # Panics
    ///
    /// If it fails.
    pub fn docker(&self, args: &[&str]) -> String {
        let output = run(self.command("docker").args(args));
        text(&output.unwrap_or_else(|error| panic!("{error:#}")).stdout)
    }

    /// Makes an image of programs of this machine and the libraries that they need, as a stand-in
    /// for one that cannot be had here. `folder`, owned by the user 65534, is for its data.
    ///
    /// # Panics
    ///
    /// If it cannot be made.
    pub fn image_of(&self, name: &str, program: &Path, folder: &str) {
        let context = tempfile::tempdir().expect("a temporary folder");
        let root = context.path().join("root");
        let libraries = run(Command::new("ldd").arg(program)).expect("ldd tells the libraries");
        let libraries = text(&libraries.stdout);
        for library in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
            copy(Path::new(library), &root.join(&library[1..]));
        }
        let file = program.file_name().expect("a program's name").to_str().expect("in UTF-8");
        copy(program, &root.join("bin").join(file));
        fs::create_dir_all(context.path().join("data")).expect("a folder");
        let steps = [
            "FROM scratch".to_owned(),
            "COPY root /".to_owned(),
            format!("COPY --chown=65534:65534 data {folder}"),
            "USER 65534:65534".to_owned(),
            format!("ENTRYPOINT [\"/bin/{file}\"]"),
        ];
        fs::write(context.path().join("Dockerfile"), steps.join("\n")).expect("a file");
        let context = context.path().to_str().expect("a path in UTF-8");
        self.docker(&["build", "--quiet", "--tag", name, context]);
    }

    /// Unpacks what ships into a folder, with the static binary under test at `dist`.
    ///
    /// # Panics
    ///
    /// If the binary under test is not static.
    pub fn project(&self, files: &[&str]) -> Project<'_> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let shipped = ["docker-compose.yml", ".dockerignore", "deploy"];
        let shipped = shipped.map(|name| workspace().join(name));
        run(Command::new("cp").arg("--recursive").args(shipped).arg(folder.path())).expect("cp");
        let binary = binary();
        let headers = run(Command::new("readelf").arg("--program-headers").arg(&binary));
        let headers = text(&headers.expect("readelf starts; it is part of binutils").stdout);
        let is_static = !headers.contains("INTERP");
        assert!(is_static, "{} is not static: `cargo xtask test` makes it so", binary.display());
        copy(&binary, &folder.path().join("dist/bitroster"));
        let files = files.iter().map(|file| (*file).to_owned()).collect();
        let environment = vec![
            ("BITROSTER_BUILD_TARGET".to_owned(), "prebuilt".to_owned()),
            // Other tests of this machine use other names, should two engines ever be one.
            ("COMPOSE_PROJECT_NAME".to_owned(), "suite".to_owned()),
        ];
        Project { engine: self, folder, files, environment }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            say(&format!("--- the engine's log:\n{}", self.log_tail()));
        }
        // The namespaces' end would end it too.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Project<'_> {
    /// Where it was unpacked.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// An environment variable for its compose files.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs `docker-compose ARGS` and wants it to succeed; what it printed.
    ///
    /// # Panics
    ///
    /// If it fails.
    pub fn compose(&self, args: &[&str]) -> String {
        let mut command = self.engine.command("docker-compose");
        for file in &self.files {
            command.args(["--file", file]);
        }
        command.args(["--ansi", "never"]).args(args).current_dir(self.folder());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let output = run(&mut command).unwrap_or_else(|error| panic!("{error:#}"));
        text(&output.stdout)
    }

    /// The container of a service.
    ///
    /// # Panics
    ///
    /// If it has none.
    pub fn container(&self, service: &str) -> String {
        let number = self.compose(&["ps", "--quiet", service]).trim().to_owned();
        assert!(!number.is_empty(), "{service} has no container");
        number
    }

    /// Waits until the engine calls the services' containers healthy.
    ///
    /// # Panics
    ///
    /// With their logs, if they are not after a long time.
    pub fn wait_healthy(&self, services: &[&str]) {
        for service in services {
            let container = self.container(service);
            let healthy = wait::within(PATIENCE, Duration::from_millis(100), || {
                let state = self.engine.docker(&["inspect", &container]);
                let state: Value = serde_json::from_str(&state).expect("docker tells JSON");
                (state[0]["State"]["Health"]["Status"] == "healthy").then_some(())
            });
            if healthy.is_none() {
                say(&tail(&self.compose(&["logs", "--no-color", service])));
                panic!("waited {PATIENCE:?} until {service} was healthy");
            }
        }
    }

    /// The name of the network that its containers share.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn network(&self) -> String {
        let names = self.engine.docker(&["network", "ls", "--format", "{{.Name}}"]);
        let name = names.lines().find(|name| name.starts_with("suite"));
        name.expect("the project has a network").to_owned()
    }
}

/// An address on the namespaces' loopback, where ports are published.
pub fn published(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// A program of Debian's, where it was unpacked, else where the system has it.
pub fn debian(program: &str) -> Command {
    let folder = workspace().join(DEBIAN).join("usr");
    let system = env::var_os("PATH").unwrap_or_default();
    let folders = [folder.join("bin"), folder.join("sbin")];
    let path = env::join_paths(folders.into_iter().chain(env::split_paths(&system)));
    let path = path.expect("folders without colons");
    let found = env::split_paths(&path).map(|folder| folder.join(program)).find(|it| it.exists());
    let mut command = Command::new(found.unwrap_or_else(|| program.into()));
    command.env("PATH", path);
    command
}

/// Runs a command to its end; an error with all it said unless it succeeds.
pub(crate) fn run(command: &mut Command) -> Result<Output> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("{command:?} does not start"))?;
    if !output.status.success() {
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        bail!("{command:?} ended with {}:\n{}", output.status, tail(said.trim()));
    }
    Ok(output)
}

fn socket(folder: &Path) -> String {
    format!("unix://{}", folder.join("socket").display())
}

/// The control group of an engine's containers: no other has this name.
fn cgroup(folder: &Path) -> String {
    let name = folder.file_name().unwrap_or_default().to_string_lossy().replace('.', "");
    format!("/bitroster-suite-{name}")
}

/// Removes the control groups of containers that are gone, inner ones first.
fn remove_cgroups(name: &str) {
    let name = &name[1..];
    let hierarchies = fs::read_dir(CGROUPS).into_iter().flatten().flatten();
    let hierarchies = hierarchies.map(|entry| entry.path()).chain([CGROUPS.into()]);
    for group in hierarchies.map(|hierarchy| hierarchy.join(name)).filter(|group| group.is_dir()) {
        let inner = fs::read_dir(&group).into_iter().flatten().flatten();
        for group in inner.map(|entry| entry.path()).filter(|path| path.is_dir()).chain([group]) {
            // The kernel lets go of them a moment after their last process.
            let gone = wait::within(Duration::from_secs(10), Duration::from_millis(10), || {
                (fs::remove_dir(&group).is_ok() || !group.exists()).then_some(())
            });
            assert!(gone.is_some(), "{} stays: it has processes", group.display());
        }
    }
}

fn copy(from: &Path, to: &Path) {
    let folder = to.parent().expect("a file lies in a folder");
    fs::create_dir_all(folder).expect("a folder");
    fs::copy(from, to).unwrap_or_else(|error| panic!("copy {}: {error}", from.display()));
    fs::set_permissions(to, fs::Permissions::from_mode(0o755)).expect("permissions");
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
