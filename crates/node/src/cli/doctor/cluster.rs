//! Checks of what the nodes of a cluster tell.

use std::collections::BTreeSet;

use bitroster_proto::internal as wire;
use bitroster_types::{GroupId, limits::SLOTS};

use super::{Check, Verdict};
use crate::cli::{
    cluster::Report,
    output::{bytes, seconds, thousands},
};

/// Entries behind its leader from which a replica is not well.
const LAG_ENTRIES: u64 = 10_000;

/// Difference of clocks from which expiry is noticeably wrong, and from which it is useless.
const SKEW_MS: (i64, i64) = (500, 5_000);

/// Mean time of a sync from which writes are slow, and from which elections are at risk.
const SYNC_SECONDS: (f64, f64) = (0.02, 0.1);

/// All of them.
pub(super) fn checks(report: &Report) -> Vec<Check> {
    vec![
        nodes(report),
        versions(report),
        leaders(report),
        majorities(report),
        replicas(report),
        lag(report),
        slots(report),
        revisions(report),
        links(report),
        clocks(report),
        memory(report),
        disks(report),
        syncs(report),
        exposure(report),
    ]
}

/// Every node and router that answers: how it is called, and what it said.
fn answering(report: &Report) -> impl Iterator<Item = (String, &wire::StatusReply)> {
    let nodes = report.nodes.iter();
    let nodes = nodes.filter_map(|node| Some((format!("node {}", node.id), node.status.as_ref()?)));
    let routers = report.routers.iter();
    let routers = routers
        .filter_map(|router| Some((format!("router {}", router.address), router.status.as_ref()?)));
    nodes.chain(routers)
}

/// As [`answering`], of those that tell about their host.
fn hosts(report: &Report) -> impl Iterator<Item = (String, &wire::Host)> {
    answering(report).filter_map(|(name, status)| Some((name, status.host.as_ref()?)))
}

fn nodes(report: &Report) -> Check {
    let gone = report.nodes.iter().filter(|node| node.status.is_none());
    let gone = gone.map(|node| format!("node {} at {} does not answer", node.id, node.address));
    let routers = report.routers.iter().filter(|router| router.status.is_none());
    let routers =
        routers.map(|router| (Verdict::Warn, format!("router {} does not answer", router.address)));
    let found = gone.map(|text| (Verdict::Fail, text)).chain(routers).collect();
    let (all, with) = (report.nodes.len(), report.routers.len());
    Check::worst(
        "nodes",
        found,
        format!("all {all} nodes and {with} routers answer"),
        "start the node, or 'bitroster cluster replace' one that will not come back",
    )
}

fn versions(report: &Report) -> Check {
    let versions: BTreeSet<&str> =
        answering(report).map(|(_, status)| status.version.as_str()).collect();
    let found = versions.iter().copied().collect::<Vec<_>>().join(" and ");
    if versions.len() > 1 {
        let remedy = "upgrade the nodes one by one until all have the same version";
        return Check::warn("versions", format!("nodes run {found}"), remedy);
    }
    Check::pass("versions", format!("all run {found}"))
}

fn leaders(report: &Report) -> Check {
    let groups = report.state.groups.keys();
    let without = groups.filter(|group| report.leader(**group).is_none());
    let found = without.map(|group| (Verdict::Fail, format!("{} has no leader", name(*group))));
    Check::worst(
        "leaders",
        found.collect(),
        format!("all {} groups have a leader", report.state.groups.len()),
        "a majority of the group's nodes must run and reach each other: bring them back",
    )
}

/// How far each group is from standing still.
fn majorities(report: &Report) -> Check {
    let is_up = |id| report.nodes.iter().any(|node| node.id == id && node.status.is_some());
    let mut found = Vec::new();
    for (group, replicas) in &report.state.groups {
        let stay = replicas.iter().filter(|replica| !replica.leaving);
        let (mut all, mut up) = (0, 0);
        for replica in stay {
            all += 1;
            up += usize::from(is_up(replica.node));
        }
        let needed = all / 2 + 1;
        let group = name(*group);
        if up < needed {
            found.push((Verdict::Fail, format!("{group}: {up} of {all} replicas are up")));
        } else if up == needed && all > 2 {
            let text = format!("{group}: {up} of {all} replicas are up; the next loss stops it");
            found.push((Verdict::Warn, text));
        }
    }
    Check::worst(
        "majorities",
        found,
        "every group survives what its number of replicas allows",
        "bring the nodes back that do not answer",
    )
}

