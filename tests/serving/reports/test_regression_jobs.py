"""Reports on regressions whose targets are large, or whose loss does not target the mean."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from service.reports.documents.html import to_html
from service.reports.documents.markdown import to_markdown
from service.reports.report import Report
from service.serving.reports.build import build
from tests.data.tables import Stored, store
from tests.serving.reports.trained import report_inputs

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
