//! Runs every test, after installing what they need and building the binary under test.

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

use crate::{
    install::{self, succeeds},
    root,
    verify::cargo,
};

/// The build in which tests plant faults.
const PLANTED: &str = "target/planted/bitroster";

/// What the tests and the binary with planted faults are built of. They are one selection: what
/// needs other features of its dependencies than the rest is compiled a second time.
const SELECTION: [&str; 3] = ["--workspace", "--features", "bitroster-node/planted-faults"];

/// Installs, builds and runs. `filter` is handed to the test runner.
pub(crate) fn run(filter: &[String]) -> Result<()> {
    install::run()?;
    build_static()?;
    build_planted()?;
    if filter.is_empty() {
        cargo(&[&["test", "--doc"], &SELECTION[..]].concat(), &[])?;
    }
    let filter: Vec<&str> = filter.iter().map(String::as_str).collect();
    let planted = root()?.join(PLANTED);
    let variables = [("SUITE_PLANTED_BINARY", planted.to_str().context("a path in UTF-8")?)];
    let runner = match succeeds(Command::new(env!("CARGO")).args(["nextest", "--version"])) {
        true => &["nextest", "run", "--no-fail-fast"][..],
        false => &["test", "--lib", "--bins", "--tests", "--no-fail-fast"],
    };
    cargo(&[runner, &SELECTION, &filter].concat(), &variables)
}

/// Builds the binary nearly as images have it: optimised, but not at link time, which takes as long
/// again; and static, for an image has no libraries.
///
/// Only the last crate is told so: procedural macros cannot be linked like that, and to the other
/// crates it makes no difference.
fn build_static() -> Result<()> {
    let wanted = ["--profile", "suite", "--package", "bitroster-node", "--bin", "bitroster"];
    let flags = ["--", "-C", "target-feature=+crt-static"];
    cargo(&[&["rustc"], &wanted[..], &flags[..]].concat(), &[])
}

/// Builds the tests, and with them the binary with faults that can be planted, and puts that where
/// no other build replaces it.
fn build_planted() -> Result<()> {
    let root = root()?;
    cargo(&[&["build", "--bins", "--tests"], &SELECTION[..]].concat(), &[])?;
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let built = root.join(target).join("debug/bitroster");
    std::fs::create_dir_all(root.join(PLANTED).parent().context("it lies in a folder")?)?;
    std::fs::copy(&built, root.join(PLANTED))
        .with_context(|| format!("copy {}", built.display()))?;
    Ok(())
}
