"""Prometheus metrics."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from service.api.app import create_app
from service.api.middleware.prometheus import Metrics
from service.artifacts import Artifacts
from service.domain.job import JobError
from service.domain.status import ErrorCode, Status
from service.maintenance.collector import Collector, RetentionPolicy
from service.maintenance.deployment_id import pair
from service.settings import Settings
from service.store import workers
from service.store.engine import Database
from service.store.jobs import attempt
from service.store.jobs.attempt import Outcome
from service.store.maintenance import garbage
from tests.api.conftest import CoinPredictor, both_databases
from tests.api.job_factory import JobFactory
from tests.api.test_catalog import worker


def metrics(client: TestClient) -> dict[tuple[str, ...], float]:
    """Values by metric name and label values, sorted by label name."""
    answer = client.get("/metrics")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    families = text_string_to_metric_families(answer.text)
    return {(each.name, *each.labels.values()): each.value for family in families for each in family.samples}


@both_databases
def test_metrics_of_the_whole_service(client: TestClient, job_factory: JobFactory) -> None:
    job_factory.trained(epochs=3)
    broken = job_factory.running()
    error = JobError(code=ErrorCode.out_of_memory, message="no memory")
    with job_factory.database.transaction() as connection:
        attempt.finish(connection, broken.job_id, 1, Outcome(Status.failed, error=error))
        counted = {"claims": 2, "claimed": 5, "claim_seconds": 0.25, "waited_seconds": 40.0}
        counted |= {"lapsed_leases": 3, "trainer_restarts": 4}
        workers.heartbeat(connection, worker("wrk_1", datetime.now(UTC)).model_copy(update=counted))
    job_factory.queued()
    client.post("/v1/datasets", content=b"a,b\n1,2\n3,4\n")

    found = metrics(client)

    assert found["bestepoch_database_up",] == 1
    assert found["bestepoch_jobs", "", "succeeded", "early_stopped"] == 1
    assert found["bestepoch_jobs", "out_of_memory", "failed", ""] == 1
    assert found["bestepoch_jobs", "", "queued", ""] == 1
    assert 0 < found["bestepoch_queue_oldest_seconds",] < 60
    assert (found["bestepoch_epochs",], found["bestepoch_workers",], found["bestepoch_trainers",]) == (3, 1, 2)
    assert found["bestepoch_worker_claims_total", "wrk_1"] == 2
    assert found["bestepoch_worker_claimed_total", "wrk_1"] == 5
    assert found["bestepoch_worker_claim_seconds_total", "wrk_1"] == 0.25
    assert found["bestepoch_worker_waited_seconds_total", "wrk_1"] == 40
    assert found["bestepoch_worker_lapsed_leases_total", "wrk_1"] == 3
    assert found["bestepoch_worker_trainer_restarts_total", "wrk_1"] == 4
    assert found["bestepoch_datasets",] == 1
    assert found["bestepoch_dataset_bytes",] > 100


@both_databases
def test_metrics_of_storage_and_garbage_collection(client: TestClient, job_factory: JobFactory) -> None:
    job_factory.trained()
    job_factory.artifacts.put("trash/checkpoints/job_0/a", b"abc")
    before = metrics(client)
    pair(job_factory.database, job_factory.artifacts)
    Collector(job_factory.database, job_factory.artifacts, RetentionPolicy()).collect(threading.Event())
    with job_factory.database.transaction() as connection:
        garbage.count(connection, failed=1, refused=2, undeleted=3)

    found = metrics(client)

    names = ("collections_total", "artifact_files", "artifact_bytes", "trash_files", "trash_bytes")
    assert [before[f"bestepoch_{name}",] for name in names] == [0] * 5
    (file,) = job_factory.artifacts.files()
    assert [found[f"bestepoch_{name}",] for name in names] == [1, 1, file.size_bytes, 1, 3]
    counted = ("collections_failed", "collections_refused", "undeleted_files")
    assert [found[f"bestepoch_{name}_total",] for name in counted] == [1, 2, 3]
    assert found["bestepoch_database_bytes",] > 10_000
    assert found["bestepoch_disk_free_bytes", "artifacts"] > 0


def test_free_disk_space_is_exported_without_the_database_and_without_missing_folders(tmp_path: Path) -> None:
    away = Database("postgresql://nobody@127.0.0.1:1/nowhere")
    told = Metrics(away, {"home": tmp_path, "artifacts": tmp_path / "nowhere"}).text().decode()
    away.close()

    free = [line for line in told.splitlines() if line.startswith("bestepoch_disk_free_bytes")]
    assert [line.split(" ")[0] for line in free] == ['bestepoch_disk_free_bytes{folder="home"}']


def test_an_empty_service_has_metrics(client: TestClient) -> None:
    found = metrics(client)

    assert (found["bestepoch_queue_oldest_seconds",], found["bestepoch_dataset_bytes",]) == (0, 0)
    assert not [name for name in found if name[0] == "bestepoch_jobs"]


def test_requests_are_counted_by_route_and_unmatched_ones_together(client: TestClient, job_factory: JobFactory) -> None:
    for job_id in (job_factory.queued().id, job_factory.queued().id, "job_1"):
        client.get(f"/v1/jobs/{job_id}")
    for path in ("/wp-admin", "/v1/../etc", "/v1/nowhere"):
        client.get(path)
    sent = b"a,b\n1,2\n3,4\n"
    client.post("/v1/datasets", content=sent)

    found = metrics(client)

    seconds = "bestepoch_http_request_seconds_count"
    assert found[seconds, "GET", "/v1/jobs/{job_id}", "200"] == 2
    assert found[seconds, "GET", "/v1/jobs/{job_id}", "404"] == 1
    assert found[seconds, "other", "other", "404"] == 3
    assert found["bestepoch_http_received_bytes_total", "POST", "/v1/datasets"] == len(sent)
    assert found["bestepoch_http_sent_bytes_total", "GET", "/v1/jobs/{job_id}"] > 500
    assert found["bestepoch_http_requests_open",] == 1  # this one
    assert not any("job_1" in label for name in found for label in name)


def test_an_unavailable_database_is_a_metric(settings: Settings, artifacts: Artifacts, tmp_path: Path) -> None:
    away = Database("postgresql://nobody@127.0.0.1:1/nowhere")
    guarded = Settings.model_validate({"home": settings.home, "api_key": "s3cret"})
    with TestClient(create_app(guarded, away, artifacts, CoinPredictor())) as client:
        client.headers["Authorization"] = "Bearer s3cret"
        found = metrics(client)
    away.close()

    assert found["bestepoch_database_up",] == 0
    assert not [name for name in found if name[0] == "bestepoch_workers"]


@pytest.fixture
def locked(settings: Settings, database: Database, artifacts: Artifacts) -> Iterator[TestClient]:
    guarded = Settings.model_validate({"home": settings.home, "api_key": "s3cret"})
    with TestClient(create_app(guarded, database, artifacts, CoinPredictor())) as client:
        yield client


def test_metrics_need_the_key(locked: TestClient) -> None:
    assert locked.get("/metrics").status_code == 401
    assert locked.get("/metrics", headers={"Authorization": "Bearer s3cret"}).status_code == 200
