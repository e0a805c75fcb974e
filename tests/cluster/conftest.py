"""Fixtures of the tests with an S3 server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.object_store import ENVIRONMENT, FaultProxy, s3_port


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """A proxy before the server that injects no faults yet."""
    proxy = FaultProxy(s3_port())
    for name, value in {**ENVIRONMENT, "AWS_ENDPOINT_URL": proxy.url}.items():
        monkeypatch.setenv(name, value)
    yield proxy
    proxy.close()
