"""Rate limit, stream limit, and limits of a job."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from service.api.app import create_app
from service.api.middleware.rate_limit import RateLimiter
from service.artifacts import Artifacts
from service.domain.access import Scope
from service.errors import RateLimited
from service.settings import Settings, memory_bytes
from service.store import keys
from service.store.engine import Database
from tests.api.conftest import CoinPredictor, serving
from tests.api.job_factory import JobFactory
from tests.processes import until

SPEC = {"data": {"kind": "synthetic"}}


@contextmanager
def service(settings: Settings, database: Database, artifacts: Artifacts, **limits: Any) -> Iterator[TestClient]:
    changed = Settings.model_validate({**settings.model_dump(), **limits})
    with TestClient(create_app(changed, database, artifacts, CoinPredictor())) as client:
        yield client


def key(database: Database, tenant: str) -> dict[str, str]:
    with database.transaction() as connection:
        return {"Authorization": f"Bearer {keys.create(connection, tenant, Scope.submit)[1]}"}


def test_the_rate_limit_of_a_tenant_does_not_affect_others(
    settings: Settings, database: Database, artifacts: Artifacts
) -> None:
    eager, calm = key(database, "eager"), key(database, "calm")
    with service(settings, database, artifacts, max_requests_per_second=0.01) as client:
        assert client.get("/v1/jobs", headers=eager).status_code == 200
        refused = client.get("/v1/jobs", headers=eager)

        assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
        assert 60 < int(refused.headers["retry-after"]) <= 100
        assert client.get("/v1/jobs", headers=calm).status_code == 200
        assert client.get("/healthz").status_code == 200


def test_the_token_bucket_allows_a_burst_of_two_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now, limiter = 100.0, RateLimiter(rate=5.0, streams=1)
    monkeypatch.setattr("service.api.middleware.rate_limit.time.monotonic", lambda: now)

    def passed(asked: int) -> int:
        answers = []
        for _ in range(asked):
            with suppress(RateLimited):
                limiter.request("eager")
                answers.append(True)
        return len(answers)

    assert passed(20) == 10
    now += 1.0
    assert passed(20) == 5
    now += 0.1
    with pytest.raises(RateLimited) as refused:
        limiter.request("eager")
    assert refused.value.retry_seconds == 1
    now += 1_000.0
    assert passed(20) == 10


def test_concurrent_streams_are_limited_and_released(
    settings: Settings, database: Database, artifacts: Artifacts, job_factory: JobFactory
) -> None:
    path = f"/v1/jobs/{job_factory.running().job_id}/stream"
    changed = Settings.model_validate({**settings.model_dump(), "max_streams": 3})
    app = create_app(changed, database, artifacts, CoinPredictor())
    with serving(app) as (_, url), httpx2.Client(base_url=url) as client:
        with ExitStack() as streams:
            for _ in range(3):
                assert streams.enter_context(client.stream("GET", path)).status_code == 200
            refused = client.get(path)
            assert (refused.status_code, refused.json()["code"]) == (429, "too_many_streams")
            assert refused.headers["retry-after"] == "10"
            assert client.get("/v1/usage").json()["streams"] == {"used": 3, "limit": 3}
        deadline = time.monotonic() + 5
        while client.get("/v1/usage").json()["streams"]["used"] and time.monotonic() < deadline:
            time.sleep(0.05)
        with client.stream("GET", path) as stream:
            assert stream.status_code == 200


@pytest.mark.parametrize("path", ["/v1/jobs/{job}", "/v1/sweeps/{sweep}"])
def test_waits_count_as_streams_and_plain_reads_do_not(
    settings: Settings, database: Database, artifacts: Artifacts, job_factory: JobFactory, path: str
) -> None:
    changed = Settings.model_validate({**settings.model_dump(), "max_streams": 3})
    job = job_factory.queued().id
    with serving(create_app(changed, database, artifacts, CoinPredictor())) as (_, url), ExitStack() as stack:
        client = stack.enter_context(httpx2.Client(base_url=url, timeout=70))
        sweep = client.post("/v1/sweeps", json={"base": SPEC}).json()["id"]
        path = path.format(job=job, sweep=sweep)
        stack.enter_context(client.stream("GET", f"/v1/jobs/{job}/stream"))
        pool = stack.enter_context(ThreadPoolExecutor(2))
        waiting = [pool.submit(client.get, f"{path}?wait=60") for _ in range(2)]
        until(lambda: client.get("/v1/usage").json()["streams"]["used"] == 3)

        refused, at_once = client.get(f"{path}?wait=60"), client.get(path)

        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_streams")
        assert refused.headers["retry-after"] == "10"
        assert at_once.status_code == 200
        for ended in (f"/v1/jobs/{job}/cancel", f"/v1/sweeps/{sweep}/cancel"):
            client.post(ended)
        assert [answer.result().status_code for answer in waiting] == [200, 200]
        until(lambda: client.get("/v1/usage").json()["streams"]["used"] == 0)


def test_usage_is_shown_with_its_limits(client: TestClient, job_factory: JobFactory, database: Database) -> None:
    job_factory.running()
    job_factory.queued()
    job_factory.queued()
    dataset = client.post("/v1/datasets", content=b"a,b\n1,x\n2,y\n").json()
    stored = dataset["parquet_bytes"] + len(json.dumps(dataset["columns"]))

    usage = client.get("/v1/usage").json()

    assert (usage["tenant"], usage["scope"], usage["key"]) == ("default", "admin", None)
    assert usage["waiting_jobs"] == {"used": 2, "limit": 100_000}
    assert usage["running_jobs"] == {"used": 1, "limit": None}
    assert usage["dataset_bytes"] == {"used": stored, "limit": 100 * 1024**3}
    assert usage["bounds"]["memory_bytes"] == memory_bytes()
    assert usage["bounds"]["requests_per_second"] is None
    headers = key(database, "other")
    time.sleep(0.6)
    other = client.get("/v1/usage", headers=headers).json()
    assert [other[name]["used"] for name in ("waiting_jobs", "running_jobs", "dataset_bytes")] == [0, 0, 0]
    assert (other["tenant"], other["scope"]) == ("other", "submit")


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs/plan"])
def test_a_job_that_does_not_fit_the_memory_is_refused(
    settings: Settings, database: Database, artifacts: Artifacts, path: str
) -> None:
    with service(settings, database, artifacts, max_job_bytes=10**9) as client:
        answer = client.post(path, json={**SPEC, "architecture": {"hidden": [4_000, 4_000]}})
        sweep = {"base": SPEC, "grid": {"architecture.hidden": [[8], [4_000, 4_000]]}}
        swept = client.post("/v1/sweeps", json=sweep)

    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["pointer"] == "/architecture"
    assert error["message"].endswith("; this server has 0.9 GiB for a job")
    assert swept.json()["errors"][0]["pointer"] == "/grid/architecture.hidden/1"


def test_a_limit_of_time_and_epochs_is_written_into_the_spec_or_refused(
    settings: Settings, database: Database, artifacts: Artifacts, job_factory: JobFactory
) -> None:
    parent = job_factory.trained().job_id
    with service(settings, database, artifacts, max_seconds=60.0, max_epochs=50) as client:
        too_long = client.post("/v1/jobs", json=SPEC)
        job = client.post("/v1/jobs", json={**SPEC, "max_epochs": 50})
        fork = client.post(f"/v1/jobs/{parent}/fork", json={"checkpoint": "best", "changes": {"max_epochs": 51}})

    assert too_long.json()["errors"][0]["pointer"] == "/max_epochs"
    assert job.json()["spec"]["max_seconds"] == 60.0
    assert (fork.status_code, fork.json()["errors"][0]["pointer"]) == (422, "/changes/max_epochs")


def test_a_control_groups_memory_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda _: "1000000\n")
    assert memory_bytes() == 1_000_000
    files = {
        "/proc/self/cgroup": "4:cpu,memory:/job\n0::/own\n",
        "/sys/fs/cgroup/memory/job/memory.limit_in_bytes": "9",
    }
    monkeypatch.setattr(Path, "read_text", lambda path: files.get(str(path), "max"))
    assert memory_bytes() == 9
    monkeypatch.setattr(Path, "read_text", lambda path: files.get(str(path), "7" if "own/" in str(path) else "max"))
    assert memory_bytes() == 7
    monkeypatch.setattr(Path, "read_text", lambda _: "max\n")
    assert memory_bytes() > 10**8
