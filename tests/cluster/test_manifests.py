"""The manifests of Kubernetes: valid for the cluster, reached where they listen, closed to others, scaled by demand."""

from __future__ import annotations

import copy
from itertools import product
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from service.settings import Settings
from tests.cluster.manifests import (
    OVERLAYS,
    VERSIONS,
    WORKLOADS,
    containers,
    each_overlay,
    of_kind,
    pod_template,
    pods,
    problems,
    render,
)


@pytest.mark.parametrize(("overlay", "version"), [*product(OVERLAYS, VERSIONS)])
def test_kubernetes_and_its_operators_take_every_manifest(overlay: str, version: str) -> None:
    assert problems(list(render(overlay)), version) == []


def test_wrong_manifests_are_found() -> None:
    changes: list[tuple[str, tuple[str, ...], Any]] = [
        ("Deployment", ("spec", "replica"), 2),
        ("Deployment", ("spec", "template", "spec", "securityContext", "runAsUser"), "nobody"),
        ("NetworkPolicy", ("spec", "egres"), []),
        ("ScaledJob", ("spec", "maxReplicas"), 3),
        ("ScaledJob", ("spec", "pollingInterval"), "often"),
        ("ScaledJob", ("spec", "jobTargetRef", "template", "spec", "restartPolicies"), "Never"),
        ("TriggerAuthentication", ("spec", "secretTargetRefs"), []),
        ("ServiceMonitor", ("spec", "endpoint"), []),
    ]
    wrong = []
    for number, (kind, path, value) in enumerate(changes):
        manifest = copy.deepcopy(next(each for each in render("autoscaled") if each["kind"] == kind))
        manifest["metadata"]["name"] = f"changed-{number}"
        place = manifest
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = value
        wrong.append(manifest)

    found = problems(wrong, VERSIONS[-1])

    assert [number for number in range(len(changes)) if not any(f"changed-{number}:" in each for each in found)] == []
    assert len(found) == len(changes)


@each_overlay
def test_the_api_is_probed_and_reached_where_it_listens(overlay: str) -> None:
    container = containers(overlay)["bestepoch-api"]
    (service,) = of_kind(overlay, "Service").values()

    assert container["ports"] == [{"name": "http", "containerPort": Settings.model_fields["port"].default}]
    assert service["spec"]["ports"][0]["targetPort"] == "http"
    probes = {name: container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {name: probe["path"] for name, probe in probes.items()} == {
        "startupProbe": "/healthz",
        "livenessProbe": "/healthz",
        "readinessProbe": "/readyz",
    }
    assert {probe["port"] for probe in probes.values()} == {"http"}


@each_overlay
def test_selectors_find_the_pods_that_they_are_meant_for(overlay: str) -> None:
    labels = {name: pod_template(each)["metadata"]["labels"] for name, each in of_kind(overlay, *WORKLOADS).items()}

    def found(selector: dict[str, str]) -> set[str]:
        return {name for name, given in labels.items() if selector.items() <= given.items()}

    for name, deployment in of_kind(overlay, "Deployment").items():
        assert found(deployment["spec"]["selector"]["matchLabels"]) == {name}
    for each in of_kind(overlay, "Service").values():
        assert found(each["spec"]["selector"]) == {"bestepoch-api"}
    for each in of_kind(overlay, "PodDisruptionBudget").values():
        assert found(each["spec"]["selector"]["matchLabels"]) == {"bestepoch-api"}
    for name, policy in of_kind(overlay, "NetworkPolicy").items():
        selected = found(policy["spec"]["podSelector"].get("matchLabels", {}))
        own = {"-to-api": {"bestepoch-api"}, "-to-workers": {each for each in labels if "worker" in each}}
        assert selected == next((pods for end, pods in own.items() if name.endswith(end)), set(labels)), name


@each_overlay
def test_the_network_is_closed_but_for_what_the_service_needs(overlay: str) -> None:
    policies = of_kind(overlay, "NetworkPolicy")
    among_workers = policies.pop("workers-to-workers")["spec"]
    ingress = [rule for each in policies.values() for rule in each["spec"].get("ingress", [])]
    egress = {
        port["port"] for each in policies.values() for rule in each["spec"].get("egress", []) for port in rule["ports"]
    }

    assert policies["default-deny"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert all(rule["ports"] == [{"port": "http"}] and rule["from"] for rule in ingress)
    assert egress == {53, 5432, 443}
    ((ingoing,), (outgoing,)) = among_workers["ingress"], among_workers["egress"]
    assert ingoing["from"] == outgoing["to"] == [{"podSelector": among_workers["podSelector"]}]
    assert ingoing["ports"] == outgoing["ports"] == [{"port": 1024, "endPort": 65535, "protocol": "TCP"}]


@each_overlay
def test_a_rolling_update_and_a_drained_node_leave_an_api(overlay: str) -> None:
    api = of_kind(overlay, "Deployment")["bestepoch-api"]["spec"]
    (budget,) = of_kind(overlay, "PodDisruptionBudget").values()

    assert api["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert api["replicas"] - budget["spec"]["maxUnavailable"] >= 1


def test_workers_are_alike_however_they_are_started() -> None:
    fixed, scaled = pods("fixed")["bestepoch-worker"], pods("autoscaled")["bestepoch-worker"]
    own = {"restartPolicy", "containers"}
    container, other = fixed["containers"][0], scaled["containers"][0]

    assert {name: scaled[name] for name in set(scaled) - own} == {name: fixed[name] for name in set(fixed) - own}
    settings = container["envFrom"][0], other["envFrom"][0]
    assert settings[0] == settings[1]
    assert {**other, "args": container["args"]} == container


def test_keda_reads_the_demand_for_the_workers_that_it_starts() -> None:
    (secret,) = of_kind("autoscaled", "TriggerAuthentication")["bestepoch-demand"]["spec"]["secretTargetRef"]
    (service,) = of_kind("autoscaled", "Service").values()
    asked = {}
    for name, job in of_kind("autoscaled", "ScaledJob").items():
        (trigger,) = job["spec"]["triggers"]
        url = urlsplit(trigger["metadata"]["url"])
        asked[name] = {key: value for key, (value,) in parse_qs(url.query, keep_blank_values=True).items()}
        assert url.netloc == f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc:8000"
        assert url.path == "/v1/demand"
        assert trigger["metadata"]["authMode"] == "bearer"
        assert trigger["metadata"]["valueLocation"] == "trainers"
        assert trigger["authenticationRef"] == {"name": "bestepoch-demand"}

    assert secret == {"parameter": "token", "name": "bestepoch-demand", "key": "api-key"}
    assert asked == {
        "bestepoch-worker": {"device": "cpu", "labels": ""},
        "bestepoch-worker-gpu": {"device": "cuda", "labels": "", "exclusive": "true"},
    }


def test_a_scaled_worker_has_a_trainer_for_each_array_that_it_is_started_for() -> None:
    jobs = of_kind("autoscaled", "ScaledJob")
    target = {name: job["spec"]["triggers"][0]["metadata"]["targetValue"] for name, job in jobs.items()}
    limits = {name: pod["containers"][0]["resources"]["limits"] for name, pod in pods("autoscaled").items()}

    assert target["bestepoch-worker"] == limits["bestepoch-worker"]["cpu"]
    assert target["bestepoch-worker-gpu"] == limits["bestepoch-worker-gpu"]["nvidia.com/gpu"]
    assert all(job["spec"]["minReplicaCount"] == 0 for job in jobs.values())
    assert all("--exit-when-idle" in containers("autoscaled")[name]["args"] for name in jobs)
