"""Fixtures of the maintenance tests."""

from __future__ import annotations

import pytest

from service.maintenance.deployment_id import pair


@pytest.fixture
def paired(request: pytest.FixtureRequest) -> None:
    """Pair the artifacts folder with the database, as at start-up."""
    if "kitchen" in request.fixturenames:
        kitchen = request.getfixturevalue("kitchen")
        pair(kitchen.database, kitchen.artifacts)
