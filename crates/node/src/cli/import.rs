//! `bitroster import`: a live server's bitmaps, or a file, into a server.
//!
//! | module     | job                                                    |
//! |------------|--------------------------------------------------------|
//! | `live`     | scan, tasks, phases and what is written down            |
//! | `work`     | the threads, and what they try again                    |
//! | `copy`     | values from end to end, in pieces                       |
//! | `merge`    | lives of keys that are merged                           |
//! | `check`    | both ends compared, and mended                          |
//! | `peer`     | one end: its requests and replies                       |
//! | `state`    | how far it is, in a file                                |
//! | `pace`     | how fast it may go                                      |
//! | `report`   | what it did                                             |
//! | `progress` | how far it is, on a terminal                            |
//! | `file`     | one bitmap from a file                                  |
//! | `format`   | the files' formats, for `bitroster export` too          |

mod check;
mod copy;
#[cfg(test)]
mod fake;
mod file;
pub(super) mod format;
mod live;
mod merge;
mod pace;
pub(super) mod peer;
pub(super) mod progress;
mod report;
mod state;
mod work;

use std::{path::PathBuf, time::Instant};

use anyhow::Result;
use clap::{ArgGroup, Args};

use self::{
    format::{Format, Mode},
    live::{Import, Wishes},
    pace::{Pace, Rate},
    peer::Peer,
    state::{Job, Keeper, Phase, State},
    work::{Plan, Policy},
};
use super::{
    exit::{Code, Failure},
    output::{OutputArgs, print, print_json},
    remote::{AccessArgs, Address, Target},
};

/// Arguments of `bitroster import`.
#[derive(Clone, Debug, Args)]
#[command(group = ArgGroup::new("policy"))]
pub(crate) struct ImportArgs {
    /// What to copy: redis://USER:PASSWORD@HOST:PORT/DB (rediss:// for TLS) for the strings
    /// of a live server, or a file for one bitmap.
    #[arg(value_name = "URL|FILE")]
    source: String,
    /// The server to copy to: HOST:PORT, redis://... or rediss://...
    #[arg(long, value_name = "ADDR", env = "BITROSTER_ADDR", default_value = "127.0.0.1:6379")]
    to: Address,
    #[command(flatten)]
    access: AccessArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    live: LiveArgs,
    #[command(flatten)]
    file: FileArgs,
}

/// Arguments for a live server.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "From a live server")]
struct LiveArgs {
    /// Copies only keys that match, as SCAN's MATCH.
    #[arg(long = "match", value_name = "PATTERN")]
    pattern: Option<String>,
    /// Goes no faster: 500keys/s or 20MB/s.
    #[arg(long, value_name = "RATE")]
    rate: Option<Rate>,
    /// Keeps in a file how far it is, and goes on from there after it was ended or killed.
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Overwrites keys that the target has.
    #[arg(long, group = "policy")]
    replace: bool,
    /// Leaves keys that the target has as they are.
    #[arg(long, group = "policy")]
    skip_existing: bool,
    /// Sets the source's bits in keys that the target has and clears none: for a target that is
    /// being written to.
    #[arg(long, group = "policy")]
    merge: bool,
    /// Compares all keys and copies those that differ: the last pass after an import.
    #[arg(long, group = "policy")]
    sync: bool,
    /// Deletes keys of the target that the source has not; the default into an empty target.
    #[arg(long, conflicts_with_all = ["skip_existing", "merge"])]
    delete: bool,
    /// Deletes also by a source that was restarted or replaced since the import began, or that has
    /// no strings: what the target has may be the last copy. Only where keys are deleted: with
    /// --delete, or into an empty target.
    #[arg(long, conflicts_with_all = ["skip_existing", "merge"])]
    trust_source: bool,
    /// Compares every byte of both ends, not only lengths, counts and expiries.
    #[arg(long, conflicts_with = "merge")]
    verify: bool,
    /// Only says what would be copied; with --verify or --sync also what differs.
    #[arg(long)]
    dry_run: bool,
    /// How often all keys are compared while some had changed since they were copied; 0: never.
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    passes: u32,
    /// Connections to each end.
    #[arg(long, value_name = "COUNT", default_value_t = 4,
          value_parser = clap::value_parser!(u16).range(1..=64))]
    connections: u16,
    /// File whose first line is the source's password; BITROSTER_SOURCE_PASSWORD does as well.
    #[arg(long, value_name = "FILE")]
    source_password_file: Option<PathBuf>,
    /// The authorities that the source's certificate may be of, PEM [default: the system's]
    #[arg(long, value_name = "FILE")]
    source_tls_ca: Option<PathBuf>,
}

