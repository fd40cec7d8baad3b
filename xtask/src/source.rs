//! The tree as the checks see it: the files that git tracks or would track.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::root;

/// A text file of the tree.
pub(crate) struct Source {
    /// Path from the workspace's top.
    pub(crate) path: PathBuf,
    /// The whole text.
    pub(crate) text: String,
}

impl Source {
    /// Whether the path starts with `prefix`.
    pub(crate) fn is_under(&self, prefix: &str) -> bool {
        self.path.starts_with(prefix)
    }

    /// Whether a folder or file of this name is part of the path.
    pub(crate) fn is_in(&self, name: &str) -> bool {
        self.path.components().any(|part| part.as_os_str() == name)
    }

    /// The lines before the first inline test module, numbered from 1.
    pub(crate) fn body(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .map(|(at, line)| (at + 1, line))
            .take_while(|(_, line)| *line != "#[cfg(test)]")
    }

    /// Whether the file holds tests, benches or tools, not the product.
    pub(crate) fn is_test(&self) -> bool {
        self.is_under("tests")
            || self.is_under("xtask")
            || ["tests", "benches", "examples", "testing", "tests.rs", "testing.rs"]
                .into_iter()
                .any(|name| self.is_in(name))
    }

    /// Whether the name ends in `.extension`.
    pub(crate) fn has_extension(&self, extension: &str) -> bool {
        self.path.extension().is_some_and(|found| found == extension)
    }
}

/// All text files of the tree, in order.
pub(crate) fn sources() -> Result<Vec<Source>> {
    let root = root()?;
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(&root)
        .output()
        .context("start git")?;
    ensure!(listed.status.success(), "git ls-files failed: {}", listed.status);
    let names = String::from_utf8(listed.stdout).context("a file's name is not UTF-8")?;
    let mut sources: Vec<Source> = names
        .split('\0')
        .filter(|name| !name.is_empty())
        .filter_map(|name| {
            let text = std::fs::read_to_string(root.join(name)).ok()?;
            Some(Source { path: Path::new(name).to_owned(), text })
        })
        .collect();
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(sources)
}
