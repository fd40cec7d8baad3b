//! A crate depends only on layers below its own.

use std::collections::BTreeMap;

use crate::source::Source;

/// Every crate and its layer. `types` lies below its own layer's other crates, so that they can
/// share its limits.
const LAYERS: &[(&str, u8)] = &[
    ("types", 0),
    ("bitmap", 1),
    ("resp", 1),
    ("command", 2),
    ("placement", 2),
    ("telemetry", 2),
    ("engine", 3),
    ("proto", 3),
    ("wal", 3),
    ("shard", 4),
    ("router", 4),
    ("rpc", 5),
    ("frontend", 5),
    ("node", 6),
];

/// Checks every crate's own dependencies (not those of its tests).
pub(super) fn check(sources: &[Source]) -> Vec<String> {
    let layers: BTreeMap<&str, u8> = LAYERS.iter().copied().collect();
    let mut complaints = Vec::new();
    for manifest in sources.iter().filter(|source| {
        source.is_under("crates")
            && source.path.file_name().is_some_and(|name| name == "Cargo.toml")
    }) {
        let name = manifest
            .path
            .components()
            .nth(1)
            .map_or_else(String::new, |part| part.as_os_str().to_string_lossy().into_owned());
        let Some(&layer) = layers.get(name.as_str()) else {
            complaints.push(format!("crate {name} has no row in the layer table"));
            continue;
        };
        if !manifest.text.contains("[lints]\nworkspace = true") {
            complaints.push(format!("crate {name} does not take the workspace's lints"));
        }
        for below in dependencies(&manifest.text) {
            match layers.get(below) {
                Some(&other) if other < layer => {}
                Some(_) => complaints.push(format!(
                    "crate {name} (layer {layer}) depends on {below}, which is not below it"
                )),
                None => complaints.push(format!("crate {name} depends on unknown {below}")),
            }
        }
    }
    complaints
}

/// Our own crates in a manifest's `[dependencies]`, without the prefix.
fn dependencies(manifest: &str) -> impl Iterator<Item = &str> {
    manifest
        .lines()
        .skip_while(|line| *line != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.strip_prefix("bitroster-"))
        .filter_map(|line| line.split([' ', '.', '=']).next())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(name: &str, dependencies: &str) -> Source {
        Source {
            path: format!("crates/{name}/Cargo.toml").into(),
            text: format!("[dependencies]\n{dependencies}\n\n[lints]\nworkspace = true\n"),
        }
    }

    #[test]
    fn a_dependency_on_the_same_or_a_higher_layer_is_told() {
        let upward = manifest("engine", "bitroster-shard = { workspace = true }");
        assert_eq!(check(&[upward]).len(), 1);
        let level = manifest("router", "bitroster-shard.workspace = true");
        assert_eq!(check(&[level]).len(), 1);
    }

    #[test]
    fn a_dependency_downward_is_fine() {
        let downward = manifest("shard", "bitroster-wal = { workspace = true }\nbytes = \"1\"");
        assert_eq!(check(&[downward]), Vec::<String>::new());
    }
}
