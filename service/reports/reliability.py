"""Reliability: predicted probabilities against observed shares."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from service.reports.bootstrap import Array, Bootstrap, estimate, proportion
from service.reports.sections.classification import Reliability, ReliabilityBin

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
    draws = np.abs(bootstrap.means([bootstrap.unit_sums(difference * (place == i)) for i in kept])).sum(1)
    # Absolute values turn noise into a bias, in the estimate and again in its resamples, so the interval is the
    # reversed ("basic") one: resamples that lie above the estimate show how far it lies above the truth.
    return Reliability(
        of=name,
        bins=[
            ReliabilityBin(rows=rows[i], mean_probability=sums[i] / rows[i], observed=proportion(hits[i], rows[i]))
            for i in kept
        ],
        expected_calibration_error=estimate(gap, 2.0 * gap - draws, 0.0, 1.0),
    )