/// Arguments for a file.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "From a file")]
struct FileArgs {
    /// The bitmap's key.
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// What the file's bits do to the bitmap's.
    #[arg(long, value_enum, default_value_t)]
    mode: Mode,
    /// The file's format [default: by its ending]
    #[arg(long, value_enum)]
    format: Option<Format>,
}

/// Runs `bitroster import`.
pub(crate) fn run(args: &ImportArgs) -> Result<Code> {
    let is_live = ["redis://", "rediss://"].iter().any(|scheme| args.source.starts_with(scheme));
    if is_live {
        return from_server(args);
    }
    let LiveArgs { pattern, rate, state, dry_run, trust_source, .. } = &args.live;
    if pattern.is_some() || rate.is_some() || state.is_some() || *dry_run || *trust_source {
        let text = "a file takes none of --match, --rate, --state, --dry-run and --trust-source";
        return Err(Failure::new(Code::Usage, text).into());
    }
    let Some(key) = &args.file.key else {
        let failure = Failure::new(Code::Usage, format!("no key for {}", args.source));
        let hint = "--key KEY for a file; a live server's address begins with redis://";
        return Err(failure.hint(hint).into());
    };
    let target = Target::new(&args.to, &args.access, "BITROSTER_PASSWORD")?;
    let FileArgs { mode, format, .. } = args.file;
    file::import(&PathBuf::from(&args.source), key, mode, format, &target, args.output)
}

impl LiveArgs {
    fn policy(&self) -> Policy {
        match self {
            Self { replace: true, .. } => Policy::Replace,
            Self { skip_existing: true, .. } => Policy::Skip,
            Self { merge: true, .. } => Policy::Merge,
            Self { sync: true, .. } => Policy::Sync,
            _ => Policy::Empty,
        }
    }

    /// Refuses options that mean nothing for a live server, or not together.
    fn expect_sense(&self, file: &FileArgs) -> Result<()> {
        let text = if file.key.is_some() || file.format.is_some() {
            "--key and --format are for files; choose keys of a server by --match"
        } else if self.trust_source && !self.deletes() {
            "--trust-source is for deletions, and without --delete there are none here"
        } else {
            return Ok(());
        };
        Err(Failure::new(Code::Usage, text).into())
    }

    /// Whether keys are to be deleted that the source has not.
    fn deletes(&self) -> bool {
        self.policy() == Policy::Empty || self.delete
    }
}

