"""Host and Origin checks: DNS rebinding and cross-site requests (CSRF) are refused."""

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
from tests.api.job_factory import JobFactory
from tests.specs import REFERENCE

PROBES = ["/healthz", "/readyz"]
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
    """A server with one allowed origin."""
    friendly = settings.model_copy(update={"origins": "https://team.example"})
    with TestClient(create_app(friendly, database, artifacts, CoinPredictor())) as client:
        yield client


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "", "localhost.evil.example", "[::2]", "[", "a b"]
)
def test_a_host_that_is_not_allowed_is_refused_on_every_method(app: FastAPI, client: TestClient, host: str) -> None:
    asked = {
        (method, route.path, client.request(method, route.path, headers={"Host": host}).status_code)
        for route in iter_route_contexts(app.routes)
        if route.path not in PROBES
        for method in route.methods or ()
    }

    assert len(asked) > 35
    assert {status for _, _, status in asked} == {421}
    if host:
        problem = client.get("/v1/version", headers={"Host": host}).json()
        assert problem["code"] == "wrong_host"
        assert problem["detail"] == f"host {host!r} not allowed; add it to BESTEPOCH_HOSTS"


@pytest.mark.parametrize("host", ["10.0.3.17:8000", "[fd00::17]:8000", "evil.example", ""])
@pytest.mark.parametrize("path", PROBES)
def test_health_probes_answer_any_host(client: TestClient, path: str, host: str) -> None:
    assert client.get(path, headers={"Host": host}).status_code == 200
    assert client.get(f"{path}/", headers={"Host": host}).status_code == 421
    assert client.get(f"/v1{path}", headers={"Host": host}).status_code == 421


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:1", "[::1]:8000", "testserver"])
def test_allowed_hosts_are_accepted(client: TestClient, host: str) -> None:
    assert client.get("/v1/version", headers={"Host": host}).status_code == 200


def test_off_loopback_any_host_is_accepted_until_hosts_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BESTEPOCH_HOSTS")
    assert Settings(host="0.0.0.0").allowed_hosts == frozenset()
    assert Settings(host="0.0.0.0", hosts="gpu.example, GPU2.example").allowed_hosts >= {"gpu.example", "gpu2.example"}


@pytest.mark.parametrize("headers", FOREIGN)
def test_cross_site_requests_change_nothing(
    app: FastAPI, client: TestClient, job_factory: JobFactory, headers: dict[str, str]
) -> None:
    job = job_factory.queued()
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
def test_same_origin_requests_and_other_programs_are_accepted(client: TestClient, headers: dict[str, str]) -> None:
    assert client.post("/v1/jobs", json=REFERENCE, headers=headers).status_code == 201


def test_an_allowed_origin_is_accepted_and_others_are_not(team: TestClient) -> None:
    friend, foe = ({"Origin": f"https://{name}.example", "Sec-Fetch-Site": "cross-site"} for name in ("team", "evil"))
    asking = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}

    allowed = team.options("/v1/jobs", headers=friend | asking)
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, friend["Origin"])
    assert "access-control-allow-origin" not in team.options("/v1/jobs", headers=foe | asking).headers
    posted = team.post("/v1/jobs", json=REFERENCE, headers=friend)
    assert (posted.status_code, posted.headers["access-control-allow-origin"]) == (201, friend["Origin"])
    assert team.post("/v1/jobs", json=REFERENCE, headers=foe).status_code == 403


def test_no_origin_is_allowed_by_default(client: TestClient) -> None:
    answer = client.get("/v1/jobs", headers={"Origin": "https://team.example"})

    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs/job_1", "/healthz", "/openapi.json", "/nowhere", "/v1/nowhere"])
def test_responses_are_never_sniffed_framed_or_cached_by_proxies(client: TestClient, path: str) -> None:
    headers = client.get(path).headers

    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["cache-control"] == "private, no-cache"


def test_the_docs_page_loads_only_its_own_files_and_cannot_be_framed(client: TestClient) -> None:
    policy = client.get("/docs").headers["content-security-policy"]

    assert policy.startswith("default-src 'self'; ")
    assert "frame-ancestors 'none'" in policy


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]
)
def test_content_types_of_html_forms_are_a_415(client: TestClient, job_factory: JobFactory, content_type: str) -> None:
    job_id = job_factory.trained().job_id
    for path in ("/v1/jobs", "/v1/jobs/plan", "/v1/sweeps", f"/v1/jobs/{job_id}/fork"):
        answer = client.post(path, content=b'{"data": {"kind": "synthetic"}}', headers={"Content-Type": content_type})
        assert answer.status_code == 415, path


def test_files_are_sent_as_attachments(client: TestClient, job_factory: JobFactory) -> None:
    job_id = job_factory.trained().job_id

    for query in ("", "?format=pt"):
        answer = client.get(f"/v1/jobs/{job_id}/checkpoints/best/download{query}")
        assert answer.headers["content-disposition"].startswith("attachment; ")
