"""The storage quota: stored bytes, uploads and expected checkpoints."""

from __future__ import annotations

import json
import math
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from starlette.testclient import TestClient

from service.api.app import create_app
from service.api.quota import StorageQuota
from service.artifacts import Artifacts
from service.domain.access import Scope
from service.domain.checkpoint import CheckpointKind
from service.errors import QuotaExceeded
from service.settings import Settings
from service.store import keys, usage
from service.store.engine import Database
from tests.api.conftest import CoinPredictor, both_databases, serving
from tests.api.job_factory import JobFactory, epoch
from tests.processes import until

SPEC = {"data": {"kind": "synthetic"}}
LARGE = {**SPEC, "architecture": {"hidden": [400, 400]}}  # some 170,000 parameters: 4 MB of checkpoints
CSV = b"a,b\n1,x\n2,y\n"


@contextmanager
def service(settings: Settings, database: Database, artifacts: Artifacts, **limits: Any) -> Iterator[TestClient]:
    changed = Settings.model_validate({**settings.model_dump(), **limits})
    with TestClient(create_app(changed, database, artifacts, CoinPredictor())) as client:
        yield client


@both_databases
def test_a_job_whose_checkpoints_exceed_the_quota_is_refused(
    settings: Settings, database: Database, artifacts: Artifacts, job_factory: JobFactory
) -> None:
    parent = job_factory.trained().job_id
    with service(settings, database, artifacts, max_tenant_bytes=1_000_000) as client:
        small = client.post("/v1/jobs", json=SPEC)
        refused = [
            client.post("/v1/jobs", json=LARGE),
            client.post("/v1/sweeps", json={"base": SPEC, "replicates": 200}),
        ]
        with service(settings, database, artifacts, max_tenant_bytes=10_000) as narrow:
            refused.append(narrow.post(f"/v1/jobs/{parent}/fork", json={"checkpoint": "best"}))
        known = {job["id"] for job in client.get("/v1/jobs").json()["data"]}

    assert small.status_code == 201
    assert [(answer.status_code, answer.json()["code"]) for answer in refused] == [(413, "quota_exceeded")] * 3
    assert "would take about 4," in refused[0].json()["detail"]
    assert "1,000,000 are allowed: delete" in refused[0].json()["detail"]
    assert known == {parent, small.json()["id"]}


def test_expected_checkpoints_of_queued_jobs_count_until_cancellation(
    settings: Settings, database: Database, artifacts: Artifacts
) -> None:
    with service(settings, database, artifacts, max_tenant_bytes=10_000_000) as client:
        first, second, third = (client.post("/v1/jobs", json={**LARGE, "seed": seed}) for seed in range(3))
        client.post(f"/v1/jobs/{first.json()['id']}/cancel")
        again = client.post("/v1/jobs", json={**LARGE, "seed": 2})

    assert [answer.status_code for answer in (first, second, third, again)] == [201, 201, 413, 201]


def test_quotas_are_per_tenant_and_0_is_no_limit(settings: Settings, database: Database, artifacts: Artifacts) -> None:
    headers = []
    for tenant in ("full", "other"):
        with database.transaction() as connection:
            headers.append({"Authorization": f"Bearer {keys.create(connection, tenant, Scope.submit)[1]}"})
    with service(settings, database, artifacts, max_tenant_bytes=5_000_000) as client:
        answers = [client.post("/v1/jobs", json=LARGE, headers=headers[who]) for who in (0, 0, 1)]
    with service(settings, database, artifacts, max_tenant_bytes=0) as client:
        unlimited = client.post("/v1/jobs", json=LARGE, headers=headers[0])
        shown = client.get("/v1/usage", headers=headers[0]).json()["stored_bytes"]

    assert [answer.status_code for answer in answers] == [201, 413, 201]
    assert (unlimited.status_code, shown["limit"]) == (201, None)


@both_databases
def test_every_byte_of_a_tenant_is_shown(client: TestClient, job_factory: JobFactory, database: Database) -> None:
    dataset = client.post("/v1/datasets", content=CSV).json()
    claim = job_factory.running()
    job_factory.record(claim, *(epoch(number) for number in range(1, 6)))
    best = job_factory.publish(claim, 5)
    state = job_factory.publish(claim, 5, CheckpointKind.state, data=bytes(3_000))
    begun = client.get("/v1/usage").json()["stored"]
    job_factory.finish(claim)
    fork = client.post(f"/v1/jobs/{claim.job_id}/fork", json={"changes": {"max_epochs": 500}})

    shown = client.get("/v1/usage").json()

    stored = shown["stored"]
    assert (stored["datasets"], stored["profiles"]) == (dataset["parquet_bytes"], len(json.dumps(dataset["columns"])))
    assert fork.status_code == 201
    assert stored["checkpoints"] == begun["checkpoints"] == len(best) + len(state)  # the fork's are the same files
    assert stored["histories"] == 2 * begun["histories"] == 10 * usage.HISTORY_ROW_BYTES
    assert stored["specs"] > 1_000
    assert begun["expected"] > 10_000
    assert stored["expected"] > begun["expected"]  # the queued fork's files are all yet to come
    assert shown["stored_bytes"] == {"used": sum(stored.values()), "limit": 1024**4}


