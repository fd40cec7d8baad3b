//! Runs every test, after installing what the tests of real clients need.
//!
//! Debian packages come by `apt-get` (as root, where they are missing), Python and Node packages
//! go into folders below `target`. Nothing is installed outside Debian's packages and `target`.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::{
    root,
    verify::{cargo, run_command},
};

/// A program the tests start, and the Debian package that has it.
const PROGRAMS: &[(&str, &str)] = &[
    ("redis-server", "redis-server"),
    ("redis-cli", "redis-tools"),
    ("redis-benchmark", "redis-tools"),
    ("python3", "python3"),
    ("node", "nodejs"),
    ("npm", "npm"),
];

/// Installs, builds and runs. `filter` is handed to the test runner.
pub(crate) fn run(filter: &[String]) -> Result<()> {
    install_programs()?;
    install_python()?;
    install_node()?;
    cargo(&["build", "--release", "--package", "bitroster-node"], &[])?;
    if filter.is_empty() {
        cargo(&["test", "--workspace", "--doc"], &[])?;
    }
    let filter: Vec<&str> = filter.iter().map(String::as_str).collect();
    if succeeds(Command::new(env!("CARGO")).args(["nextest", "--version"])) {
        cargo(&[&["nextest", "run", "--workspace", "--no-fail-fast"], &filter[..]].concat(), &[])
    } else {
        let runner = ["test", "--workspace", "--lib", "--bins", "--tests", "--no-fail-fast"];
        cargo(&[&runner[..], &filter[..]].concat(), &[])
    }
}

fn install_programs() -> Result<()> {
    let missing: Vec<&str> = PROGRAMS
        .iter()
        .filter(|(program, _)| !succeeds(Command::new(program).arg("--version")))
        .map(|(_, package)| *package)
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
