"""Sentences about what a model gained, and what is said where it cannot be compared."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from service.cli.gains import FAST, TREES, Gain, gains_of, sentence
from service.client.transport import ApiError
from service.reports.sections.estimate import Estimate


def gain(low: float | None, value: float, high: float | None) -> Gain:
    return Gain(TREES, None, "test", 1_234, "rmse", 10.0, 10.0 + value, Estimate(value=value, low=low, high=high))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (gain(0.5, 1.0, 1.5), "better; RMSE 10 instead of 11, gain 1 (95% interval 0.5 to 1.5)."),
        (gain(-1.5, -1.0, -0.5), "WORSE; RMSE 10 instead of 9, gain -1 (95% interval -1.5 to -0.5)."),
        (gain(-0.5, 1.0, 2.5), "no clear difference; RMSE 10 instead of 11, gain 1 (95% interval -0.5 to 2.5)."),
        (gain(None, 0.0, None), "no clear difference; RMSE 10 instead of 10, gain 0."),
    ],
)
def test_a_gain_is_better_worse_or_not_clear(found: Gain, expected: str) -> None:
    assert sentence("good", found) == f"`good` against boosted trees, 1,234 test rows: {expected}"


class UnreadableModel:
    """A model whose report and comparison the service refuses."""

    def report(self) -> Any:
        raise ApiError(httpx2.Response(409, json={"detail": "the report took longer than 600 seconds"}))


def test_a_report_that_is_refused_does_not_fail_the_command() -> None:
    found = gains_of(UnreadableModel(), None)  # type: ignore[arg-type]

    assert [each.as_dict()["missing"] for each in found] == ["the report took longer than 600 seconds"]
    assert sentence("good", found[0]) == "Not compared with boosted trees: the report took longer than 600 seconds."


def test_a_network_that_could_not_be_trained_is_said() -> None:
    assert sentence("best", Gain(FAST, "its training has failed")) == (
        "Not compared with one network (`fast`): its training has failed."
    )
