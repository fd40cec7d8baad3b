//! Goal: `docs/metrics.md` is the whole truth about what nodes export, and what they export is so.
//!
//! Method: the catalogue's tables are read, and nodes of each role are scraped after some traffic:
//! every family of the role must be there with the catalogue's type and words, every series with
//! the catalogue's labels and all values of their closed sets, and nothing else. Then known traffic
//! is compared with what was counted of it. Mutants killed: a family, a label value or a help text
//! that only one side has; a series that comes only with its first event; buckets that are not
//! cumulative; errors counted as answers; a follower that says it leads.

mod metrics_page;

use std::time::Duration;

use bitroster_suite::{Client, Cluster, Server, server::workspace, wait};

use metrics_page::{Catalogue, Page};

/// The most series of a router: so many, and more for each group.
const ROUTER_SERIES_MAX: (usize, usize) = (900, 46);

/// The most series of a shard node: so many, and more for each group, the meta group too, and for
/// each other shard node.
const SHARD_SERIES_MAX: (usize, usize, usize) = (150, 90, 20);

/// How long nodes may take to show what was done.
const PATIENCE: Duration = Duration::from_secs(90);

/// Looks at nodes now and then until `look` finds what it looks for.
fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    let found = wait::within(PATIENCE, Duration::from_millis(250), look);
    found.unwrap_or_else(|| panic!("waited {PATIENCE:?} until {what}"))
}

fn catalogue() -> Catalogue {
    let path = workspace().join("docs/metrics.md");
    Catalogue::parse(&std::fs::read_to_string(path).expect("the catalogue"))
}

fn scrape(cluster: &Cluster, at: usize) -> Option<Page> {
    let (status, text) = cluster.node(at).admin("/metrics")?;
    assert_eq!(status, 200);
    Some(Page::parse(&text))
}

fn answer(client: &mut Client, request: &str) {
    client.words(request).unwrap_or_else(|error| panic!("{request}: {error}"));
}

/// Writes, reads, errors, operations over groups, and enough bytes for snapshots.
fn traffic(client: &mut Client) {
    for n in 0..100 {
        answer(client, &format!("SETBIT small:{n} 7 1"));
        answer(client, &format!("GETBIT small:{n} 7"));
    }
    for segment in 0..40_u64 {
        for key in ["wide:a", "wide:b"] {
            answer(client, &format!("SETBIT {key} {} 1", segment << 20));
        }
    }
    answer(client, "BITOP AND wide:c wide:a wide:b");
    answer(client, "BITCOUNT wide:c");
    answer(client, "SETBIT small:0 nonsense 1");
    let value = (0..200_000_u32).map(|n| char::from(b'a' + (n % 23) as u8)).collect::<String>();
    // Each time anew: the log of every group grows beyond what snapshots are due at.
    for n in 0..100 {
        client.call(&["SET", &format!("dense:{}", n % 20), &value]).expect("an answer");
    }
}

