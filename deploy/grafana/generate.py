#!/usr/bin/env python3
"""Writes the dashboards of this folder: `deploy/grafana/generate.py [--check]`.

Panels are listed here; what every panel shares stands once. With --check it says whether the files
are as they would be written and whether they keep the rules in `complaints`, and writes nothing.
What the metrics mean is in docs/metrics.md.
"""

import json
import pathlib
import re
import sys

FOLDER = pathlib.Path(__file__).parent / "dashboards"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
RATE = "[$__rate_interval]"
COLUMNS = 24
SCHEMA = 41


def rate(metric, by, where=""):
    return f"sum by ({by}) (rate({metric}{{{SELECT}{where}}}{RATE}))"


def quantile(q, metric, by="", where=""):
    le = f"le, {by}" if by else "le"
    return f"histogram_quantile({q}, sum by ({le}) (rate({metric}_bucket{{{SELECT}{where}}}{RATE})))"


def mean(metric, by, where=""):
    return f"{rate(metric + '_sum', by, where)} / {rate(metric + '_count', by, where)}"


def quantiles(metric, where=""):
    return [(quantile(q, metric, "", where), f"p{q * 100:g}") for q in (0.5, 0.99, 0.999)]


# What the variables at the top choose.
SELECT = 'cluster=~"$cluster", instance=~"$instance"'
# A figure that all routers or all replicas tell alike is asked of the whole cluster.
WHOLE = 'cluster=~"$cluster"'


def stat(title, description, unit, query, steps, width=4):
    """A number: the colour changes at each step, the first being the colour below all steps."""
    colours = [{"color": colour, "value": at} for at, colour in steps]
    return {
        "type": "stat", "title": title, "description": description, "unit": unit,
        "queries": [(query, "")], "width": width, "height": 4,
        "defaults": {"thresholds": {"mode": "absolute", "steps": colours}},
        "options": {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "colorMode": "value", "graphMode": "none", "textMode": "auto",
        },
    }


def graph(title, description, unit, *queries, stack=False, width=8, **defaults):
    """Lines over time. What moves them, and what to do then, is in the description."""
    custom = {"fillOpacity": 25 if stack else 8, "lineWidth": 1, "showPoints": "never"}
    custom["stacking"] = {"mode": "normal" if stack else "none", "group": "A"}
    return {
        "type": "timeseries", "title": title, "description": description, "unit": unit,
        "queries": queries, "width": width, "height": 7,
        "defaults": {"min": 0, "custom": custom} | defaults,
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    }


