//! The house rules that no other tool checks.
//!
//! Each rule looks at the tree and returns its complaints; all are told at once.

mod bans;
mod docs;
mod layers;
mod sizes;

use anyhow::{Result, bail};

use crate::source::sources;

/// Runs every rule.
#[expect(clippy::print_stderr, reason = "the complaints are the output")]
pub(crate) fn run() -> Result<()> {
    let sources = sources()?;
    let complaints: Vec<String> = [layers::check, sizes::check, bans::check, docs::check]
        .into_iter()
        .flat_map(|rule| rule(&sources))
        .collect();
    for complaint in &complaints {
        eprintln!("tidy: {complaint}");
    }
    if complaints.is_empty() {
        eprintln!("tidy: {} files, no complaint", sources.len());
        Ok(())
    } else {
        bail!("{} complaints", complaints.len())
    }
}
