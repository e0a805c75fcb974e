"""Run the pods of the manifests as processes of this machine, as a kubelet would.

A container gets the manifest's command, environment, volumes and secrets, a root file system that it cannot write to,
no capabilities and no way to gain any. It is started, probed and stopped by the manifest's periods. What differs from a
cluster: the processes share this machine's network, so each API has a port of its own; volumes are folders elsewhere,
and paths in the environment that name a volume name its folder; the user is the one who runs the tests; limits on CPU
and memory are not set.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from tests.cluster.manifests import Manifest, pod_template
from tests.processes import HTTP

# In a mount namespace of its own: the volumes stay writable, and nothing else on the root file system is.
CONFINE = """
mount --make-rprivate /
for folder in $WRITABLE_FOLDERS; do mount --bind "$folder" "$folder"; done
mount -o remount,ro,bind /
exec setpriv --no-new-privs --inh-caps=-all --bounding-set=-all -- "$@"
"""
NAMESPACE = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]


def cannot_confine() -> str | None:
    """Why no container can be confined on this machine, if so."""
    if sys.platform != "linux" or not (shutil.which("unshare") and shutil.which("setpriv")):
        return "needs unshare and setpriv of Linux"
    result = subprocess.run([*NAMESPACE, "true"], capture_output=True, text=True, check=False)
    return result.stderr or None if result.returncode else None


class Pod:
    """One pod of a workload, with its only container."""

    def __init__(self, workload: Manifest, cluster: Cluster, name: str) -> None:
        self.spec = pod_template(workload)["spec"]
        (self.container,) = self.spec["containers"]
        self.folder = cluster.folder / name
        self.volumes = {mount["mountPath"]: self._volume(mount, cluster) for mount in self.container["volumeMounts"]}
        self.environment = self._environment(cluster)
        self.process = self._start()

    def _volume(self, mount: Mapping[str, Any], cluster: Cluster) -> Path:
        """A folder with what the volume has."""
        (volume,) = [each for each in self.spec["volumes"] if each["name"] == mount["name"]]
        folder = self.folder / ("volumes" if "emptyDir" in volume else "secrets") / mount["name"]
        folder.mkdir(parents=True)
        for source in volume.get("projected", {}).get("sources", []):
            for item in source["secret"]["items"]:
                (folder / item["path"]).write_text(cluster.secrets[source["secret"]["name"]][item["key"]])
        return folder

    def _environment(self, cluster: Cluster) -> dict[str, str]:
        given: dict[str, str] = {}
        for source in self.container["envFrom"]:
            given |= (
                cluster.settings if "configMapRef" in source else cluster.secrets.get(source["secretRef"]["name"], {})
            )
        given |= {each["name"]: each["value"] for each in self.container["env"]}
        given |= cluster.overrides
        for path, folder in self.volumes.items():
            given = {
                name: str(folder) + value.removeprefix(path) if Path(value).is_relative_to(path) else value
                for name, value in given.items()
            }
        return {
            "PATH": f"{Path(sys.executable).parent}:{os.defpath}",
            "HOME": str(self.volumes["/data"]),
            "WRITABLE_FOLDERS": " ".join(map(str, (self.folder / "volumes").iterdir())),
            **given,
        }

    def _start(self) -> subprocess.Popen[bytes]:
        command = [*self.container["command"], *self.container.get("args", [])]
        confined = [*NAMESPACE, "sh", "-ec", CONFINE, "sh", *command]
        with (self.folder / "log").open("wb") as log:
            where: dict[str, Any] = {"env": self.environment, "cwd": "/", "start_new_session": True}
            return subprocess.Popen(confined, stdout=log, stderr=subprocess.STDOUT, **where)

    @property
    def log(self) -> str:
        """What it has printed."""
        return (self.folder / "log").read_text()

    @property
    def url(self) -> str:
        """Where its API listens."""
        return f"http://127.0.0.1:{self.environment['BESTEPOCH_PORT']}"

    def probe(self, name: str) -> bool:
        """Whether a probe succeeds now, as the kubelet sees it."""
        probe = self.container[name]
        try:
            response = httpx2.get(self.url + probe["httpGet"]["path"], timeout=probe.get("timeoutSeconds", 1), **HTTP)
        except httpx2.TransportError:
            return False
        return 200 <= response.status_code < 400

    def becomes(self, name: str, *, ready: bool = True) -> bool:
        """Whether a probe succeeds (or fails) within what the manifest allows: its periods until it has failed."""
        probe = self.container[name]
        for _ in range(probe.get("failureThreshold", 3)):
            if self.probe(name) == ready:
                return True
            self.fails()
            time.sleep(probe["periodSeconds"])
        return False

    def ends(self, seconds: float) -> int:
        """Wait until it ends by itself; its exit code."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it runs after {seconds} s:\n{self.log}") from None

    def fails(self) -> bool:
        """False while it runs; raises AssertionError with its log once it has ended."""
        assert self.process.poll() is None, self.log
        return False

    def terminate(self) -> int:
        """Stop it as a kubelet does, within its grace period; its exit code."""
        begun = time.monotonic()
        time.sleep(self.container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0))
        self.process.send_signal(signal.SIGTERM)
        return self.ends(self.spec["terminationGracePeriodSeconds"] - (time.monotonic() - begun))

    def kill(self) -> None:
        """End all its processes that still run, after a test."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@dataclass
class Cluster:
    """What pods find in a cluster, and the pods that were started."""

    folder: Path
    settings: dict[str, str]
    secrets: dict[str, dict[str, str]]
    overrides: dict[str, str]

    def __post_init__(self) -> None:
        self.pods: list[Pod] = []

    def start(self, workload: Manifest, **overrides: str) -> Pod:
        """Start a pod of this workload; `overrides` are variables that are this pod's own."""
        name = f"{workload['metadata']['name']}-{len(self.pods)}"
        own = Cluster(self.folder, self.settings, self.secrets, {**self.overrides, **overrides})
        pod = Pod(workload, own, name)
        self.pods.append(pod)
        return pod

    def close(self) -> None:
        """Kill the pods that still run."""
        for pod in self.pods:
            pod.kill()
