"""What a reader of a report learns first."""

from __future__ import annotations

from service.reports.findings import findings
from service.reports.sections.estimate import Estimate
from tests.reports.examples import regression_report

UNDEFINED = Estimate(value=None, low=None, high=None)


def test_a_loss_beyond_float64_is_not_said_to_be_no_significant_difference() -> None:
    report = regression_report()
    assert report.baselines is not None
    undefined = {"loss": UNDEFINED, "difference": UNDEFINED, "verdict": "no_difference"}
    models = [model.model_copy(update=undefined) for model in report.baselines.models]
    baselines = report.baselines.model_copy(update={"network": UNDEFINED, "models": models})

    said = [each.text for each in findings(report.model_copy(update={"baselines": baselines}))]

    assert "Not compared with the mean alone: the RMSE of one of them is beyond the range of float64." in said
    assert not any("No significant difference" in text for text in said)
