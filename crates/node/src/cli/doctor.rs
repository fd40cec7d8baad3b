//! `bitroster doctor`: what may go wrong, looked at one by one, each with its remedy.
//!
//! | module        | job                                                    |
//! |---------------|--------------------------------------------------------|
//! | `cluster`     | checks of what nodes tell                              |
//! | `server`      | checks of what one server tells its clients            |
//! | `settings`    | checks of a configuration file and its certificates    |
//! | `machine`     | checks of the machine that this runs on                |
//! | `certificate` | when a certificate ends                                |

mod certificate;
mod cluster;
mod machine;
mod server;
mod settings;

use std::{path::PathBuf, time::Duration};

use bitroster_resp::Version;
use clap::Args;
use serde_json::{Value, json};

use super::{
    exit::Code,
    node::{NodeArgs, nodes_known_to},
    output::{self, OutputArgs, Style},
    remote::RemoteArgs,
};

/// Arguments of `bitroster doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    remote: RemoteArgs,
    #[command(flatten)]
    nodes: NodeArgs,
    /// Checks this configuration file, with the environment over it, and its certificates.
    #[arg(long, value_name = "FILE", env = "BITROSTER_CONFIG")]
    config: Option<PathBuf>,
    /// Measures how fast the disk of this folder is; writes a small file there and removes it.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Looks at this machine, its configuration and its disk alone, and asks nobody.
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Findings of one check that are told; the others are counted.
const FINDINGS_MAX: usize = 4;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// Well.
    Pass,
    /// It works, but not as it should, or not for long.
    Warn,
    /// It does not work.
    Fail,
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::Warn => "WARN",
            Self::Fail => "FAIL",
        }
    }

    fn shown(self, style: Style) -> String {
        match self {
            Self::Pass => style.good(self.name()),
            Self::Warn => style.warning(self.name()),
            Self::Fail => style.bad(self.name()),
        }
    }
}

/// One check: what was looked at, what was found, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Check {
    name: &'static str,
    verdict: Verdict,
    found: String,
    remedy: Option<String>,
}

impl Check {
    fn pass(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Pass, found: found.into(), remedy: None }
    }

    fn warn(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        let remedy = Some(remedy.into());
        Self { name, verdict: Verdict::Warn, found: found.into(), remedy }
    }

    fn fail(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        let remedy = Some(remedy.into());
        Self { name, verdict: Verdict::Fail, found: found.into(), remedy }
    }

    /// The worst of several findings, with all that are as bad; `well` where there are none.
    fn worst(
        name: &'static str,
        found: Vec<(Verdict, String)>,
        well: impl Into<String>,
        remedy: &str,
    ) -> Self {
        let Some(verdict) = found.iter().map(|(verdict, _)| *verdict).max() else {
            return Self::pass(name, well);
        };
        let texts = found.into_iter().filter(|(is, _)| *is == verdict).map(|(_, text)| text);
        let texts: Vec<String> = texts.collect();
        let mut found = texts[..texts.len().min(FINDINGS_MAX)].join("; ");
        if texts.len() > FINDINGS_MAX {
            found.push_str(&format!("; and {} more", texts.len() - FINDINGS_MAX));
        }
        Self { name, verdict, found, remedy: Some(remedy.to_owned()) }
    }
}

/// Runs `bitroster doctor`.
pub(crate) fn run(args: &DoctorArgs) -> anyhow::Result<Code> {
    let mut checks = Vec::new();
    if !args.offline {
        checks.extend(ask(args)?);
    }
    let loaded = settings::checks(args.config.as_deref(), &mut checks);
    let clients_max = loaded.as_ref().map(|loaded| loaded.config.server.maxclients);
    let named = args.data_dir.clone();
    let configured = || {
        let loaded = loaded.as_ref().filter(|it| it.config.server.role.keeps_data())?;
        let path = PathBuf::from(&loaded.config.server.data_dir);
        path.is_dir().then_some(path)
    };
    checks.extend(machine::checks(named.or_else(configured).as_deref(), clients_max));
    let failed = checks.iter().any(|check| check.verdict == Verdict::Fail);
    if args.output.is_json() {
        output::print_json(&as_json(&checks))?;
    } else {
        output::print(as_text(&checks, args.output.style()))?;
    }
    Ok(if failed { Code::Bad } else { Code::Done })
}

