"""Every operation that needs a key, with the keys and objects to call it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from service.domain.access import Scope
from service.store import keys
from service.store.engine import Database
from tests.api.job_factory import JobFactory

PUBLIC = {
    "/healthz",
    "/readyz",
    "/docs",
    "/docs/oauth2-redirect",
    "/openapi.json",
    "/static-offline-docs/file",
    "/web/file",
    "/",
}
CHANGES_NOTHING = {
    "evaluate_model",
    "measure_drift",
    "plan_job",
    "plan_sweep",
    "predict",
    "predict_by_model",
    "replay_early_stopping",
    "replay_sweep",
}
UPLOADS = {"list_uploads", "get_upload", "delete_upload"}  # of those who upload: they show where to write
SPEC = {"data": {"kind": "synthetic", "rows": 100}}
BODIES: dict[str, Any] = {
    "create_job": SPEC,
    "plan_job": SPEC,
    "change_job": {"priority": 1},
    "fork_job": {"checkpoint": "best"},
    "predict": {"rows": [{"x0": 1.0}]},
    "replay_early_stopping": {"rules": [{"patience": 3}]},
    "plan_sweep": {"base": SPEC},
    "replay_sweep": {"rules": [{"kind": "halving"}]},
    "create_model_version": {"name": "other", "from": {"job": "job_0"}},
    "move_alias": {"version": 1},
    "evaluate_model": {"rows": [{"x0": 1.0, "y": 1.0}]},
    "predict_by_model": {"rows": [{"x0": 1.0}]},
    "measure_drift": {"rows": [{"x0": 1.0}]},
    "create_sweep": {"base": SPEC, "replicates": 2},
    "start_upload": {"name": "table", "size_bytes": 12},
}


@dataclass(frozen=True)
class Operation:
    """An operation of the OpenAPI document."""

    method: str
    path: str
    id: str

    @property
    def scope(self) -> Scope:
        """The scope that it requires."""
        if self.id in UPLOADS:
            return Scope.submit
        if self.method == "DELETE" or self.id == "get_metrics":
            return Scope.admin
        return Scope.read if self.method == "GET" or self.id in CHANGES_NOTHING else Scope.submit

    def ask(self, client: TestClient, ids: dict[str, str], key: str | None, **headers: str) -> httpx2.Response:
        sent = {**headers, **({} if key is None else {"Authorization": f"Bearer {key}"})}
        path = self.path.format_map({"kind": "best", "version": 1, "alias": "champion", "number": 1, **ids})
        is_file = self.id in ("create_dataset", "put_upload_part")
        body = {"content": b"a,b\n1,2\n3,4\n"} if is_file else {"json": BODIES.get(self.id)}
        return client.request(self.method, path, headers=sent, **body)  # type: ignore[no-any-return]


def operations(app: FastAPI) -> list[Operation]:
    """All operations that need a key, deletions last."""
    paths = app.openapi()["paths"]
    found = [Operation(m.upper(), path, said["operationId"]) for path, of in paths.items() for m, said in of.items()]
    return sorted((each for each in found if each.path not in PUBLIC), key=lambda each: each.method == "DELETE")


Maker = Callable[..., str]


@pytest.fixture
def key(database: Database) -> Maker:
    """Creates a key, revoked if `revoked`."""

    def make(tenant: str, scope: Scope, *, revoked: bool = False, days: float | None = None) -> str:
        until = None if days is None else datetime.now(UTC) + timedelta(days=days)
        with database.transaction() as connection:
            known, text = keys.create(connection, tenant, scope, expires_at=until)
            if revoked:
                keys.revoke(connection, known.id)
        return text

    return make


@pytest.fixture
def ids(client: TestClient, job_factory: JobFactory) -> dict[str, str]:
    """Ids of a job with a checkpoint, a sweep, a data set, an upload and a model of the default tenant, created before
    any key."""
    dataset = client.post("/v1/datasets", content=b"a,b\n1,x\n2,y\n").json()
    found = {"job_id": job_factory.trained().job_id, "sweep_id": job_factory.swept().id, "dataset_id": dataset["id"]}
    made = client.post("/v1/models", json={"name": "our-model", "from": {"job": found["job_id"]}}).json()
    found["upload_id"] = client.post("/v1/datasets/uploads", json=BODIES["start_upload"]).json()["id"]
    found |= {"name": made["model"], "model": made["model"], "job": found["job_id"]}
    time.sleep(0.5)  # until the cache of open access has expired
    return found
