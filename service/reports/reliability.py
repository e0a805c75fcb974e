"""Reliability: predicted probabilities against observed shares."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from service.reports.bootstrap import Bootstrap
from service.reports.intervals import LEVEL, Array, Z, proportion
from service.reports.sections.classification import Reliability, ReliabilityBin
from service.reports.sections.estimate import Estimate

MAX_BINS = 10
ROWS_PER_BIN = 20
"""With fewer rows the observed share of a bin says nothing."""


def reliability(name: str, probabilities: Array, outcome: NDArray[np.bool_], bootstrap: Bootstrap) -> Reliability:
    """Bins with about equally many rows: bins of equal width are nearly empty where a network is sure, as most are.

    probabilities, outcome: (N,): what was predicted and whether it was right.
    """
    bins = min(MAX_BINS, max(1, len(outcome) // ROWS_PER_BIN))
    edges = np.percentile(probabilities, np.linspace(0.0, 100.0, bins + 1))
    place = np.searchsorted(edges[1:-1], probabilities)
    rows, hits, sums = (np.bincount(place, weights, bins) for weights in (None, outcome, probabilities))
    kept = np.flatnonzero(rows)  # equal probabilities may leave bins empty
    gap = float(np.abs(hits - sums).sum()) / len(outcome)
    difference = probabilities - outcome
    draws = np.abs(bootstrap.sums([bootstrap.unit_sums(difference * (place == i)) for i in kept])).sum(1) / len(outcome)
    noise = np.bincount(place, probabilities * (1.0 - probabilities), bins) / len(outcome) ** 2
    return Reliability(
        of=name,
        bins=[
            ReliabilityBin(rows=rows[i], mean_probability=sums[i] / rows[i], observed=proportion(hits[i], rows[i]))
            for i in kept
        ],
        expected_calibration_error=_calibration_error(gap, draws, noise),
    )


def _calibration_error(gap: float, draws: Array, noise: Array) -> Estimate:
    """The calibration error with an interval that allows for its bias; draws: (B,), noise: (bins,).

    Absolute values turn noise into a positive bias, in the estimate and again in its resamples. So the lower end is the
    upper end of the draws, mirrored at the estimate: resamples that lie above the estimate show how far it may lie
    above the truth. It is 0 if calibrated probabilities would often have such an error: `noise` is the variance of each
    bin's difference then, and its absolute value is half-normal. The upper end allows for no bias, which may be small.
    """
    by_chance = np.sqrt(noise * 2.0 / np.pi).sum() + Z * np.sqrt(noise.sum() * (1.0 - 2.0 / np.pi))
    low = 2.0 * gap - np.quantile(draws, (1.0 + LEVEL) / 2.0) if gap > by_chance else 0.0
    return Estimate(value=gap, low=max(0.0, float(low)), high=min(1.0, gap + Z * float(draws.std())))
