"""Temperature scaling: one number by which logits are divided, so that probabilities are as sure as they are right."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from service.reports.intervals import Array
from service.reports.sections.calibration import Temperature

MIN_ROWS = 100
LOWEST, HIGHEST = 0.1, 20.0
STEPS = 60  # halvings of the interval and Newton steps; a dozen suffice nearly always
SIGNIFICANT = 3.841458820694124
"""The 95% quantile of chi squared with one degree of freedom: twice the logarithm of the likelihood ratio exceeds it
with a probability of 5% if the temperature is 1."""

F = TypeVar("F", bound=np.floating[Any])


def fit_temperature(probabilities: NDArray[Any], truth: NDArray[np.int64]) -> Temperature:
    """The temperature closest to 1 of those that these rows do not reject; probabilities: (N, C), truth: (N,).

    The log loss is convex in 1 / temperature, so there is one minimum (Guo et al., 2017), which safeguarded Newton
    steps find. Around it is the 95% confidence interval of the likelihood ratio test, whose end closest to 1 is taken:
    where few rows are wrong, the temperature with the least log loss does harm on others. It is 1, which changes
    nothing, if there are fewer than 100 rows, if 1 is in the interval, or if no finite temperature is best, as if all
    rows are right.
    """
    rows = len(truth)
    if rows == 0:
        return Temperature(temperature=1.0, rows=0, log_loss=None, calibrated_log_loss=None, reason="too few rows")
    logits = _logits(probabilities)
    before = _log_loss(logits, truth, 1.0)
    inverse, reason = _fitted(logits, truth, before)
    after = _log_loss(logits, truth, inverse)
    return Temperature(temperature=1.0 / inverse, rows=rows, log_loss=before, calibrated_log_loss=after, reason=reason)


def _fitted(logits: Array, truth: NDArray[np.int64], before: float) -> tuple[float, str]:
    """The inverse temperature, and why; `before`: the log loss."""
    if len(truth) < MIN_ROWS:
        return 1.0, "too few rows"
    best = _minimum(logits, truth)
    if best == 1.0 / LOWEST:
        return 1.0, "unbounded"
    limit = _log_loss(logits, truth, best) + SIGNIFICANT / (2.0 * len(truth))
    if before <= limit:
        return 1.0, "no significant improvement"
    return _end_of_interval(logits, truth, limit), "fitted"


def apply_temperature(probabilities: NDArray[F], temperature: float) -> NDArray[F]:
    """Probabilities of the logits divided by the temperature, of the same type; (N, C) -> (N, C)."""
    if temperature == 1.0:
        return probabilities
    powers = np.exp(_logits(probabilities) / temperature)
    scaled: NDArray[F] = (powers / powers.sum(1, keepdims=True)).astype(probabilities.dtype)
    return scaled


def _logits(probabilities: NDArray[Any]) -> Array:
    """Logarithms, 0 for the largest; a probability of 0 counts as the smallest normal float32, of which it is left."""
    logits = np.log(np.maximum(probabilities.astype(np.float64), np.finfo(np.float32).tiny))
    shifted: Array = logits - logits.max(1, keepdims=True)
    return shifted


def _log_loss(logits: Array, truth: NDArray[np.int64], inverse: float) -> float:
    scaled = logits * inverse
    return float(np.mean(np.log(np.exp(scaled).sum(1)) - scaled[np.arange(len(truth)), truth]))


def _minimum(logits: Array, truth: NDArray[np.int64]) -> float:
    """The inverse temperature with the least log loss, between its bounds: the zero of the increasing derivative."""
    own = float(logits[np.arange(len(truth)), truth].mean())
    low, high = 1.0 / HIGHEST, 1.0 / LOWEST
    if _derivatives(logits, own, low)[0] >= 0.0:
        return low
    if _derivatives(logits, own, high)[0] <= 0.0:
        return high
    inverse = 1.0
    for _ in range(STEPS):
        slope, curvature = _derivatives(logits, own, inverse)
        low, high = (inverse, high) if slope < 0.0 else (low, inverse)
        step = inverse - slope / curvature if curvature > 0.0 else low
        following = step if low < step < high else (low + high) / 2.0
        if abs(following - inverse) <= 1e-12 * inverse:
            break
        inverse = following
    return inverse


def _end_of_interval(logits: Array, truth: NDArray[np.int64], limit: float) -> float:
    """The inverse temperature between 1 and the best one with this log loss: Newton steps from 1 do not pass it."""
    own = float(logits[np.arange(len(truth)), truth].mean())
    inverse = 1.0
    for _ in range(STEPS):
        step = (_log_loss(logits, truth, inverse) - limit) / _derivatives(logits, own, inverse)[0]
        inverse -= step
        if abs(step) <= 1e-12 * inverse:
            break
    return inverse


def _derivatives(logits: Array, own: float, inverse: float) -> tuple[float, float]:
    """First and second derivative of the log loss by the inverse temperature: mean minus `own` and variance of the
    logits under the scaled probabilities.
    """
    powers = np.exp(logits * inverse)
    total = powers.sum(1)
    mean = np.einsum("nc,nc->n", powers, logits) / total
    square = np.einsum("nc,nc,nc->n", powers, logits, logits) / total
    return float(mean.mean()) - own, float((square - mean * mean).mean())
