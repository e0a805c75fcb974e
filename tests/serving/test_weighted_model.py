"""Models of several checkpoints: the weighted average of what each of them predicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.model_ref import ModelRef
from service.domain.prediction import PredictionOptions
from service.errors import Conflict, InvalidData
from service.serving import helper
from service.serving.predictor import Predictor
from service.spec.read_options import FileFormat, ReadOptions
from tests.data.tables import ALLOWED
from tests.serving.test_helper import X, checkpoint, predicted, ref

ROWS: list[dict[str, Any]] = [{"x0": float(i % 5), "x1": None if i == 3 else i * 1.5} for i in range(12)]
CLASSES = ["yes" if i % 3 else "no" for i in range(40)]
NUMBERS = [float(i % 11) for i in range(40)]


@pytest.fixture(scope="module")
def classifiers(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Three checkpoints with the same classes, that differ in seed, scaling and layers."""
    folder = tmp_path_factory.mktemp("classifiers")
    ways: list[dict[str, Any]] = [
        {"seed": 1},
        {"seed": 2, "preprocess": {"numeric": "quantile"}},
        {"seed": 3, "architecture": {"hidden": [7]}},
    ]
    return [checkpoint(folder / f"{place}", CLASSES, **way) for place, way in enumerate(ways)]


@given(st.lists(st.floats(0.01, 100), min_size=3, max_size=3), st.integers(1, 3))
def test_probabilities_are_the_weighted_mean_of_the_members(
    classifiers: list[str], weights: list[float], count: int
) -> None:
    paths, used = classifiers[:count], weights[:count]

    answers = predicted(ref(*paths, weights=tuple(used)), ROWS)

    alone = [predicted(ref(path), ROWS) for path in paths]
    for place, answer in enumerate(answers):
        for name, probability in answer["probabilities"].items():
            mean = np.average([found[place]["probabilities"][name] for found in alone], weights=used)
            assert probability == pytest.approx(mean, rel=1e-12)
        assert answer["prediction"] == max(answer["probabilities"], key=answer["probabilities"].get)


@given(st.floats(0.01, 100))
def test_a_single_member_predicts_the_same_bits_whatever_its_weight(classifiers: list[str], weight: float) -> None:
    [weighted, plain] = (predicted(ref(classifiers[0], weights=(each,)), ROWS) for each in (weight, 1.0))

    assert weighted == plain


def test_numbers_are_averaged_in_the_unit_of_the_target(tmp_path: Path) -> None:
    log: dict[str, Any] = {"loss": {"kind": "poisson"}}
    ways: list[dict[str, Any]] = [{}, log]
    paths = [checkpoint(tmp_path / f"{i}", NUMBERS, task="regression", **way) for i, way in enumerate(ways)]

    answers = predicted(ref(*paths, weights=(1.0, 3.0)), ROWS)

    one, other = (predicted(ref(path), ROWS) for path in paths)
    for place, answer in enumerate(answers):
        assert answer["prediction"] == pytest.approx((one[place]["prediction"] + 3 * other[place]["prediction"]) / 4)


def test_members_may_use_different_columns(tmp_path: Path) -> None:
    data = {"kind": "inline", "x": [row[:1] for row in X], "y": CLASSES}
    first, second = checkpoint(tmp_path / "first", CLASSES, data=data), checkpoint(tmp_path / "second", CLASSES)

    for model in (ref(first, second, weights=(1.0, 1.0)), ref(second, first, weights=(1.0, 1.0))):
        [answer] = predicted(model, [{"x0": 2.0, "x1": 3.0}])
        [one] = predicted(ref(first), [{"x0": 2.0}])
        [other] = predicted(ref(second), [{"x0": 2.0, "x1": 3.0}])

        mean = (one["probabilities"]["no"] + other["probabilities"]["no"]) / 2
        assert answer["probabilities"]["no"] == pytest.approx(mean)
        with pytest.raises(InvalidData, match=r"x9.*'x1'"):
            predicted(model, [{"x0": 2.0, "x9": 3.0}])


def test_members_with_other_classes_or_another_reading_of_a_column_are_a_conflict(tmp_path: Path) -> None:
    two = checkpoint(tmp_path / "two", CLASSES)
    three = checkpoint(tmp_path / "three", [i % 3 for i in range(40)])
    number = checkpoint(tmp_path / "number", NUMBERS, task="regression")
    nulls = checkpoint(tmp_path / "nulls", CLASSES, null_values=("-999",))

    for other, message in ((three, "2 classes and 'y', 3 classes"), (number, "a number"), (nulls, "column 'x0'")):
        with pytest.raises(Conflict, match=message):
            helper.prediction_schema(ref(two, other, weights=(1.0, 1.0)))


def test_the_first_parts_of_a_prediction_are_smaller_for_several_members(
    classifiers: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, predictor, parts = ref(*classifiers, weights=(1.0, 2.0, 3.0)), Predictor(), list[int]()
    predict = predictor._pool.predict

    def counted(asked: ModelRef, rows: list[dict[str, Any]], options: PredictionOptions) -> Any:
        parts.append(len(rows))
        return predict(asked, rows, options)

    monkeypatch.setattr(predictor._pool, "predict", counted)
    try:
        assert predictor.predict(model, ROWS).answers == predicted(model, ROWS)
    finally:
        predictor.close()

    assert parts == [10, 2]


@pytest.mark.slow
def test_a_file_is_predicted_as_its_rows_are(classifiers: list[str], tmp_path: Path) -> None:
    model, predictor = ref(*classifiers, weights=(1.0, 2.0, 3.0)), Predictor()
    (tmp_path / "rows.csv").write_text(
        "x1,x0\n" + "".join(f"{'' if row['x1'] is None else row['x1']},{row['x0']}\n" for row in ROWS)
    )

    try:
        answers = predictor.predict(model, ROWS).answers
        file, _ = predictor.predict_file(model, tmp_path / "rows.csv", ReadOptions(format=FileFormat.csv), ALLOWED)
    finally:
        predictor.close()

    lines = file.read_text().splitlines()[1:]
    assert [line.split(",")[0] for line in lines] == [answer["prediction"] for answer in answers]
    assert [float(line.split(",")[1]) for line in lines] == [answer["probabilities"]["no"] for answer in answers]
