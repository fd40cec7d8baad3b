//! Format, lints and documentation.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};

use crate::{codegen, root, tidy};

/// Runs every check that does not run the code.
pub(crate) fn run() -> Result<()> {
    cargo(&["fmt", "--all", "--check"], &[])?;
    tidy::run()?;
    codegen::check()?;
    cargo(&["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"], &[])?;
    cargo(&["doc", "--workspace", "--no-deps"], &[("RUSTDOCFLAGS", "--deny warnings")])
}

/// Formats, and applies what clippy can mend by itself.
pub(crate) fn fix() -> Result<()> {
    cargo(
        &["clippy", "--workspace", "--all-targets", "--fix", "--allow-dirty", "--allow-staged"],
        &[],
    )?;
    cargo(&["fmt", "--all"], &[])?;
    codegen::write()
}

/// Runs cargo at the workspace's top and fails where it fails.
pub(crate) fn cargo(args: &[&str], variables: &[(&str, &str)]) -> Result<()> {
    run_command(Command::new(env!("CARGO")).args(args).envs(variables.iter().copied()))
}

/// Runs a command at the workspace's top, saying which, and fails where it fails.
pub(crate) fn run_command(command: &mut Command) -> Result<()> {
    run_in(&root()?, command)
}

/// Runs a command in a folder, saying which, and fails where it fails.
#[expect(clippy::print_stderr, reason = "says what runs")]
pub(crate) fn run_in(folder: &Path, command: &mut Command) -> Result<()> {
    eprintln!("xtask: {command:?}");
    let status =
        command.current_dir(folder).status().with_context(|| format!("start {command:?}"))?;
    ensure!(status.success(), "{command:?} failed: {status}");
    Ok(())
}
