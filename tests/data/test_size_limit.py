"""The size limit of a profile: long value lists are truncated, short ones are complete."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from service.data.profile.size_limit import bounded
from service.spec.table import MIN_CATEGORY_ROWS, Column, ColumnType, ValueCount

LISTS = st.lists(st.tuples(st.text(max_size=30), st.integers(1, 20)), max_size=15, unique_by=lambda each: each[0])


def column(name: str, found: list[tuple[str, int]], *, whole: bool) -> Column:
    values = [ValueCount(value=value, count=count) for value, count in found]
    if whole:
        values.sort(key=lambda each: str(each.value))
    else:
        values.sort(key=lambda each: (-each.count, str(each.value)))
    kept = {"values" if whole else "top": values}
    return Column(name=name, type=ColumnType.text, missing=0, distinct=len(values), **kept)  # type: ignore[arg-type]


def listed(column: Column) -> list[ValueCount]:
    return column.values or column.top or []


def size(column: Column) -> int:
    return len(json.dumps([each.model_dump() for each in listed(column)])) - len("[]")


@given(st.lists(st.tuples(LISTS, st.booleans()), min_size=1, max_size=6), st.integers(0, 3_000))
def test_lists_fit_and_keep_their_most_frequent(lists: list[tuple[list[tuple[str, int]], bool]], most: int) -> None:
    columns = [column(f"c{number}", found, whole=whole) for number, (found, whole) in enumerate(lists)]

    kept, warnings = bounded(columns, most)

    assert sum(map(size, kept)) <= most or kept == columns  # two bytes less a list than counted: the last has no comma
    assert bool(warnings) == (kept != columns)
    share = most // len(columns)
    for before, after in zip(columns, kept, strict=True):
        if size(before) + 2 <= share:
            assert after == before
        if after != before:
            counts = [each.count for each in listed(after)]
            left = [each.count for each in listed(before) if each not in listed(after)]
            assert after.values is None
            assert counts == sorted(counts, reverse=True)
            assert min(counts, default=99) >= max((c for c in left if c >= MIN_CATEGORY_ROWS), default=0)


def test_what_fits_is_left_as_it_is() -> None:
    columns = [column("a", [("x", 3), ("y", 9)], whole=True)]

    assert bounded(columns, 1_000) == (columns, [])
