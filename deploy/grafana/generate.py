#!/usr/bin/env python3
"""Writes the dashboards of this folder: `deploy/grafana/generate.py [--check]`.

Panels are listed here; what every panel shares stands once. With --check it says whether the files
are as they would be written, and writes nothing.
"""

import json
import pathlib
import sys

FOLDER = pathlib.Path(__file__).parent / "dashboards"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
RATE = "[$__rate_interval]"
WIDTH, HEIGHT, COLUMNS = 8, 7, 3


def p(title, description, unit, *queries):
    """A graph: what moves it is in its description."""
    return {"title": title, "description": description, "unit": unit, "queries": queries}


def quantile(name, q, by=""):
    return f"histogram_quantile({q}, sum by (le{by}) (rate({name}_bucket{RATE})))"


CLUSTER = [
    p("Nodes up", "Nodes that answer Prometheus. Fewer than there are: look at the one that is missing.",
      "short", ("sum by (role) (up{job=~\"bitroster.*\"})", "{{role}}")),
    p("Commands", "Commands that clients sent, by router.",
      "ops", (f"sum by (instance) (rate(bitroster_router_commands_total{RATE}))", "{{instance}}")),
    p("Errors", "Error replies by code. CLUSTERDOWN: a group has no leader. UNKNOWNOUTCOME: a write was sent and not answered.",
      "ops", (f"sum by (code) (rate(bitroster_router_command_errors_total{RATE})) > 0", "{{code}}")),
    p("Commands by name", "The ten that clients send most.",
      "ops", (f"topk(10, sum by (cmd) (rate(bitroster_router_commands_total{RATE})))", "{{cmd}}")),
    p("Time of a command", "From taking a command to having its reply, on the router.",
      "s", (quantile("bitroster_router_command_duration_seconds", 0.5), "p50"),
      (quantile("bitroster_router_command_duration_seconds", 0.99), "p99")),
    p("Time of a commit", "From the proposal of a log entry to its outcomes, on leaders: disk, network and apply.",
      "s", (quantile("bitroster_raft_proposal_duration_seconds", 0.5), "p50"),
      (quantile("bitroster_raft_proposal_duration_seconds", 0.99), "p99")),
    p("Keys", "Keys of all groups, by node: every replica counts.",
      "short", ("sum by (instance) (bitroster_store_keys)", "{{instance}}")),
    p("Memory of the data", "Bytes that keys and bitmaps take, by node.",
      "bytes", ("sum by (instance) (bitroster_store_memory_bytes)", "{{instance}}")),
    p("Resident memory", "Of the whole process.",
      "bytes", ("sum by (instance) (process_resident_memory_bytes{job=~\"bitroster.*\"})", "{{instance}}")),
    p("Clients", "Connected clients, by router.",
      "short", ("sum by (instance) (bitroster_router_connections)", "{{instance}}")),
    p("Proposals", "Log entries, and those that failed. Refused: it did not lead. Unknown: leadership was lost under them.",
      "ops", (f"sum(rate(bitroster_raft_proposals_total{RATE}))", "all"),
      (f"sum by (reason) (rate(bitroster_raft_proposals_failed_total{RATE}))", "{{reason}}")),
    p("Time of a sync", "99 of 100 syncs of the log take no longer. It is what a durable write waits for.",
      "s", (quantile("bitroster_raft_log_fsync_duration_seconds", 0.99, ", instance"), "{{instance}}")),
]


def panel(number, of):
    at = {"x": (number % COLUMNS) * WIDTH, "y": (number // COLUMNS) * HEIGHT, "w": WIDTH, "h": HEIGHT}
    targets = [
        {"datasource": SOURCE, "expr": expr, "legendFormat": legend, "refId": chr(65 + n)}
        for n, (expr, legend) in enumerate(of["queries"])
    ]
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": of["title"],
        "description": of["description"],
        "datasource": SOURCE,
        "gridPos": at,
        "fieldConfig": {"defaults": {"unit": of["unit"], "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": targets,
    }


def dashboard(uid, title, panels):
    return {
        "id": None,
        "uid": uid,
        "title": title,
        "tags": ["bitroster"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "refresh": "10s",
        "time": {"from": "now-30m", "to": "now"},
        "templating": {
            "list": [
                {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"}
            ]
        },
        "panels": [panel(number, of) for number, of in enumerate(panels)],
    }


def main():
    text = json.dumps(dashboard("bitroster-cluster", "Bitroster", CLUSTER), indent=1) + "\n"
    path = FOLDER / "cluster.json"
    if "--check" in sys.argv:
        sys.exit(0 if path.read_text() == text else f"{path} is not up to date: run {sys.argv[0]}")
    FOLDER.mkdir(exist_ok=True)
    path.write_text(text)


main()
