//! Goal: whoever monitors a cluster with what is shipped for it sees what the panels promise and is
//! told when something is wrong.
//!
//! Method: promtool reads configuration and rules and runs their cases, of which each alert has
//! some that fire and some that do not. Then Debian's Prometheus scrapes a live cluster under the
//! shipped rules: every recorded series is there, and so is what every panel asks for and what
//! every alert compares with its threshold; and alerts of a node that dies fire, and end.

use std::{fs, path::PathBuf, time::Duration};

use bitroster_suite::{
    Client, Cluster,
    prometheus::{Prometheus, is_here, promtool, value},
    server::workspace,
    wait,
};
use serde_json::Value;

/// How long figures may take to be there. CI machines stall.
const PATIENCE: Duration = Duration::from_secs(60);

fn folder() -> PathBuf {
    workspace().join("deploy/prometheus")
}

#[test]
fn rules_are_well_formed_and_their_cases_hold() {
    if !is_here("rules_are_well_formed_and_their_cases_hold") {
        return;
    }
    promtool(&folder(), &["check", "config", "prometheus.yml"]).expect("a configuration");
    let cases = fs::read_dir(folder().join("tests")).expect("the folder of cases");
    let cases: Vec<PathBuf> = cases.map(|file| file.expect("a file").path()).collect();
    let paths: Vec<&str> = cases.iter().map(|path| path.to_str().expect("in UTF-8")).collect();
    promtool(&folder(), &[&["test", "rules"], &paths[..]].concat()).expect("the cases hold");

    let cases: String = paths.iter().map(|path| fs::read_to_string(path).expect("cases")).collect();
    let rules = fs::read_to_string(folder().join("rules/alerts.yml")).expect("the alerts");
    let alerts = rules.split("- alert: ").skip(1).map(|rest| rest.lines().next().unwrap_or(""));
    for alert in alerts {
        let asked = format!("expr: ALERTS{{alertname=\"{alert}\", alertstate=\"firing\"}}\n");
        let answers: Vec<&str> = cases.split(&asked).skip(1).map(str::trim_start).collect();
        let silent = answers.iter().filter(|answer| answer.starts_with("exp_samples: []")).count();
        assert!(silent > 0, "{alert} has no case that does not fire");
        assert!(silent < answers.len(), "{alert} has no case that fires");
    }
}

/// A configuration that scrapes the nodes every second under the shipped rules.
fn configuration(cluster: &Cluster) -> String {
    let targets = |nodes: std::ops::Range<usize>| -> String {
        let targets = nodes.map(|at| format!("\"{}\"", cluster.node(at).admin_address()));
        targets.collect::<Vec<_>>().join(", ")
    };
    let job = |name: &str, targets: String| {
        format!(
            "  - job_name: {name}\n    static_configs:\n      - targets: [{targets}]\n        \
             labels: {{cluster: test}}\n"
        )
    };
    format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
         rule_files: [\"{}/rules/*.yml\"]\nscrape_configs:\n{}{}",
        folder().display(),
        job("bitroster-shard", targets(cluster.shards())),
        job("bitroster-router", targets(cluster.routers())),
    )
}

/// Commands of every kind that the panels tell apart.
fn traffic(client: &mut Client) {
    for key in 0..32 {
        for segment in 0..4 {
            let offset = segment * (1 << 20) + 7;
            client.words(&format!("SETBIT k{key} {offset} 1")).expect("an answer");
        }
        client.words(&format!("GETBIT k{key} 7")).expect("an answer");
    }
    let words = ["BITOP OR all k1 k2 k3", "BITCOUNT all", "EXPIRE k1 1000", "NOPE", "DEL k2"];
    for request in words {
        client.words(request).expect("an answer");
    }
}

