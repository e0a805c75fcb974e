"""How many examples, cases or repetitions a test that takes long gets; all with `make examples`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import pytest
from hypothesis import settings

from tests.conftest import POSTGRES

T = TypeVar("T")

ALL = os.environ.get("TEST_ALL_EXAMPLES") == "1"


def sampled(few: int, every: int, **options: Any) -> Callable[[Any], Any]:
    """`few` examples of a property, or `every` one with `make examples`."""

    def decorate(test: Any) -> Any:
        return pytest.mark.sampled(settings(max_examples=every if ALL else few, **options)(test))

    return decorate


def postgres_at_least(test: Any) -> Any:
    """On Postgres, or on SQLite too with `make examples`: for tests that take minutes on each."""
    backends = some([POSTGRES, "sqlite"], 2)
    return pytest.mark.sampled(pytest.mark.parametrize("backend", backends, indirect=True)(test))


def some(cases: Sequence[T], every: int) -> Sequence[T]:
    """The first of every so many cases, or all with `make examples`; the test needs `pytest.mark.sampled`."""
    return cases if ALL else cases[::every]
