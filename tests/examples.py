"""How many examples a property test that takes long gets."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings

ALL = os.environ.get("TEST_ALL_EXAMPLES") == "1"


def sampled(few: int, every: int, **options: Any) -> Callable[[Any], Any]:
    """`few` examples of a property, or `every` one with `make examples`."""

    def decorate(test: Any) -> Any:
        return pytest.mark.sampled(settings(max_examples=every if ALL else few, **options)(test))

    return decorate
