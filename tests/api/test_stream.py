"""Server-sent events: each epoch once, the job when it changes, the end."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from service.domain.status import Status
from tests.api.conftest import both_databases, serving
from tests.api.job_factory import JobFactory, epoch

Event = tuple[str, str | None, Any]


def events(lines: Iterator[str]) -> Iterator[Event]:
    """(event, id, data) of each server-sent event."""
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if line == "" and fields:
            yield fields["event"], fields.get("id"), json.loads(fields["data"])
            fields = {}
        elif name:
            fields[name] = value


def follow(client: httpx2.Client | TestClient, job_id: str, **options: Any) -> list[Event]:
    with client.stream("GET", f"/v1/jobs/{job_id}/stream", **options) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        return list(events(response.iter_lines()))


def test_the_stream_of_an_ended_job_is_complete(client: TestClient, job_factory: JobFactory) -> None:
    claim = job_factory.trained(epochs=3)

    told = follow(client, claim.job_id)

    assert [(name, number) for name, number, _ in told] == [
        ("epoch", "1"), ("epoch", "2"), ("epoch", "3"), ("job", None), ("end", None),
    ]  # fmt: skip
    assert told[1][2] == client.get(f"/v1/jobs/{claim.job_id}/history").json()["data"][1]
    assert told[3][2] == client.get(f"/v1/jobs/{claim.job_id}").json()
    assert told[4][2] == {"status": "succeeded", "stop_reason": "early_stopped"}


@both_databases
def test_a_stream_sends_each_change(live: httpx2.Client, job_factory: JobFactory) -> None:
    claim = job_factory.running()

    told: list[tuple[str, Any]] = []
    with live.stream("GET", f"/v1/jobs/{claim.job_id}/stream") as response:
        for name, number, data in events(response.iter_lines()):
            told.append((name, number or data["status"]))
            if told[-1] == ("job", "running") and len(told) == 1:
                job_factory.record(claim, epoch(1), epoch(2))
            if told[-1] == ("job", "running") and len(told) > 1:
                job_factory.finish(claim, Status.failed)

    assert told == [
        ("job", "running"), ("epoch", "1"), ("epoch", "2"), ("job", "running"), ("job", "failed"), ("end", "failed"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [
        {"headers": {"Last-Event-ID": "2"}},
        {"params": {"after_epoch": "2"}},
        {"headers": {"Last-Event-ID": "2"}, "params": {"after_epoch": "0"}},
    ],
)
def test_a_stream_resumes_after_last_event_id(
    client: TestClient, job_factory: JobFactory, options: dict[str, Any]
) -> None:
    claim = job_factory.trained(epochs=4)

    told = follow(client, claim.job_id, **options)

    assert [number for name, number, _ in told if name == "epoch"] == ["3", "4"]


def test_the_stream_of_a_long_history_is_complete(client: TestClient, job_factory: JobFactory) -> None:
    claim = job_factory.trained(epochs=2_001)

    told = follow(client, claim.job_id)

    assert [number for name, number, _ in told if name == "epoch"] == [str(n) for n in range(1, 2_002)]
    assert [name for name, _, _ in told[-2:]] == ["job", "end"]


def test_the_stream_of_a_missing_job_is_a_404(client: TestClient) -> None:
    response = client.get("/v1/jobs/job_0/stream")

    assert (response.status_code, response.headers["content-type"]) == (404, "application/problem+json")


def test_an_invalid_last_event_id_is_refused(client: TestClient, job_factory: JobFactory) -> None:
    response = client.get(f"/v1/jobs/{job_factory.trained().job_id}/stream", headers={"Last-Event-ID": "x"})

    assert response.json()["errors"] == [{"parameter": "last-event-id", "message": "should be a whole number"}]


def test_a_shutdown_ends_a_stream_promptly(app: FastAPI, job_factory: JobFactory) -> None:
    claim = job_factory.running()

    with serving(app) as (server, url), httpx2.stream("GET", f"{url}/v1/jobs/{claim.job_id}/stream") as response:
        told = events(response.iter_lines())
        assert next(told)[0] == "job"
        threading.Timer(0.2, lambda: setattr(server, "should_exit", True)).start()
        began = time.perf_counter()

        assert list(told) == [("closing", None, {"reason": "the service stops"})]
        assert time.perf_counter() - began < 10


def test_a_disconnecting_client_is_not_an_error(
    app: FastAPI, job_factory: JobFactory, caplog: pytest.LogCaptureFixture
) -> None:
    claim = job_factory.trained(epochs=3_000)

    with serving(app) as (_, url):
        for _ in range(5):
            with httpx2.stream("GET", f"{url}/v1/jobs/{claim.job_id}/stream") as response:
                next(events(response.iter_lines()))
        time.sleep(0.3)

    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
