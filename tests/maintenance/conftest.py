"""Fixtures of the maintenance tests."""

from __future__ import annotations

import pytest

from service.maintenance.deployment_id import pair


@pytest.fixture
def paired(request: pytest.FixtureRequest) -> None:
    """Pair the artifacts folder with the database, as at start-up."""
    if "job_factory" in request.fixturenames:
        job_factory = request.getfixturevalue("job_factory")
        pair(job_factory.database, job_factory.artifacts)
