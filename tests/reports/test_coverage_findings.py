"""A warning about the coverage of prediction intervals comes rarely for rows like those of calibration."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy import stats

from service.reports import conformal
from service.reports.evaluation_findings import _too_rare, evaluation_findings
from service.reports.sections.calibration import ConformalCoverage
from tests.reports.examples import evaluation

LEVELS = (0.8, 0.9, 0.95)
RNG = np.random.default_rng(0)
EVALUATION = cache(lambda: evaluation(regression=True))


def coverages(calibration_rows: int, rows: int, scale: float = 1.0) -> list[ConformalCoverage]:
    truth = scale * RNG.standard_normal(rows)
    scores = np.sort(np.abs(RNG.standard_normal(calibration_rows)))
    return [conformal.interval_coverage(scores, level, truth, np.zeros(rows)) for level in LEVELS]


def warned(found: list[ConformalCoverage]) -> bool:
    said = evaluation_findings(EVALUATION().model_copy(update={"conformal": found}))
    return any("hold the true value of only" in each.text for each in said)


@pytest.mark.parametrize(("calibration_rows", "rows"), [(30, 20), (60, 100), (60, 600), (120, 5_000), (2_000, 5_000)])
def test_rows_like_those_of_calibration_are_rarely_warned_about(calibration_rows: int, rows: int) -> None:
    found = [warned(coverages(calibration_rows, rows)) for _ in range(200)]

    assert sum(found) <= stats.binom.ppf(0.999, 200, 0.025)


def test_rows_with_larger_errors_are_warned_about() -> None:
    assert all(warned(coverages(200, 500, scale=2.0)) for _ in range(20))


@pytest.mark.parametrize(("calibration_rows", "rows"), [(60, 100), (2_000, 5_000)])
@pytest.mark.parametrize("probability", [0.001, 0.01, 0.2])
def test_the_probability_is_that_of_the_beta_binomial_distribution(
    calibration_rows: int, rows: int, probability: float
) -> None:
    for found in coverages(calibration_rows, rows, scale=1.1):
        k = conformal.quantile_place(calibration_rows, found.level)
        covered = np.round((found.coverage.value or 0.0) * rows)
        chance = stats.betabinom(rows, k, calibration_rows + 1 - k).cdf(covered)
        below = found.coverage.value is not None and found.coverage.value < found.level
        assert _too_rare(found, probability) == (below and chance <= probability)