fn replicas(report: &Report) -> Check {
    let few = report.state.groups.iter().filter(|(group, replicas)| {
        **group != GroupId::META && replicas.iter().filter(|it| !it.leaving).count() < 3
    });
    let found = few.map(|(group, replicas)| {
        let count = replicas.len();
        (Verdict::Warn, format!("{} has {count} replicas: one loss stops it", name(*group)))
    });
    Check::worst(
        "replicas",
        found.collect(),
        "every group has three replicas or more",
        "run three nodes that keep data, found with cluster.replicas = 3",
    )
}

fn lag(report: &Report) -> Check {
    let mut found = Vec::new();
    let mut most = 0;
    for (group, replicas) in &report.state.groups {
        if report.leader(*group).is_none() {
            continue;
        }
        for replica in replicas.iter().filter(|replica| !replica.leaving) {
            let who = format!("{}: the replica on node {}", name(*group), replica.node);
            match report.behind(*group, replica.id) {
                None => found.push((Verdict::Warn, format!("{who} is not in the group yet"))),
                Some(behind) if behind >= LAG_ENTRIES => {
                    let behind = thousands(behind);
                    found.push((Verdict::Warn, format!("{who} is {behind} entries behind")));
                }
                Some(behind) => most = most.max(behind),
            }
        }
    }
    Check::worst(
        "lag",
        found,
        format!("no replica is more than {most} entries behind"),
        "look at that node's disk, network and log; it catches up by itself once it can",
    )
}

fn slots(report: &Report) -> Check {
    let ranges = report.state.map.ranges();
    let served: u32 = ranges
        .iter()
        .filter(|(_, _, group)| report.leader(*group).is_some())
        .map(|(first, last, _)| u32::from(*last) - u32::from(*first) + 1)
        .sum();
    let all = u32::from(SLOTS);
    if served < all {
        let lost = all - served;
        let found = format!("{lost} of {all} slots are in groups without leader");
        return Check::fail("slots", found, "keys there are not served until the group has one");
    }
    Check::pass("slots", format!("all {all} slots are served"))
}

fn revisions(report: &Report) -> Check {
    let newest = answering(report).map(|(_, status)| status.revision).max().unwrap_or(0);
    let old = answering(report).filter(|(_, status)| status.revision < newest);
    let found = old.map(|(who, status)| {
        (Verdict::Warn, format!("{who} knows revision {} of {newest}", status.revision))
    });
    Check::worst(
        "map",
        found.collect(),
        format!(
            "all know revision {newest} of the cluster, map epoch {}",
            report.state.map.epoch()
        ),
        "if it stays so, the node is cut off from the others: look at its log",
    )
}

fn links(report: &Report) -> Check {
    let up: Vec<u64> =
        report.nodes.iter().filter(|node| node.status.is_some()).map(|node| node.id.0).collect();
    let mut found = Vec::new();
    for (who, status) in answering(report) {
        let missing = up.iter().filter(|id| **id != status.node_id && !status.linked.contains(id));
        let missing: Vec<String> = missing.map(u64::to_string).collect();
        if !missing.is_empty() {
            let text = format!("{who} has no link to node {}", missing.join(", "));
            found.push((Verdict::Warn, text));
        }
    }
    Check::worst(
        "links",
        found,
        "every node has a link to every other",
        "let node ports (cluster.port) through, in both directions",
    )
}

