"""Who may come in and what for: every route with every kind of key that is wrong for it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from sqlalchemy import event
from starlette.routing import Mount
from starlette.testclient import TestClient

from service.access import DEFAULT_TENANT, Scope
from service.api.app import create_app
from service.artifacts import Artifacts
from service.settings import Settings
from service.store import keys
from service.store.engine import Database
from tests.api.conftest import CoinPredictor, both_databases, serving
from tests.api.states import Kitchen

PUBLIC = {
    "/healthz",
    "/readyz",
    "/docs",
    "/docs/oauth2-redirect",
    "/openapi.json",
    "/static-offline-docs/swagger-ui.css",
}
CHANGES_NOTHING = {"plan_job", "predict", "replay_early_stopping"}
SPEC = {"data": {"kind": "synthetic", "rows": 100}}
BODIES: dict[str, Any] = {
    "create_job": SPEC,
    "plan_job": SPEC,
    "change_job": {"priority": 1},
    "fork_job": {"checkpoint": "best"},
    "predict": {"rows": [{"x0": 1.0}]},
    "replay_early_stopping": {"rules": [{"patience": 3}]},
    "create_sweep": {"base": SPEC, "replicates": 2},
}


@dataclass(frozen=True)
class Operation:
    """A route as it is documented."""

    method: str
    path: str
    id: str

    @property
    def scope(self) -> Scope:
        """What it should take."""
        if self.method == "DELETE" or self.id == "get_metrics":
            return Scope.admin
        return Scope.read if self.method == "GET" or self.id in CHANGES_NOTHING else Scope.submit

    def ask(self, client: TestClient, ids: dict[str, str], key: str | None, **headers: str) -> httpx2.Response:
        sent = {**headers, **({} if key is None else {"Authorization": f"Bearer {key}"})}
        path = self.path.format_map({"kind": "best", **ids})
        body = {"content": b"a,b\n1,2\n3,4\n"} if self.id == "create_dataset" else {"json": BODIES.get(self.id)}
        return client.request(self.method, path, headers=sent, **body)  # type: ignore[no-any-return]


def operations(app: FastAPI) -> list[Operation]:
    """All that need a key; those that delete come last."""
    paths = app.openapi()["paths"]
    found = [Operation(m.upper(), path, said["operationId"]) for path, of in paths.items() for m, said in of.items()]
    return sorted((each for each in found if each.path not in PUBLIC), key=lambda each: each.method == "DELETE")


Maker = Callable[..., str]


@pytest.fixture
def key(database: Database) -> Maker:
    """Makes a key; `revoked` at once."""

    def make(tenant: str, scope: Scope, *, revoked: bool = False, days: float | None = None) -> str:
        until = None if days is None else datetime.now(UTC) + timedelta(days=days)
        with database.transaction() as connection:
            known, text = keys.create(connection, tenant, scope, expires_at=until)
            if revoked:
                keys.revoke(connection, known.id)
        return text

    return make


@pytest.fixture
def ids(client: TestClient, kitchen: Kitchen) -> dict[str, str]:
    """A job with a checkpoint, a sweep and a data set, made while the door is open: of the default tenant."""
    dataset = client.post("/v1/datasets", content=b"a,b\n1,x\n2,y\n").json()
    found = {"job_id": kitchen.trained().job_id, "sweep_id": kitchen.swept().id, "dataset_id": dataset["id"]}
    time.sleep(0.5)  # until the open door is forgotten
    return found


def test_no_route_opens_to_a_wrong_key(app: FastAPI, client: TestClient, ids: dict[str, str], key: Maker) -> None:
    ours = key(DEFAULT_TENANT, Scope.admin)
    wrong = {
        "unknown": ("invalid_key", f"be_{'0' * 24}_{'A' * 43}"),
        "forged": ("invalid_key", ours[:-1] + ("A" if ours[-1] != "A" else "B")),
        "malformed": ("invalid_key", "two words"),
        "foreign text": ("invalid_key", "s3cret"),
        "expired": ("invalid_key", key(DEFAULT_TENANT, Scope.admin, days=-0.01)),
        "revoked": ("invalid_key", key(DEFAULT_TENANT, Scope.admin, revoked=True)),
        "none": ("unauthorized", None),
    }
    everything = operations(app)
    assert len(everything) > 28

    for operation in everything:
        for kind, (code, text) in wrong.items():
            answer = operation.ask(client, ids, text)
            assert (answer.status_code, answer.json()["code"]) == (401, code), (operation, kind)
            assert answer.headers["www-authenticate"].startswith("Bearer"), (operation, kind)
    assert client.get(f"/v1/jobs/{ids['job_id']}", headers={"Authorization": f"Bearer {ours}"}).status_code == 200


def test_no_route_opens_to_a_scope_that_is_too_small(
    app: FastAPI, client: TestClient, ids: dict[str, str], key: Maker
) -> None:
    of = {scope: key(DEFAULT_TENANT, scope) for scope in Scope}

    for operation in operations(app):
        said = app.openapi()["paths"][operation.path][operation.method.lower()]
        assert [operation.scope] in [list(*each.values()) for each in said["security"]], operation
        for scope, text in of.items():
            answer = operation.ask(client, ids, text)
            if scope.covers(operation.scope):
                assert answer.status_code not in (401, 403), (operation, scope, answer.text)
            else:
                assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope"), (operation, scope)
                assert f"`{operation.scope}`" in answer.json()["detail"]


def test_what_is_another_tenants_does_not_exist(
    app: FastAPI, client: TestClient, ids: dict[str, str], key: Maker
) -> None:
    theirs, nothing = key("other", Scope.admin), {"job_id": "job_0", "sweep_id": "swp_0", "dataset_id": "ds_0"}

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


def test_names_hashes_and_idempotency_keys_are_each_tenants_own(client: TestClient, key: Maker) -> None:
    made = []
    for tenant in ("one", "two"):
        headers = {"Authorization": f"Bearer {key(tenant, Scope.submit)}"}
        dataset = client.post("/v1/datasets", content=b"a,b\n1,2\n", headers=headers)
        job = client.post("/v1/jobs", json=SPEC, headers={**headers, "Idempotency-Key": "same"})
        sweep = client.post("/v1/sweeps", json=BODIES["create_sweep"], headers={**headers, "Idempotency-Key": "same"})
        assert [each.status_code for each in (dataset, job, sweep)] == [201, 201, 201]
        made += [each.json()["id"] for each in (dataset, job, sweep)]

    assert len(set(made)) == 6


def test_an_admin_of_another_tenant_does_not_see_the_servers_figures(client: TestClient, key: Maker) -> None:
    answer = client.get("/metrics", headers={"Authorization": f"Bearer {key('other', Scope.admin)}"})

    assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")
    assert "`default`" in answer.json()["detail"]


TABLES = ("jobs", "datasets", "sweeps", "epochs", "checkpoints", "events")


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
    in_one_line = "SELECT count(*)"  # jobs of all tenants wait in one line, and nothing but their number is read
    for sql in of_tenant:
        for table in TABLES:
            if re.search(rf"\b(FROM|UPDATE|INTO) {table}\b", sql) and not (
                sql.startswith(in_one_line) and "priority" in sql
            ):
                assert re.search(rf"\b{table}\.tenant = |INSERT INTO {table} \([^)]*\btenant\b", sql), sql
    unbound = {sql for tenant, sql in heard if tenant is None and any(f"FROM {table}" in sql for table in TABLES)}
    figures = ("count(", "min(", "jobs.worker", "jobs.version")  # of /metrics, and what wakes those who wait
    assert all(any(word in sql for word in figures) for sql in unbound), unbound


def test_a_revoked_key_is_out_within_a_second(database: Database, client: TestClient, key: Maker) -> None:
    text = key(DEFAULT_TENANT, Scope.read)
    headers = {"Authorization": f"Bearer {text}"}
    assert client.get("/v1/jobs", headers=headers).status_code == 200

    with database.transaction() as connection:
        revoked = keys.revoke(connection, keys.find(connection)[0].id)
    began = time.monotonic()
    while client.get("/v1/jobs", headers=headers).status_code == 200:
        assert time.monotonic() - began < 1.0
    answer = client.get("/v1/jobs", headers=headers).json()
    assert answer["detail"] == f"the key {revoked.id} is revoked since {revoked.revoked_at:%Y-%m-%d %H:%M} UTC"


def test_a_stream_tells_nothing_to_a_key_that_was_revoked(
    app: FastAPI, database: Database, kitchen: Kitchen, key: Maker
) -> None:
    claim, headers = kitchen.running(), {"Authorization": f"Bearer {key(DEFAULT_TENANT, Scope.read)}"}
    url = f"/v1/jobs/{claim.job_id}/stream"
    with (
        serving(app) as (_, base),
        httpx2.Client(base_url=base) as client,
        client.stream("GET", url, headers=headers) as s,
    ):
        lines = s.iter_lines()
        assert next(lines) == "event: job"
        with database.transaction() as connection:
            keys.revoke(connection, keys.find(connection)[0].id)
        time.sleep(0.6)
        kitchen.finish(claim)
        assert not [line for line in lines if line.startswith("event")]


def test_the_first_key_closes_an_open_door_within_a_second_and_for_good(client: TestClient, key: Maker) -> None:
    assert client.get("/v1/jobs").status_code == 200

    key("somebody", Scope.read, revoked=True)
    time.sleep(0.6)

    assert client.get("/v1/jobs").status_code == 401


@pytest.fixture
def locked(settings: Settings, database: Database, artifacts: Artifacts) -> Iterator[TestClient]:
    guarded = Settings.model_validate({"home": settings.home, "api_key": "s3cret"})
    with TestClient(create_app(guarded, database, artifacts, CoinPredictor())) as client:
        yield client


def every_path(app: FastAPI) -> Iterator[tuple[str, str]]:
    for route in iter_route_contexts(app.routes):
        if isinstance(route.original_route, Mount):
            yield "GET", f"{route.original_route.path}/swagger-ui.css"
        for method in route.methods or ():
            yield method, str(route.path).replace("{kind}", "best")


def test_every_path_but_the_public_ones_needs_the_key(app: FastAPI, locked: TestClient) -> None:
    paths = set(every_path(app))

    refused = {(method, path) for method, path in paths if locked.request(method, path).status_code == 401}

    assert len(paths) > 25
    assert {path for _, path in paths - refused} == PUBLIC
    assert {path for _, path in refused}.isdisjoint(PUBLIC)


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/nope", "/healthz/", "/static-offline-docs", "//healthz", "/docs/../v1/jobs"]
)
def test_what_is_not_public_is_refused_even_where_nothing_is(locked: TestClient, path: str) -> None:
    assert locked.get(path).status_code == 401


def test_a_refusal_says_what_is_missing(locked: TestClient) -> None:
    response = locked.get("/v1/jobs")

    assert response.headers["www-authenticate"] == "Bearer"
    assert response.json()["detail"] == "An API key is required: `Authorization: Bearer KEY`."
    assert response.json()["request_id"] == response.headers["x-request-id"]


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer ", "Bearer s3cre", "Bearer s3crets", "Basic s3cret", "s3cret", "Bearer é"]
)
def test_a_wrong_key_is_refused(locked: TestClient, given: str) -> None:
    headers = {b"Authorization": given.encode("latin-1")}

    assert locked.get("/v1/jobs", headers=headers).status_code == 401  # type: ignore[arg-type]


def test_two_keys_at_once_are_refused(locked: TestClient) -> None:
    twice = [("Authorization", "Bearer s3cret"), ("Authorization", "Bearer s3cret")]

    assert locked.get("/v1/jobs", headers=twice).json()["code"] == "invalid_key"


@pytest.mark.parametrize("given", ["Bearer s3cret", "bearer s3cret"])
def test_the_right_key_opens(locked: TestClient, given: str) -> None:
    assert locked.get("/v1/jobs", headers={"Authorization": given}).status_code == 200


def test_the_operators_key_and_tenants_keys_open_beside_each_other(locked: TestClient, key: Maker) -> None:
    headers = {"Authorization": f"Bearer {key('other', Scope.submit)}"}
    locked.post("/v1/jobs", json=SPEC, headers=headers)

    assert len(locked.get("/v1/jobs", headers=headers).json()["data"]) == 1
    assert locked.get("/v1/jobs", headers={"Authorization": "Bearer s3cret"}).json()["data"] == []