fn from_server(args: &ImportArgs) -> Result<Code> {
    let live = &args.live;
    live.expect_sense(&args.file)?;
    let address = args.source.parse().map_err(|text| Failure::new(Code::Usage, text))?;
    let entry = AccessArgs {
        user: None,
        password_file: live.source_password_file.clone(),
        tls: false,
        tls_ca: live.source_tls_ca.clone(),
        ..args.access.clone()
    };
    let source = Target::new(&address, &entry, "BITROSTER_SOURCE_PASSWORD")?;
    let target = Target::new(&args.to, &args.access, "BITROSTER_PASSWORD")?;
    let mut ends = (Peer::connect(&source)?, Peer::connect(&target)?);
    let policy = live.policy();
    let (from, to) = (source.address().to_string(), target.address().to_string());
    if from == to {
        return Err(Failure::new(Code::Usage, format!("{from} is both source and target")).into());
    }
    if policy == Policy::Merge && !ends.1.is_ours() {
        let text = format!("{to} is no Bitroster, so --merge is not possible");
        return Err(Failure::new(Code::Usage, text).into());
    }
    let job = Job {
        source: from.clone(),
        target: to.clone(),
        pattern: live.pattern.clone(),
        policy: policy.name().to_owned(),
    };
    let run_id = ends.0.run_id()?;
    let kept = live.state.as_deref().filter(|_| !live.dry_run);
    let (keeper, state) = Keeper::open(kept, &job)?;
    let state = match state {
        Some(mut state) => {
            state.meet(run_id.clone());
            state
        }
        None => begin(job, live, &mut ends.1, run_id.clone())?,
    };
    let wishes = Wishes {
        pattern: live.pattern.clone(),
        threads: usize::from(live.connections),
        passes: live.passes,
        prunes: live.deletes() && !live.dry_run,
        trusts_source: live.trust_source,
        dry_run: live.dry_run,
    };
    let plan = Plan {
        source,
        target,
        run_id,
        policy,
        pace: Pace::new(live.rate),
        is_thorough: live.verify,
        mends: policy != Policy::Skip && !live.dry_run,
    };
    let started = Instant::now();
    let (done, totals) = Import::new(wishes, plan, ends, state, keeper)?.run();
    let took = started.elapsed();
    if args.output.is_json() {
        print_json(&totals.json(&from, &to, took, live.dry_run))?;
    } else {
        print(totals.text(&from, &to, took, live.dry_run))?;
    }
    done.map(|()| totals.code())
}

/// The state of an import that no file knows of.
fn begin(job: Job, live: &LiveArgs, to: &mut Peer, run_id: Option<String>) -> Result<State> {
    let policy = live.policy();
    if policy == Policy::Empty && !live.dry_run {
        expect_empty(to, live.pattern.as_deref())?;
    }
    let phase = if policy == Policy::Sync { Phase::Check } else { Phase::Copy };
    Ok(State::new(job, phase, run_id))
}

/// Refuses a target that has keys already, where nobody said what becomes of them.
fn expect_empty(target: &mut Peer, pattern: Option<&str>) -> Result<()> {
    let has_keys = match pattern {
        None => target.keys()? > 0,
        Some(_) => {
            let (mut cursor, mut keys) = target.scan("0", pattern)?;
            while cursor != "0" && keys.is_empty() {
                (cursor, keys) = target.scan(&cursor, pattern)?;
            }
            !keys.is_empty()
        }
    };
    if !has_keys {
        return Ok(());
    }
    let failure = Failure::new(Code::Conflict, format!("{} has keys already", target.name()));
    let hint = "say what becomes of them: --replace, --skip-existing, --merge or --sync; \
                to go on with an import name its --state file";
    Err(failure.hint(hint).into())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::{super::exit::code_of, *};

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: ImportArgs,
    }

    #[test]
    fn a_source_is_trusted_only_where_keys_are_deleted() {
        // Nobody listens there, so what is good usage fails to connect.
        let url = "redis://127.0.0.1:1";
        let fails = |args: &[&str]| {
            let line = ["import"].iter().chain(args).chain(&["--trust-source"]);
            let line = Line::try_parse_from(line).expect("arguments");
            run(&line.args).expect_err("nobody answers")
        };
        let code = |args: &[&str]| code_of(&fails(args));
        assert_eq!(code(&[url]), Code::Unreachable);
        assert_eq!(code(&[url, "--dry-run"]), Code::Unreachable);
        for policy in ["--replace", "--sync"] {
            assert_eq!(code(&[url, policy, "--delete"]), Code::Unreachable, "{policy}");
            assert_eq!(code(&[url, policy]), Code::Usage, "{policy}");
        }
        let of_file = fails(&["bits.csv", "--key", "k"]);
        assert!(of_file.to_string().contains("--trust-source"), "{of_file:#}");
    }
}
