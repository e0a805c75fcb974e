"""Tenant isolation: on every route, and in every SQL statement."""

from __future__ import annotations

import re
from typing import Any

from fastapi import FastAPI
from sqlalchemy import event
from starlette.testclient import TestClient

from service.domain.access import DEFAULT_TENANT, Scope
from service.store.engine import Database
from tests.api.conftest import both_databases
from tests.api.operations import BODIES, SPEC, Maker, ids, key, operations

__all__ = ["ids", "key"]


def test_objects_of_other_tenants_are_a_404(app: FastAPI, client: TestClient, ids: dict[str, str], key: Maker) -> None:
    theirs = key("other", Scope.admin)
    nothing = {
        "job_id": "job_0",
        "sweep_id": "swp_0",
        "dataset_id": "ds_0",
        "upload_id": "up_0",
        "name": "no-model",
        "model": "no-model",
    }
    nothing["job"] = nothing["job_id"]

    for operation in operations(app):
        answer = operation.ask(client, ids, theirs, **{"X-Request-Id": "r"})
        if "{" in operation.path:
            unknown = operation.ask(client, nothing, theirs, **{"X-Request-Id": "r"})
            said, expected = answer.text, unknown.text
            for name, value in ids.items():
                said = said.replace(value, nothing[name])
            assert (answer.status_code, said) == (404, expected), operation
        else:
            assert not any(value in answer.text for value in ids.values()), operation
    for asked in ({"kind": "dataset", "id": ids["dataset_id"], "target": "b"},):
        answer = client.post("/v1/jobs", json={"data": asked}, headers={"Authorization": f"Bearer {theirs}"})
        assert [fault["pointer"] for fault in answer.json()["errors"]] == ["/data/id"]
    ours = {"Authorization": f"Bearer {key(DEFAULT_TENANT, Scope.read)}"}
    assert client.get(f"/v1/jobs/{ids['job_id']}", headers=ours).json()["priority"] == 0
    assert client.get(f"/v1/datasets/{ids['dataset_id']}", headers=ours).status_code == 200


def test_names_hashes_and_idempotency_keys_are_per_tenant(client: TestClient, key: Maker) -> None:
    made = []
    for tenant in ("one", "two"):
        headers = {"Authorization": f"Bearer {key(tenant, Scope.submit)}"}
        dataset = client.post("/v1/datasets", content=b"a,b\n1,2\n", headers=headers)
        job = client.post("/v1/jobs", json=SPEC, headers={**headers, "Idempotency-Key": "same"})
        sweep = client.post("/v1/sweeps", json=BODIES["create_sweep"], headers={**headers, "Idempotency-Key": "same"})
        assert [each.status_code for each in (dataset, job, sweep)] == [201, 201, 201]
        made += [each.json()["id"] for each in (dataset, job, sweep)]

    assert len(set(made)) == 6


def test_an_admin_of_another_tenant_does_not_see_the_metrics(client: TestClient, key: Maker) -> None:
    answer = client.get("/metrics", headers={"Authorization": f"Bearer {key('other', Scope.admin)}"})

    assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")
    assert "`default`" in answer.json()["detail"]


TABLES = ("jobs", "datasets", "sweeps", "epochs", "checkpoints", "events")
TABLES += ("sweep_decisions", "models", "model_versions", "model_members", "model_aliases", "alias_moves")


@both_databases
def test_every_statement_of_a_request_names_the_tenant(
    app: FastAPI, client: TestClient, database: Database, ids: dict[str, str], key: Maker
) -> None:
    ours, heard = key(DEFAULT_TENANT, Scope.admin), list[tuple[str | None, str]]()

    def listen(connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        heard.append((connection.get_execution_options().get("bestepoch_tenant"), re.sub(r"\s+", " ", statement)))

    event.listen(database._engine, "before_cursor_execute", listen)
    for operation in operations(app):
        operation.ask(client, ids, ours)

    of_tenant = {sql for tenant, sql in heard if tenant == DEFAULT_TENANT}
    assert len(of_tenant) > 40
    for sql in of_tenant:
        for table in TABLES:
            if re.search(rf"\b(FROM|UPDATE|INTO) {table}\b", sql):
                assert re.search(rf"\b{table}\.tenant = |INSERT INTO {table} \([^)]*\btenant\b", sql), sql
    unbound = {sql for tenant, sql in heard if tenant is None and any(f"FROM {table}" in sql for table in TABLES)}
    of_the_service = ("count(", "min(", "jobs.worker", "jobs.version")  # of /metrics, and what wakes those who wait
    of_the_service += ("sweeps.pending",)  # of the driver of sweeps
    assert all(any(word in sql for word in of_the_service) for sql in unbound), unbound
