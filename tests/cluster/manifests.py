"""The manifests of `deploy/kubernetes` as a cluster gets them, and a check of each against its schema."""

from __future__ import annotations

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.object_store import TOOLS

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy/kubernetes"
OVERLAYS = sorted(folder.name for folder in (KUBERNETES / "overlays").iterdir())
VERSIONS = ("1.32", "1.37")
"""The oldest version of Kubernetes that the manifests are for, and the newest whose schema we have."""
WORKLOADS = ("Deployment", "Job", "ScaledJob")

Manifest = dict[str, Any]
each_overlay = pytest.mark.parametrize("overlay", OVERLAYS)


@cache
def render(overlay: str) -> tuple[Manifest, ...]:
    """What `kubectl apply --kustomize` sends to a cluster."""
    command = [str(TOOLS / "kubectl"), "kustomize", str(KUBERNETES / "overlays" / overlay)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    return tuple(yaml.safe_load_all(result.stdout))


def of_kind(overlay: str, *kinds: str) -> dict[str, Manifest]:
    """The manifests of these kinds, by name."""
    return {each["metadata"]["name"]: each for each in render(overlay) if each["kind"] in kinds}


def pod_template(workload: Manifest) -> Manifest:
    """The pod of a Deployment, a Job or a ScaledJob."""
    spec: Manifest = workload["spec"]
    template: Manifest = spec.get("jobTargetRef", spec)["template"]
    return template


def pods(overlay: str) -> dict[str, Manifest]:
    """The spec of the pod of each workload."""
    return {name: pod_template(each)["spec"] for name, each in of_kind(overlay, *WORKLOADS).items()}


def containers(overlay: str) -> dict[str, Manifest]:
    """The one container of each."""
    return {name: pod["containers"][0] for name, pod in pods(overlay).items()}


def settings_of(overlay: str) -> dict[str, str]:
    """The ConfigMap of the service's settings."""
    (found,) = of_kind(overlay, "ConfigMap").values()
    settings: dict[str, str] = found["data"]
    return settings


def problems(manifests: list[Manifest], version: str) -> list[str]:
    """What these versions of Kubernetes, KEDA and the Prometheus operator would refuse; fields must be known."""
    custom = [each for each in manifests if each["apiVersion"].split("/")[0] in ("keda.sh", "monitoring.coreos.com")]
    jobs = [_job_of(each) for each in custom if each["kind"] == "ScaledJob"]
    found = []
    for each in [*(each for each in manifests if each not in custom), *jobs]:
        try:
            kubernetes_validate.validate(each, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            found.append(f"{each['kind']} {each['metadata']['name']}: {error.message}")
    return found + (_problems_of_custom_resources([_without_pod(each) for each in custom]) if custom else [])


def _job_of(scaled_job: Manifest) -> Manifest:
    """A Job as KEDA creates it."""
    metadata = {"name": scaled_job["metadata"]["name"]}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": scaled_job["spec"]["jobTargetRef"]}


def _without_pod(manifest: Manifest) -> Manifest:
    """A ScaledJob without its pod, which is checked as a Job's; any other manifest as it is."""
    if manifest["kind"] != "ScaledJob":
        return manifest
    target = {**manifest["spec"]["jobTargetRef"], "template": {"spec": {"containers": [{"name": "worker"}]}}}
    return {**manifest, "spec": {**manifest["spec"], "jobTargetRef": target}}


def _problems_of_custom_resources(manifests: list[Manifest]) -> list[str]:
    command = [str(TOOLS / "python"), "-P", str(Path(__file__).with_name("custom_resources.py"))]
    result = subprocess.run(command, input=json.dumps(manifests), capture_output=True, text=True, check=True)
    found: list[str] = json.loads(result.stdout)
    return found
