"""Requests of `client.models`: the source of a new version, and a model without versions."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from service.client.model import Model
from service.client.models import Models
from service.client.transport import ApiError, Transport
from service.domain.model import Model as State


class FakeService(httpx2.BaseTransport):
    """A fake service that refuses every request, and remembers paths and bodies."""

    def __init__(self) -> None:
        self.paths = list[str]()
        self.bodies = list[Any]()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        self.paths.append(request.url.path)
        self.bodies.append(json.loads(request.read() or b"null"))
        return httpx2.Response(422, json={"code": "invalid_spec", "detail": "no", "errors": []})


@pytest.fixture
def fake() -> FakeService:
    return FakeService()


@pytest.fixture
def transport(fake: FakeService) -> Transport:
    made = Transport("http://service", None, tries=1, timeout=1.0)
    made.http = httpx2.Client(transport=fake, base_url="http://service")
    return made


def test_a_model_without_versions_has_no_newest_one(fake: FakeService, transport: Transport) -> None:
    state = State(id="mdl_1", name="churn", versions=0, latest=None, aliases=[], created_at=datetime.now(UTC))

    with pytest.raises(LookupError, match="the model 'churn' has no versions"):
        Model(transport, state).version()
    assert fake.paths == []


def test_a_mapping_is_read_as_jobs_with_weights(fake: FakeService, transport: Transport) -> None:
    weights = {"job_1": 3.0, "job_2": 1.0}

    with pytest.raises(ApiError):
        Models(transport).create("churn", weights)

    members = [{"job": "job_1", "weight": 3.0}, {"job": "job_2", "weight": 1.0}]
    assert fake.bodies == [{"name": "churn", "from": {"members": members}}]
