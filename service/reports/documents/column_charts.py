"""The charts of a report about columns: importance and effects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.reports.documents.blocks import Chart
from service.reports.documents.charts import COLOURS, ROW, axis_format, rows_with_intervals
from service.reports.documents.plot import Plot
from service.reports.text import cell, number, time

if TYPE_CHECKING:
    from collections.abc import Collection

    from service.reports.sections.effects import ColumnEffect, Effects
    from service.reports.sections.importance import Importance

BARS = 20
OUTPUTS = 5
WIDTH, HEIGHT = 360, 220


def importance(found: Importance, label: str) -> Chart:
    """The largest increases of the loss."""
    rows = [
        (" + ".join(each.columns), each.increase, "c1" if len(each.columns) == 1 else "c2")
        for each in found.columns[:BARS]
    ]
    return rows_with_intervals("Permutation importance", f"increase of the {label}", rows, bars=True)


def legend(found: Effects) -> Chart:
    """The colours of the outputs."""
    names = found.outputs[:OUTPUTS]
    plot = Plot((0.0, 1.0), (0.0, 1.0), width=WIDTH, height=15 * len(names) + 60)
    plot.legend(names, 0.6, 0.0)
    return Chart("Probability of", plot.svg("Colours of the classes"))


def effect(column: ColumnEffect, found: Effects, times: Collection[str]) -> Chart:
    """The effect of one column on each output, over its values."""
    title = column.column
    values = [value for point in column.points for value in point.effect[:OUTPUTS]]
    ends = min(*values, 0.0), max(*values, 0.0)
    if column.method == "replaced" or isinstance(column.points[0].value, bool):
        return _of_texts(column, ends, title)
    xs = [float(point.value) for point in column.points]
    plot = Plot((xs[0], xs[-1]), ends, width=WIDTH, height=HEIGHT)
    plot.y_axis(axis_format(*ends))
    plot.x_axis(column.column, time if column.column in times else axis_format(xs[0], xs[-1]))
    for place in range(min(len(found.outputs), OUTPUTS)):
        points = [(x, point.effect[place]) for x, point in zip(xs, column.points, strict=True)]
        plot.line(points, f"c{(place + 1) % COLOURS if len(found.outputs) == 1 else place % COLOURS}")
    plot.rug(xs)
    return Chart(title, plot.svg(f"Effect of {title}"))


def _of_texts(column: ColumnEffect, ends: tuple[float, float], title: str) -> Chart:
    count, outputs = len(column.points), min(len(column.points[0].effect), OUTPUTS)
    plot = Plot(ends, (0.0, float(count)), width=WIDTH, height=max(HEIGHT, ROW * count + 50), left=120)
    plot.x_grid()
    plot.x_axis("effect", axis_format(*ends))
    for place, point in enumerate(column.points):
        top = count - place - 0.15
        name = cell(point.value)
        plot.left_label(top - 0.35, name)
        for output in range(outputs):
            height = 0.7 / outputs
            y = top - output * height
            style = f"bar c{output if outputs > 1 else 1}"
            plot.bar((0.0, point.effect[output]), (y - height, y), style, f"{name}: {number(point.effect[output])}")
    return Chart(title, plot.svg(f"Effect of {title}"))
