"""Other sites' pages, other servers' names: what a visitor's browser is made to send is refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.testclient import TestClient

from service.api.app import create_app
from service.artifacts import Artifacts
from service.settings import Settings
from service.store.engine import Database
from tests.api.conftest import CoinPredictor
from tests.api.states import Kitchen
from tests.specs import REFERENCE

FOREIGN = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://testserver:8001"},
    {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
]
OWN = [
    {},
    {"Origin": "http://testserver"},
    {"Origin": "http://testserver", "Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
]


@pytest.fixture
def team(settings: Settings, database: Database, artifacts: Artifacts) -> Iterator[TestClient]:
    """A server that one other site may call."""
    friendly = settings.model_copy(update={"origins": "https://team.example"})
    with TestClient(create_app(friendly, database, artifacts, CoinPredictor())) as client:
        yield client


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "", "localhost.evil.example", "[::2]", "[", "a b"]
)
def test_a_name_that_is_not_ours_is_refused_on_every_method(app: FastAPI, client: TestClient, host: str) -> None:
    asked = {
        (method, route.path, client.request(method, route.path, headers={"Host": host}).status_code)
        for route in iter_route_contexts(app.routes)
        for method in route.methods or ()
    }

    assert len(asked) > 35
    assert {status for _, _, status in asked} == {421}
    if host:
        assert client.get("/healthz", headers={"Host": host}).json()["code"] == "wrong_host"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:1", "[::1]:8000", "testserver"])
def test_our_own_names_are_known(client: TestClient, host: str) -> None:
    assert client.get("/healthz", headers={"Host": host}).status_code == 200


def test_where_others_are_let_in_any_name_will_do_until_names_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BESTEPOCH_HOSTS")
    assert Settings(host="0.0.0.0").names == frozenset()
    assert Settings(host="0.0.0.0", hosts="gpu.example, GPU2.example").names >= {"gpu.example", "gpu2.example"}


@pytest.mark.parametrize("headers", FOREIGN)
def test_another_sites_page_changes_nothing(
    app: FastAPI, client: TestClient, kitchen: Kitchen, headers: dict[str, str]
) -> None:
    job = kitchen.queued()
    for route in iter_route_contexts(app.routes):
        for method in set(route.methods or ()) - {"GET", "HEAD", "OPTIONS"}:
            answer = client.request(method, str(route.path).format_map(Ids(job.id)), headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (403, "cross_site")

    assert client.get(f"/v1/jobs/{job.id}", headers=headers).json()["status"] == "queued"


class Ids(dict[str, str]):
    def __init__(self, job_id: str) -> None:
        super().__init__(job_id=job_id)

    def __missing__(self, name: str) -> str:
        return "x"


@pytest.mark.parametrize("headers", OWN)
def test_our_own_pages_and_programs_may(client: TestClient, headers: dict[str, str]) -> None:
    assert client.post("/v1/jobs", json=REFERENCE, headers=headers).status_code == 201


def test_a_site_that_is_let_in_may_and_others_still_may_not(team: TestClient) -> None:
    friend, foe = ({"Origin": f"https://{name}.example", "Sec-Fetch-Site": "cross-site"} for name in ("team", "evil"))
    asking = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}

    allowed = team.options("/v1/jobs", headers=friend | asking)
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, friend["Origin"])
    assert "access-control-allow-origin" not in team.options("/v1/jobs", headers=foe | asking).headers
    posted = team.post("/v1/jobs", json=REFERENCE, headers=friend)
    assert (posted.status_code, posted.headers["access-control-allow-origin"]) == (201, friend["Origin"])
    assert team.post("/v1/jobs", json=REFERENCE, headers=foe).status_code == 403


def test_nobody_is_let_in_unless_it_is_set(client: TestClient) -> None:
    answer = client.get("/v1/jobs", headers={"Origin": "https://team.example"})

    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs/job_1", "/healthz", "/openapi.json", "/nowhere", "/v1/nowhere"])
def test_no_answer_is_taken_for_a_page_or_kept_by_a_proxy(client: TestClient, path: str) -> None:
    headers = client.get(path).headers

    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["cache-control"] == "private, no-cache"


def test_the_documentation_loads_nothing_from_elsewhere_and_is_in_nobodys_frame(client: TestClient) -> None:
    policy = client.get("/docs").headers["content-security-policy"]

    assert policy.startswith("default-src 'self'; ")
    assert "frame-ancestors 'none'" in policy


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]
)
def test_what_a_form_could_send_is_no_json(client: TestClient, kitchen: Kitchen, content_type: str) -> None:
    job_id = kitchen.trained().job_id
    for path in ("/v1/jobs", "/v1/jobs/plan", "/v1/sweeps", f"/v1/jobs/{job_id}/fork"):
        answer = client.post(path, content=b'{"data": {"kind": "synthetic"}}', headers={"Content-Type": content_type})
        assert answer.status_code == 415, path


def test_files_are_saved_and_not_shown(client: TestClient, kitchen: Kitchen) -> None:
    job_id = kitchen.trained().job_id

    for query in ("", "?format=pt"):
        answer = client.get(f"/v1/jobs/{job_id}/checkpoints/best/download{query}")
        assert answer.headers["content-disposition"].startswith("attachment; ")
