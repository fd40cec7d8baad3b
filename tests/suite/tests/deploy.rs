//! Goal: what is shipped for running Bitroster elsewhere is well-formed and speaks of things that
//! are there.
//!
//! Method: the compose file is read by Compose 1.29, the dashboards are what their generator
//! writes, and every metric that a dashboard asks for is exported by a live cluster of the same
//! roles.

use std::{collections::BTreeSet, fs, process::Command};

use bitroster_suite::{Cluster, server::workspace, wait};

fn succeeds(command: &mut Command) {
    let output = command.current_dir(workspace()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} ended with {}:\n{said}", output.status);
}

#[test]
fn compose_reads_the_compose_file() {
    succeeds(Command::new("docker-compose").args(["--file", "docker-compose.yml", "config", "-q"]));
}

#[test]
fn dashboards_are_as_their_generator_writes_them() {
    succeeds(Command::new("python3").args(["deploy/grafana/generate.py", "--check"]));
}

/// The names of Bitroster's own metrics in a text; those of a histogram without their endings.
fn names(text: &str) -> BTreeSet<String> {
    text.split(|char: char| !(char.is_ascii_alphanumeric() || char == '_'))
        .filter(|word| word.starts_with("bitroster_"))
        .map(|word| word.trim_end_matches("_bucket").to_owned())
        .collect()
}

#[test]
fn dashboards_ask_for_metrics_that_nodes_export() {
    let folder = workspace().join("deploy/grafana/dashboards");
    let files: Vec<_> = fs::read_dir(folder).expect("the folder of dashboards").collect();
    assert!(!files.is_empty(), "there are no dashboards");
    let mut asked = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(file.expect("a file").path()).expect("a readable dashboard");
        asked.extend(names(&text));
    }
    assert!(asked.len() >= 10, "dashboards ask for {asked:?} only");
    let mut cluster = Cluster::builder(3, 1).start();
    cluster.wait_whole();
    let mut client = cluster.client_of(cluster.routers().start);
    client.words("SETBIT k 7 1").expect("an answer");
    let nodes = [cluster.shards().start, cluster.routers().start];
    let missing = || {
        let mut exported = BTreeSet::new();
        for at in nodes {
            let (status, text) = cluster.node(at).admin("/metrics")?;
            assert_eq!(status, 200);
            exported.extend(names(&text));
        }
        let missing: Vec<_> = asked.difference(&exported).cloned().collect();
        missing.is_empty().then_some(())
    };
    wait::until("every metric of the dashboards is exported", missing);
}
