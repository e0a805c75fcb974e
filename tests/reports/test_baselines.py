"""Baselines are trained on the same rows, and a network that loses to one is told so."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler

from service.reports import baselines
from service.reports.rows import RowsOfPart, TrainingRows, Truth
from service.reports.sections.baselines import Baselines

RNG = np.random.default_rng(0)
X = RNG.standard_normal((1_200, 3))
WHERE = np.array(["north", "south", None], dtype=object)[RNG.integers(0, 3, 1_200)]
CHANCE = 1 / (1 + np.exp(-(2 * X[:, 0] - X[:, 1] + (WHERE == "north"))))
Y = (RNG.random(1_200) < CHANCE).astype(np.int64)
COLUMNS = {"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "where": WHERE}
ALL = RowsOfPart(COLUMNS, Truth(Y, 2))
TRAIN, VALIDATION, TEST = (ALL.at(np.arange(start, start + 400)) for start in (0, 400, 800))
PERFECT = np.stack([1 - CHANCE, CHANCE], axis=1)[800:]


def compare(train: RowsOfPart, validation: RowsOfPart, scored: RowsOfPart, network: NDArray[np.float64]) -> Baselines:
    """The comparison with baselines that are fitted once."""
    columns = {name: np.concatenate([train.columns[name], validation.columns[name]]) for name in train.columns}
    values = np.concatenate([train.truth.values, validation.truth.values])
    every = RowsOfPart(columns, replace(train.truth, values=values))
    first, last = np.split(np.arange(len(values)), [len(train.truth.values)])
    return baselines.compare(every, [TrainingRows(first, last, np.ones(len(scored.truth.values)))], scored, network)


def test_the_best_possible_network_is_better_than_or_equal_to_every_baseline() -> None:
    found = compare(TRAIN, VALIDATION, TEST, PERFECT)

    assert [each.name for each in found.models] == ["constant", "linear", "boosted_trees"]
    assert found.models[0].verdict == "network_better"
    assert all(each.verdict != "baseline_better" for each in found.models)
    assert found.network.value == pytest.approx(log_loss(Y[800:], PERFECT[:, 1]))
    assert found.missing is None


def test_a_network_that_guesses_loses_to_every_learnt_baseline() -> None:
    found = compare(TRAIN, VALIDATION, TEST, np.full((400, 2), 0.5))

    constant, *learnt = found.models
    assert constant.verdict == "no_difference"
    for each in learnt:
        assert each.verdict == "baseline_better"
        assert each.difference.value == pytest.approx((each.loss.value or 0) - np.log(2))
        assert each.difference.low is not None
        assert each.difference.high is not None
        assert each.difference.low <= (each.difference.value or 0) <= each.difference.high < 0


def test_the_constant_and_the_linear_model_are_those_of_scikit_learn() -> None:
    numbers = {name: COLUMNS[name] for name in "abc"}
    train, test = (RowsOfPart(numbers, ALL.truth).at(rows) for rows in (np.arange(400), np.arange(800, 1_200)))
    scaler = StandardScaler().fit(X[:400])
    linear = LogisticRegression().fit(scaler.transform(X[:400]), Y[:400])
    dummy = DummyClassifier(strategy="prior").fit(X[:400], Y[:400])

    found = compare(train, test, test, PERFECT)

    expected = [
        log_loss(Y[800:], model.predict_proba(rows))
        for model, rows in ((dummy, X[800:]), (linear, scaler.transform(X[800:])))
    ]
    assert [each.loss.value for each in found.models[:2]] == pytest.approx(expected, abs=1e-9)


def test_a_regression_is_compared_by_rmse() -> None:
    truth = Truth(10 * X[:, 0] + X[:, 2])
    train, test = (RowsOfPart(COLUMNS, truth).at(rows) for rows in (np.arange(800), np.arange(800, 1_200)))

    found = compare(train, test, test, np.full(400, train.truth.values.mean()))

    constant, linear, _ = found.models
    assert found.loss == "rmse"
    assert constant.verdict == "no_difference"
    assert constant.difference.value == 0
    assert linear.verdict == "baseline_better"
    assert linear.metrics["r2"] == pytest.approx(1.0, abs=1e-3)


def test_the_same_rows_give_the_same_comparison() -> None:
    assert compare(TRAIN, VALIDATION, TEST, PERFECT) == compare(TRAIN, VALIDATION, TEST, PERFECT)


def test_classes_without_training_rows_and_texts_not_seen_in_training_are_no_error() -> None:
    rare = TEST.truth.values.copy()
    rare[0] = 2
    columns = {**TEST.columns, "where": np.full(400, "west", dtype=object)}
    network, scored = np.full((400, 3), 1 / 3), RowsOfPart(columns, Truth(rare, 3))
    train = RowsOfPart(TRAIN.columns, Truth(TRAIN.truth.values, 3))

    found = compare(train, scored, scored, network)

    assert len(found.models) == 3


def test_training_rows_of_one_class_have_the_constant_alone() -> None:
    train = RowsOfPart(TRAIN.columns, Truth(np.zeros(400, dtype=np.int64), 2))

    assert [each.name for each in compare(train, TEST, TEST, PERFECT).models] == ["constant"]


def test_without_scikit_learn_the_constant_is_left_and_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "service.reports.learned_baselines", None)

    found = compare(TRAIN, VALIDATION, TEST, PERFECT)

    assert [each.name for each in found.models] == ["constant"]
    assert found.missing == baselines.HOW_TO_INSTALL


def test_of_many_training_rows_a_sample_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "MAX_CELLS", 4 * 1_100)
    everything = RowsOfPart(COLUMNS, ALL.truth)

    assert compare(everything, TEST, TEST, PERFECT).training_rows == 1_100


def test_a_model_for_many_classes_is_fitted_on_fewer_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "MAX_CELLS", 4 * 5 * 1_100)
    everything, scored = (RowsOfPart(rows.columns, Truth(rows.truth.values, 5)) for rows in (ALL, TEST))

    assert compare(everything, scored, scored, np.full((400, 5), 0.2)).training_rows == 1_100


def folds(number: int, rows: int = 1_200) -> list[TrainingRows]:
    parts = np.array_split(np.random.default_rng(1).permutation(rows), number)
    return [
        TrainingRows(np.setdiff1d(np.arange(rows), part), part, np.isin(np.arange(rows), part).astype(np.float64))
        for part in parts
    ]


@pytest.mark.parametrize("truth", [ALL.truth, Truth(10 * X[:, 0] + X[:, 2])], ids=["classes", "numbers"])
def test_baselines_of_folds_predict_only_rows_that_they_were_not_trained_on(truth: Truth) -> None:
    every = RowsOfPart(COLUMNS, truth)
    network = np.zeros(1_200) if truth.classes is None else np.full((1_200, 2), 0.5)

    found = baselines.compare(every, folds(3), every, network)

    alone = [
        compare(every.at(fold.train), every.at(fold.validation), every.at(np.sort(fold.validation)), network[:400])
        for fold in folds(3)
    ]
    assert (found.fits, found.training_rows) == (3, 800)
    assert [each.name for each in found.models] == ["constant", "linear", "boosted_trees"]
    for place, model in enumerate(found.models):
        losses = np.array([each.models[place].loss.value for each in alone], dtype=np.float64)
        mean = np.sqrt(np.square(losses).mean()) if truth.classes is None else losses.mean()
        assert model.loss.value == pytest.approx(mean, rel=1e-12)


def test_a_row_that_several_fits_may_predict_has_their_weighted_mean() -> None:
    first, second = (
        TrainingRows(rows, np.arange(800, 900), np.full(400, weight))
        for rows, weight in ((np.arange(400), 3.0), (np.arange(400, 800), 1.0))
    )
    shares = [ALL.truth.values[each.train].mean() for each in (first, second)]
    chance = (3 * shares[0] + shares[1]) / 4

    found = baselines.compare(ALL, [first, second], TEST, PERFECT)

    assert found.models[0].loss.value == pytest.approx(log_loss(Y[800:], np.full(400, chance)), rel=1e-12)
    rounds = found.models[2].description.split(" boosted trees")[0].split(" to ")
    assert 0 < int(rounds[0]) <= int(rounds[-1]) <= 200


def test_many_fits_share_the_work_of_a_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "FULL_FITS", 2)
    monkeypatch.setattr(baselines, "MAX_CELLS", 2 * 4 * 1_050)

    assert baselines.compare(ALL, folds(4), ALL, np.full((1_200, 2), 0.5)).training_rows == 900
    monkeypatch.setattr(baselines, "MAX_CELLS", 4 * 1_000)
    assert baselines.compare(ALL, folds(20), ALL, np.full((1_200, 2), 0.5)).training_rows == 1_000
