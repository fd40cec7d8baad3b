//! Runs every test, after installing what the tests of real clients need.
//!
//! Debian packages come by `apt-get` (as root, where they are missing), Python and Node packages
//! go into folders below `target`. Nothing is installed outside Debian's packages and `target`.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    root,
    verify::{cargo, run_command},
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
    ("setpriv", "--version", "util-linux"),
];

/// The build in which tests plant faults.
const PLANTED: &str = "target/planted/bitroster";

/// Installs, builds and runs. `filter` is handed to the test runner.
pub(crate) fn run(filter: &[String]) -> Result<()> {
    install_programs()?;
    install_python()?;
    install_node()?;
    cargo(&["build", "--release", "--package", "bitroster-node"], &[])?;
    build_planted()?;
    if filter.is_empty() {
        cargo(&["test", "--workspace", "--doc"], &[])?;
    }
    let filter: Vec<&str> = filter.iter().map(String::as_str).collect();
    let planted = root()?.join(PLANTED);
    let variables = [("SUITE_PLANTED_BINARY", planted.to_str().context("a path in UTF-8")?)];
    if succeeds(Command::new(env!("CARGO")).args(["nextest", "--version"])) {
        let runner = ["nextest", "run", "--workspace", "--no-fail-fast"];
        cargo(&[&runner[..], &filter[..]].concat(), &variables)
    } else {
        let runner = ["test", "--workspace", "--lib", "--bins", "--tests", "--no-fail-fast"];
        cargo(&[&runner[..], &filter[..]].concat(), &variables)
    }
}

/// Builds the binary with faults that can be planted, and puts it where no other build replaces it.
fn build_planted() -> Result<()> {
    let root = root()?;
    let wanted = ["--package", "bitroster-node", "--features", "planted-faults"];
    cargo(&[&["build"], &wanted[..]].concat(), &[])?;
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let built = root.join(target).join("debug/bitroster");
    std::fs::create_dir_all(root.join(PLANTED).parent().context("it lies in a folder")?)?;
    std::fs::copy(&built, root.join(PLANTED))
        .with_context(|| format!("copy {}", built.display()))?;
    Ok(())
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
    run_command(
        Command::new("apt-get")
            .env("DEBIAN_FRONTEND", "noninteractive")
            // A package's own service must not start: tests start their own on free ports.
            .env("RUNLEVEL", "1")
            .args(["install", "--quiet", "--yes", "--no-install-recommends"])
            .args(missing),
    )
}

/// A virtual environment below `target` with the Python clients that `requirements.txt` pins.
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
fn succeeds(command: &mut Command) -> bool {
    let Ok(root) = root() else { return false };
    command.current_dir(root).output().is_ok_and(|output| output.status.success())
}