@pytest.mark.parametrize("path", ["/v1/jobs/{job}/predict", "/v1/datasets"])
def test_unfinished_uploads_count(
    settings: Settings, database: Database, artifacts: Artifacts, job_factory: JobFactory, path: str
) -> None:
    path = path.format(job=job_factory.trained().job_id)
    changed = settings.model_copy(update={"max_tenant_bytes": 1_000_000, "max_upload_bytes": 10_000_000})
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\nContent-Length: 9000000\r\n\r\n"
    with serving(create_app(changed, database, artifacts, CoinPredictor())) as (_, url), ExitStack() as stack:
        client = stack.enter_context(httpx2.Client(base_url=url))
        address = urlsplit(url).hostname, urlsplit(url).port
        sockets = []
        for number in range(1, 9):
            sockets.append(stack.enter_context(socket.create_connection(address, timeout=20)))
            sockets[-1].sendall(head.encode() + b"a,b\n" * 50_000)  # 200 kB, and more to come
            taken = 200_000 * min(number, 4)
            until(lambda n=number, t=taken: uploading(client) == t and (n <= 4 or answered(sockets[-1])))

        assert [each.recv(12) for each in sockets[4:]] == [b"HTTP/1.1 413"] * 4
        assert sum(size(file) for file in artifacts.path("tmp").rglob("*")) <= 1_000_000
        for each in sockets:
            each.close()
        until(lambda: uploading(client) == 0)


def uploading(client: httpx2.Client) -> int:
    return int(client.get("/v1/usage").json()["stored"]["uploads"])


def answered(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return bool(connection.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False
    finally:
        connection.settimeout(20)


def size(file: Path) -> int:
    try:
        return file.stat().st_size if file.is_file() else 0
    except FileNotFoundError:
        return 0


def test_a_data_set_replaces_the_bytes_of_its_upload(
    settings: Settings, database: Database, artifacts: Artifacts
) -> None:
    rows = b"a,b\n" + b"".join(b"%d,%d\n" % (i % 7, i % 5) for i in range(20_000))
    limit = len(rows) + 20_000  # both fit at once: the file as it was sent does not count twice
    with service(settings, database, artifacts, max_tenant_bytes=limit, max_upload_bytes=10**6) as client:
        stored = client.post("/v1/datasets", content=rows)
        refused = client.post("/v1/datasets", content=rows + b"1,1\n" * 5_000)
        shown = client.get("/v1/usage").json()["stored_bytes"]["used"]

    assert (stored.status_code, refused.status_code) == (201, 413)
    assert shown == stored.json()["parquet_bytes"] + len(json.dumps(stored.json()["columns"]))


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_usage_is_cached_and_a_refusal_is_never_based_on_stale_usage(
    database: Database, job_factory: JobFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads, read = [], usage.read

    def slow(connection: Any) -> usage.Usage:
        reads.append(read(connection))
        time.sleep(0.2)
        return reads[-1]

    monkeypatch.setattr("service.api.quota.usage.read", slow)
    quota, rows = StorageQuota(100_000), database.of("default")

    for _ in range(50):
        quota.check(rows, "default", 1_000)
    assert len(reads) == 1
    with pytest.raises(QuotaExceeded):
        quota.check(rows, "default", 200_000)
    assert len(reads) == 2
    for _ in range(100):
        quota.check(rows, "default", 1_000)
    quota.check(rows, "default", 1_000)  # by what is remembered it would not fit: looked up anew, it does
    assert len(reads) == 3


class Yielding(str):
    """A tenant's name; a lookup by it lets other threads run, as a switch of threads at that moment would."""

    __slots__ = ()

    def __hash__(self) -> int:
        time.sleep(1e-6)
        return str.__hash__(self)

    def __eq__(self, other: object) -> bool:
        return str.__eq__(self, other)


def test_threads_that_upload_at_once_count_every_byte(database: Database) -> None:
    quota, tenant = StorageQuota(0), Yielding("default")
    with quota.upload(database.of("default"), tenant) as kept:
        kept.resize(7)

        def work() -> None:
            for number in range(1, 200):
                with quota.upload(database.of("default"), tenant) as reservation:
                    reservation.resize(number)

        with ThreadPoolExecutor(4) as threads:
            for each in [threads.submit(work) for _ in range(4)]:
                each.result()

        assert dict(quota.own_uploads) == {"default": 7}
    assert dict(quota.own_uploads) == {}


class YieldingLimit(int):
    """A limit; after a comparison with it other threads run."""

    def __lt__(self, other: int) -> bool:
        lower = int(self) < other
        time.sleep(1e-4)
        return lower


def test_threads_that_ask_at_once_get_no_more_than_the_quota(database: Database) -> None:
    quota, rows, granted = StorageQuota(YieldingLimit(100)), database.of("default"), list[int]()

    def work() -> None:
        for _ in range(20):
            with suppress(QuotaExceeded):
                quota.check(rows, "default", 7)
                granted.append(7)

    quota.read(rows, "default")
    quota._cache["default"].expires_at = quota._cache["default"].read_at = math.inf  # nothing is stored meanwhile
    with ThreadPoolExecutor(4) as threads:
        for each in [threads.submit(work) for _ in range(4)]:
            each.result()

    assert sum(granted) == 98
