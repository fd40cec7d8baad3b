//! The project's own checks and chores: `cargo xtask help` lists them.
//!
//! `verify` and `test` are what CI runs and what a person runs before a push; neither writes to the
//! tree. `fix` and `codegen` do.

mod codegen;
mod install;
mod source;
mod test;
mod tidy;
mod verify;

use std::{env, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result};

const HELP: &str = "\
cargo xtask <task>

  verify   format, tidy, clippy, documentation; writes nothing
  test     installs what the tests need, builds, runs every test
  install  installs what the tests need, and no more
  tidy     the house rules that no other tool checks
  codegen  writes the documents that are made of the code
  fix      formats, applies clippy's own suggestions, writes the documents
";

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool's output")]
fn main() -> ExitCode {
    let task = env::args().nth(1);
    let done = match task.as_deref() {
        Some("verify") => verify::run(),
        Some("test") => test::run(&env::args().skip(2).collect::<Vec<_>>()),
        Some("install") => install::run(),
        Some("tidy") => tidy::run(),
        Some("codegen") => codegen::write(),
        Some("fix") => verify::fix(),
        Some("help") | None => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Some(other) => {
            eprintln!("unknown task '{other}'\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The workspace's top folder.
fn root() -> Result<PathBuf> {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    Ok(manifest.parent().context("xtask has no parent folder")?.to_owned())
}
