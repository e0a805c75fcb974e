"""The manifests of Kubernetes: valid for the cluster, agreed with the service, and with no right that is not needed."""

from __future__ import annotations

import copy
import shlex
from itertools import product
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import typer.main

from service.cli import app
from service.cli.api_processes import DRAIN_SECONDS
from service.cli.startup import COLLECTOR_STOP_SECONDS
from service.settings import Settings
from tests.cluster.manifests import (
    KUBERNETES,
    OVERLAYS,
    VERSIONS,
    WORKLOADS,
    Manifest,
    of_kind,
    pod_template,
    problems,
    render,
    settings_of,
)
from tools.lock import project

each_overlay = pytest.mark.parametrize("overlay", OVERLAYS)


def pods(overlay: str) -> dict[str, Manifest]:
    """The spec of the pod of each workload."""
    return {name: pod_template(each)["spec"] for name, each in of_kind(overlay, *WORKLOADS).items()}


def containers(overlay: str) -> dict[str, Manifest]:
    """The one container of each."""
    return {name: pod["containers"][0] for name, pod in pods(overlay).items()}


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
def test_pods_are_confined(overlay: str) -> None:
    (namespace,) = of_kind(overlay, "Namespace").values()
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for name, pod in pods(overlay).items():
        assert pod["securityContext"] == {
            "runAsNonRoot": True,
            **dict.fromkeys(("runAsUser", "runAsGroup", "fsGroup"), 10001),
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        }, name
        assert pod["automountServiceAccountToken"] is False, name
        assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers", "initContainers"} & set(pod), name
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name


@each_overlay
def test_pods_say_what_they_need(overlay: str) -> None:
    for name, container in containers(overlay).items():
        assert {"cpu", "memory"} <= set(container["resources"]["requests"]), name
        assert "memory" in container["resources"]["limits"], name
    for name, pod in pods(overlay).items():
        volumes = [volume["emptyDir"] for volume in pod["volumes"] if "emptyDir" in volume]
        assert all("sizeLimit" in volume for volume in volumes), name


@each_overlay
def test_containers_write_to_volumes_alone_and_mount_all_that_their_pod_has(overlay: str) -> None:
    for name, pod in pods(overlay).items():
        mounts = {mount["name"]: mount for mount in pod["containers"][0]["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert set(mounts) == set(volumes), name
        writable = {mount["mountPath"] for each, mount in mounts.items() if "emptyDir" in volumes[each]}
        assert writable == {"/data"}, name
        assert settings_of(overlay)["TMPDIR"] == "/data"
        assert settings_of(overlay)["BESTEPOCH_HOME"].startswith("/data/")
        assert all(mount.get("readOnly") for mount in mounts.values() if mount["mountPath"] not in writable), name


@each_overlay
def test_secrets_are_named_and_never_written(overlay: str) -> None:
    named = {
        "bestepoch-migrate": {"bestepoch-database"},
        "bestepoch-api": {"bestepoch-database", "bestepoch-api"},
    }

    assert not of_kind(overlay, "Secret")
    assert "password" not in urlsplit(settings_of(overlay)["BESTEPOCH_DATABASE_URL"]).netloc
    for name, pod in pods(overlay).items():
        sources = [
            source["secret"]
            for volume in pod["volumes"]
            if "projected" in volume
            for source in volume["projected"]["sources"]
        ]
        assert {source["name"] for source in sources} == named.get(name, {"bestepoch-database"})
        files = {f"/run/secrets/bestepoch/{item['path']}" for source in sources for item in source["items"]}
        given = {each["value"] for each in pod["containers"][0]["env"] if each["name"].endswith("_FILE")}
        assert given == files, name


@each_overlay
def test_every_variable_is_a_setting(overlay: str) -> None:
    given = set(settings_of(overlay))
    for container in containers(overlay).values():
        given |= {each["name"] for each in container["env"]}

    assert given - {"TMPDIR"} <= {f"BESTEPOCH_{field.upper()}" for field in Settings.model_fields}


@each_overlay
def test_every_container_gets_the_settings_as_they_are(overlay: str) -> None:
    (name,) = of_kind(overlay, "ConfigMap")  # with a hash of its content: a change replaces the pods

    assert name != "bestepoch-settings"
    for container in containers(overlay).values():
        assert container["envFrom"][0] == {"configMapRef": {"name": name}}
        assert all(each["secretRef"]["optional"] for each in container["envFrom"][1:])


@each_overlay
def test_every_command_is_one_of_the_service(overlay: str) -> None:
    commands = typer.main.get_group(app)
    for container in containers(overlay).values():
        program, name, *arguments = [*container["command"], *container["args"]]
        assert program == "bestepoch"
        command = commands.commands[name]
        command.make_context(name, arguments)  # raises for an unknown option or a bad value


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


@each_overlay
def test_pods_have_the_time_to_stop(overlay: str) -> None:
    for name, pod in pods(overlay).items():
        arguments = pod["containers"][0]["args"]
        grace = pod.get("terminationGracePeriodSeconds", 30)
        if name == "bestepoch-api":
            sleep = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
            assert grace >= sleep + DRAIN_SECONDS + 2 * COLLECTOR_STOP_SECONDS
        elif arguments[0] == "worker":
            notice = int(arguments[arguments.index("--drain-seconds") + 1])
            assert grace >= notice + 2 * COLLECTOR_STOP_SECONDS, name


@each_overlay
def test_a_job_may_take_the_memory_of_a_worker(overlay: str) -> None:
    limits = {
        container["resources"]["limits"]["memory"]
        for container in containers(overlay).values()
        if container["name"] == "worker"
    }

    assert limits == {"16Gi"}
    assert settings_of(overlay)["BESTEPOCH_MAX_JOB_BYTES"] == str(16 * 2**30)


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


@each_overlay
def test_images_are_of_this_version_and_built_by_the_dockerfile(overlay: str) -> None:
    stages = {
        words[3]
        for line in (KUBERNETES.parents[1] / "Dockerfile").read_text().splitlines()
        if line.startswith("FROM ") and len(words := shlex.split(line)) == 4
    }
    images = {container["image"].rpartition("/")[2] for container in containers(overlay).values()}

    assert {image.partition(":")[2] for image in images} == {project()["version"]}
    assert {image.partition(":")[0].removeprefix("bestepoch-").removesuffix("-cuda") for image in images} <= stages
