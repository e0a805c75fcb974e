"""Size limit of a profile: long value lists are truncated to the most frequent values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import accumulate, takewhile

from service.spec.table import MIN_CATEGORY_ROWS, Column, ValueCount
from service.spec.text import some

ENTRY_BYTES = len('{"value": , "count": }, ')


def bounded(columns: Sequence[Column], max_bytes: int) -> tuple[list[Column], list[str]]:
    """The columns with value lists of at most `max_bytes` as JSON together, and warnings about truncated lists.

    All lists get an equal share; what short ones do not use goes to the long ones. A truncated list keeps its most
    frequent values, as `top`: enough for categories, not for the classes of a target.
    """
    sizes = {column.name: sum(map(_size, _list_of(column))) for column in columns}
    most = _share(sorted(sizes.values()), max_bytes)
    if most is None:
        return list(columns), []
    cut = [name for name, size in sizes.items() if size > most]
    warning = (
        f"the values of {some(cut)} exceed the profile, {sum(sizes[name] for name in cut):,} bytes: only"
        " the most frequent are kept, and these columns cannot be the target of a classification"
    )
    return [_cut(column, most) if sizes[column.name] > most else column for column in columns], [warning]


def _share(sizes: Sequence[int], max_bytes: int) -> int | None:
    """The size to which larger ones of the sorted `sizes` must shrink for all to fit `max_bytes`; None if they fit."""
    left = max_bytes
    for place, size in enumerate(sizes):
        share = left // (len(sizes) - place)
        if size > share:
            return share
        left -= size
    return None


def _cut(column: Column, most: int) -> Column:
    common = [value for value in _list_of(column) if value.count >= MIN_CATEGORY_ROWS]
    if column.values is not None:
        common.sort(key=lambda value: -value.count)  # ties stay in the order of the values, as `top` has it
    fits = takewhile(lambda total: total <= most, accumulate(map(_size, common)))
    return column.model_copy(update={"values": None, "top": common[: sum(1 for _ in fits)]})


def _list_of(column: Column) -> list[ValueCount]:
    return column.values or column.top or []


def _size(value: ValueCount) -> int:
    return ENTRY_BYTES + len(json.dumps(value.value)) + len(str(value.count))
