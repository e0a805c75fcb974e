"""Temperature scaling: what the rows do not reject, and no change where that is not sure to help."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import chi2

from service.reports.temperature import HIGHEST, LOWEST, apply_temperature, fit_temperature


def drawn(rows: int, classes: int, temperature: float, seed: int, scale: float = 2.0) -> tuple[Any, Any]:
    """(float32 probabilities whose right temperature is `temperature`, truth)."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(rows, classes), scale=scale)
    truth = (logits + rng.gumbel(size=logits.shape)).argmax(1)
    return softmax(logits * temperature).astype(np.float32), truth


def softmax(logits: Any) -> Any:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def loss_at(probabilities: Any, truth: Any, temperature: float) -> float:
    scaled = softmax(np.log(np.maximum(probabilities.astype(float), np.finfo(np.float32).tiny)) / temperature)
    return float(-np.log(scaled[np.arange(len(truth)), truth]).mean())


@given(st.integers(100, 400), st.integers(2, 6), st.floats(0.3, 8.0), st.integers(0, 2**32))
def test_the_fitted_temperature_is_the_end_closest_to_1_of_the_interval_that_scipy_finds(
    rows: int, classes: int, temperature: float, seed: int
) -> None:
    probabilities, truth = drawn(rows, classes, temperature, seed)

    found = fit_temperature(probabilities, truth)

    best = minimize_scalar(
        lambda t: loss_at(probabilities, truth, t), bounds=(LOWEST, HIGHEST), method="bounded", options={"xatol": 1e-9}
    )
    limit = best.fun + chi2(1).ppf(0.95) / (2 * rows)
    if found.reason == "fitted":
        end = brentq(lambda t: loss_at(probabilities, truth, t) - limit, *sorted((best.x, 1.0)), xtol=1e-12)
        assert found.temperature == pytest.approx(end, rel=1e-6)
        assert found.calibrated_log_loss == pytest.approx(limit, abs=1e-9)
        assert found.log_loss == pytest.approx(loss_at(probabilities, truth, 1.0), abs=1e-9)
        assert found.log_loss > limit
    else:
        assert found.temperature == 1.0
        assert found.calibrated_log_loss == found.log_loss
        assert loss_at(probabilities, truth, 1.0) < limit + 1e-9


@pytest.mark.parametrize("scale", [2.0, 20.0])
@pytest.mark.parametrize("temperature", [0.7, 1.0, 1.2, 2.0])
def test_few_rows_seldom_make_the_log_loss_of_others_worse(scale: float, temperature: float) -> None:
    """The least log loss would, on 3 to 14% of the draws with a scale of 20, and twofold on some."""
    ratios = []
    for seed in range(60):
        probabilities, truth = drawn(3_300, 3, temperature, seed, scale)
        found = fit_temperature(probabilities[:300], truth[:300])
        raw, loss = (loss_at(probabilities[300:], truth[300:], t) for t in (1.0, found.temperature))
        ratios.append(loss / raw)

    assert np.mean(np.array(ratios) > 1.0) < 0.07
    assert np.exp(np.mean(np.log(ratios))) < 1.003
    assert max(ratios) < 1.2


@pytest.mark.parametrize("temperature", [0.5, 2.0, 5.0])
def test_the_temperature_is_recovered_and_improves_other_rows(temperature: float) -> None:
    probabilities, truth = drawn(20_000, 5, temperature, seed=1)

    found = fit_temperature(probabilities[:10_000], truth[:10_000])

    assert found.temperature == pytest.approx(temperature, rel=0.05)
    calibrated = apply_temperature(probabilities[10_000:], found.temperature)
    assert calibrated.dtype == np.float32
    assert np.array_equal(calibrated.argmax(1), probabilities[10_000:].argmax(1))
    raw_loss, loss = (sk.log_loss(truth[10_000:], p) for p in (probabilities[10_000:], calibrated))
    assert loss < raw_loss


def test_probabilities_of_0_and_1_have_a_finite_temperature() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 1_000)
    predicted = np.where(rng.random(1_000) < 0.9, truth, (truth + 1) % 3)
    probabilities = np.eye(3, dtype=np.float32)[predicted]

    found = fit_temperature(probabilities, truth)

    assert found.reason == "fitted"
    assert 10.0 < found.temperature <= HIGHEST
    calibrated = apply_temperature(probabilities, found.temperature)
    assert np.isfinite(calibrated).all()
    assert (calibrated > 0).all()


def test_noise_of_calibrated_rows_seldom_changes_the_temperature() -> None:
    reasons = [fit_temperature(*drawn(300, 3, 1.0, seed)).reason for seed in range(200)]

    assert set(reasons) == {"fitted", "no significant improvement"}
    assert reasons.count("fitted") < 25  # 5% are expected


def test_few_rows_or_none_and_rows_without_an_error_leave_the_temperature() -> None:
    probabilities, truth = drawn(200, 3, 3.0, seed=0)
    sure = softmax(np.log(probabilities) + 2 * np.eye(3)[truth])
    right = sure.argmax(1) == truth

    few = fit_temperature(probabilities[:99], truth[:99])
    none = fit_temperature(probabilities[:0], truth[:0])
    faultless = fit_temperature(np.tile(sure[right], (5, 1)), np.tile(truth[right], 5))

    assert (few.temperature, few.reason) == (none.temperature, none.reason) == (1.0, "too few rows")
    assert (faultless.temperature, faultless.reason) == (1.0, "unbounded")
    assert none.log_loss is None
    assert few.calibrated_log_loss == few.log_loss
    assert apply_temperature(probabilities, 1.0) is probabilities
