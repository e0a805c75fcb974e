"""The evaluation of a version on new labelled rows: as scikit-learn measures, beside what its report says."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, log_loss, root_mean_squared_error

from service.domain.model_ref import Member, ModelRef
from service.domain.prediction import PredictionOptions
from service.domain.report import EvaluationInputs, ReportInputs
from service.errors import InvalidData
from service.reports.evaluation import Evaluation
from service.serving.helper import predict
from service.serving.reports.build import build
from service.serving.reports.evaluate import evaluate
from service.serving.reports.held_out import HeldOutPredictions
from service.serving.reports.labelled import predict_labelled
from service.serving.reports.process import report_text
from tests.serving.reports.test_build import table
from tests.serving.reports.test_version_report import folds, seeds, version


def model_of(asked: ReportInputs) -> ModelRef:
    return ModelRef(
        tuple(
            Member(
                str(each.checkpoint.path),
                each.checkpoint.sha256,
                each.weight,
                (str(each.predictions.path), each.predictions.sha256),
            )
            for each in asked.members
        )
    )


def json_rows(folder: Path, target: str, start: int = 0) -> list[dict[str, Any]]:
    """The rows of the table as JSON."""
    found = list[dict[str, Any]]()
    with (folder / "source").open() as file:
        for row in csv.DictReader(file):
            values: dict[str, Any] = {name: row[name] or None for name in ("where", "when")}
            values |= {name: float(row[name]) for name in ("x", "copy", "noise")} | {"flag": row["flag"] == "true"}
            values[target] = (float(row[target]) if target == "y" else row[target]) if row[target] else None
            found.append(values)
    return found[start:]


def inputs(asked: ReportInputs, rows: list[dict[str, Any]], **fields: Any) -> EvaluationInputs:
    return EvaluationInputs(model_of(asked), ("churn", 3), None, tuple(rows), **fields)


@pytest.mark.parametrize("target", ["class", "y"])
def test_metrics_are_of_what_the_version_predicts(tmp_path: Path, target: str) -> None:
    asked = version(table(tmp_path), tmp_path, target, seeds())
    rows = json_rows(tmp_path, target)
    batch = predict(model_of(asked), [rows], PredictionOptions(calibrated=False))
    answers: Any = batch.answers[0]
    labelled = [place for place, row in enumerate(rows) if row[target] is not None]
    truth = [rows[place][target] for place in labelled]

    found = evaluate(inputs(asked, rows))

    assert (found.rows, found.unlabelled, found.not_finite) == (len(labelled), len(rows) - len(labelled), 0)
    assert (found.model, found.version, found.target) == ("churn", 3, target)
    predicted = [answers[place]["prediction"] for place in labelled]
    if target == "class":
        probabilities = [[answers[place]["probabilities"][name] for name in ("no", "yes")] for place in labelled]
        assert found.classification is not None
        assert found.classification.accuracy.value == pytest.approx(accuracy_score(truth, predicted), rel=1e-9)
        assert found.value.value == pytest.approx(log_loss(truth, probabilities), rel=1e-9)
    else:
        assert found.regression is not None
        assert found.regression.rmse.value == pytest.approx(root_mean_squared_error(truth, predicted), rel=1e-9)
        assert found.value.value == pytest.approx(found.regression.rmse.value, rel=1e-12)
    assert {each.row for each in found.worst.rows} <= set(labelled)
    assert found.slices is not None
    assert found.time_columns == ["when"]
    assert Evaluation.model_validate_json(report_text(inputs(asked, rows))) == found


@pytest.mark.parametrize("members", [seeds(), folds()], ids=["test rows", "folds"])
def test_it_is_compared_with_the_rows_of_the_report(tmp_path: Path, members: list[dict[str, Any]]) -> None:
    asked = version(table(tmp_path), tmp_path, "class", members)
    report = build(asked)

    found = evaluate(inputs(asked, json_rows(tmp_path, "class")))

    assert [each.section for each in found.missing] == ([] if report.evaluated.part == "test" else ["difference"])
    assert (found.difference is None) == (report.evaluated.part == "validation")
    assert not any("The version is significantly" in each.text for each in found.findings if found.difference is None)
    assert found.compared_with is not None
    assert found.compared_with.part == report.evaluated.part
    assert found.compared_with.classification == report.classification
    assert [each.level for each in found.conformal] == [0.8, 0.9, 0.95]


def test_rows_that_the_version_knows_no_longer_are_told_first(tmp_path: Path) -> None:
    asked = version(table(tmp_path), tmp_path, "class", [{**each, "max_epochs": 30} for each in seeds()])
    rows = json_rows(tmp_path, "class")
    same = evaluate(inputs(asked, rows))
    swapped = [{**row, "class": {"yes": "no", "no": "yes"}.get(row["class"])} for row in rows]

    found = evaluate(inputs(asked, swapped))

    assert found.findings[0].level == "warning"
    assert found.findings[0].text.startswith("The version is significantly worse here than on the 86 test rows")
    assert found.difference is not None
    assert found.difference.low is not None
    assert found.difference.low > 0
    assert any("hold the true value of only" in each.text for each in found.findings)
    assert same.findings[0].level == "good"


def test_without_kept_predictions_it_says_why_nothing_is_compared(tmp_path: Path) -> None:
    asked = version(table(tmp_path), tmp_path, "y", seeds())

    found = evaluate(replace(inputs(asked, json_rows(tmp_path, "y")), no_comparison="none were kept"))

    assert (found.compared_with, found.difference, found.conformal) == (None, None, [])
    assert {(each.section, each.reason) for each in found.missing} == {
        ("compared_with", "none were kept"),
        ("conformal", "none were kept"),
    }


@pytest.mark.parametrize("rows", [1, 2, 3])
@pytest.mark.parametrize("target", ["class", "y"])
def test_a_few_rows_are_evaluated_too(tmp_path: Path, target: str, rows: int) -> None:
    asked = version(table(tmp_path), tmp_path, target, seeds())
    labelled = [row for row in json_rows(tmp_path, target) if row[target] is not None]

    found = evaluate(inputs(asked, labelled[:rows]))

    assert found.rows == rows
    assert any("intervals are wide" in each.text for each in found.findings)


def test_wrong_rows_are_refused_with_row_and_column(tmp_path: Path) -> None:
    asked = version(table(tmp_path), tmp_path, "class", seeds())
    rows = json_rows(tmp_path, "class")[:5]
    unknown = [*rows, {**rows[0], "class": "maybe"}, {**rows[0], "class": "never"}]

    with pytest.raises(InvalidData) as raised:
        evaluate(inputs(asked, unknown))

    assert [(each.pointer, each.message) for each in raised.value.field_errors] == [
        ("/rows/5/class", "'maybe' is none of the classes, which are 'no', 'yes'"),
        ("/rows/6/class", "'never' is none of the classes, which are 'no', 'yes'"),
    ]
    with pytest.raises(InvalidData, match="no row has a value of 'class', the target"):
        evaluate(inputs(asked, [{**row, "class": None} for row in rows]))
    with pytest.raises(InvalidData, match="/rows/0/x"):
        evaluate(inputs(asked, [{**rows[0], "x": "text"}]))


@pytest.mark.parametrize("target", ["class", "y"])
def test_rows_with_predictions_beyond_float64_are_left_out_and_counted(
    tmp_path: Path, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = version(table(tmp_path), tmp_path, target, seeds())
    rows = [row for row in json_rows(tmp_path, target) if row[target] is not None][:40]

    def diverged(*given: Any) -> HeldOutPredictions:
        found = predict_labelled(*given)
        values = found.table.prediction if found.table.probabilities is None else found.table.probabilities
        values[0] = np.nan
        return found

    monkeypatch.setattr("service.serving.reports.evaluate.predict_labelled", diverged)
    found = Evaluation.model_validate_json(report_text(inputs(asked, rows)))

    assert (found.rows, found.not_finite) == (39, 1)
    assert any("1 rows are left out: their predictions" in each.text for each in found.findings)


@pytest.mark.parametrize("target", ["class", "y"])
def test_one_row_is_not_said_to_be_better_or_worse(tmp_path: Path, target: str) -> None:
    asked = version(table(tmp_path), tmp_path, target, seeds())
    row = next(row for row in json_rows(tmp_path, target) if row[target] is not None)

    found = evaluate(inputs(asked, [row]))

    assert found.findings[0].level == "note"
    assert "cannot be told, as it takes two rows" in found.findings[0].text


@pytest.mark.parametrize("test", [0.0, 0.25])
def test_it_says_that_validation_rows_chose_the_epoch(tmp_path: Path, test: float) -> None:
    asked = version(table(tmp_path), tmp_path, "y", [{"split": {"test": test, "validation": 0.3}}])
    rows = [row | {"y": row["y"] + 100} for row in json_rows(tmp_path, "y") if row["y"] is not None]

    found = evaluate(inputs(asked, rows)).findings[0].text

    assert found.startswith("The version is significantly worse")
    assert ("Validation rows also chose the best epoch" in found) == (test == 0)


def test_equal_or_infinite_losses_are_not_said_to_be_no_significant_difference(tmp_path: Path) -> None:
    asked = version(table(tmp_path), tmp_path, "y", seeds())
    rows = json_rows(tmp_path, "y")[:3]

    equal = evaluate(inputs(asked, [{**row, "y": 1e18} for row in rows])).findings[0]
    with np.errstate(all="ignore"):
        beyond = evaluate(inputs(asked, [{**row, "y": 1e308} for row in rows])).findings[0]

    assert (equal.level, "all of them have the same loss" in equal.text) == ("note", True)
    assert (beyond.level, "RMSE of these rows is beyond the range of float64" in beyond.text) == ("warning", True)
