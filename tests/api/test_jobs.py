"""Jobs: idempotent submission, lists, cancellation, deletion."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from service.api.app import create_app
from service.artifacts import Artifacts
from service.domain.status import Status
from service.settings import Settings
from service.store.engine import Database
from service.store.maintenance import garbage
from tests.api.conftest import CoinPredictor, both_databases
from tests.api.job_factory import JobFactory, epoch

SPEC: dict[str, Any] = {"data": {"kind": "synthetic", "rows": 60, "features": 3}}


def submit(client: TestClient, key: str, **fields: Any) -> Any:
    return client.post("/v1/jobs", json={**SPEC, **fields}, headers={"Idempotency-Key": key})


@both_databases
def test_a_job_is_created_with_every_default_written_out(client: TestClient) -> None:
    response = client.post("/v1/jobs", json={**SPEC, "name": "first", "labels": {"team": "a"}})

    job = response.json()
    assert (response.status_code, job["status"], job["queue_position"]) == (201, "queued", 1)
    assert (job["name"], job["labels"], job["spec"]["task"]) == ("first", {"team": "a"}, "classification")
    assert job["spec"]["optimizer"]["betas"] == [0.9, 0.999]
    assert client.get(response.headers["location"]).json() == job


@both_databases
def test_a_job_is_created_once_per_idempotency_key(client: TestClient) -> None:
    first = submit(client, "night-1", seed=1)
    again = submit(client, "night-1", seed=1, priority=0)  # the default, written out

    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json()["id"] == first.json()["id"]
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert again.headers["location"] == first.headers["location"]


def test_another_request_with_a_used_idempotency_key_is_refused(client: TestClient) -> None:
    submit(client, "night-1", seed=1)

    response = submit(client, "night-1", seed=2)

    assert (response.status_code, response.json()["code"]) == (422, "idempotency_mismatch")


@both_databases
def test_twenty_posts_at_once_with_one_key_create_one_job(live: httpx2.Client) -> None:
    def post(_: int) -> httpx2.Response:
        return live.post("/v1/jobs", json=SPEC, headers={"Idempotency-Key": "rush"})

    with ThreadPoolExecutor(20) as pool:
        responses = list(pool.map(post, range(20)))

    assert sorted(response.status_code for response in responses) == [200] * 19 + [201]
    assert len({response.json()["id"] for response in responses}) == 1
    assert len(live.get("/v1/jobs").json()["data"]) == 1


def test_a_full_queue_is_a_429(tmp_path: Path, database: Database, artifacts: Artifacts) -> None:
    settings = Settings(home=tmp_path, max_queued_jobs=1)
    with TestClient(create_app(settings, database, artifacts, CoinPredictor())) as client:
        client.post("/v1/jobs", json=SPEC)

        response = client.post("/v1/jobs", json=SPEC)

    assert (response.status_code, response.json()["code"], response.headers["retry-after"]) == (429, "queue_full", "30")


def test_a_network_over_the_servers_limit_is_refused(tmp_path: Path, database: Database, artifacts: Artifacts) -> None:
    settings = Settings(home=tmp_path, max_parameters=10)
    with TestClient(create_app(settings, database, artifacts, CoinPredictor())) as client:
        for path in ("/v1/jobs", "/v1/jobs/plan"):
            (error,) = client.post(path, json=SPEC).json()["errors"]

            assert error["pointer"] == "/architecture"
            assert error["message"].endswith("this server allows 10")


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs/plan"])
def test_a_missing_data_set_is_a_422_with_its_pointer(client: TestClient, path: str) -> None:
    response = client.post(path, json={"data": {"id": "ds_0", "target": "y"}})

    assert response.status_code == 422
    assert response.json()["errors"] == [{"pointer": "/data/id", "message": "no data set 'ds_0'"}]


@both_databases
def test_labels_are_found_whatever_their_keys(client: TestClient) -> None:
    keys = ["a", "a.b", "a.b/c", "x-1", "0", "a_b"]
    for key in keys:
        client.post("/v1/jobs", json={**SPEC, "labels": {key: "v=1&2", "all": "yes"}})

    for key in keys:
        (job,) = client.get("/v1/jobs", params={f"label.{key}": "v=1&2", "label.all": "yes"}).json()["data"]
        assert job["labels"] == {key: "v=1&2", "all": "yes"}
    assert client.get("/v1/jobs", params={"label.a": "no"}).json()["data"] == []


def test_jobs_are_found_by_status_and_name(client: TestClient, job_factory: JobFactory) -> None:
    ended = job_factory.trained(name="done")
    waiting = job_factory.queued(name="waits")

    def found(**query: str) -> list[str]:
        return [job["id"] for job in client.get("/v1/jobs", params=query).json()["data"]]

    assert found() == [waiting.id, ended.job_id]
    assert found(status="succeeded") == found(name="done") == [ended.job_id]
    assert found(status="queued", name="done") == found(name="don") == []


def test_pagination_over_250_jobs_returns_each_once_newest_first(client: TestClient, job_factory: JobFactory) -> None:
    created = [job_factory.queued().id for _ in range(250)]

    seen: list[str] = []
    page: dict[str, Any] = {"next": None}
    sizes = []
    while page["next"] or not seen:
        query = {"limit": 100, **({"after": page["next"]} if page["next"] else {})}
        page = client.get("/v1/jobs", params=query).json()
        seen += [job["id"] for job in page["data"]]
        sizes.append((len(page["data"]), page["has_more"]))

    assert seen == created[::-1]
    assert sizes == [(100, True), (100, True), (50, False)]


def test_a_queued_job_is_cancelled_at_once_and_again(client: TestClient, job_factory: JobFactory) -> None:
    job = job_factory.queued()

    for _ in range(2):
        response = client.post(f"/v1/jobs/{job.id}/cancel")

        assert (response.status_code, response.json()["status"]) == (200, "cancelled")
        assert response.json()["stop_reason"] == "cancelled"


def test_a_running_job_is_asked_to_stop(client: TestClient, job_factory: JobFactory) -> None:
    claim = job_factory.running()

    response = client.post(f"/v1/jobs/{claim.job_id}/cancel")

    assert (response.status_code, response.json()["status"], response.json()["control"]) == (202, "running", "cancel")


def test_an_ended_job_is_not_cancelled(client: TestClient, job_factory: JobFactory) -> None:
    claim = job_factory.trained()

    response = client.post(f"/v1/jobs/{claim.job_id}/cancel")

    assert (response.status_code, response.json()["detail"]) == (409, "the job has already succeeded")


@both_databases
def test_deleting_a_job_deletes_its_history_and_leaves_its_files_to_garbage_collection(
    client: TestClient, job_factory: JobFactory, artifacts: Artifacts
) -> None:
    claim = job_factory.trained()
    path = client.get(f"/v1/jobs/{claim.job_id}/checkpoints/best").json()["path"]

    response = client.delete(f"/v1/jobs/{claim.job_id}")

    assert (response.status_code, response.content) == (204, b"")
    assert artifacts.path(path).exists(), "a backup under way may still want it"
    with job_factory.database.reading() as connection:
        assert garbage.marks(connection, [path])[path].discarded
    for rest in ("", "/history", "/checkpoints", "/checkpoints/best", "/stream"):
        assert client.get(f"/v1/jobs/{claim.job_id}{rest}").status_code == 404


def test_a_live_job_is_not_deleted(client: TestClient, job_factory: JobFactory) -> None:
    claim = job_factory.running()

    response = client.delete(f"/v1/jobs/{claim.job_id}")

    assert (response.status_code, response.json()["detail"]) == (409, "the job is running; cancel it first")


def test_an_ended_job_shows_its_results(client: TestClient, job_factory: JobFactory) -> None:
    claim = job_factory.running()
    job_factory.record(claim, epoch(1))
    job_factory.publish(claim, 1)
    job_factory.finish(claim, Status.failed)

    job = client.get(f"/v1/jobs/{claim.job_id}").json()

    assert (job["status"], job["stop_reason"], job["best"]["epoch"]) == ("failed", None, 1)
    assert job["best"]["checkpoint"]["download_url"] == f"/v1/jobs/{claim.job_id}/checkpoints/best/download"
    assert job["created_at"].endswith("Z")


@pytest.mark.parametrize("job_id", ["job_0", "x", "%00", "ds_1", "job_1%2Fhistory"])
def test_a_missing_job_is_a_404(client: TestClient, job_id: str) -> None:
    assert client.get(f"/v1/jobs/{job_id}").status_code == 404
