"""Reports on regressions whose targets are large, or whose loss does not target the mean."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from service.data.formats import prediction_table
from service.reports.documents.html import to_html
from service.reports.documents.markdown import to_markdown
from service.reports.report import Report
from service.serving.reports.build import build
from tests.data.tables import Stored, store
from tests.serving.reports.trained import report_inputs, stored_file, with_member

SPLIT = {"test": 0.25}


def table(folder: Path, scale: float = 1.0) -> Stored:
    rng = np.random.default_rng(0)
    x, noise = rng.standard_normal((2, 300)).round(3)
    lines = [f"{a},{float((a + abs(b)) * scale)!r}" for a, b in zip(x.tolist(), noise.tolist(), strict=True)]
    return store(folder, "x,y\n" + "\n".join(lines) + "\n")


@pytest.mark.parametrize("scale", [1e80, 1e160, 1e200, 1e300])
def test_a_report_on_large_targets_is_valid_and_says_what_is_missing(tmp_path: Path, scale: float) -> None:
    report = build(report_inputs(tmp_path, table(tmp_path, scale), "y", split=SPLIT))

    assert Report.model_validate_json(report.model_dump_json()) == report
    assert report.regression is not None
    assert report.regression.mae.value is not None
    assert {each.section for each in report.missing} == {"baselines", "importance", "effects", "slices"}
    assert "too large" in report.missing[0].reason
    assert "too large" in to_html(report)
    assert "too large" in to_markdown(report)


@pytest.mark.parametrize(
    ("loss", "name"),
    [
        ({"kind": "absolute"}, "mae"),
        ({"kind": "quantile", "q": 0.95}, "pinball"),
        ({"kind": "huber"}, "huber"),
        ({"kind": "poisson"}, "poisson_deviance"),
        ({"kind": "squared"}, "rmse"),
    ],
)
def test_a_regression_is_compared_by_the_loss_that_it_was_trained_for(
    tmp_path: Path, loss: dict[str, object], name: str
) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(600).round(3)
    y = rng.poisson(np.exp(1 + x)) if name == "poisson_deviance" else (x + rng.exponential(size=600)).round(4)
    lines = "\n".join(f"{a},{b}" for a, b in zip(x.tolist(), y.tolist(), strict=True))
    trained = report_inputs(
        tmp_path, store(tmp_path, f"x,y\n{lines}\n"), "y", split=SPLIT, loss=loss, task="regression", max_epochs=60
    )

    report = build(trained)

    assert report.baselines is not None
    assert report.importance is not None
    assert report.slices is not None
    assert report.baselines.loss == report.importance.loss == report.loss == name
    assert [model.name for model in report.baselines.models] == ["constant", "linear", "boosted_trees"]
    assert report.baselines.models[0].verdict == "network_better"
    assert report.baselines.models[1].verdict != "network_better" or name == "poisson_deviance"
    assert report.importance.value == pytest.approx(report.baselines.network.value, rel=1e-4)
    mean = (report.baselines.network.value or 0.0) ** (2 if name == "rmse" else 1)
    assert report.slices.mean_loss == pytest.approx(mean)
    assert report.worst.rows[0].loss == max(each.loss or 0.0 for each in report.worst.rows)
    assert "alone is better" not in to_markdown(report)
    assert Report.model_validate_json(report.model_dump_json()) == report


def test_rows_without_a_finite_prediction_are_counted(tmp_path: Path) -> None:
    asked = report_inputs(tmp_path, table(tmp_path), "y", split=SPLIT)
    predictions = prediction_table.read(asked.members[0].predictions.path)
    numbers = predictions.prediction.copy()
    numbers[[-1, -2]] = np.inf, np.nan
    asked.members[0].predictions.path.write_bytes(prediction_table.to_bytes(replace(predictions, prediction=numbers)))

    report = build(with_member(asked, predictions=stored_file(asked.members[0].predictions.path)))

    assert (report.evaluated.rows, report.evaluated.not_finite, report.evaluated.test) == (73, 2, 75)
    assert any("2 of 75 rows are left out" in each.text for each in report.findings)