#[test]
fn a_cluster_exports_what_the_catalogue_says_and_counts_what_was_done() {
    let catalogue = catalogue();
    let settings = ["storage.snapshot_log_bytes=1mb"];
    let mut cluster = Cluster::builder(3, 1).set(&settings).start();
    cluster.wait_whole();
    let router = cluster.routers().start;
    let mut client = cluster.client_of(router);
    traffic(&mut client);

    let page = until("the router exports its catalogue", || {
        let page = scrape(&cluster, router)?;
        (page.sum("bitroster_router_slots_covered", &[]) == 16_384.0).then_some(())?;
        catalogue.told(&page, &["router", "node", "cluster"]).then_some(page)
    });
    let counted = |name: &str, labels: &[(&str, &str)]| page.sum(name, labels);
    let commands = |cmd, status| {
        let labels = [("cmd", cmd), ("status", status)];
        counted("bitroster_router_commands_total", &labels)
    };
    assert_eq!((commands("setbit", "ok"), commands("setbit", "error")), (180.0, 1.0));
    assert_eq!((commands("getbit", "ok"), commands("bitop", "ok")), (100.0, 1.0));
    let durations = "bitroster_router_command_duration_seconds_count";
    assert_eq!(counted(durations, &[("cmd", "getbit")]), 100.0);
    assert_eq!(counted("bitroster_router_command_errors_total", &[("code", "ERR")]), 1.0);
    assert_eq!(counted("bitroster_router_connections", &[("transport", "resp")]), 1.0);
    assert!(counted("bitroster_router_shard_requests_total", &[("code", "ok")]) >= 280.0);
    assert!(counted("bitroster_router_scatter_groups_sum", &[]) >= 2.0);
    assert!(counted("bitroster_router_plans_total", &[]) >= 1.0);
    let groups = page.values("bitroster_router_shard_requests_total", "group").len();
    let (base, a_group) = ROUTER_SERIES_MAX;
    assert!(page.series() <= base + a_group * groups, "{} series", page.series());

    let shards = until("the shard nodes export their catalogue", || {
        let pages = cluster.shards().map(|at| shard(&catalogue, &cluster, at));
        let pages = pages.collect::<Option<Vec<Page>>>()?;
        // Leaders may be about to change.
        let leads = pages.iter().map(|page| page.sum("bitroster_raft_is_leader", &[]));
        (leads.sum::<f64>() == (groups + 1) as f64).then_some(pages)
    });
    let (base, a_group, a_peer) = SHARD_SERIES_MAX;
    for page in &shards {
        let bound = base + a_group * (groups + 1) + a_peer * 2;
        assert!(page.series() <= bound, "{} series, at most {bound}", page.series());
        assert_eq!(page.values("bitroster_raft_term", "group").len(), groups + 1);
        assert!(page.all("bitroster_raft_voters", |voters| voters == 3.0));
        assert!(page.sum("bitroster_raft_log_fsync_duration_seconds_count", &[]) > 0.0);
        assert!(page.sum("bitroster_raft_snapshots_total", &[("op", "build")]) > 0.0);
        assert!(page.sum("bitroster_disk_used_bytes", &[]) > 4e6);
    }
    let of_all = |name: &str| shards.iter().map(|page| page.sum(name, &[])).sum::<f64>();
    assert_eq!(of_all("bitroster_slot_owned"), 3.0 * 16_384.0);
    assert_eq!(of_all("bitroster_store_keys"), 3.0 * 123.0);
    assert!(of_all("bitroster_raft_proposed_ops_total") >= 200.0);
    let kept = shards[0].sum("bitroster_store_memory_bytes", &[]);
    let logical = shards[0].sum("bitroster_store_logical_bytes", &[]);
    assert!(logical >= 4e6 && kept >= 4e6, "{logical} logical bytes in {kept}");
    let dense = shards[0].sum("bitroster_store_containers", &[("kind", "dense")]);
    assert!(dense >= 20.0 * 200_000.0 / 8192.0 - 20.0, "{dense} dense containers");
}

/// A shard node's page if it has all families, all data, and a snapshot.
fn shard(catalogue: &Catalogue, cluster: &Cluster, at: usize) -> Option<Page> {
    let page = scrape(cluster, at)?;
    let has_snapshot = page.sum("bitroster_raft_snapshots_total", &[("op", "build")]) > 0.0;
    let has_applied = page.sum("bitroster_store_keys", &[]) == 123.0;
    let has_counted = page.sum("bitroster_store_logical_bytes", &[]) >= 4e6;
    let hears = page.all("bitroster_raft_has_leader", |has| has == 1.0);
    (has_snapshot && has_applied && has_counted && hears).then_some(())?;
    catalogue.told(&page, &["shard", "node", "cluster"]).then_some(page)
}

#[test]
fn a_node_that_is_alone_exports_what_is_of_both_roles() {
    let catalogue = catalogue();
    let server = Server::bitroster(&[]);
    let mut client = server.client();
    for n in 0..10 {
        answer(&mut client, &format!("SETBIT k:{n} 7 1"));
        answer(&mut client, &format!("GETBIT k:{n} 7"));
    }
    answer(&mut client, "SET gone 1 PX 1");
    let page = until("the key has expired", || {
        let page = Page::parse(&server.metrics()?);
        (page.sum("bitroster_store_expired_keys_total", &[]) == 1.0).then_some(page)
    });
    if let Err(faults) = catalogue.check(&page, &["router", "shard", "node"]) {
        panic!("{faults}");
    }
    assert_eq!(page.sum("bitroster_router_reads_in_place_total", &[]), 10.0);
    assert_eq!(page.sum("bitroster_store_keys", &[]), 10.0);
    assert_eq!(page.sum("bitroster_build_info", &[("role", "all")]), 1.0);
    assert!(page.sum("process_resident_memory_bytes", &[]) > 1e6);
}

#[test]
fn the_catalogue_itself_keeps_its_conventions() {
    catalogue().check_names();
}
