"""Fixtures: deployments on either database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.teams import Team


@pytest.fixture
def server(postgres: str) -> str:
    """URL of the Postgres server."""
    return postgres


@pytest.fixture
def team(database_url: str, tmp_path: Path) -> Iterator[Team]:
    """An API process and two workers with one trainer each."""
    with Team(database_url, tmp_path / "home").at_work() as team:
        yield team
