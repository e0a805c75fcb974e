"""Liveness and readiness."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text, update
from starlette.testclient import TestClient

from service.api.app import create_app
from service.api.live import single_flight
from service.artifacts import Artifacts
from service.settings import Settings
from service.store import migrations, postgres_connection, workers
from service.store.engine import Database
from service.store.schema import schema_compatibility
from tests.api.conftest import CoinPredictor, both_databases
from tests.api.test_catalog import worker
from tests.databases import read_only
from tests.processes import until
from tests.proxy import proxied
from tests.specs import REFERENCE


@both_databases
def test_a_server_with_everything_is_ready_and_counts_workers(client: TestClient, database: Database) -> None:
    with database.transaction() as connection:
        workers.heartbeat(connection, worker("wrk_1", datetime.now(UTC)))

    response = client.get("/readyz")

    assert (response.status_code, response.json()) == (200, {"status": "ready", "workers": 1})


@pytest.fixture
def unmigrated(settings: Settings, artifacts: Artifacts, blank_database_url: str) -> Iterator[TestClient]:
    database = Database(blank_database_url)
    with TestClient(create_app(settings, database, artifacts, CoinPredictor())) as client:
        yield client
    database.close()


@both_databases
def test_without_its_tables_a_server_is_live_but_not_ready(unmigrated: TestClient) -> None:
    response = unmigrated.get("/readyz")

    assert unmigrated.get("/healthz").json() == {"status": "ok"}
    assert (response.status_code, response.headers["retry-after"]) == (503, "2")
    assert response.json()["detail"] == "the database schema is older than this version: run `bestepoch migrate`"


@both_databases
def test_with_an_incompatible_newer_schema_a_server_is_not_ready(client: TestClient, database: Database) -> None:
    with database.transaction() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        connection.execute(update(schema_compatibility).values(usable_since="9998"))
        connection.execute(text("ALTER TABLE jobs RENAME COLUMN eta_seconds TO eta"))

    ready, jobs = client.get("/readyz"), client.get("/v1/jobs")

    assert (ready.status_code, ready.json()["detail"]) == (503, migrations.NEWER)
    assert (jobs.status_code, jobs.json()["code"]) == (503, "unavailable")
    assert "as if another version had migrated it" in jobs.json()["detail"]


def test_a_server_that_cannot_write_files_is_not_ready(client: TestClient, settings: Settings) -> None:
    shutil.rmtree(settings.artifacts)

    response = client.get("/readyz")

    assert (response.status_code, response.json()["code"]) == (503, "unavailable")
    assert response.json()["detail"] == "the artifact store could not write: No such file or directory"


def test_with_an_unavailable_database_a_server_answers_503(
    settings: Settings, artifacts: Artifacts, tmp_path: Path
) -> None:
    database = Database(f"postgresql://nobody@/nothing?host={tmp_path}")

    with TestClient(create_app(settings, database, artifacts, CoinPredictor())) as client:
        assert client.get("/healthz").status_code == 200
        for path in ("/readyz", "/v1/jobs", "/v1/jobs/job_1", "/v1/jobs/job_1/stream", "/v1/workers"):
            response = client.get(path)
            assert (response.status_code, response.json()["code"]) == (503, "unavailable")
            assert response.headers["retry-after"] == "2"
    database.close()


postgres_only = pytest.mark.parametrize("backend", ["postgres"], indirect=True)


@postgres_only
def test_with_a_read_only_database_a_server_is_not_ready_and_refuses_jobs(
    client: TestClient, database_url: str, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_connection, "IDLE_SECONDS", 0.0)  # connections that break are found at once
    with read_only(postgres, database_url):
        ready = client.get("/readyz")
        posted = client.post("/v1/jobs", json=REFERENCE)
        listed = client.get("/v1/jobs")

    assert (ready.status_code, ready.json()["detail"]) == (503, "the database takes no writes: it is read-only")
    assert (posted.status_code, posted.json()["code"], posted.headers["retry-after"]) == (503, "unavailable", "2")
    assert listed.status_code == 200
    assert client.get("/readyz").status_code == 200


@postgres_only
def test_with_a_silent_database_readiness_is_answered_in_time(
    settings: Settings, artifacts: Artifacts, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(single_flight, "ANSWER_SECONDS", 0.3)
    monkeypatch.setattr("service.store.engine.PROMPT_SECONDS", 0.3)
    with proxied(database_url) as proxy:
        database = Database(f"{proxy.url}?connect_timeout=2")
        with TestClient(create_app(settings, database, artifacts, CoinPredictor())) as client:
            assert client.get("/readyz").status_code == 200
            proxy.silent.set()
            told: list[tuple[int, str]] = []

            def ask() -> None:
                for _ in range(3):  # who asks again waits for the same check
                    answer = client.get("/readyz")
                    told.append((answer.status_code, answer.json()["code"]))

            asking = threading.Thread(target=ask, daemon=True)
            asking.start()
            asking.join(20)
            proxy.silent.clear()

            assert told == [(503, "unavailable")] * 3
            until(lambda: client.get("/readyz").status_code == 200, 30)
        database.close()