/// What server and nodes say.
fn ask(args: &DoctorArgs) -> anyhow::Result<Vec<Check>> {
    let mut checks = Vec::new();
    let mut known: Vec<String> = args.nodes.node.iter().cloned().collect();
    match args.remote.connect(Version::Resp2) {
        Ok(mut remote) => {
            if known.is_empty() {
                known = nodes_known_to(&mut remote);
            }
            checks.extend(server::checks(&mut remote));
        }
        Err(error) if known.is_empty() => checks.push(Check::fail(
            "reachable",
            format!("{error:#}"),
            "start the server, or say where it is by --addr, or where a node is by --node",
        )),
        // Asked by the node's address alone: that no client can connect here is no fault.
        Err(error) => checks.push(Check::warn(
            "reachable",
            format!("{error:#}"),
            "say by --addr where a router serves clients, so that it is looked at too",
        )),
    }
    if known.is_empty() {
        return Ok(checks);
    }
    let door =
        args.nodes.door(Duration::from_millis(args.remote.access.timeout_ms.clamp(1, 5_000)))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut last = None;
    for address in &known {
        match runtime.block_on(door.gather(address)) {
            Ok(report) => {
                checks.extend(cluster::checks(&report));
                return Ok(checks);
            }
            Err(error) => last = Some(error),
        }
    }
    let error = last.map_or_else(String::new, |error| format!("{error:#}"));
    checks.push(Check::fail(
        "nodes reachable",
        format!("no node answers at its node address: {error}"),
        "run this where nodes reach each other, and say --node-tls where their links are TLS",
    ));
    Ok(checks)
}

fn counted(checks: &[Check], verdict: Verdict) -> usize {
    checks.iter().filter(|check| check.verdict == verdict).count()
}

fn as_json(checks: &[Check]) -> Value {
    let items = checks.iter().map(|check| {
        json!({
            "name": check.name,
            "verdict": check.verdict.name(),
            "found": check.found,
            "remedy": check.remedy,
        })
    });
    json!({
        "pass": counted(checks, Verdict::Pass),
        "warn": counted(checks, Verdict::Warn),
        "fail": counted(checks, Verdict::Fail),
        "checks": items.collect::<Vec<_>>(),
    })
}

fn as_text(checks: &[Check], style: Style) -> String {
    let width = checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for check in checks {
        let Check { name, verdict, found, remedy } = check;
        text.push_str(&format!("{}  {name:<width$}  {found}\n", verdict.shown(style)));
        if let Some(remedy) = remedy {
            let arrow = style.dim("->");
            text.push_str(&format!("      {:<width$}  {arrow} {remedy}\n", ""));
        }
    }
    let [pass, warn, fail] =
        [Verdict::Pass, Verdict::Warn, Verdict::Fail].map(|verdict| counted(checks, verdict));
    let sum = format!("{pass} passed, {warn} warned, {fail} failed");
    let sum = match (warn, fail) {
        (0, 0) => style.good(&sum),
        (_, 0) => style.warning(&sum),
        _ => style.bad(&sum),
    };
    format!("{text}\n{sum}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_finding_counts_and_what_is_less_bad_is_not_told() {
        let found = vec![
            (Verdict::Warn, "a is slow".to_owned()),
            (Verdict::Fail, "b is gone".to_owned()),
            (Verdict::Fail, "c is gone".to_owned()),
        ];
        let check = Check::worst("nodes", found, "all well", "bring them back");
        assert_eq!(check, Check::fail("nodes", "b is gone; c is gone", "bring them back"));
        let well = Check::worst("nodes", Vec::new(), "all well", "bring them back");
        assert_eq!(well, Check::pass("nodes", "all well"));
    }

    #[test]
    fn people_and_programs_are_told_the_same() {
        let checks =
            [Check::pass("slots", "all owned"), Check::fail("nodes", "2 is gone", "start it")];
        let json = as_json(&checks);
        assert_eq!((&json["pass"], &json["fail"]), (&json!(1), &json!(1)));
        assert_eq!(json["checks"][1]["remedy"], "start it");
        assert_eq!(
            as_text(&checks, Style::default()),
            "PASS  slots  all owned\nFAIL  nodes  2 is gone\n             -> start it\n\n\
             1 passed, 0 warned, 1 failed\n"
        );
    }
}
