"""Architectures, workers and versions."""

from __future__ import annotations

import platform
from datetime import UTC, datetime, timedelta
from importlib.metadata import version

from sqlalchemy import update
from starlette.testclient import TestClient

from service.store import workers
from service.store.engine import Database
from service.store.worker_tables import workers as table
from service.store.workers import WorkerInfo
from tests.api.conftest import both_databases
from tests.api.job_factory import JobFactory


def worker(name: str, seen: datetime) -> WorkerInfo:
    return WorkerInfo(
        id=name, hostname="here", pid=1, trainers=2, device="cpu", jobs=[], started_at=seen, seen_at=seen
    )  # fmt: skip


def test_the_architectures_come_with_their_schemas(client: TestClient) -> None:
    found = client.get("/v1/architectures").json()["data"]

    assert [each["kind"] for each in found] == ["mlp", "cnn", "resnet", "tabm", "ft_transformer", "layers"]
    mlp = found[0]
    assert mlp["description"].startswith("A multi-layer perceptron")
    assert mlp["parameters"]["properties"]["hidden"]["default"] == [64, 32]


@both_databases
def test_live_workers_are_listed_with_their_jobs(
    client: TestClient, database: Database, job_factory: JobFactory
) -> None:
    now = datetime.now(UTC)
    claim = job_factory.running()
    with database.transaction() as connection:
        for name, seen in (("wrk_1", now), ("wrk_gone", now - timedelta(minutes=2))):
            workers.heartbeat(connection, worker(name, now))
            connection.execute(update(table).where(table.c.id == name).values(seen_at=seen))

    (alive,) = client.get("/v1/workers").json()["data"]

    assert (alive["id"], alive["jobs"], alive["trainers"]) == ("wrk_1", [claim.job_id], 2)


@both_databases
def test_the_versions_are_those_installed(client: TestClient, database: Database) -> None:
    assert client.get("/v1/version").json() == {
        "bestepoch": version("bestepoch"),
        "python": platform.python_version(),
        "torch": version("torch"),
        "database": "sqlite" if database.is_sqlite else "postgresql",
    }
