"""The part of a report's document about retrained networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.reports.documents import charts
from service.reports.documents.blocks import Charts, Paragraph, Section, Table
from service.reports.retraining import NAMES
from service.reports.sections.estimate import Estimate
from service.reports.text import NOTHING, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service.reports.documents.blocks import Block
    from service.reports.sections.retraining import DroppedColumn, LearningCurvePoint, RetrainingSection

TITLE = "Answers by retraining"
VERDICTS = {
    "worse_without": "worse without",
    "no_difference": "no clear difference",
    "better_without": "better without",
}


def retraining(found: RetrainingSection) -> Section:
    """The learning curve, and the networks without a column."""
    name = NAMES[found.metric]
    text = (
        f"{found.jobs} networks with this job's settings were trained again and compared by the {name} of the "
        f"{found.part} rows. Standard errors are those of the mean over trainings with other seeds, not of the rows; "
        "a difference is called clear if a t test at 5% of the pairs of a seed finds it."
    )
    if found.columns:
        text += (
            " Networks without a column start with other weights than those with it, and all columns are compared "
            "with the same networks: several verdicts may be wrong at once."
        )
    if found.metric == "loss":
        text += " The pinball loss is in standard deviations of the training target."
    if found.without_result:
        text += f" {found.without_result} further jobs have no result."
    blocks: list[Block] = [
        Paragraph(text),
        *(Paragraph(each) for each in found.sentences[: found.more_rows is not None]),
    ]
    blocks += _learning_curve(found.learning_curve, name) if found.learning_curve else []
    blocks += [_columns(found.columns, name)] if found.columns else []
    return Section(TITLE, blocks)


def _learning_curve(points: Sequence[LearningCurvePoint], name: str) -> list[Block]:
    drawn = [(_share(each.fraction), _estimate(each), "c1") for each in points]
    cells = [
        (
            _share(each.fraction),
            NOTHING if each.rows is None else f"{each.rows:,}",
            number(each.mean),
            number(each.standard_error),
            str(len(each.draws)),
        )
        for each in points
    ]
    head = ("Share of the training rows", "Rows", f"Mean {name}", "Standard error", "Networks")
    chart = charts.rows_with_intervals("Learning curve (less is better)", name, drawn, bars=False)
    return [Charts([chart]), Table(head, cells, frozenset())]


def _columns(columns: Sequence[DroppedColumn], name: str) -> Table:
    rows = [
        (each.column, number(each.change.mean), number(each.change.standard_error), VERDICTS[each.verdict])
        for each in columns
    ]
    return Table(("Without column", f"Change of the {name}", "Standard error", "Networks are"), rows, frozenset({0, 3}))


def _share(fraction: float) -> str:
    return f"{fraction * 100:g}%"


def _estimate(point: LearningCurvePoint) -> Estimate:
    """The mean with one standard error on either side."""
    if point.standard_error is None:
        return Estimate(value=point.mean, low=None, high=None)
    return Estimate(value=point.mean, low=point.mean - point.standard_error, high=point.mean + point.standard_error)
