"""Importance of parameters, in a real child process."""

from __future__ import annotations

import random

import pytest

from service.data.processes.runner import Allowance
from service.errors import NotInstalled
from service.search.importance import shares
from service.search.parameter_columns import Column

ALLOWED = Allowance(memory_bytes=2**29, unpacked_bytes=2**26, seconds=120.0)


@pytest.mark.slow
def test_the_parameters_that_explain_the_variance_are_important_and_the_same_points_give_the_same_shares() -> None:
    rng = random.Random(0)
    rate, unused = ([rng.random() for _ in range(40)] for _ in range(2))
    choice = [float(rng.randrange(3)) for _ in range(40)]
    columns = [Column("unused", "linear", unused), Column("lr", "log", rate), Column("kind", "choice", choice)]
    target = [(a - 0.5) ** 2 * 8 + (b == 1.0) for a, b in zip(rate, choice, strict=True)]

    found = shares(columns, target, ALLOWED)

    assert sum(found) == pytest.approx(1.0)
    assert found[0] < 0.1 < min(found[1:])
    assert shares(columns, target, ALLOWED) == found


def test_without_scikit_learn_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.search.importance.find_spec", lambda _: None)

    with pytest.raises(NotInstalled, match="bestepoch\\[baseline\\]"):
        shares([], [], ALLOWED)
