//! Documents name only what is there, and every crate stands in the map.

use std::collections::BTreeSet;

use crate::{root, source::Source};

/// Folders whose paths, in backticks, must exist.
const PLACES: &[&str] = &["crates/", "docs/", "tests/", "deploy/", "xtask/", ".ci/", "proto/"];

/// Checks every Markdown file, and ARCHITECTURE.md for the crates.
pub(super) fn check(sources: &[Source]) -> Vec<String> {
    let Ok(root) = root() else {
        return vec!["the workspace's top is not there".to_owned()];
    };
    let mut complaints = Vec::new();
    for source in sources.iter().filter(|source| source.has_extension("md")) {
        for (at, line) in source.text.lines().enumerate() {
            for path in paths(line).filter(|path| !root.join(path).exists()) {
                let file = source.path.display();
                complaints.push(format!("{file}:{} names {path}, which is not there", at + 1));
            }
        }
    }
    complaints.extend(unmapped_crates(sources));
    complaints
}

/// Paths of ours in backticks. Patterns and placeholders are left alone.
fn paths(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2).filter(|word| {
        PLACES.iter().any(|place| word.starts_with(place))
            && !word.contains(['*', '<', '{', ' ', '$', ':'])
    })
}

fn unmapped_crates(sources: &[Source]) -> Vec<String> {
    let map = sources.iter().find(|source| source.path.as_os_str() == "ARCHITECTURE.md");
    let map = map.map_or("", |source| source.text.as_str());
    let crates: BTreeSet<String> = sources
        .iter()
        .filter(|source| source.is_under("crates"))
        .filter_map(|source| source.path.components().nth(1))
        .map(|name| name.as_os_str().to_string_lossy().into_owned())
        .collect();
    crates
        .into_iter()
        .filter(|name| !map.contains(&format!("`crates/{name}`")))
        .map(|name| format!("ARCHITECTURE.md does not name `crates/{name}`"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_ours_are_looked_at() {
        let line = "see `crates/wal/src/lib.rs`, `crates/*/tests`, `std/fs` and `docs/x.md`";
        assert_eq!(paths(line).collect::<Vec<_>>(), ["crates/wal/src/lib.rs", "docs/x.md"]);
    }
}