fn clocks(report: &Report) -> Check {
    let ahead: Vec<(u64, i64)> =
        report.nodes.iter().filter_map(|node| Some((node.id.0, node.ahead_ms?))).collect();
    let fastest = ahead.iter().max_by_key(|(_, ms)| *ms);
    let slowest = ahead.iter().min_by_key(|(_, ms)| *ms);
    let (Some(fastest), Some(slowest)) = (fastest, slowest) else {
        return Check::pass("clocks", "no node tells its time");
    };
    let skew = fastest.1 - slowest.1;
    let found = format!("node {}'s clock is {skew} ms ahead of node {}'s", fastest.0, slowest.0);
    let remedy = "run chrony or another NTP client on every machine: keys expire by these clocks";
    if skew >= SKEW_MS.1 {
        Check::fail("clocks", found, remedy)
    } else if skew >= SKEW_MS.0 {
        Check::warn("clocks", found, remedy)
    } else {
        Check::pass("clocks", format!("nodes' clocks agree within {} ms", skew.max(1)))
    }
}

fn memory(report: &Report) -> Check {
    let mut found = Vec::new();
    let mut unlimited = 0;
    for (who, host) in hosts(report) {
        let (used, limit) = (host.memory_bytes, host.memory_limit_bytes);
        if limit == 0 {
            unlimited += 1;
            continue;
        }
        let verdict = match used.saturating_mul(100) / limit {
            0..80 => continue,
            80..95 => Verdict::Warn,
            _ => Verdict::Fail,
        };
        found.push((verdict, format!("{who} uses {} of {}", bytes(used), bytes(limit))));
    }
    let well = match unlimited {
        0 => "every node is below 80 % of its maxmemory".to_owned(),
        _ => format!("{unlimited} nodes have no maxmemory; those that have are below 80 %"),
    };
    Check::worst(
        "memory",
        found,
        well,
        "writes are refused at the limit: raise storage.maxmemory, or add nodes and rebalance",
    )
}

fn disks(report: &Report) -> Check {
    let mut found = Vec::new();
    let mut least = None;
    for (who, host) in hosts(report).filter(|(_, host)| host.disk_total_bytes > 0) {
        let (free, total) = (host.disk_free_bytes, host.disk_total_bytes);
        let percent = free.saturating_mul(100) / total;
        least = Some(least.map_or(percent, |least: u64| least.min(percent)));
        let verdict = match percent {
            0..5 => Verdict::Fail,
            5..10 => Verdict::Warn,
            _ => continue,
        };
        found.push((verdict, format!("{who} has {} of {} left", bytes(free), bytes(total))));
    }
    let well = least.map_or_else(
        || "no node tells".to_owned(),
        |percent| format!("every node has {percent} % of its disk or more left"),
    );
    Check::worst(
        "disks",
        found,
        well,
        "a node whose disk is full stops: make room, or a larger disk",
    )
}

fn syncs(report: &Report) -> Check {
    let mut found = Vec::new();
    let mut slowest: f64 = 0.0;
    for (who, host) in hosts(report).filter(|(_, host)| host.syncs > 0) {
        #[expect(clippy::cast_precision_loss, reason = "a mean of two or three digits")]
        let mean = host.sync_nanos as f64 / 1e9 / host.syncs as f64;
        slowest = slowest.max(mean);
        let verdict = match mean {
            mean if mean >= SYNC_SECONDS.1 => Verdict::Fail,
            mean if mean >= SYNC_SECONDS.0 => Verdict::Warn,
            _ => continue,
        };
        found.push((verdict, format!("{who}'s disk takes {} a sync", seconds(mean))));
    }
    Check::worst(
        "syncs",
        found,
        format!("syncs of the log take {} on the slowest node, in the mean", seconds(slowest)),
        "every write waits for a sync: use a disk with power-loss protection, for the log alone",
    )
}

fn exposure(report: &Report) -> Check {
    let open = hosts(report).filter(|(_, host)| {
        let address = host.clients.parse::<std::net::SocketAddr>();
        host.insecure && address.is_ok_and(|address| !address.ip().is_loopback())
    });
    let found = open.map(|(who, host)| {
        (Verdict::Warn, format!("{who} serves {} without a password (--insecure)", host.clients))
    });
    Check::worst(
        "exposure",
        found.collect(),
        "no node serves other machines without a password",
        "set server.requirepass and leave --insecure out: whoever reaches the port may do all",
    )
}

fn name(group: GroupId) -> String {
    if group == GroupId::META { "the meta group".to_owned() } else { format!("group {group}") }
}
