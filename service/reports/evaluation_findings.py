"""What a reader should know first about an evaluation on new rows, in words."""

from __future__ import annotations

from collections.abc import Iterator
from math import exp, lgamma
from typing import TYPE_CHECKING

from service.reports.conformal import quantile_place
from service.reports.findings import LOSSES, findings_of_slices
from service.reports.report import Finding
from service.reports.text import estimate, number

if TYPE_CHECKING:
    from service.reports.evaluation import Evaluation
    from service.reports.sections.calibration import ConformalCoverage

FEW_ROWS = 100
FALSE_ALARMS = 0.025
"""Probability that a coverage of rows like those of calibration is called too small."""


def evaluation_findings(found: Evaluation) -> list[Finding]:
    """The findings, comparison with the rows held out in training first."""
    slices = findings_of_slices(found.slices, found.time_columns)
    return [*_compared(found), *_of_rows(found), *_of_coverage(found), *slices]


def _compared(found: Evaluation) -> Iterator[Finding]:
    before, difference = found.compared_with, found.difference
    if before is None:
        return
    if difference is None:
        reasons = (each.reason for each in found.missing if each.section == "difference")
        yield Finding(level="note", text=f"Not compared with the rows of training: {next(reasons, 'no difference')}.")
        return
    loss, where = LOSSES[found.loss], f"the {before.rows:,} {before.part} rows of training"
    numbers = f"{number(found.value.value)} instead of {number(before.value.value)}; difference {estimate(difference)}"
    if difference.value is None:
        text = f"The {loss} of these rows is beyond the range of float64, and not compared with {where}."
        yield Finding(level="warning", text=text)
    elif difference.low is None or difference.high is None:
        why = "it takes two rows" if min(found.rows, before.rows) < 2 else "all of them have the same loss"
        text = f"Whether the difference to {where} is more than chance cannot be told, as {why}: {loss} {numbers}."
        yield Finding(level="note", text=text)
    elif difference.low > 0:
        text = f"The version is significantly worse here than on {where}: {loss} {numbers}."
        if before.part == "validation":
            text += " Validation rows also chose the best epoch, so their loss is a little too good."
        yield Finding(level="warning", text=text)
    elif difference.high < 0:
        text = f"The version is significantly better here than on {where}: {loss} {numbers}."
        yield Finding(level="good", text=text)
    else:
        yield Finding(level="good", text=f"No significant difference to {where}: {loss} {numbers}.")


def _of_rows(found: Evaluation) -> Iterator[Finding]:
    if found.unlabelled:
        total = found.rows + found.unlabelled + found.not_finite
        text = f"{found.unlabelled:,} of {total:,} rows are left out of every number here: they have no label."
        yield Finding(level="note", text=text)
    if found.not_finite:
        text = f"{found.not_finite:,} rows are left out: their predictions are beyond the range of float64."
        yield Finding(level="warning", text=text)
    if found.rows < FEW_ROWS:
        rows = f"{found.rows} rows were" if found.rows > 1 else "1 row was"
        text = f"Only {rows} evaluated: intervals are wide, and small differences mean little."
        yield Finding(level="note", text=text)


def _of_coverage(found: Evaluation) -> Iterator[Finding]:
    for each in found.conformal:
        if _too_rare(each, FALSE_ALARMS / len(found.conformal)):
            what = "sets of classes" if found.classification is not None else "intervals"
            text = (
                f"Prediction {what} for {each.level:.0%} hold the true value of only {estimate(each.coverage)} of "
                "these rows: they are not like those that calibrated them."
            )
            yield Finding(level="warning", text=text)
            return


def _too_rare(found: ConformalCoverage, probability: float) -> bool:
    """Whether so few true values are covered with at most this probability if the rows are like those of calibration.

    Of n rows the k-th smallest score covers a share of others that has a beta distribution, of m rows therefore a
    number with a beta-binomial one.
    """
    n, m, share = found.calibration_rows, found.rows, found.coverage.value
    k = quantile_place(n, found.level)
    if share is None or share >= found.level or k > n:
        return False
    covered, b = round(share * m), n + 1 - k
    term = exp(
        _log_choose(covered + k - 1, covered) + _log_choose(m - covered + b - 1, m - covered) - _log_choose(m + n, m)
    )
    total = 0.0
    for x in range(covered, -1, -1):
        total += term
        if total > probability or term < 1e-9 * total:
            break
        term *= x * (m - x + b) / ((m - x + 1) * (x + k - 1)) if x + k > 1 else 0.0
    return total <= probability


def _log_choose(of: int, some: int) -> float:
    return lgamma(of + 1) - lgamma(some + 1) - lgamma(of - some + 1)