/// What every panel asks for, for the whole cluster.
fn panels() -> Vec<(String, String)> {
    let folder = workspace().join("deploy/grafana/dashboards");
    let mut queries = Vec::new();
    for file in fs::read_dir(folder).expect("the folder of dashboards") {
        let path = file.expect("a file").path();
        let text = fs::read_to_string(&path).expect("a dashboard");
        let dashboard: Value = serde_json::from_str(&text).expect("JSON");
        for panel in dashboard["panels"].as_array().expect("panels") {
            for target in panel["targets"].as_array().expect("targets") {
                let query = target["expr"].as_str().expect("a query");
                let query = ["$cluster", "$instance", "$group"]
                    .iter()
                    .fold(query.to_owned(), |query, name| query.replace(name, ".*"))
                    .replace("$__rate_interval", "30s");
                assert!(!query.contains('$'), "{query} has a variable that is not known");
                let name = format!("{}: {}", path.display(), panel["title"]);
                queries.push((name, query));
            }
        }
    }
    assert!(queries.len() > 50, "only {} queries in all panels", queries.len());
    queries
}

/// What an alert compares, without what it compares with.
fn compared(expression: &str) -> Vec<&str> {
    let side = |side: &str| -> Option<usize> {
        let operators = [" == ", " > ", " < ", " <= ", " >= "];
        operators.iter().filter_map(|operator| side.find(operator)).min()
    };
    let sides = expression.split(" and ");
    sides.map(|whole| whole[..side(whole).expect("an alert compares")].trim()).collect()
}

#[test]
fn panels_and_alerts_find_what_they_ask_for_on_a_live_cluster() {
    if !is_here("panels_and_alerts_find_what_they_ask_for_on_a_live_cluster") {
        return;
    }
    let mut cluster = Cluster::builder(3, 2).set(&["storage.maxmemory=1gb"]).start();
    cluster.wait_whole();
    let prometheus = Prometheus::start(&configuration(&cluster));
    let mut clients: Vec<Client> = cluster.routers().map(|at| cluster.client_of(at)).collect();
    let rules = prometheus.rules().expect("the rules");
    let mut wanted = panels();
    for rule in &rules {
        let (name, query) = (&rule["name"], rule["query"].as_str().expect("a query"));
        if rule["type"] == "alerting" {
            let sides = compared(query).into_iter();
            wanted.extend(sides.map(|side| (format!("alert {name}"), side.to_owned())));
        } else {
            let name = name.as_str().expect("a name");
            wanted.push((format!("rule {name}"), name.to_owned()));
        }
    }
    assert!(rules.len() > 30, "only {} rules", rules.len());
    let mut empty = Vec::new();
    let found = wait::within(PATIENCE, Duration::from_millis(500), || {
        clients.iter_mut().for_each(traffic);
        empty = wanted
            .iter()
            .filter(|(name, query)| {
                let series = prometheus.query(query);
                series.unwrap_or_else(|error| panic!("{name}: {error:#}")).is_empty()
            })
            .collect::<Vec<_>>();
        empty.is_empty().then_some(())
    });
    assert!(found.is_some(), "no data for {empty:#?}");
    a_dead_node_is_told_of(&mut cluster, &prometheus);
}

/// Kills a shard node: figures and alerts show it, and show it no more once it is back.
fn a_dead_node_is_told_of(cluster: &mut Cluster, prometheus: &Prometheus) {
    let nodes = cluster.shards().len() + cluster.routers().len();
    let up = |count: usize| {
        let series = prometheus.query("up{job=~\"bitroster.*\"} == 1").expect("an answer");
        (series.len() == count).then_some(())
    };
    let alert = |name: &str, wanted: bool| {
        let query = format!("ALERTS{{alertname=\"Bitroster{name}\"}}");
        let is_there = !prometheus.query(&query).expect("an answer").is_empty();
        (is_there == wanted).then_some(())
    };
    wait::until("all nodes are up", || up(nodes));
    cluster.kill(0);
    wait::until("a node is missing", || up(nodes - 1));
    wait::until("the alert is pending", || alert("NodeDown", true));
    wait::until("groups are at risk", || alert("GroupQuorumAtRisk", true));
    cluster.start_node(0);
    cluster.wait_whole();
    wait::until("all nodes are up again", || up(nodes));
    wait::until("the alert is over", || alert("NodeDown", false));
    wait::until("no group is at risk", || alert("GroupQuorumAtRisk", false));
    let covered = prometheus.query("cluster:bitroster_router_slots_covered:min");
    let covered = covered.expect("an answer");
    assert!(covered.iter().all(|series| value(series) > 16383.0), "{covered:?}");
}
