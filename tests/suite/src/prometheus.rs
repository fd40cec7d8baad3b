//! Debian's Prometheus on loopback, unpacked below `target` by `cargo xtask test`.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    docker::{debian, run},
    http,
    scenario::say,
    server::free_port,
    wait,
};

/// A running Prometheus. Killed when dropped.
#[derive(Debug)]
pub struct Prometheus {
    process: Child,
    address: SocketAddr,
    folder: TempDir,
}

/// Whether Prometheus is there; says so on stderr where `test` cannot run for it.
pub fn is_here(test: &str) -> bool {
    let found = run(debian("promtool").arg("--version"));
    if let Err(why) = &found {
        say(&format!("NOT RUN: {test}: `cargo xtask test` unpacks Prometheus: {why:#}"));
    }
    found.is_ok()
}

/// Runs `promtool ARGS` in a folder; what it printed.
///
/// # Errors
///
/// With all it said, if it fails.
pub fn promtool(folder: &Path, args: &[&str]) -> Result<String> {
    let output = run(debian("promtool").args(args).current_dir(folder))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

impl Prometheus {
    /// Starts it with a configuration and waits until it is ready.
    ///
    /// # Panics
    ///
    /// If it does not come up.
    pub fn start(configuration: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("prometheus.yml");
        fs::write(&file, configuration).expect("a file");
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let log = fs::File::create(folder.path().join("log")).expect("a file");
        let process = pinned(debian("prometheus"))
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log)
            .spawn()
            .expect("setpriv starts; it is part of util-linux");
        let mut prometheus = Self { process, address, folder };
        wait::until("Prometheus is ready", || {
            if let Some(status) = prometheus.process.try_wait().expect("the child's state") {
                let log = prometheus.folder.path().join("log");
                panic!("it ended with {status}: {}", fs::read_to_string(log).unwrap_or_default());
            }
            (http::get(address, "/-/ready")?.0 == 200).then_some(())
        });
        prometheus
    }

    /// The series that an expression gives now.
    ///
    /// # Errors
    ///
    /// If the expression makes no sense, or Prometheus does not answer.
    pub fn query(&self, expression: &str) -> Result<Vec<Value>> {
        query(self.address, expression)
    }

    /// The rules that it evaluates: `name`, `query`, `type` (`recording` or `alerting`).
    ///
    /// # Errors
    ///
    /// If it does not answer.
    pub fn rules(&self) -> Result<Vec<Value>> {
        let (_, body) = http::get(self.address, "/api/v1/rules").context("no answer")?;
        let answer: Value = serde_json::from_str(&body).context("no JSON")?;
        let groups = answer["data"]["groups"].as_array().context("no groups")?;
        Ok(groups.iter().filter_map(|group| group["rules"].as_array()).flatten().cloned().collect())
    }
}

/// The series that an expression gives now, at a Prometheus that listens there.
///
/// # Errors
///
/// If the expression makes no sense, or nobody answers.
pub fn query(address: SocketAddr, expression: &str) -> Result<Vec<Value>> {
    let path = format!("/api/v1/query?query={}", http::escaped(expression));
    let (status, body) = http::get(address, &path).context("Prometheus does not answer")?;
    ensure!(status == 200, "{expression}: {body}");
    let answer: Value = serde_json::from_str(&body).context("no JSON")?;
    let series = answer["data"]["result"].as_array().context("no result")?;
    Ok(series.clone())
}

/// The value of a series that a query gave.
pub fn value(series: &Value) -> f64 {
    series["value"][1].as_str().and_then(|value| value.parse().ok()).unwrap_or(f64::NAN)
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended by itself, and a destructor must not panic.
        if self.process.kill().is_ok() {
            drop(self.process.wait());
        }
    }
}

/// The command, ended by the kernel should this thread end without doing so.
fn pinned(command: Command) -> Command {
    let mut pinned = Command::new("setpriv");
    pinned.args(["--pdeathsig", "KILL"]).arg(command.get_program()).args(command.get_args());
    pinned
}
