//! Documents that are made of the code that they describe.

mod commands;

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::root;

/// A document's path from the workspace's top, and what makes its text.
type Document = (&'static str, fn() -> String);

const DOCUMENTS: &[Document] = &[("docs/commands.md", commands::text)];

/// Writes every document that is not as it should be.
#[expect(clippy::print_stderr, reason = "says what was written")]
pub(crate) fn write() -> Result<()> {
    for (place, text) in documents()? {
        if !is(&place, &text) {
            fs::write(&place, text).with_context(|| format!("write {}", place.display()))?;
            eprintln!("xtask: wrote {}", place.display());
        }
    }
    Ok(())
}

/// Fails where a document is not as it should be; writes nothing.
pub(crate) fn check() -> Result<()> {
    for (place, text) in documents()? {
        let name = place.display();
        ensure!(is(&place, &text), "{name} is not what the code says; run 'cargo xtask codegen'");
    }
    Ok(())
}

fn documents() -> Result<Vec<(PathBuf, String)>> {
    let root = root()?;
    Ok(DOCUMENTS.iter().map(|(path, text)| (root.join(path), text())).collect())
}

/// Whether a file holds this text.
fn is(place: &PathBuf, text: &str) -> bool {
    fs::read_to_string(place).is_ok_and(|found| found == text)
}
