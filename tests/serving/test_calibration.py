"""Calibration of models by kept predictions: temperatures, intervals, sets of classes, and what prevents them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.artifacts import sha256_of
from service.domain.model_ref import ModelRef
from service.domain.prediction import ModelCalibration, PredictionOptions
from service.errors import Conflict, PredictionsCorrupt, ServiceError
from service.reports.temperature import apply_temperature, fit_temperature
from service.serving import calibration, helper
from service.serving.calibration import calibrate, calibration_of
from tests.serving.kept_predictions import drawn, keep, model
from tests.serving.test_helper import checkpoint, predicted, ref

RAW = PredictionOptions(calibrated=False)
ROWS: list[dict[str, Any]] = [{"x0": float(i % 5), "x1": None if i == 3 else i * 1.5} for i in range(12)]
CLASSES = ["no", "perhaps", "yes"]


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> str:
    return checkpoint(tmp_path_factory.mktemp("classifier") / "a", [CLASSES[i % 3] for i in range(40)])


@pytest.fixture(scope="module")
def calibrated(classifier: str) -> ModelRef:
    """A classifier whose validation rows ask for a temperature of about 2."""
    return model(keep(classifier, *drawn(2_000, 3, 2.0), CLASSES))


@pytest.fixture(scope="module")
def regressor(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    """A regression with residuals 1, 2, ..., 99."""
    path = checkpoint(tmp_path_factory.mktemp("regressor") / "a", [i / 2 for i in range(40)], task="regression")
    truth = np.arange(99.0)
    return model(keep(path, truth, truth + np.arange(1, 100) * np.where(np.arange(99) % 2, 1, -1), None))


def shares(answers: list[dict[str, Any]]) -> np.ndarray:
    return np.array([list(answer["probabilities"].values()) for answer in answers])


def asked(ref: ModelRef, options: PredictionOptions, rows: list[dict[str, Any]] = ROWS) -> list[dict[str, Any]]:
    [answers] = helper.predict(ref, [rows], options).answers
    assert not isinstance(answers, ServiceError)
    return answers


def test_probabilities_are_calibrated_unless_raw_ones_are_asked_for(calibrated: ModelRef, classifier: str) -> None:
    found = helper.predict(calibrated, [ROWS])

    raw = asked(calibrated, RAW)
    assert raw == predicted(ref(classifier), ROWS)
    assert found.calibration is not None
    assert found.calibration.temperature == pytest.approx(2.0, rel=0.1)
    assert (found.calibration.rows, found.calibration.reason, found.calibration.level) == (2_000, "fitted", None)
    expected = apply_temperature(shares(raw), found.calibration.temperature)
    answers = asked(calibrated, PredictionOptions())
    assert (shares(answers) == expected).all()
    assert [each["prediction"] for each in answers] == [each["prediction"] for each in raw]
    assert helper.predict(calibrated, [ROWS], RAW).calibration is None


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.floats(-1e6, 1e6), st.none() | st.floats(-10, 10)), min_size=1, max_size=8),
    st.booleans(),
    st.none() | st.floats(0.05, 0.95),
)
def test_a_row_has_the_same_answer_alone_and_in_a_batch(
    calibrated: ModelRef, regressor: ModelRef, rows: list[tuple[float, float | None]], raw: bool, level: float | None
) -> None:
    named = [{"x0": first, "x1": second} for first, second in rows]
    options = PredictionOptions(calibrated=not raw, interval=level)

    for each in (calibrated, regressor):
        assert asked(each, options, named) == [answer for row in named for answer in asked(each, options, [row])]


def test_intervals_are_as_wide_as_the_quantile_of_the_residuals(regressor: ModelRef) -> None:
    found = helper.predict(regressor, [ROWS], PredictionOptions(interval=0.9))

    assert found.calibration is not None
    assert found.calibration.model_dump() == {"temperature": None, "rows": 99, "reason": None, "level": 0.9}
    for answer in asked(regressor, PredictionOptions(interval=0.9)):
        assert answer["upper"] - answer["prediction"] == pytest.approx(90.0, rel=1e-5)  # the 90th of 99
        assert answer["prediction"] - answer["lower"] == pytest.approx(90.0, rel=1e-5)
    assert helper.predict(regressor, [ROWS]).calibration is None


@pytest.mark.parametrize("options", [PredictionOptions(interval=0.8), RAW._replace(interval=0.8)])
def test_sets_are_those_of_raw_probabilities(calibrated: ModelRef, options: PredictionOptions) -> None:
    limit = 1.0 - calibration_of(calibrated).quantile(0.8)

    answers = asked(calibrated, options)

    for answer, row in zip(answers, shares(asked(calibrated, RAW)), strict=True):
        expected = [name for name, share in zip(CLASSES, row, strict=True) if share >= limit - 1e-6]
        assert answer["set"] == (expected or [answer["prediction"]])


def test_too_few_rows_for_a_level_are_a_conflict_that_says_how_many_it_needs(regressor: ModelRef) -> None:
    with pytest.raises(Conflict, match=r"99 .* are too few for the level 0.995: it needs at least 199"):
        helper.predict(regressor, [ROWS], PredictionOptions(interval=0.995))


def test_an_ensemble_is_calibrated_by_the_out_of_fold_means_of_its_members(tmp_path: Path) -> None:
    y = [i / 2 for i in range(40)]
    paths = [checkpoint(tmp_path / f"{seed}", y, task="regression", seed=seed) for seed in range(3)]
    truth, folds = np.arange(30.0), [np.arange(0, 12), np.arange(10, 20), np.arange(20, 30)]
    errors, weights = [1.0, 3.0, 7.0], [1.0, 3.0, 1.0]
    members = [
        keep(path, truth[rows], truth[rows] + error, None, row=rows, weight=weight)
        for path, rows, error, weight in zip(paths, folds, errors, weights, strict=True)
    ]

    found = calibration_of(model(*members))

    assert found.scores.tolist() == [1.0] * 10 + [2.5] * 2 + [3.0] * 8 + [7.0] * 10


@pytest.mark.parametrize(
    ("sureness", "shared", "reason", "temperature"),
    [
        (2.0, 0, "fewer members", 1.0),
        (0.5, 0, "fitted", 0.5),
        (2.0, 1_000, "fitted", 2.0),
    ],
)
def test_rows_that_not_all_members_predict_cannot_make_their_mean_less_sure(
    sureness: float, shared: int, reason: str, temperature: float
) -> None:
    truth, outputs = drawn(5_000, 3, sureness)

    found = calibrate(truth, outputs, np.arange(5_000) < shared).temperature

    assert found is not None
    assert (found.reason, found.rows) == (reason, shared or 5_000)
    assert found.temperature == pytest.approx(temperature, rel=0.2)


def test_residuals_that_overflow_are_named() -> None:
    found = calibrate(np.full(50, 1.7e308), np.full(50, -1.7e308))

    with pytest.raises(Conflict, match="residuals beyond the range of float64"):
        found.quantile(0.5)


def test_the_least_level_takes_the_least_score(regressor: ModelRef) -> None:
    assert calibration_of(regressor).quantile(1e-12) == 1.0


def test_rows_whose_outputs_are_not_finite_do_not_calibrate() -> None:
    truth = np.arange(5.0)

    found = calibrate(truth, np.array([1.0, np.nan, 2.0, np.inf, 4.5]))

    assert found.scores.tolist() == [0.0, 0.5, 1.0]


def test_many_rows_are_sampled(classifier: str, monkeypatch: pytest.MonkeyPatch) -> None:
    truth, outputs = drawn(5_000, 3, 2.0)
    kept = model(keep(classifier, truth, outputs, CLASSES))
    every = fit_temperature(outputs, truth)
    monkeypatch.setattr(calibration, "MAX_VALUES", 6_000)

    found = calibration_of(kept)

    assert found.temperature is not None
    assert len(found.scores) == found.temperature.rows == 2_000
    assert found.temperature.temperature == pytest.approx(every.temperature, rel=0.15)


def without_predictions(path: str, classes: list[str]) -> ModelRef:
    return ref(path)


def of_other_weights(path: str, classes: list[str]) -> ModelRef:
    member = keep(path, *drawn(500, 3, 2.0), classes)
    other = Path(path).with_name("other")
    other.write_bytes(Path(checkpoint(other, [CLASSES[i % 3] for i in range(40)], seed=9)).read_bytes())
    return model(member._replace(path=str(other), sha256=sha256_of(other)))


def of_other_data(path: str, classes: list[str]) -> ModelRef:
    """Members whose row numbers and true values are the same by chance: tables sorted by class."""
    first, second = of_other_truth(path, classes, (0, 0)).members
    return model(first._replace(data="ds_1"), second._replace(data="ds_2"))


def of_other_truth(path: str, classes: list[str], seeds: tuple[int, int] = (0, 1)) -> ModelRef:
    other = Path(path).with_name("second")
    other.write_bytes(Path(path).read_bytes())
    each = zip((path, other), seeds, strict=True)
    return model(*(keep(file, *drawn(500, 3, 2.0, seed), classes) for file, seed in each))


def without_validation_rows(path: str, classes: list[str]) -> ModelRef:
    return model(keep(path, np.empty(0, np.int64), np.empty((0, 3)), classes))


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (without_predictions, f"the job has kept no predictions of validation rows{calibration.WHEN_KEPT}"),
        (of_other_weights, "the predictions that were kept are those of other weights"),
        (of_other_truth, "the rows of the members differ: they were trained on different data"),
        (of_other_data, "the members were trained on different data"),
        (without_validation_rows, "the model has no finite predictions of validation rows"),
    ],
)
def test_a_model_that_cannot_be_calibrated_answers_raw_probabilities_and_says_why(
    made: Any, reason: str, tmp_path: Path
) -> None:
    path = checkpoint(tmp_path / "a", [CLASSES[i % 3] for i in range(40)])
    uncalibrated = made(path, CLASSES)

    found = helper.predict(uncalibrated, [ROWS])

    assert found.calibration is not None
    assert found.calibration.model_dump() == {"temperature": 1.0, "rows": 0, "reason": reason, "level": None}
    assert found.answers == helper.predict(uncalibrated, [ROWS], RAW).answers
    with pytest.raises(Conflict, match=reason):
        helper.predict(uncalibrated, [ROWS], PredictionOptions(interval=0.9))
    assert helper.calibration(uncalibrated).model_dump() == {"temperature": 1.0, "rows": 0, "reason": reason}


def test_members_of_the_same_data_are_calibrated(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "a", [CLASSES[i % 3] for i in range(40)])

    found = model(*(each._replace(data="ds_1") for each in of_other_data(path, CLASSES).members))

    assert len(calibration_of(found).scores) == 500


def test_a_version_keeps_its_temperature_without_its_files(calibrated: ModelRef) -> None:
    stored = ModelCalibration(temperature=1.5, rows=2_000, reason="fitted")
    lost = ModelRef(tuple(each._replace(predictions=("nowhere", "")) for each in calibrated.members), stored)

    found = helper.predict(lost, [ROWS])

    assert found.calibration is not None
    assert found.calibration.model_dump() == {**stored.model_dump(), "level": None}
    assert (shares(found.answers[0]) == apply_temperature(shares(asked(calibrated, RAW)), 1.5)).all()
    with pytest.raises(PredictionsCorrupt):
        helper.predict(lost, [ROWS], PredictionOptions(interval=0.9))


def test_a_version_that_was_not_calibrated_has_no_intervals(calibrated: ModelRef) -> None:
    stored = ModelCalibration(temperature=1.0, rows=0, reason="the members were trained on different data")
    version = calibrated._replace(calibration=stored)

    assert helper.predict(version, [ROWS]).answers == helper.predict(calibrated, [ROWS], RAW).answers
    with pytest.raises(Conflict, match="the members were trained on different data"):
        helper.predict(version, [ROWS], PredictionOptions(interval=0.9))


def test_a_model_without_calibration_is_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = checkpoint(tmp_path / "a", [CLASSES[i % 3] for i in range(40)])
    damaged = model(keep(path, *drawn(500, 3, 2.0), CLASSES))
    empty = without_validation_rows(path, CLASSES)  # overwrites the file
    before = [helper.predict(each, [ROWS]).calibration for each in (damaged, empty)]

    def read_again(*_: Any) -> None:
        raise AssertionError("the files are read again")

    monkeypatch.setattr(calibration, "check_sha256", read_again)

    assert [helper.predict(each, [ROWS]).calibration for each in (damaged, empty)] == before
    with pytest.raises(PredictionsCorrupt):
        helper.predict(damaged, [ROWS], PredictionOptions(interval=0.9))


def test_all_parts_of_a_request_are_calibrated_alike(calibrated: ModelRef) -> None:
    applied = helper.check_rows(calibrated, ROWS, PredictionOptions(interval=0.9))
    lost = ModelRef(tuple(each._replace(predictions=("nowhere", "")) for each in calibrated.members))

    part = helper.predict(lost, [ROWS[:5]], applied)

    assert part.answers[0] == asked(calibrated, PredictionOptions(interval=0.9), ROWS[:5])


@given(block=st.integers(1, 40), most=st.integers(1, 200), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_predictions_are_read_in_blocks(
    classifier: str, block: int, most: int, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.random.default_rng(seed).permutation(200)
    truth, outputs = drawn(200, 3, 2.0, seed)
    kept = model(keep(classifier, truth, outputs, CLASSES, row=rows))
    whole = calibration_of(kept).scores
    calibration._calibration.cache_clear()

    with monkeypatch.context() as patch:
        patch.setattr(calibration, "BLOCK_VALUES", block)
        patch.setattr(calibration, "MAX_ROWS", most)
        scores = calibration_of(kept).scores
    calibration._calibration.cache_clear()

    assert len(scores) == most
    assert np.isin(scores, whole).all()


def test_damaged_predictions_leave_probabilities_raw_until_they_are_restored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "RETRY_SECONDS", 0.0)
    path = checkpoint(tmp_path / "a", [CLASSES[i % 3] for i in range(40)])
    kept = model(keep(path, *drawn(2_000, 3, 2.0), CLASSES))
    file = tmp_path / "a-predictions"
    data = file.read_bytes()

    for damaged in (data[:-1] + b"x", None):
        file.unlink() if damaged is None else file.write_bytes(damaged)
        found = helper.predict(kept, [ROWS])
        assert found.calibration is not None
        assert found.calibration.reason == "the file of predictions is missing or has changed"
        assert found.answers == helper.predict(kept, [ROWS], RAW).answers
        with pytest.raises(PredictionsCorrupt):
            helper.predict(kept, [ROWS], PredictionOptions(interval=0.9))

    file.write_bytes(data)
    restored = helper.predict(kept, [ROWS]).calibration
    assert restored is not None
    assert restored.reason == "fitted"
    assert helper.calibration(kept) == calibration_of(kept).summary
