"""Concurrency limits, memory and cancellation of expensive work."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
import torch
from fastapi import FastAPI
from starlette.testclient import TestClient

from service.api.app import create_app
from service.api.slots import SLOTS
from service.artifacts import Artifacts, FolderArtifacts
from service.concurrency.cancellation import current
from service.concurrency.fair_slots import FairLimiter, FairSlots
from service.data.preprocess.dataset import prepare
from service.data.processes import preview
from service.domain.export import Export
from service.domain.model_ref import ModelRef
from service.serving import predictor as predicting
from service.serving.predictor import Predictor
from service.settings import Settings
from service.spec.job import JobSpec
from service.spec.resolve import inline_profile, resolve
from service.store.engine import Database
from service.training.checkpoint import Metadata, to_bytes
from service.training.loop import Training
from tests.api.conftest import CoinPredictor, serving
from tests.api.job_factory import JobFactory
from tests.data.files import parquet
from tests.processes import children, command, linux_only, until

pytestmark = pytest.mark.e2e

SIZE = 32 * 2**20


@contextmanager
def connections(url: str) -> Iterator[list[socket.socket]]:
    """Raw clients that send requests, read nothing, and disconnect at the end."""
    opened: list[socket.socket] = []
    try:
        yield opened
    finally:
        for client in opened:
            client.close()


def ask(url: str, method: str, path: str, body: bytes = b"", content_type: str = "application/json") -> socket.socket:
    host, _, port = urlsplit(url).netloc.partition(":")
    client = socket.create_connection((host, int(port)))
    head = f"{method} {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: {content_type}\r\n"
    client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return client


def readers() -> list[int]:
    """Processes that read an upload."""
    found = []
    for pid in children(os.getpid()):
        with suppress(OSError):  # it has just ended
            found += [pid] if "service.data.processes.ingest" in command(pid) else []
    return found


@linux_only
def test_an_upload_is_cancelled_when_its_client_disconnects(tmp_path: Path, database: Database) -> None:
    settings = Settings(home=tmp_path)
    file = json.dumps({f"key{i}": i for i in range(9_000)}).encode()  # takes some 20 seconds
    app = create_app(settings, database, FolderArtifacts(settings.artifacts), CoinPredictor())

    with serving(app) as (_, url):
        with connections(url) as clients:
            clients += [ask(url, "POST", "/v1/datasets", file, "application/octet-stream") for _ in range(3)]
            until(lambda: readers() and app.state.shared.ingest_slots.waiting == 1)  # the third waits for its turn
        until(lambda: not readers(), seconds=5)
        until(lambda: not list(settings.artifacts.joinpath("tmp").iterdir()))

        assert app.state.shared.ingest_slots.waiting == 0


class StuckPredictor(CoinPredictor):
    """An export that runs until it is cancelled."""

    stuck = True

    def export(self, ref: ModelRef, asked: Export, target: Path) -> None:
        if self.stuck:
            process = subprocess.Popen(["sleep", "600"])
            with process, current().on_cancel(process.kill):
                process.wait()
        super().export(ref, asked, target)


@linux_only
def test_exports_are_cancelled_when_their_clients_disconnect(
    settings: Settings, database: Database, artifacts: Artifacts, job_factory: JobFactory
) -> None:
    path = f"/v1/jobs/{job_factory.trained().job_id}/checkpoints/best/download?format=bundle"
    predictor = StuckPredictor()
    app = create_app(settings, database, artifacts, predictor)

    with serving(app) as (_, url):
        with connections(url) as clients:
            clients += [ask(url, "GET", path) for _ in range(4)]
            until(lambda: app.state.shared.export_slots.waiting == 3)
            predictor.stuck = False
        assert httpx2.get(url + path, timeout=30).status_code == 200
        assert app.state.shared.export_slots.waiting == 0


@contextmanager
def held_slot(limiter: FairLimiter, tenant: str) -> Iterator[None]:
    """The tenant holds a slot in this context; one must be free for it."""
    slots = limiter._slots
    assert isinstance(slots, FairSlots)
    assert slots._enqueue(tenant, lambda: None).granted
    try:
        yield
    finally:
        slots._release(tenant)


def test_previews_and_sweeps_do_not_wait_for_uploads(client: TestClient, app: FastAPI) -> None:
    dataset = client.post("/v1/datasets", content=b"a,b\n1,2\n3,4\n").json()["id"]
    base = {"data": {"kind": "synthetic", "rows": 60, "features": 3}}

    with ExitStack() as stack:
        for tenant in ("one", "one", "other"):
            stack.enter_context(held_slot(app.state.shared.ingest_slots, tenant))

        assert client.get(f"/v1/datasets/{dataset}/preview").json()["data"] == [{"a": 1, "b": 2}, {"a": 3, "b": 4}]
        assert client.post("/v1/sweeps", json={"base": base, "replicates": 2}).status_code == 201


def test_planning_jobs_takes_no_thread_from_short_requests(app: FastAPI, job_factory: JobFactory) -> None:
    known, planning = job_factory.trained().job_id, app.state.shared.plan_slots
    spec = b'{"data": {"kind": "synthetic"}}'

    with serving(app) as (_, url), ExitStack() as stack:
        for _ in range(planning._slots.per_tenant):
            stack.enter_context(held_slot(planning, "default"))
        with connections(url) as clients:
            for path, body in (("", spec), ("/plan", spec), (f"/{known}/fork", b"{}")):
                clients += [ask(url, "POST", f"/v1/jobs{path}", body) for _ in range(20)]
            until(lambda: planning.waiting == 60)
            assert httpx2.get(f"{url}/v1/jobs/{known}").status_code == 200
        until(lambda: planning.waiting == 0)  # they have hung up
        assert [job["id"] for job in httpx2.get(f"{url}/v1/jobs").json()["data"]] == [known]


def test_every_kind_of_work_leaves_slots_to_other_tenants(app: FastAPI) -> None:
    limiters = [each for each in vars(app.state.shared).values() if isinstance(each, FairLimiter)]

    for limiter in limiters:
        with ExitStack() as stack:
            for _ in range(limiter._slots.per_tenant):
                stack.enter_context(held_slot(limiter, "greedy"))
            stack.enter_context(held_slot(limiter, "other"))
    assert len(limiters) == len(SLOTS)


@pytest.fixture(scope="module")
def wide_network() -> bytes:
    """A checkpoint with slow predictions."""
    data = {"kind": "inline", "x": [[float(i), float(i % 7)] for i in range(40)], "y": [i % 2 for i in range(40)]}
    spec = JobSpec.model_validate({"data": data, "max_epochs": 1, "architecture": {"hidden": [2_048, 2_048]}})
    resolved = resolve(spec, inline_profile(spec.data))  # type: ignore[arg-type]
    rows = prepare(resolved.preparation, None)
    training = Training([resolved], rows, torch.device("cpu"))
    *_, (last,) = training
    return to_bytes(training.best_state(0), Metadata.of(resolved, rows.preprocessing, last.row))


def test_a_small_prediction_does_not_wait_for_the_large_ones(
    settings: Settings,
    database: Database,
    artifacts: Artifacts,
    job_factory: JobFactory,
    wide_network: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(predicting, "PART_SECONDS", 0.05)
    claim, predictor = job_factory.running(), Predictor()
    job_factory.publish(claim, 1, data=wide_network)
    path = f"/v1/jobs/{claim.job_id}/predict"
    large = json.dumps({"rows": [{"x0": i, "x1": 1} for i in range(3_000)]}).encode()

    def seconds(body: bytes) -> float:
        began = time.monotonic()
        answer = httpx2.post(url + path, content=body, headers={"Content-Type": "application/json"}, timeout=100)
        assert answer.status_code == 200
        return time.monotonic() - began

    with serving(create_app(settings, database, artifacts, predictor)) as (_, url):
        seconds(b'{"rows": [{"x0": 1, "x1": 1}]}')  # starts the helper
        alone = seconds(large)
        with connections(url) as clients:
            clients += [ask(url, "POST", path, large) for _ in range(6)]
            time.sleep(alone / 4)
            beside = seconds(b'{"rows": [{"x0": 1, "x1": 1}]}')
    predictor.close()

    assert beside < alone


class LargePredictor(CoinPredictor):
    """Exports of 32 MiB."""

    def to_pt(self, checkpoint: Path, sha256: str, target: Path) -> None:
        target.write_bytes(b"x" * SIZE)


@linux_only
def test_slow_clients_hold_no_export_in_memory(
    settings: Settings, database: Database, artifacts: Artifacts, job_factory: JobFactory
) -> None:
    path = f"/v1/jobs/{job_factory.trained().job_id}/checkpoints/best/download?format=pt"

    with serving(create_app(settings, database, artifacts, LargePredictor())) as (_, url):
        whole = httpx2.get(url + path)
        assert (whole.headers["content-length"], whole.content) == (str(SIZE), b"x" * SIZE)
        part = httpx2.get(url + path, headers={"Range": "bytes=10-19", "If-Range": whole.headers["etag"]})
        assert (part.status_code, part.content) == (206, b"x" * 10)
        before = resident_bytes()
        with connections(url) as clients:
            for _ in range(8):
                clients.append(ask(url, "GET", path))
                assert clients[-1].recv(12) == b"HTTP/1.1 200"
            assert resident_bytes() - before < 3 * SIZE


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_preview_of_a_small_parquet_file_with_long_texts_is_limited(tmp_path: Path, database: Database) -> None:
    settings = Settings(home=tmp_path)
    file = parquet("SELECT repeat('x', 500_000) AS long, range AS n FROM range(100)")

    with TestClient(create_app(settings, database, FolderArtifacts(settings.artifacts), CoinPredictor())) as client:
        dataset = client.post("/v1/datasets", content=file).json()
        response = client.get(f"/v1/datasets/{dataset['id']}/preview?rows=100")

    assert len(file) < 100_000
    assert response.json()["data"] == [{"long": "x" * 1_000 + "…", "n": i} for i in range(100)]


@pytest.mark.parametrize(
    ("columns", "name", "rows"), [(3, "n", 100), (2_000, "n", 50), (100, "n" * 900, 46)], ids=["all", "cells", "bytes"]
)
def test_a_preview_of_a_wide_table_has_fewer_rows(tmp_path: Path, columns: int, name: str, rows: int) -> None:
    named = ", ".join(f"range AS {name}{i}" for i in range(columns))
    (tmp_path / "table").write_bytes(parquet(f"SELECT {named} FROM range(200)"))
    allowed = preview.Allowance(memory_bytes=2**28, unpacked_bytes=2**28, seconds=60)

    found = preview.preview_rows(tmp_path / "table", 100, allowed)

    assert rows - 2 <= len(found) <= rows
    assert [len(row) for row in found] == [columns] * len(found)
