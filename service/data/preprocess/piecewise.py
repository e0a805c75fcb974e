"""Piecewise-linear encoding of numbers (Gorishniy et al. 2022, arXiv 2203.05556), with bins between quantiles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from service.spec.resolved import MIN_BINS

BEYOND = 2.0
"""Most bin widths that a value beyond the training range counts for, so that an outlier moves no prediction far."""


def fit_edges(values: NDArray[np.float64], bins: int) -> list[float]:
    """At most `bins` + 1 rising edges from the numbers present; none where they give fewer than 2 bins.

    The edges are the distinct values where there are so few, else quantiles at equal steps, duplicates dropped.
    Computed in quarters, so that no difference of two values overflows.
    """
    quarters = np.sort(values[~np.isnan(values)]) / 4  # quantiles of sorted values take a third of the time
    edges = np.unique(quarters)
    if len(edges) > bins + 1:
        edges = np.unique(np.quantile(quarters, np.linspace(0.0, 1.0, bins + 1)))
    return [float(edge) for edge in edges * 4] if len(edges) > MIN_BINS else []


def write_bins(values: NDArray[np.float64], edges: list[float], inputs: NDArray[np.float32]) -> None:
    """Encode `values` (n,) into `inputs` (n, bins): (value - low) / (high - low) for each bin, clipped to [0, 1].

    The first bin has no lower and the last no upper clip, up to `BEYOND` widths. Inputs behind the last bin are 0.
    """
    quarters, at = values / 4, np.array(edges) / 4
    bins = max(len(edges) - 1, 0)
    inputs[:, bins:] = 0.0
    with np.errstate(over="ignore"):
        for place in range(bins):
            least = -BEYOND if place == 0 else 0.0
            most = 1.0 + BEYOND if place == bins - 1 else 1.0
            share = (quarters - at[place]) / (at[place + 1] - at[place])
            inputs[:, place] = share.clip(least, most, out=share)
