"""Learning curves and drop-column importance: means, standard errors, pairs, and what is said of them."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.reports.documents.html import to_html
from service.reports.documents.markdown import to_markdown
from service.reports.report import Report
from service.reports.retraining import RetrainedJob, retraining_section, with_retraining
from service.reports.sections.retraining import T_95, MeanChange, RetrainingSection
from tests.reports.examples import classification_report, regression_report

SHARES = (0.1, 0.2, 0.4, 0.7, 1.0)
REPORT = classification_report()


def job(loss: float | None, seed: int, *, metric: str = "log_loss", **fields: Any) -> RetrainedJob:
    """A retrained job; its validation loss is another one."""
    other = None if loss is None else loss + 100.0
    asked: dict[str, Any] = {"fraction": None, "column": None, "rows": 50, **fields}
    return RetrainedJob(seed=seed, validation={f"val_{metric}": other}, test={metric: loss}, **asked)


def curve(losses: list[list[float]]) -> list[RetrainedJob]:
    """A learning curve; losses: of each share, of each seed."""
    return [
        job(loss, seed, fraction=share)
        for share, draws in zip(SHARES, losses, strict=True)
        for seed, loss in enumerate(draws)
    ]


LOSSES = st.lists(st.floats(0, 10), min_size=3, max_size=3)


@given(st.lists(LOSSES, min_size=5, max_size=5), st.dictionaries(st.sampled_from("abc"), LOSSES))
def test_means_standard_errors_and_pairs_are_those_of_numpy(
    losses: list[list[float]], without: dict[str, list[float]]
) -> None:
    dropped = [job(loss, seed, column=name) for name, draws in without.items() for seed, loss in enumerate(draws)]

    found = retraining_section(REPORT, "swp_1", [*dropped, *curve(losses)[::-1]])

    for point, draws in zip(found.learning_curve, losses, strict=True):
        assert point.draws == draws
        assert point.mean == pytest.approx(np.mean(draws))
        assert point.standard_error == pytest.approx(np.std(draws, ddof=1) / 3**0.5, abs=1e-12)
    differences = np.subtract(losses[4], losses[3])
    assert found.more_rows is not None
    assert found.more_rows.pairs == pytest.approx(differences)
    assert {each.column for each in found.columns} == without.keys()
    for each in found.columns:
        pairs = np.subtract(without[each.column], losses[4])
        error = pairs.std(ddof=1) / 3**0.5
        assert each.change.mean == pytest.approx(pairs.mean())
        assert each.change.standard_error == pytest.approx(error, abs=1e-12)
        if abs(abs(pairs.mean()) - T_95[3] * error) > 1e-9:
            clear = abs(pairs.mean()) > T_95[3] * error
            worse = "worse_without" if pairs.mean() > 0 else "better_without"
            assert each.verdict == (worse if clear else "no_difference")
    means = [each.change.mean for each in found.columns]
    assert means == sorted(means, reverse=True)


@pytest.mark.parametrize(
    ("last", "said"),
    [
        (
            [0.4, 0.41, 0.4],
            "More training rows would probably help: from 70% to 100% of the training rows the log loss",
        ),
        ([0.6, 0.61, 0.6], "More training rows have not helped: from 70% to 100%"),
        ([0.5, 0.6, 0.42], "It is not clear that more training rows would help: from 70% to 100%"),
    ],
)
def test_the_report_says_whether_more_rows_would_help(last: list[float], said: str) -> None:
    losses = [[0.9] * 3, [0.8] * 3, [0.7] * 3, [0.5, 0.5, 0.51], last]

    found = with_retraining(REPORT, retraining_section(REPORT, "swp_1", curve(losses)))

    assert found.findings[: len(REPORT.findings)] == REPORT.findings
    (finding,) = found.findings[len(REPORT.findings) :]
    assert finding.text.startswith(said)
    assert "standard error" in finding.text


def test_without_results_nothing_is_concluded_and_missing_jobs_are_counted() -> None:
    jobs = [job(None, seed, fraction=share) for share, seed in product(SHARES, range(2))]
    one = [job(0.5, 0, fraction=1.0), job(0.9, 0, column="a"), job(0.9, 1, column="b")]

    found = retraining_section(REPORT, "swp_1", [*jobs, *one])

    assert (found.jobs, found.without_result) == (3, 10)
    (point,) = found.learning_curve
    assert (point.standard_error, found.more_rows) == (None, None)
    (column,) = found.columns  # b has no network of the same seed to be compared with
    assert (column.column, column.verdict) == ("a", "no_difference")
    assert [text for text in found.sentences if "rows would" in text] == []


@pytest.mark.parametrize(
    ("loss", "metric"),
    [("rmse", "rmse"), ("mae", "mae"), ("huber", "mae"), ("pinball", "loss"), ("poisson_deviance", "poisson_deviance")],
)
@pytest.mark.parametrize("part", ["test", "validation"])
def test_networks_are_compared_by_the_recorded_metric_of_the_reports_loss_and_part(
    loss: Any, metric: str, part: Any
) -> None:
    report = regression_report()
    evaluated = report.evaluated.model_copy(update={"part": part})
    report = report.model_copy(update={"loss": loss, "evaluated": evaluated})

    found = retraining_section(report, "swp_1", [job(1.0, 0, metric=metric, fraction=1.0)])

    assert (found.metric, found.part) == (metric, part)
    assert found.learning_curve[0].mean == (1.0 if part == "test" else 101.0)


def retrained(report: Report) -> RetrainingSection:
    jobs = curve([[0.9, 0.8, 0.8], [0.7, 0.8, 0.7], [0.6, 0.7, 0.6], [0.5, 0.4, 0.45], [0.4, 0.41, 0.4]])
    hostile = [job(0.6 + 0.01 * seed, seed, column="<b>|x") for seed in range(3)]
    return retraining_section(report, "swp_1", [*jobs, *hostile, job(0.2, 0, column="b"), job(0.3, 1, column="b")])


def test_documents_have_the_curve_and_the_columns_and_escape_their_names() -> None:
    report = with_retraining(REPORT, retrained(REPORT))

    markdown, page = to_markdown(report), to_html(report)

    assert "## Answers by retraining" in markdown
    assert "| 100% | 50 | 0.403 |" in markdown
    assert "| \\<b\\>\\|x | 0.207 |" in markdown
    assert "Learning curve" in page
    assert "<b>" not in page
    assert "Networks without a column start with other weights" in markdown
    assert "Networks without a column" not in to_markdown(with_retraining(REPORT, retraining_section(REPORT, "s", [])))


def test_a_report_without_the_section_says_why() -> None:
    report = with_retraining(REPORT, "the job was not retrained")

    assert report.retraining is None
    assert [(each.section, each.reason) for each in report.missing] == [("retraining", "the job was not retrained")]
    assert "| Answers by retraining | the job was not retrained |" in to_markdown(report)
    assert Report.model_validate_json(report.model_dump_json()) == report


@pytest.mark.parametrize("pairs", [2, 3])
def test_without_a_difference_five_percent_of_the_changes_are_clear_in_either_direction(pairs: int) -> None:
    draws = np.random.default_rng(0).standard_normal((20_000, pairs))
    means, errors = draws.mean(1), draws.std(1, ddof=1) / pairs**0.5

    clear = [
        MeanChange(mean=mean, standard_error=error, pairs=list(row)).clear
        for mean, error, row in zip(means.tolist(), errors.tolist(), draws.tolist(), strict=True)
    ]

    for of_sign in (means < 0, means > 0):
        assert 0.045 < np.mean(np.array(clear) & of_sign) < 0.055
