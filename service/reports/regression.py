"""The section of a report about a regression."""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from service.reports.bootstrap import Bootstrap
from service.reports.intervals import UNDEFINED, Array, bca, percentile
from service.reports.sections.estimate import Estimate
from service.reports.sections.regression import ErrorDecile, Histogram, Histogram2d, RegressionSection, ResidualBin

HISTOGRAM_BINS = 40
SQUARES = 30
RESIDUAL_BINS = 20
DECILES = 10
ROWS_PER_BIN = 20
"""With fewer rows the quantiles of a bin say nothing."""
CENTRAL = (0.005, 0.995)
"""Histograms span these quantiles, so that one outlier does not squeeze all other rows into one bin."""
RESIDUAL_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def regression_section(truth: Array, prediction: Array, *, seed: int = 0) -> RegressionSection:
    """Metrics of the rows; truth, prediction: (N,) float64 in the target's unit, finite, N > 0."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # what is not finite then is undefined
        return _section(truth, prediction, Bootstrap(len(truth), seed))


def _section(truth: Array, prediction: Array, bootstrap: Bootstrap) -> RegressionSection:
    residuals = truth - prediction
    errors = np.abs(residuals)
    mae, mean_residual, mse = bootstrap.means([errors, residuals, residuals**2])
    return RegressionSection(
        rows=len(truth),
        mae=mae,
        rmse=_rmse(mse),
        r2=_r2(truth, residuals, bootstrap),
        median_absolute_error=percentile(float(np.median(errors)), bootstrap.medians(errors)),
        mape=_mape(truth, errors, bootstrap),
        mean_residual=mean_residual,
        predicted_actual=_truth_against_prediction(truth, prediction),
        residuals=_histogram(residuals),
        residuals_by_prediction=_residual_bins(prediction, residuals, bootstrap),
        deciles=_deciles(truth, errors, residuals, bootstrap),
    )


def _rmse(mse: Estimate) -> Estimate:
    value, low, high = (None if each is None else sqrt(max(each, 0.0)) for each in (mse.value, mse.low, mse.high))
    return Estimate(value=value, low=low, high=high)


def _r2(truth: Array, residuals: Array, bootstrap: Bootstrap) -> Estimate:
    """1 minus squared residuals over squared deviations; undefined for a constant truth."""
    deviations = truth - truth.mean()
    if (truth == truth[0]).all():
        return UNDEFINED
    rows = len(truth)
    unexplained = float(residuals @ residuals / (deviations @ deviations))
    parts = [bootstrap.unit_sums(each) for each in (residuals**2, deviations**2, deviations)]
    squares, spread, mean = bootstrap.sums(parts).T
    draws = 1.0 - squares / (spread - mean**2 / rows)  # deviations from the mean of the resample
    return bca(1.0 - unexplained, draws, unexplained * parts[1] - parts[0], rows, high=1.0)


def _mape(truth: Array, errors: Array, bootstrap: Bootstrap) -> Estimate:
    """Undefined if a true value is 0; scikit-learn divides by 2e-16 there."""
    if not truth.all():
        return UNDEFINED
    relative = errors / np.abs(truth)
    return bootstrap.means([relative])[0]


def _edges(values: Array, bins: int) -> Array:
    low, high = np.quantile(values, CENTRAL)
    if low == high:
        low, high = values.min(), values.max()
    if low == high:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, bins + 1)


def _places(values: Array, edges: Array) -> NDArray[np.int64]:
    return np.searchsorted(edges[1:-1], values, side="right")


def _histogram(values: Array) -> Histogram:
    edges = _edges(values, HISTOGRAM_BINS)
    counts = np.bincount(_places(values, edges), minlength=HISTOGRAM_BINS)
    return Histogram(edges=edges.tolist(), counts=counts.tolist())


def _truth_against_prediction(truth: Array, prediction: Array) -> Histogram2d:
    """Both axes have the same edges, so that right predictions lie on the diagonal."""
    edges = _edges(np.concatenate([truth, prediction]), SQUARES)
    cells = _places(truth, edges) * SQUARES + _places(prediction, edges)
    counts = np.bincount(cells, minlength=SQUARES * SQUARES).reshape(SQUARES, SQUARES)
    return Histogram2d(edges=edges.tolist(), counts=counts.tolist())


def quantile_bins(values: Array, bins: int) -> list[NDArray[np.int64]]:
    """Row numbers in bins with about equally many rows, by increasing value; equal values are in one bin."""
    edges = np.unique(np.quantile(values, np.linspace(0.0, 1.0, bins + 1)[1:-1]))
    place = np.searchsorted(edges, values, side="left")
    order = np.argsort(place, kind="stable")
    parts = np.split(order, np.searchsorted(place[order], np.arange(1, len(edges) + 1)))
    return [part for part in parts if len(part)]


def _residual_bins(prediction: Array, residuals: Array, bootstrap: Bootstrap) -> list[ResidualBin]:
    bins = quantile_bins(prediction, min(RESIDUAL_BINS, max(1, len(prediction) // ROWS_PER_BIN)))
    return [
        ResidualBin(
            rows=len(rows),
            low=prediction[rows].min(),
            high=prediction[rows].max(),
            mean=mean,
            quantiles=np.quantile(residuals[rows], RESIDUAL_QUANTILES).tolist(),
        )
        for rows, mean in zip(bins, _means(residuals, bins, bootstrap), strict=True)
    ]


def _deciles(truth: Array, errors: Array, residuals: Array, bootstrap: Bootstrap) -> list[ErrorDecile]:
    bins = quantile_bins(truth, DECILES)
    means = zip(_means(errors, bins, bootstrap), _means(residuals, bins, bootstrap), strict=True)
    return [
        ErrorDecile(rows=len(rows), low=truth[rows].min(), high=truth[rows].max(), mae=mae, mean_residual=mean_residual)
        for rows, (mae, mean_residual) in zip(bins, means, strict=True)
    ]


def _means(values: Array, bins: list[NDArray[np.int64]], bootstrap: Bootstrap) -> list[Estimate]:
    """Mean value of the rows of each bin."""
    members = (np.bincount(rows, minlength=len(values)) for rows in bins)
    return bootstrap.ratios((values * member, member) for member in members)
