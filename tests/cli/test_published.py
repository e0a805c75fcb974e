"""What `bestepoch train` says of the version that it has published."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from service.cli.train import published_text
from service.client import Model
from service.domain.access import Actor
from service.domain.model import Model as ModelState
from service.domain.model import ModelAlias

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        (1, "Published birds:1."),
        (
            2,
            "Published birds:2. 'birds' alone is still version 1, its champion; to change that: "
            "bestepoch promote birds 2",
        ),
    ],
)
def test_a_later_version_is_not_what_the_name_alone_means(version: int, expected: str) -> None:
    nobody = Actor(key=None, name=None)
    champion = ModelAlias(alias="champion", version=1, previous=None, moved_at=NOW, moved_by=nobody)
    state = ModelState(id="mdl_1", name="birds", versions=version, latest=version, aliases=[champion], created_at=NOW)
    unused: Any = None

    assert published_text(Model(unused, state, version)) == expected
