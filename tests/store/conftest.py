"""Fixtures of the tests of stored records: both kinds of databases with `make test`, too."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["sqlite", "postgres"])
def backend(request: pytest.FixtureRequest) -> str:
    """The kind of database."""
    return str(request.param)
