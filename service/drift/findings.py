"""What to know first about the drift of rows, in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from service.drift.report import MODERATE
from service.reports.report import Finding
from service.reports.text import number
from service.spec.text import some

if TYPE_CHECKING:
    from service.drift.report import ColumnDrift, DriftReport, PredictionMove

MAX_NAMED = 5
WORTH_NAMING = 0.01
"""Share of rows with an unseen value."""


def findings(report: DriftReport) -> list[Finding]:
    """The findings, drifted columns first."""
    return [*_of_columns(report), *_of_predictions(report), *_of_unseen(report), *_of_few_rows(report)]


def _of_columns(report: DriftReport) -> Iterator[Finding]:
    if not report.columns:
        return
    drifted = [each for each in report.columns if each.drift != "none"]
    total = len(report.columns)
    if not drifted:
        yield Finding(level="good", text=f"None of the {total} columns has drifted." if total > 1 else _ONE)
        return
    named = ", ".join(f"{each.column} (PSI {number(each.psi)})" for each in drifted[:MAX_NAMED])
    more = f" and {len(drifted) - MAX_NAMED} more" if len(drifted) > MAX_NAMED else ""
    large = any(each.drift == "large" for each in drifted)
    verb = "have" if len(drifted) > 1 else "has"
    text = f"{len(drifted)} of {total} columns {verb} drifted: {named}{more}."
    yield Finding(level="warning" if large else "note", text=text)


_ONE = "The column has not drifted."


def _of_predictions(report: DriftReport) -> Iterator[Finding]:
    if not report.predictions:
        return
    drifted = [each for each in report.predictions if each.drift != "none"]
    if not drifted:
        yield Finding(level="good", text="The predictions have not drifted.")
        return
    largest = max(drifted, key=lambda each: each.psi)
    text = f"The predictions have drifted: PSI {number(largest.psi)} of {largest.column}"
    if report.moved is not None:
        text += _moved(report.moved)
    level = "warning" if any(each.drift == "large" for each in drifted) else "note"
    yield Finding(level=level, text=f"{text}.")


def _moved(found: PredictionMove) -> str:
    """`; the mean probability of yes went from 0.3 to 0.5, of which 0.15 by the column mass`."""
    changes = [after - before for before, after in zip(found.training, found.rows, strict=True)]
    place = max(range(len(changes)), key=lambda each: abs(changes[each]))
    what = found.outputs[place] if len(found.outputs) == 1 else f"probability of {found.outputs[place]}"
    text = f"; the mean {what} went from {number(found.training[place])} to {number(found.rows[place])}"
    by = max(found.by, key=lambda each: each.change[place] * changes[place], default=None)
    if by is None or by.change[place] * changes[place] <= 0:
        return text
    return f"{text}, of which {number(by.change[place])} by the column {by.column}"


def _of_unseen(report: DriftReport) -> Iterator[Finding]:
    found = [each for each in report.columns if each.unseen is not None and each.unseen >= WORTH_NAMING]
    for each in sorted(found, key=lambda each: -(each.unseen or 0.0))[:MAX_NAMED]:
        yield Finding(level="note", text=_unseen(each))


def _unseen(column: ColumnDrift) -> str:
    share = f"{number(100 * (column.unseen or 0.0))}% of the rows"
    if column.unseen_texts:
        return f"{share} have a text in {column.column} that no training row has: {some(column.unseen_texts)}."
    return f"{share} have a value in {column.column} outside the range of the training rows."


def _of_few_rows(report: DriftReport) -> Iterator[Finding]:
    unclear = [each for each in report.columns if each.drift == "none" and each.psi >= MODERATE]
    if unclear:
        text = (
            f"With {report.compared_rows:,} rows the PSI of {len(unclear)} of the columns is above {MODERATE}, but not "
            "above what it may be by chance: more rows would tell."
        )
        yield Finding(level="note", text=text)
