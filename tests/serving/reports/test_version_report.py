"""The report on a version: the weighted average of members, on rows that none of those averaged was trained on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.artifacts import sha256_of
from service.data.formats import prediction_table
from service.data.formats.prediction_table import PredictionTable
from service.data.preprocess.preprocessing import Table
from service.domain.model_ref import Member, ModelRef
from service.domain.report import ReportedMember, ReportInputs
from service.errors import Conflict
from service.reports import temperature
from service.reports.documents.html import to_html
from service.reports.documents.markdown import to_markdown
from service.reports.regression_losses import SQUARED
from service.reports.report import Report, ReportSections, VersionReport
from service.serving import calibration
from service.serving.calibration import calibration_of
from service.serving.reports import column_sections
from service.serving.reports.build import build
from service.serving.reports.held_out import held_out
from service.serving.reports.rows import read_rows
from service.serving.reports.weighted_columns import WeightedColumns
from service.serving.weighted_model import WeightedModel
from service.training.checkpoint import from_bytes
from service.training.inference import InferenceModel
from tests.data.tables import Stored
from tests.serving.reports.test_build import features, names, table
from tests.serving.reports.trained import report_inputs

FOLDS = 3


def version(tables: Stored, folder: Path, target: str, members: list[dict[str, Any]]) -> ReportInputs:
    """A version whose members have weights 1, 2, …."""
    made = list[ReportedMember]()
    for place, fields in enumerate(members):
        (folder / str(place)).mkdir()
        inputs = report_inputs(folder / str(place), tables, target, **{**features(target), **fields})
        made.append(replace(inputs.members[0], weight=float(place + 1)))
    return ReportInputs(tuple(made), inputs.table, None, ("churn", 3))


def folds(**split: float) -> list[dict[str, Any]]:
    return [{"split": {"folds": FOLDS, "fold": place + 1, **split}} for place in range(FOLDS)]


def seeds(number: int = 2, **split: float) -> list[dict[str, Any]]:
    return [{"seed": place, "split": {"test": 0.25, **split}} for place in range(number)]


def kept(member: ReportedMember) -> PredictionTable:
    return prediction_table.read(member.predictions.path)


def built(asked: ReportInputs) -> VersionReport:
    report = build(asked)
    assert isinstance(report, VersionReport)
    assert VersionReport.model_validate_json(report.model_dump_json()) == report
    return report


def sections(report: ReportSections) -> dict[str, Any]:
    return report.model_dump(include=set(ReportSections.model_fields) - {"object"})


@pytest.mark.parametrize("target", ["class", "y"])
@pytest.mark.parametrize("split", [{"test": 0.25}, {}])
def test_a_version_of_one_job_has_the_sections_of_its_job(tmp_path: Path, target: str, split: dict[str, Any]) -> None:
    asked = report_inputs(tmp_path, table(tmp_path), target, split=split, **features(target))

    report, of_job = built(replace(asked, version=("churn", 3))), build(asked)

    assert isinstance(of_job, Report)
    assert sections(report) == sections(of_job)
    assert (report.model, report.version) == ("churn", 3)
    assert [(each.job, each.weight, each.epoch, each.sha256) for each in report.members] == [
        (of_job.job, 1.0, of_job.epoch, of_job.checkpoint_sha256)
    ]


def test_metrics_are_of_the_weighted_mean_on_the_shared_test_rows(tmp_path: Path) -> None:
    asked = version(table(tmp_path), tmp_path, "class", seeds())
    one, two = (kept(member).only("test") for member in asked.members)
    assert one.probabilities is not None
    assert two.probabilities is not None
    order = [np.argsort(each.row) for each in (one, two)]
    first, second = (each.astype(np.float64) for each in (one.probabilities, two.probabilities))
    mean = (first[order[0]] + 2.0 * second[order[1]]) / 3.0

    report = built(asked)

    assert report.missing == []
    assert (report.evaluated.part, report.evaluated.rows) == ("test", len(one.row))
    assert [member.weight for member in report.members] == pytest.approx([1 / 3, 2 / 3])
    assert report.classification is not None
    assert report.baselines is not None
    assert report.importance is not None
    expected = -np.log(mean[np.arange(len(mean)), one.truth[order[0]]]).mean()
    assert report.classification.log_loss.value == pytest.approx(expected, rel=1e-9)
    assert report.baselines.network.value == pytest.approx(expected, rel=1e-6)
    assert report.importance.value == pytest.approx(expected, rel=1e-5)
    assert names(report)[0] == "x + copy"
    assert [each.level for each in report.conformal] == [0.8, 0.9, 0.95]


@pytest.mark.parametrize("members", [folds(), seeds()])
def test_the_temperature_is_the_one_that_predictions_have(
    tmp_path: Path, members: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (temperature, calibration):
        monkeypatch.setattr(module, "MIN_ROWS", 10)
    noise = {"data": {"features": ["noise", "when"]}}
    sure = {"max_epochs": 100, "early_stopping": None, "optimizer": {"lr": 0.1}, **noise}
    asked = version(table(tmp_path), tmp_path, "class", [each | sure for each in members])
    files = [(each.checkpoint, each.weight, each.predictions) for each in asked.members]
    ref = ModelRef(
        tuple(
            Member(str(weights.path), weights.sha256, weight, (str(outputs.path), outputs.sha256))
            for weights, weight, outputs in files
        )
    )

    found, expected = built(asked).temperature, calibration_of(ref).temperature

    assert found is not None
    assert expected is not None
    assert found.temperature == pytest.approx(expected.temperature, rel=1e-6)
    assert found.reason == expected.reason == ("fewer members" if "folds" in members[0]["split"] else "fitted")


def test_folds_with_shared_test_rows_are_compared_with_baselines_on_them(tmp_path: Path) -> None:
    asked = version(table(tmp_path), tmp_path, "class", folds(test=0.2))

    report = built(asked)

    assert (report.evaluated.part, report.missing) == ("test", [])
    assert report.evaluated.training == report.evaluated.validation  # every other row is in one fold
    assert report.baselines is not None
    assert report.baselines.fits == FOLDS
    assert report.baselines.training_rows < report.evaluated.training


@pytest.mark.parametrize("target", ["class", "y"])
def test_rows_of_folds_are_predicted_by_the_network_that_did_not_train_on_them(tmp_path: Path, target: str) -> None:
    stored = table(tmp_path)
    asked = version(stored, tmp_path, target, folds())

    report = built(asked)

    labelled = sum(row[-1] is not None for row in stored.values())
    assert (report.evaluated.part, report.evaluated.rows) == ("validation", labelled)
    assert report.evaluated.training == labelled
    assert report.missing == []
    assert report.baselines is not None
    assert (report.baselines.fits, len(report.baselines.models)) == (FOLDS, 3)
    assert f"in each of {FOLDS} fits" in to_markdown(report)
    assert any("predicted by the members that validated it" in each.text for each in report.findings)
    losses = held_out(asked.members)
    assert ((losses.weights > 0).sum(0) == 1).all()
    assert report.importance is not None
    metric = report.classification.log_loss if report.classification else report.regression.rmse  # type: ignore[union-attr]
    assert report.importance.value == pytest.approx(metric.value, rel=1e-5)


def test_members_of_one_fold_count_as_one_fit_of_the_baselines(tmp_path: Path) -> None:
    asked = version(table(tmp_path), tmp_path, "class", [*folds(), *({**each, "seed": 7} for each in folds())])

    report = built(asked)

    assert report.baselines is not None
    assert (report.baselines.fits, len(report.members)) == (FOLDS, 2 * FOLDS)


def test_baselines_of_too_many_different_rows_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(column_sections, "MAX_FITS", 2)

    report = built(version(table(tmp_path), tmp_path, "class", folds()))

    reason = "the members were trained on 3 different sets of rows, more than 2"
    assert [(each.section, each.reason) for each in report.missing] == [("baselines", reason)]


def test_importance_is_of_what_the_version_predicts(tmp_path: Path) -> None:
    members = [{"split": {"test": 0.25}, "data": {"features": ["x", "where"]}}]
    members += [{"split": {"test": 0.25}, "data": {"features": ["noise", "when", "flag"]}, "seed": 5}]
    asked = version(table(tmp_path), tmp_path, "y", members)
    kept_predictions = held_out(asked.members).only("test")
    rows = read_rows(asked, kept_predictions, SQUARED)
    assert not isinstance(rows, str)
    loaded = [from_bytes(member.checkpoint.path.read_bytes()) for member in asked.members]
    model = WeightedModel([InferenceModel(each) for each in loaded], [1.0, 2.0])
    columns, number = {**rows.evaluated.columns}, len(kept_predictions.table.row)
    of_rows = Table(columns, number)

    replaced = WeightedColumns(loaded, kept_predictions.weights, of_rows)

    shuffled = columns["x"][::-1].copy()
    changed = Table({**columns, "x": shuffled}, number)
    assert replaced({}) == pytest.approx(model.numbers(of_rows), rel=1e-5, abs=1e-5)
    assert replaced({"x": shuffled}) == pytest.approx(model.numbers(changed), rel=1e-5, abs=1e-5)
    report = built(asked)
    assert {*names(report)} == {"x", "where", "noise", "when", "flag"}
    assert report.time_columns == ["when"]


def test_without_the_data_set_a_version_has_metrics_alone(tmp_path: Path) -> None:
    asked = version(table(tmp_path), tmp_path, "class", seeds())
    without = tuple(replace(member, resolved=None) for member in asked.members)

    report = built(ReportInputs(without, None, "the data set was deleted", ("churn", 3)))

    assert report.classification == built(asked).classification
    assert {each.section for each in report.missing} == {"baselines", "importance", "effects", "slices"}


def test_members_of_other_rows_are_refused(tmp_path: Path) -> None:
    asked = version(table(tmp_path), tmp_path, "class", seeds())
    first = asked.members[0]
    found = kept(first)
    path = tmp_path / "other"
    path.write_bytes(prediction_table.to_bytes(replace(found, truth=1 - found.truth)))
    other = replace(first, predictions=replace(first.predictions, path=path, sha256=sha256_of(path)))

    with pytest.raises(Conflict, match="different data"):
        build(replace(asked, members=(other, asked.members[1])))


def test_documents_name_the_version_and_its_members(tmp_path: Path) -> None:
    report = built(version(table(tmp_path), tmp_path, "class", seeds()))

    for text in (to_markdown(report), to_html(report)):
        assert "Version 3 of churn, the weighted average of 2 networks, measured on" in text
        assert "epoch 3, weight 0.667" in text
        assert all(member.sha256 in text for member in report.members)


def test_equal_inputs_give_equal_reports(tmp_path: Path) -> None:
    asked = version(table(tmp_path), tmp_path, "y", folds())

    assert build(asked) == build(asked)
