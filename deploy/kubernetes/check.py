#!/usr/bin/env python3
"""Checks manifests before a cluster does: `kubectl kustomize FOLDER | deploy/kubernetes/check.py`.

Every object must be as Kubernetes' own schema has it, without a field that the schema does not know;
and whatever names something else must name what is there: selectors, ports, volumes, ConfigMaps,
Secrets, accounts, and the seeds in the configuration. `--secrets NAME,...` are made elsewhere.
Prints the objects, or what is wrong with them. Needs the packages kubernetes-validate and PyYAML.
"""

import argparse
import re
import sys

import kubernetes_validate
import yaml

# Kinds of others, whose schema is not Kubernetes'.
FOREIGN = {"ServiceMonitor"}


class Manifests:
    def __init__(self, text, secrets):
        self.objects = [found for found in yaml.safe_load_all(text) if found]
        self.secrets = secrets
        self.wrong = []

    def of(self, *kinds):
        return [found for found in self.objects if found["kind"] in kinds]

    def has(self, kind, name):
        return any(found["metadata"]["name"] == name for found in self.of(kind))

    def complain(self, found, what):
        self.wrong.append(f"{found['kind']} {found['metadata']['name']}: {what}")

    def workloads(self, selector):
        """Those whose pods have all of the labels."""
        return [
            found for found in self.of("Deployment", "StatefulSet")
            if selector.items() <= found["spec"]["template"]["metadata"]["labels"].items()
        ]

    def check(self):
        for found in self.objects:
            if found["kind"] not in FOREIGN:
                self.check_schema(found)
        if self.wrong:
            # What follows looks for fields that the schema promises.
            return self.wrong
        for found in self.of("Deployment", "StatefulSet"):
            self.check_workload(found)
        for found in self.of("Service"):
            self.check_service(found)
        for found in self.of("PodDisruptionBudget"):
            self.selected(found, found["spec"]["selector"]["matchLabels"])
        for found in self.of("NetworkPolicy"):
            pods = self.selected(found, found["spec"]["podSelector"]["matchLabels"])
            for rule in found["spec"]["ingress"]:
                for port in rule["ports"]:
                    self.check_port(found, port["port"], pods)
        for found in self.of("ServiceMonitor"):
            self.check_monitor(found)
        for found in self.of("ConfigMap"):
            self.check_seeds(found)
        return self.wrong

    def check_schema(self, found):
        try:
            kubernetes_validate.validate(found, kubernetes_validate.latest_version(), strict=True)
        except kubernetes_validate.ValidationError as error:
            self.complain(found, error.message)

    def selected(self, found, selector):
        """The workloads that an object is about; there must be some."""
        pods = self.workloads(selector)
        if not pods:
            self.complain(found, f"no pods have the labels {selector}")
        return pods

    def check_port(self, found, port, pods):
        for workload in pods:
            if port not in ports(workload):
                self.complain(found, f"{workload['metadata']['name']} has no port {port}")

    def check_workload(self, found):
        spec = found["spec"]
        template = spec["template"]
        pod = template["spec"]
        if not spec["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items():
            self.complain(found, "its selector does not fit its pods")
        if not self.has("ServiceAccount", pod.get("serviceAccountName", "default")):
            self.complain(found, f"no account {pod.get('serviceAccountName')}")
        if found["kind"] == "StatefulSet" and not self.has("Service", spec["serviceName"]):
            self.complain(found, f"no service {spec['serviceName']}")
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        volumes |= {claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates", [])}
        for volume in pod.get("volumes", []):
            name = volume.get("configMap", {}).get("name")
            if name and not self.has("ConfigMap", name):
                self.complain(found, f"no ConfigMap {name}")
        for container in pod["containers"]:
            self.check_container(found, container, volumes)

    def check_container(self, found, container, volumes):
        for mount in container["volumeMounts"]:
            if mount["name"] not in volumes:
                self.complain(found, f"no volume {mount['name']}")
        for source in container.get("envFrom", []):
            name = source["secretRef"]["name"]
            if name not in self.secrets and not self.has("Secret", name):
                self.complain(found, f"no Secret {name}")
        for probe in ("livenessProbe", "readinessProbe"):
            self.check_port(found, container[probe]["httpGet"]["port"], [found])
        locked = container["securityContext"]
        is_locked = (
            locked.get("readOnlyRootFilesystem") is True
            and locked.get("allowPrivilegeEscalation") is False
            and locked.get("capabilities") == {"drop": ["ALL"]}
            and found["spec"]["template"]["spec"]["securityContext"].get("runAsNonRoot") is True
        )
        if not is_locked or "memory" not in container["resources"].get("limits", {}):
            self.complain(found, "its container may do more, or take more, than it needs")

    def check_service(self, found):
        pods = self.selected(found, found["spec"]["selector"])
        for port in found["spec"]["ports"]:
            self.check_port(found, port["targetPort"], pods)

    def check_monitor(self, found):
        selector = found["spec"]["selector"]["matchLabels"].items()
        services = [it for it in self.of("Service") if selector <= it["metadata"]["labels"].items()]
        for endpoint in found["spec"]["endpoints"]:
            for service in services:
                if endpoint["port"] not in {port["name"] for port in service["spec"]["ports"]}:
                    self.complain(found, f"{service['metadata']['name']} has no {endpoint['port']}")
        if not services:
            self.complain(found, "it monitors nothing")

    def check_seeds(self, found):
        hosts = {
            f"{sts['metadata']['name']}-{number}.{sts['spec']['serviceName']}"
            for sts in self.of("StatefulSet") for number in range(sts["spec"]["replicas"])
        }
        seeds = re.findall(r'"([^":]+):7380"', "".join(found["data"].values()))
        for seed in seeds:
            if seed not in hosts:
                self.complain(found, f"the seed {seed} is no node of {sorted(hosts)}")
        if not seeds:
            self.complain(found, "it has no seeds")


def ports(workload):
    containers = workload["spec"]["template"]["spec"]["containers"]
    return {port["name"] for container in containers for port in container["ports"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--secrets", default="", help="Secrets that are made elsewhere")
    manifests = Manifests(sys.stdin.read(), parser.parse_args().secrets.split(","))
    wrong = manifests.check()
    if wrong or not manifests.objects:
        sys.exit("\n".join(wrong) or "no objects")
    for found in manifests.objects:
        print(found["kind"], found["metadata"]["name"])


main()
