//! What the tests of real clients, of Prometheus and of a container engine need.
//!
//! Debian packages come by `apt-get` (as root, where they are missing), Python and Node packages
//! go into folders below `target`. Nothing is installed outside Debian's packages and `target`.
//!
//! What would start a service of its own on the machine is not installed but unpacked: the engine
//! and Prometheus are only run by tests, in namespaces and on ports of the tests' own.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::{
    root,
    verify::{run_command, run_in},
};

/// A program the tests start, how it is asked for its version, and the Debian package that has it.
const PROGRAMS: &[(&str, &str, &str)] = &[
    ("redis-server", "--version", "redis-server"),
    ("redis-cli", "--version", "redis-tools"),
    ("redis-benchmark", "--version", "redis-tools"),
    ("prometheus-redis-exporter", "--version", "prometheus-redis-exporter"),
    ("docker-compose", "--version", "docker-compose"),
    ("python3", "--version", "python3"),
    ("node", "--version", "nodejs"),
    ("npm", "--version", "npm"),
    ("chromium", "--version", "chromium"),
    ("ip", "-V", "iproute2"),
    ("tc", "-V", "iproute2"),
    ("iptables", "--version", "iptables"),
    ("setpriv", "--version", "util-linux"),
    ("unshare", "--version", "util-linux"),
];

/// Debian packages that are unpacked below [`UNPACKED`], and a program of each.
const ARCHIVES: &[(&str, &str)] = &[
    ("docker.io", "usr/sbin/dockerd"),
    ("containerd", "usr/bin/containerd"),
    ("runc", "usr/sbin/runc"),
    ("prometheus", "usr/bin/prometheus"),
];

/// Where they lie.
const UNPACKED: &str = "target/debian";

/// What the unpacked programs are linked to and a small system may lack.
const LIBRARIES: &[&str] = &["libdevmapper1.02.1", "libseccomp2", "libsystemd0"];

/// Installs what is missing.
pub(crate) fn run() -> Result<()> {
    install_programs()?;
    unpack_archives()?;
    install_python()?;
    install_node()
}

fn install_programs() -> Result<()> {
    let missing: Vec<&str> = PROGRAMS
        .iter()
        .filter(|(program, version, _)| !succeeds(Command::new(program).arg(version)))
        .map(|(.., package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !succeeds(Command::new("apt-get").arg("--version")) {
        bail!("the tests need these Debian packages or their like: {}", missing.join(" "));
    }
    run_command(Command::new("apt-get").args(["update", "--quiet"]))?;
    install_packages(&missing)
}

fn install_packages(packages: &[&str]) -> Result<()> {
    run_command(
        Command::new("apt-get")
            .env("DEBIAN_FRONTEND", "noninteractive")
            // A package's own service must not start: tests start their own on free ports.
            .env("RUNLEVEL", "1")
            .args(["install", "--quiet", "--yes", "--no-install-recommends"])
            .args(packages),
    )
}

/// Unpacks the engine and Prometheus. Where that cannot be done, the tests that need them say so.
#[expect(clippy::print_stderr, reason = "says what will not be tested")]
fn unpack_archives() -> Result<()> {
    let folder = root()?.join(UNPACKED);
    if ARCHIVES.iter().all(|(_, program)| runs(&folder.join(program))) {
        return Ok(());
    }
    if !succeeds(Command::new("apt-get").arg("--version")) {
        eprintln!("xtask: no Debian packages here: container engine and Prometheus are not tested");
        return Ok(());
    }
    let archives = folder.join("archives");
    std::fs::create_dir_all(&archives)?;
    run_command(Command::new("apt-get").args(["update", "--quiet"]))?;
    let names = ARCHIVES.iter().map(|(package, _)| *package);
    run_in(&archives, Command::new("apt-get").args(["download", "--quiet"]).args(names))?;
    for archive in std::fs::read_dir(&archives)? {
        run_command(Command::new("dpkg").arg("-x").arg(archive?.path()).arg(&folder))?;
    }
    std::fs::remove_dir_all(&archives)?;
    if !ARCHIVES.iter().all(|(_, program)| runs(&folder.join(program))) {
        install_packages(LIBRARIES)?;
    }
    Ok(())
}

fn runs(program: &Path) -> bool {
    succeeds(Command::new(program).arg("--version"))
}

/// A virtual environment below `target` with the Python packages that `requirements.txt` pins.
fn install_python() -> Result<()> {
    let wanted = Path::new("tests/clients/python/requirements.txt");
    let environment = Path::new("target/clients/python");
    if is_installed(wanted, environment)? {
        return Ok(());
    }
    let python = environment.join("bin/python");
    if !succeeds(Command::new("python3").args(["-m", "venv", "--clear"]).arg(environment)) {
        run_command(Command::new("apt-get").args(["install", "--yes", "python3-venv"]))?;
        run_command(Command::new("python3").args(["-m", "venv", "--clear"]).arg(environment))?;
    }
    run_command(
        Command::new(root()?.join(python))
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"])
            .arg(wanted),
    )?;
    mark_installed(wanted, environment)
}

/// The Node clients that `package.json` pins, below `target`.
fn install_node() -> Result<()> {
    let wanted = Path::new("tests/clients/node/package.json");
    let folder = Path::new("target/clients/node");
    if is_installed(wanted, folder)? {
        return Ok(());
    }
    let root = root()?;
    std::fs::create_dir_all(root.join(folder))?;
    std::fs::copy(root.join(wanted), root.join(folder).join("package.json"))?;
    run_command(
        Command::new("npm")
            .args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"])
            .arg(folder),
    )?;
    mark_installed(wanted, folder)
}

/// Whether `folder` was installed from `wanted` as it is now.
fn is_installed(wanted: &Path, folder: &Path) -> Result<bool> {
    let root = root()?;
    let wanted =
        std::fs::read(root.join(wanted)).with_context(|| format!("read {}", wanted.display()))?;
    Ok(std::fs::read(root.join(folder).join(".installed")).is_ok_and(|found| found == wanted))
}

fn mark_installed(wanted: &Path, folder: &Path) -> Result<()> {
    let root = root()?;
    std::fs::copy(root.join(wanted), root.join(folder).join(".installed"))?;
    Ok(())
}

/// Whether the command starts and ends well; its output is not shown.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    let Ok(root) = root() else { return false };
    command.current_dir(root).output().is_ok_and(|output| output.status.success())
}
