"""Values of boolean columns in a report as `true` and `false`; networks and baselines read them as 1 and 0."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from service.reports.sections.effects import ColumnEffect, Effects
    from service.reports.sections.slices import ErrorSlice, SlicesSection


def effects_with_booleans(found: Effects, columns: Collection[str]) -> Effects:
    """The effects, with booleans as the values of these columns."""

    def converted(effect: ColumnEffect) -> ColumnEffect:
        points = [point.model_copy(update={"value": bool(point.value)}) for point in effect.points]
        return effect.model_copy(update={"points": points})

    return found.model_copy(
        update={"columns": [converted(each) if each.column in columns else each for each in found.columns]}
    )


def slices_with_booleans(found: SlicesSection, columns: Collection[str]) -> SlicesSection:
    """The slices, with booleans as the values of these columns."""

    def converted(one: ErrorSlice) -> ErrorSlice:
        conditions = [
            each.model_copy(update={"value": bool(each.value)})
            if each.column in columns and each.value is not None
            else each
            for each in one.conditions
        ]
        return one.model_copy(update={"conditions": conditions})

    return found.model_copy(update={"slices": [converted(each) for each in found.slices]})
