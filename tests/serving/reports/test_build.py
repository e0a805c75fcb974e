"""The report on a trained job: all sections, aligned with the rows of its table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.domain.report import StoredFile
from service.errors import CheckpointCorrupt, DatasetCorrupt, PredictionsCorrupt, ServiceError
from service.reports.documents.html import to_html
from service.reports.documents.markdown import to_markdown
from service.reports.report import Report
from service.serving.reports import rows
from service.serving.reports.build import build
from service.serving.reports.columns import sampled_rows
from service.spec.job import JobSpec
from service.spec.resolve import profile_of, resolve
from service.training.checkpoint import from_bytes
from tests.data.tables import Stored, store
from tests.serving.reports.trained import report_inputs, trained, with_member

ROWS = 400


def table(folder: Path) -> Stored:
    """A number `x` that decides, its copy, a text, a time, noise; every seventh row has no target."""
    rng = np.random.default_rng(0)
    lines = ["x,copy,where,when,flag,noise,class,y"]
    for place in range(ROWS):
        x, noise = rng.standard_normal(2).round(3)
        where, day = ("north", "south", "")[place % 3], 1 + place % 28
        y = 3 * x + (where == "north") + 0.1 * rng.standard_normal()
        label, number = ("yes" if y > 0 else "no", f"{y:.4f}") if place % 7 else ("", "")
        flag = "true" if place % 2 else "false"
        lines.append(f"{x},{x * 2:.3f},{where},2024-05-{day:02d},{flag},{noise},{label},{number}")
    return store(folder, "\n".join(lines) + "\n")


def features(target: str) -> dict[str, Any]:
    return {"data": {"features": ["x", "copy", "where", "when", "flag", "noise"]}}


def names(report: Report) -> list[str]:
    assert report.importance is not None
    return [" + ".join(each.columns) for each in report.importance.columns]


@pytest.mark.parametrize("target", ["class", "y"])
def test_a_report_has_every_section_and_its_rows_are_those_of_the_table(tmp_path: Path, target: str) -> None:
    stored = table(tmp_path)
    asked = report_inputs(tmp_path, stored, target, split={"test": 0.25}, max_epochs=30, **features(target))

    report = build(asked)

    assert report.missing == []
    assert (report.evaluated.part, report.evaluated.rows) == ("test", 86)
    assert report.evaluated.training == 188
    assert report.baselines is not None
    assert [model.name for model in report.baselines.models] == ["constant", "linear", "boosted_trees"]
    assert names(report)[0] == "x + copy"
    assert report.effects is not None
    assert {effect.column for effect in report.effects.columns} == {"x", "copy", "where", "when", "flag", "noise"}
    assert report.slices is not None
    assert report.time_columns == ["when"]
    assert (report.classification is None) == (target == "y")
    assert (report.regression is None) == (target == "class")
    assert (report.temperature is None) == (target == "y")
    assert [each.level for each in report.conformal] == [0.8, 0.9, 0.95]
    known = stored.values()
    places = [column.name for column in stored.columns]
    for worst in report.worst.rows:
        row = dict(zip(places, known[worst.row], strict=True))
        assert worst.truth == row[target]
        for name in ("x", "where", "flag"):
            assert worst.values[name] == row[name]


def test_the_loss_is_the_same_in_every_section(tmp_path: Path) -> None:
    report = build(report_inputs(tmp_path, table(tmp_path), "class", split={"test": 0.25}, **features("class")))

    assert report.classification is not None
    assert report.baselines is not None
    assert report.importance is not None
    assert report.slices is not None
    loss = report.classification.log_loss
    assert report.baselines.network.value == pytest.approx(loss.value, rel=1e-12)
    assert report.importance.value == pytest.approx(loss.value, rel=1e-5)  # predicted again, in other batches
    assert report.slices.mean_loss == pytest.approx(loss.value, rel=1e-12)


def test_without_test_rows_it_is_about_the_validation_rows_and_says_so(tmp_path: Path) -> None:
    report = build(report_inputs(tmp_path, table(tmp_path), "class", **features("class")))

    assert report.evaluated.part == "validation"
    assert any("chose the best epoch" in finding.text for finding in report.findings)
    assert report.conformal == []


def test_equal_inputs_give_equal_reports(tmp_path: Path) -> None:
    asked = report_inputs(tmp_path, table(tmp_path), "class", split={"test": 0.25}, **features("class"))

    first = build(asked).model_dump_json()

    assert build(asked).model_dump_json() == first


def test_a_network_that_learnt_nothing_is_told_first_that_others_are_better(tmp_path: Path) -> None:
    frozen = {"optimizer": {"kind": "sgd", "lr": 1e-9}, "max_epochs": 1, **features("class")}

    report = build(report_inputs(tmp_path, table(tmp_path), "class", split={"test": 0.25}, **frozen))

    assert report.findings[0].level == "warning"
    assert report.findings[0].text.startswith(("Boosted trees are better: log loss", "Logistic regression is better:"))
    assert "instead of the network's" in report.findings[0].text


def test_without_the_data_set_columns_are_missing_and_metrics_are_the_same(tmp_path: Path) -> None:
    asked = report_inputs(tmp_path, table(tmp_path), "class", split={"test": 0.25}, **features("class"))

    report = build(replace(with_member(asked, resolved=None), table=None, no_columns="the data set was deleted"))

    assert report.classification == build(asked).classification
    assert {(each.section, each.reason) for each in report.missing} == {
        (section, "the data set was deleted") for section in ("baselines", "importance", "effects", "slices")
    }
    assert (report.baselines, report.importance, report.effects, report.slices) == (None, None, None, None)
    assert report.evaluated.training is None
    assert len(report.worst.rows) == 50
    assert report.worst.columns == []


@pytest.mark.parametrize("data", ["synthetic", "inline"])
def test_data_in_the_spec_has_a_report_too(tmp_path: Path, data: str) -> None:
    x = np.random.default_rng(0).standard_normal((80, 3)).round(3)
    inline = {
        "kind": "inline",
        "x": x.tolist(),
        "y": [int(value > 0) if i % 9 else None for i, value in enumerate(x[:, 0])],
    }
    of_spec = inline if data == "inline" else {"kind": "synthetic", "rows": 200, "features": 4, "signal": 2.0}
    spec = JobSpec.model_validate({"data": of_spec, "max_epochs": 3, "split": {"test": 0.2}})
    report = build(trained(tmp_path, resolve(spec, profile_of(spec.data)), None))  # type: ignore[arg-type]

    assert report.missing == []
    assert names(report)[0] == "x0" if data == "inline" else len(names(report)) == 4


def test_a_network_for_images_has_metrics_and_no_columns(tmp_path: Path) -> None:
    x = [[(i * j) % 11 / 11 for j in range(64)] for i in range(60)]
    data = {"kind": "inline", "x": x, "y": [i % 3 for i in range(60)]}
    architecture = {"kind": "cnn", "shape": [1, 8, 8], "channels": [4]}
    spec = JobSpec.model_validate({"data": data, "architecture": architecture, "max_epochs": 1})
    report = build(trained(tmp_path, resolve(spec, profile_of(spec.data)), None))  # type: ignore[arg-type]

    assert report.classification is not None
    assert {each.reason for each in report.missing} == {"the network reads images or sequences, not columns"}


def test_a_table_that_is_too_large_has_no_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = report_inputs(tmp_path, table(tmp_path), "class", **features("class"))
    monkeypatch.setattr(rows, "MAX_CELLS", 100)

    report = build(asked)

    assert "its columns are read up to 100" in report.missing[0].reason


@pytest.mark.parametrize(
    ("file", "error"),
    [("predictions", PredictionsCorrupt), ("checkpoint", CheckpointCorrupt), ("table", DatasetCorrupt)],
)
def test_a_file_that_has_changed_is_refused(tmp_path: Path, file: str, error: type[ServiceError]) -> None:
    asked = report_inputs(tmp_path, table(tmp_path), "class", **features("class"))
    changed: StoredFile = asked.table if file == "table" else getattr(asked.members[0], file)  # type: ignore[assignment]
    other = {file: StoredFile(changed.path, "0" * 64)}

    with pytest.raises(error):
        build(replace(asked, **other) if file == "table" else with_member(asked, **other))
    changed.path.unlink()
    with pytest.raises(error):
        build(asked)


def test_rows_are_sampled_where_there_are_many_and_not_at_all_for_a_huge_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = report_inputs(tmp_path, table(tmp_path), "class", **features("class"))
    checkpoint = from_bytes(asked.members[0].checkpoint.path.read_bytes())

    every, some = sampled_rows([checkpoint], 60), sampled_rows([checkpoint], 20_000)
    monkeypatch.setattr("service.serving.reports.columns.MAX_MULTIPLICATIONS", 10)

    assert not isinstance(every, str)
    assert not isinstance(some, str)
    assert every.tolist() == list(range(60))
    assert len({*some.tolist()}) == 5_000
    assert isinstance(sampled_rows([checkpoint], 60), str)


def test_booleans_are_true_and_false_in_effects_slices_and_worst_rows(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = []
    for place, value in enumerate(rng.standard_normal(600).tolist()):
        lines.append(f"{'false' if place % 4 else 'true'},{value:.3f},{value * (0.01 if place % 4 else 10):.3f}")
    stored = store(tmp_path, "flag,x,y\n" + "\n".join(lines) + "\n")

    report = build(report_inputs(tmp_path, stored, "y", split={"test": 0.3}))

    assert report.slices is not None
    assert report.effects is not None
    conditions = [each for one in report.slices.slices for each in one.conditions if each.column == "flag"]
    assert {each.value for each in conditions} == {True}
    assert all(each.value is True for each in conditions)
    points = next(effect.points for effect in report.effects.columns if effect.column == "flag")
    assert [point.value for point in points] == [False, True]
    assert all(isinstance(point.value, bool) for point in points)
    assert all(isinstance(row.values["flag"], bool) for row in report.worst.rows)
    assert "flag = true" in to_markdown(report)
    assert ">true<" in to_html(report)
    assert Report.model_validate_json(report.model_dump_json()) == report
