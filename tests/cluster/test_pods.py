"""The pods of the manifests as processes: migrated first, probed, drained, with a read-only root file system."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from secrets import token_hex
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from packaging.utils import canonicalize_name

from service.settings import free_port
from tests.cluster.manifests import ROOT, of_kind, settings_of
from tests.cluster.pods import Cluster, Pod, cannot_confine
from tests.databases import cut_off, postgres_database
from tests.object_store import BUCKET, ENVIRONMENT, s3_port
from tests.processes import ENDLESS, get, submit, until

KEY = "operator-of-the-cluster"
WORKER_STARTS_SECONDS = 120
WITHOUT_MODULES = """
import sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in MISSING:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Finder())
"""

pytestmark = pytest.mark.skipif(cannot_confine() is not None, reason=str(cannot_confine()))


@pytest.fixture
def cluster(postgres: str) -> Iterator[Cluster]:
    """A cluster with an empty database and an empty artifact store."""
    socket = parse_qs(urlsplit(postgres).query).get("host", [""])[0]
    if socket.startswith("/"):  # the folder is the server's user's alone, and pods have no capability to enter it
        Path(socket).chmod(0o711)
    # Paths of volumes are short, as in a pod: sockets of Python's processes lie there, and a socket's name is short.
    with postgres_database(postgres) as url, tempfile.TemporaryDirectory(prefix="pods-", dir="/tmp") as folder:
        secrets = {
            "bestepoch-database": {"password": "of-the-database"},
            "bestepoch-api": {"api-key": KEY},
            "bestepoch-object-store": {**ENVIRONMENT, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{s3_port()}"},
        }
        overrides = {
            "BESTEPOCH_DATABASE_URL": url,
            "BESTEPOCH_ARTIFACTS_URL": f"s3://{BUCKET}/{token_hex(8)}",
            "BESTEPOCH_TRAINERS": "1",
        }
        cluster = Cluster(Path(folder), settings_of("fixed"), secrets, overrides)
        yield cluster
        cluster.close()


@pytest.fixture
def migrated(cluster: Cluster) -> Cluster:
    """A cluster whose migration has run."""
    migration = cluster.start(of_kind("fixed", "Job")["bestepoch-migrate"])
    assert migration.ends(60) == 0, migration.log
    return cluster


def start_api(cluster: Cluster) -> Pod:
    return cluster.start(of_kind("fixed", "Deployment")["bestepoch-api"], BESTEPOCH_PORT=str(free_port("127.0.0.1")))


def start_worker(cluster: Cluster) -> Pod:
    """A worker that cannot import what the Dockerfile leaves out of its image."""
    (removed,) = re.findall(r"pip uninstall --yes (.*?) &&", (ROOT / "Dockerfile").read_text().replace("\\\n", " "))
    distributions = {
        module: {canonicalize_name(name) for name in names} for module, names in packages_distributions().items()
    }
    missing = {module for module, names in distributions.items() if names & set(removed.split())}
    (cluster.folder / "modules").mkdir(exist_ok=True)
    (cluster.folder / "modules/sitecustomize.py").write_text(f"MISSING = {missing}\n{WITHOUT_MODULES}")
    worker = of_kind("fixed", "Deployment")["bestepoch-worker"]
    return cluster.start(worker, PYTHONPATH=str(cluster.folder / "modules"))


def demand_read_by_keda(client: httpx2.Client, scaled_job: str) -> int:
    """The number in the answer that KEDA scales these workers on."""
    (trigger,) = of_kind("autoscaled", "ScaledJob")[scaled_job]["spec"]["triggers"]
    url = urlsplit(trigger["metadata"]["url"])
    answer = client.get(f"{url.path}?{url.query}").raise_for_status().json()
    return int(answer[trigger["metadata"]["valueLocation"]])


def test_prometheus_reads_the_metrics_with_the_key_of_the_secret(migrated: Cluster) -> None:
    (endpoint,) = of_kind("autoscaled", "ServiceMonitor")["bestepoch"]["spec"]["endpoints"]
    credentials = endpoint["authorization"]["credentials"]
    key = migrated.secrets[credentials["name"]][credentials["key"]]
    api = start_api(migrated)
    assert api.becomes("startupProbe"), api.log

    response = httpx2.get(api.url + endpoint["path"], headers={"Authorization": f"Bearer {key}"})

    assert response.status_code == 200
    assert "bestepoch_workers" in response.text


def client_of(pod: Pod) -> httpx2.Client:
    return httpx2.Client(base_url=pod.url, headers={"Authorization": f"Bearer {KEY}"}, timeout=70.0)


def test_api_and_workers_wait_for_the_migration_which_may_run_again(cluster: Cluster) -> None:
    for pod in (start_api(cluster), start_worker(cluster)):
        assert pod.ends(60) != 0  # and is restarted, with longer and longer pauses
        assert "bestepoch migrate" in pod.log

    for _ in range(2):
        migration = cluster.start(of_kind("fixed", "Job")["bestepoch-migrate"])
        assert migration.ends(60) == 0, migration.log

    assert start_api(cluster).becomes("startupProbe")


def test_a_pod_cannot_write_to_its_root_file_system(cluster: Cluster) -> None:
    job = of_kind("fixed", "Job")["bestepoch-migrate"]
    container = {
        **job["spec"]["template"]["spec"]["containers"][0],
        "command": ["sh", "-c", "touch /tmp/written; touch /etc/written; chown 12345 $TMPDIR; touch $TMPDIR/written"],
        "args": [],
    }
    spec = {**job["spec"]["template"]["spec"], "containers": [container]}
    pod = cluster.start({**job, "spec": {"template": {"spec": spec}}})

    assert pod.ends(10) == 0
    assert pod.log.count("Read-only file system") == 2
    assert "Operation not permitted" in pod.log  # without capabilities
    assert [path.name for path in pod.volumes["/data"].iterdir()] == ["written"]


def test_jobs_are_trained_and_a_drained_worker_leaves_its_job_to_another(migrated: Cluster) -> None:
    api, worker = start_api(migrated), start_worker(migrated)
    assert api.becomes("startupProbe"), api.log
    assert api.becomes("livenessProbe")
    assert api.becomes("readinessProbe"), api.log
    with client_of(api) as client:
        until(lambda: client.get("/readyz").json()["workers"] or worker.fails(), WORKER_STARTS_SECONDS)
        small = get(client, submit(client, {**ENDLESS, "max_epochs": 3}), wait=60)
        assert small["status"] == "succeeded", worker.log
        job = submit(client, ENDLESS)
        until(lambda: get(client, job)["progress"]["epoch"], 60)
        demand = {name: demand_read_by_keda(client, name) for name in of_kind("autoscaled", "ScaledJob")}

        assert worker.terminate() == 0, worker.log
        left = get(client, job)
        start_worker(migrated)
        until(lambda: get(client, job)["progress"]["epoch"] > left["progress"]["epoch"], WORKER_STARTS_SECONDS)

    assert demand == {"bestepoch-worker": 1, "bestepoch-worker-gpu": 0}
    assert (left["status"], left["attempt"]) == ("queued", 1)
    assert {path.name for path in worker.volumes["/data"].iterdir()} == {"home"}  # its temporary files are gone


def test_an_api_answers_what_it_has_begun_and_then_ends(migrated: Cluster) -> None:
    api = start_api(migrated)
    assert api.becomes("startupProbe"), api.log
    assert api.becomes("readinessProbe"), api.log
    with client_of(api) as client:
        job = submit(client, ENDLESS)
        with client.stream("GET", f"/v1/jobs/{job}/stream") as response:
            begun = time.monotonic()
            assert api.terminate() == 0, api.log
            events = response.read().decode()

    assert "closing" in events
    assert time.monotonic() - begun < api.spec["terminationGracePeriodSeconds"]


def test_an_api_without_its_database_is_alive_and_not_ready(migrated: Cluster, postgres: str) -> None:
    api = start_api(migrated)
    assert api.becomes("startupProbe"), api.log
    assert api.becomes("readinessProbe"), api.log

    with cut_off(postgres, migrated.overrides["BESTEPOCH_DATABASE_URL"]):
        assert api.becomes("readinessProbe", ready=False)
        assert api.probe("livenessProbe")
    until(lambda: api.probe("readinessProbe"))