def states(title, description, query, legend, words):
    """Bars of a state over time, one a series: each value has a word and a colour."""
    said = {str(value): {"text": text, "color": colour} for value, text, colour in words}
    return {
        "type": "state-timeline", "title": title, "description": description, "unit": "short",
        "queries": [(query, legend)], "width": 8, "height": 7,
        "defaults": {"mappings": [{"type": "value", "options": said}], "custom": {"fillOpacity": 70}},
        "options": {"showValue": "never", "mergeValues": True, "rowHeight": 0.9,
                    "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True}},
    }


GOOD_AT = lambda least: [(None, "red"), (least, "green")]  # noqa: E731
BAD_AT = lambda *steps: [(None, "green"), *steps]  # noqa: E731
PLAIN = [(None, "blue")]

CLUSTER = [
    stat("Slots served", "Of 16384, by the router that sees fewest. Fewer: a group has no leader or a router does not reach it; commands there are answered CLUSTERDOWN.",
         "short", f"min(bitroster_router_slots_covered{{{WHOLE}}})", GOOD_AT(16384)),
    stat("Groups with a leader", "Share of all groups, the meta group too. Below 100 %: look at the nodes that hold the others' replicas.",
         "percentunit", f"avg(max by (group) (bitroster_raft_is_leader{{{WHOLE}}}))", GOOD_AT(1)),
    stat("Commands", "That clients get answered, by all routers together.",
         "ops", f"sum(rate(bitroster_router_commands_total{{{WHOLE}}}{RATE}))", PLAIN),
    stat("Errors", "Share of commands that are answered by an error. The dashboard Router tells by which.",
         "percentunit", f'sum(rate(bitroster_router_commands_total{{{WHOLE}, status="error"}}{RATE}))'
         f" / sum(rate(bitroster_router_commands_total{{{WHOLE}}}{RATE}))",
         BAD_AT((0.001, "orange"), (0.01, "red"))),
    stat("Keys", "Of all groups, each counted at its home.",
         "short", f"sum(max by (group) (bitroster_store_keys{{{WHOLE}}}))", PLAIN),
    stat("Compression", "How many times more the data would take as plain strings.",
         "none", f"sum(bitroster_store_logical_bytes{{{WHOLE}}}) / sum(bitroster_store_memory_bytes{{{WHOLE}}})",
         PLAIN),
    graph("Commands by name", "The ten that clients send most. A step without a release of yours: a client has changed its mind.",
          "ops", (f"topk(10, sum by (cmd) (rate(bitroster_router_commands_total{{{WHOLE}}}{RATE})))", "{{cmd}}")),
    graph("Slowest of a hundred, by command", "p99 at the routers, from taking a command to having its reply. Rises for all: disks or network. For one: what it is asked.",
          "s", (f"topk(10, histogram_quantile(0.99, sum by (le, cmd) (rate(bitroster_router_command_duration_seconds_bucket{{{WHOLE}}}{RATE}))))", "{{cmd}}")),
    graph("Errors by code", "CLUSTERDOWN: a group has no leader. UNKNOWNOUTCOME: a write was sent and not answered. OOM: above maxmemory. Others: what clients do wrong.",
          "ops", (f"sum by (code) (rate(bitroster_router_command_errors_total{{{WHOLE}}}{RATE})) > 0 or sum by (code) (rate(bitroster_router_command_errors_total{{{WHOLE}, code=\"ERR\"}}{RATE}))", "{{code}}")),
    states("Groups", "Whether each group has a leader. Gaps of a second or two are elections; a group without one for longer serves nothing.",
           f"max by (group) (bitroster_raft_is_leader{{{WHOLE}}})", "group {{group}}",
           [(0, "no leader", "red"), (1, "led", "green")]),
    graph("Leaders by node", "Groups that each node leads. They are spread evenly by themselves; uneven for long: a node is behind.",
          "short", (f"sum by (instance) (bitroster_raft_is_leader{{{WHOLE}}})", "{{instance}}"), stack=True),
    graph("Entries behind", "How far followers are behind their leaders: the worst group of each node. Thousands for long: that node's disk or link.",
          "short", (f"max by (peer) (bitroster_raft_replication_lag_entries{{{WHOLE}}})", "node {{peer}}")),
    graph("Nodes up", "Nodes that answer Prometheus. Fewer than there are: look at the one that is missing.",
          "short", (f'sum by (job) (up{{{WHOLE}, job=~"bitroster.*"}})', "{{job}}")),
    graph("Memory", "Bytes handed out by the allocator, by node, and the smallest limit. Writes are refused above it.",
          "bytes", (f"bitroster_process_allocated_bytes{{{WHOLE}}}", "{{instance}}"),
          (f"min(bitroster_store_memory_limit_bytes{{{WHOLE}}} > 0) or min(bitroster_store_memory_limit_bytes{{{WHOLE}}})", "limit (0: none)")),
    graph("Disk free", "On the disks of the data directories. A node whose log cannot be written stops.",
          "bytes", (f"bitroster_disk_free_bytes{{{WHOLE}}}", "{{instance}}")),
]

ROUTER = [
    graph("Commands", "Answered, by name: the ten most frequent.",
          "ops", (f"topk(10, {rate('bitroster_router_commands_total', 'cmd')})", "{{cmd}}")),
    graph("Errors by code", "CLUSTERDOWN, UNKNOWNOUTCOME, OOM, BUSY and LOADING are the cluster's; the others clients'.",
          "ops", (rate("bitroster_router_command_errors_total", "code"), "{{code}}")),
    graph("Time of a command", "From taking it to having its reply, all commands together.",
          "s", *quantiles("bitroster_router_command_duration_seconds")),
    graph("Slowest of a hundred, by command", "p99. A command over whole bitmaps may take long; SETBIT and GETBIT may not.",
          "s", (f"topk(10, {quantile(0.99, 'bitroster_router_command_duration_seconds', 'cmd')})", "{{cmd}}")),
    graph("Slow commands", "That went into the slow log: SLOWLOG GET shows them with their arguments.",
          "ops", (f"topk(10, {rate('bitroster_router_slow_commands_total', 'cmd')})", "{{cmd}}")),
    graph("Commands taken together", "How many of a pipeline are answered at once. About 1: clients wait for each reply, and the network is what they wait for.",
          "short", (mean("bitroster_router_pipeline_depth", "instance"), "{{instance}}")),
    graph("Time of a request to a group", "From sending to its end, retries included. If this is most of a command's time, look at the dashboard Shard.",
          "s", (quantile(0.5, "bitroster_router_shard_request_duration_seconds", "op"), "{{op}} p50"),
          (quantile(0.99, "bitroster_router_shard_request_duration_seconds", "op"), "{{op}} p99")),
    graph("Requests by group", "One group far above the others has a hot key, or big keys.",
          "reqps", (rate("bitroster_router_shard_requests_total", "group"), "group {{group}}")),
    graph("Requests that did not end well", "stale_map and no_leader are tried again and were not applied; unknown is a write that was sent and not answered.",
          "reqps", (rate("bitroster_router_shard_requests_total", "code", ', code!="ok"'), "{{code}}")),
    graph("Retries", "Begun again, by reason. Some at each change of a leader; for long: a group that cannot elect one.",
          "ops", (rate("bitroster_router_retries_total", "reason"), "{{reason}}")),
    graph("Requests in flight", "Not answered yet. Grows without end: a group does not keep up.",
          "short", (f"bitroster_router_inflight_requests{{{SELECT}}}", "{{instance}}")),
    graph("Groups asked at once", "By commands that need more than one group. Whole-key commands on big bitmaps ask all that hold a part.",
          "short", (quantile(0.5, "bitroster_router_scatter_groups"), "p50"),
          (quantile(0.99, "bitroster_router_scatter_groups"), "p99")),
    graph("Partial results", "Bytes that groups answered to commands over several groups: what could not be counted where it lies.",
          "Bps", (rate("bitroster_router_scatter_bytes_total", "instance"), "{{instance}}")),
    graph("Ops in one message", "Mean of what clients' requests to one group are joined to.",
          "short", (mean("bitroster_router_batch_ops", "op"), "{{op}}")),
    graph("Clients", "Connected now.",
          "short", (f"sum by (instance, transport) (bitroster_router_connections{{{SELECT}}})", "{{instance}} {{transport}}")),
    graph("Connections opened and refused", "Many opened a second: clients without a pool. Refused: maxclients, no password set (protected), or TLS.",
          "ops", (rate("bitroster_router_connections_opened_total", "transport"), "{{transport}} opened"),
          (rate("bitroster_router_connections_rejected_total", "reason"), "refused: {{reason}}")),
    graph("Bytes of clients", "Received and sent.",
          "Bps", (rate("bitroster_router_received_bytes_total", "transport"), "{{transport}} received"),
          (rate("bitroster_router_sent_bytes_total", "transport"), "{{transport}} sent")),
    graph("Busy workers", "Share of their time. Near 1: the router is the bottleneck; add one.",
          "percentunit", (f'bitroster_runtime_busy_ratio{{{SELECT}}} and on (instance) bitroster_router_slot_map_version{{{SELECT}}}', "{{instance}}"), max=1),
    graph("Slot map", "Versions that routers follow. Apart for more than moments: one is cut off from the cluster.",
          "short", (f"bitroster_router_slot_map_version{{{SELECT}}}", "{{instance}}")),
]

GROUP = ', group=~"$group"'
SHARD = [
    states("Leads", "Which node leads which group. Changes without a restart: stalls of processor, disk or network.",
           f"bitroster_raft_is_leader{{{SELECT}{GROUP}}}", "{{instance}} group {{group}}",
           [(0, "follows", "#6e7680"), (1, "leads", "green")]),
    graph("Leader changes", "Seen by each group in a quarter of an hour.",
          "short", (f"max by (group) (increase(bitroster_raft_leader_changes_total{{{SELECT}{GROUP}}}[15m]))", "group {{group}}")),
    graph("Terms", "Each election raises a group's term. A steady climb: elections that do not succeed.",
          "short", (f"max by (group) (bitroster_raft_term{{{SELECT}{GROUP}}})", "group {{group}}")),
    graph("Entries", "Proposed a second and applied, by group: the load of writes.",
          "ops", (rate("bitroster_raft_proposals_total", "group", GROUP), "group {{group}}")),
    graph("Entries that failed", "refused: too much waits. unknown: leadership was lost under them.",
          "ops", (rate("bitroster_raft_proposals_failed_total", "group, reason", GROUP), "group {{group}} {{reason}}")),
    graph("Ops in one entry", "What waits while an entry is on its way goes into the next one: more under load, and that is well.",
          "short", (quantile(0.5, "bitroster_raft_batch_ops"), "p50"), (quantile(0.99, "bitroster_raft_batch_ops"), "p99")),
    graph("Where a write's time goes", "p99 of the whole proposal, of the log's sync, of a peer's answer and of applying: the largest part is the cause.",
          "s", (quantile(0.99, "bitroster_raft_proposal_duration_seconds", "", GROUP), "proposal"),
          (quantile(0.99, "bitroster_raft_log_fsync_duration_seconds"), "sync"),
          (quantile(0.99, "bitroster_raft_peer_round_trip_seconds"), "peer's answer"),
          (quantile(0.99, "bitroster_raft_apply_duration_seconds", "", GROUP), "apply")),
    graph("Time of a sync", "Of the log that all groups of a node share. Above 100 ms: a disk that is shared, throttled or failing.",
          "s", (quantile(0.5, "bitroster_raft_log_fsync_duration_seconds", "instance"), "{{instance}} p50"),
          (quantile(0.99, "bitroster_raft_log_fsync_duration_seconds", "instance"), "{{instance}} p99")),
    graph("Time of a read's question", "p99 of asking a majority whether the leader still leads; all reads that wait share one question.",
          "s", (quantile(0.99, "bitroster_raft_read_index_duration_seconds", "group", GROUP), "group {{group}}")),
    graph("Not yet applied", "Entries committed and not applied, by group. Grows: heavy work, or too few processors.",
          "short", (f"max by (group) (bitroster_raft_committed_index{{{SELECT}{GROUP}}} - bitroster_raft_applied_index{{{SELECT}{GROUP}}})", "group {{group}}")),
    graph("Entries behind", "By follower, as its leader sees it.",
          "short", (f"max by (group, peer) (bitroster_raft_replication_lag_entries{{{SELECT}{GROUP}}})", "node {{peer}} group {{group}}")),
    graph("Messages without a good answer", "To other nodes, by reason. unreachable: the node or the link is down.",
          "ops", (rate("bitroster_raft_peer_send_failures_total", "peer, reason"), "node {{peer}} {{reason}}")),
    graph("Round trip", "From sending entries or a heartbeat to its answer, mean by node. Elections begin where it nears half a second.",
          "s", (mean("bitroster_raft_peer_round_trip_seconds", "peer"), "node {{peer}}")),
    graph("Log in memory", "All since the last snapshot, by group. A saw: each snapshot lets go of it.",
          "bytes", (f"sum by (group) (bitroster_raft_log_memory_bytes{{{SELECT}{GROUP}}})", "group {{group}}")),
    graph("Snapshots", "Written here, sent to a follower, taken from a leader. Sent for long: a node does not catch up.",
          "ops", (rate("bitroster_raft_snapshots_total", "op", GROUP), "{{op}}")),
    graph("Written to the log", "Bytes a second, by node.",
          "Bps", (rate("bitroster_raft_log_written_bytes_total", "instance"), "{{instance}}")),
    graph("Waits for the log", "Bytes that wait for the disk, and ops that wait for an entry. Grow together: the disk.",
          "bytes", (f"bitroster_raft_log_pending_bytes{{{SELECT}}}", "{{instance}} disk"),
          (f"sum by (instance) (bitroster_raft_queue_bytes{{{SELECT}{GROUP}}})", "{{instance}} queue")),
    graph("Disk", "Free on the disk, used by us, and by the log alone.",
          "bytes", (f"bitroster_disk_free_bytes{{{SELECT}}}", "{{instance}} free"),
          (f"bitroster_disk_used_bytes{{{SELECT}}}", "{{instance}} used"),
          (f"bitroster_raft_log_disk_bytes{{{SELECT}}}", "{{instance}} log")),
    graph("Keys", "Whose home is the group, and those that expire.",
          "short", (f"max by (group) (bitroster_store_keys{{{SELECT}{GROUP}}})", "group {{group}}"),
          (f"max by (group) (bitroster_store_expiring_keys{{{SELECT}{GROUP}}})", "group {{group}} expiring")),
    graph("Memory by kind", "array, dense and run: containers of bits. inline: small values. keys: names and records. other: expiry, changes in progress, sessions.",
          "bytes", (f"sum by (kind) (bitroster_store_memory_bytes{{{SELECT}{GROUP}}})", "{{kind}}"), stack=True),
    graph("Containers", "By form. Many dense ones with few keys: bitmaps that are full; many arrays: sparse ones.",
          "short", (f"sum by (kind) (bitroster_store_containers{{{SELECT}{GROUP}}})", "{{kind}}"), stack=True),
    graph("Compression", "How many times more the data would take as plain strings, by group. Below 1: keys so small that their names weigh most.",
          "none", (f"sum by (group) (bitroster_store_logical_bytes{{{SELECT}{GROUP}}}) / sum by (group) (bitroster_store_memory_bytes{{{SELECT}{GROUP}}})", "group {{group}}")),
    graph("Expired", "Keys and parts dropped a second because their time was over. A spike at midnight is dated keys.",
          "ops", (rate("bitroster_store_expired_keys_total", "group", GROUP), "group {{group}}")),
    graph("Heavy work", "BITOP and its like: what runs and what waits for a thread. Waits for long: more nodes, or smaller questions.",
          "short", (f"bitroster_store_work_running_jobs{{{SELECT}}}", "{{instance}} runs"),
          (f"bitroster_store_work_waiting_jobs{{{SELECT}}}", "{{instance}} waits")),
    graph("Processor", "Seconds of processor time a second, by node: 1 is one core.",
          "none", (f'rate(process_cpu_seconds_total{{{SELECT}, job=~"bitroster.*"}}{RATE})', "{{instance}}")),
    graph("Resident memory", "Of the whole process. Far above the allocator's figure: pages that are kept for reuse.",
          "bytes", (f'process_resident_memory_bytes{{{SELECT}, job=~"bitroster.*"}}', "{{instance}}"),
          (f"bitroster_process_allocated_bytes{{{SELECT}}}", "{{instance}} allocated")),
]


def variable(name, label, metric):
    """A choice at the top: the values that a label of a metric has; all of them at first."""
    query = f"label_values({metric}, {name})"
    return {
        "name": name, "label": label, "type": "query", "datasource": SOURCE, "query": query,
        "definition": query, "refresh": 2, "sort": 3, "multi": True, "includeAll": True,
        "allValue": ".*", "current": {"text": "All", "value": "$__all"},
    }


CLUSTERS = variable("cluster", "Cluster", "bitroster_build_info")
DASHBOARDS = {
    "cluster": ("Bitroster: cluster", CLUSTER, [CLUSTERS]),
    "router": ("Bitroster: router", ROUTER, [
        CLUSTERS,
        variable("instance", "Router", 'bitroster_router_slot_map_version{cluster=~"$cluster"}'),
    ]),
    "shard": ("Bitroster: shard", SHARD, [
        CLUSTERS,
        variable("instance", "Node", 'bitroster_raft_term{cluster=~"$cluster"}'),
        variable("group", "Group", 'bitroster_raft_term{cluster=~"$cluster"}'),
    ]),
}


def panel(number, at, of):
    targets = [
        {"datasource": SOURCE, "expr": expr, "legendFormat": legend, "refId": chr(65 + n), "range": True}
        for n, (expr, legend) in enumerate(of["queries"])
    ]
    return {
        "id": number,
        "type": of["type"],
        "title": of["title"],
        "description": of["description"],
        "datasource": SOURCE,
        "gridPos": {"x": at[0], "y": at[1], "w": of["width"], "h": of["height"]},
        "fieldConfig": {"defaults": {"unit": of["unit"]} | of["defaults"], "overrides": []},
        "options": of["options"],
        "targets": targets,
    }


def laid_out(panels):
    """Panels from left to right, a new row where one does not fit or is of another height."""
    x, y, height = 0, 0, 0
    for number, of in enumerate(panels, start=1):
        if x + of["width"] > COLUMNS or (height and of["height"] != height):
            x, y = 0, y + height
        height = of["height"]
        yield panel(number, (x, y), of)
        x += of["width"]


def dashboard(name):
    title, panels, variables = DASHBOARDS[name]
    source = {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"}
    link = {"type": "dashboards", "tags": ["bitroster"], "title": "Bitroster", "asDropdown": False,
            "includeVars": True, "keepTime": True}
    return {
        "id": None,
        "uid": f"bitroster-{name}",
        "title": title,
        "tags": ["bitroster"],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-30m", "to": "now"},
        "links": [link],
        "templating": {"list": [source, *variables]},
        "annotations": {"list": []},
        "panels": list(laid_out(panels)),
    }


def complaints(found):
    """What is wrong with a dashboard, as Grafana's dashboard-linter would say, and a little more."""
    name, panels = found["uid"], found["panels"]
    if found["id"] is not None or "__inputs" in found:
        yield f"{name}: it has an id or inputs, so it cannot be provisioned"
    for what in ("id", "title"):
        seen = [panel[what] for panel in panels]
        yield from (f"{name}: two panels have the {what} {it}" for it in set(seen) if seen.count(it) > 1)
    taken = set()
    for panel in panels:
        where, at = f"{name}, {panel['title']}", panel["gridPos"]
        if not panel["description"].endswith("."):
            yield f"{where}: no sentence says what it means"
        if not panel["fieldConfig"]["defaults"]["unit"] or not panel["targets"]:
            yield f"{where}: no unit or no query"
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        if cells & taken or at["x"] + at["w"] > COLUMNS:
            yield f"{where}: lies over another panel or beside the page"
        taken |= cells
        for target in panel["targets"]:
            expr = target["expr"]
            if target["datasource"]["uid"] != "${datasource}":
                yield f"{where}: its source is not the one that is chosen"
            if re.search(r"\brate\([^[]*\[(?!\$__rate_interval\])", expr):
                yield f"{where}: a rate over a fixed time: {expr}"
            if expr.count("(") != expr.count(")") or '=~"$cluster"' not in expr:
                yield f"{where}: brackets, or not of the chosen cluster: {expr}"


def main():
    wrong = []
    FOLDER.mkdir(exist_ok=True)
    for name in DASHBOARDS:
        made = dashboard(name)
        wrong += complaints(made)
        path, text = FOLDER / f"{name}.json", json.dumps(made, indent=1) + "\n"
        if "--check" not in sys.argv:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            wrong.append(f"{path} is not up to date: run {sys.argv[0]}")
    strangers = {path.stem for path in FOLDER.glob("*.json")} - set(DASHBOARDS)
    wrong += [f"{FOLDER / name}.json is not made here" for name in strangers]
    sys.exit("\n".join(wrong) or 0)


main()
