"""Small tables and specs for tests of resolving."""

from __future__ import annotations

from typing import Any

import pytest

from service.errors import InvalidSpec
from service.spec.job import JobSpec
from service.spec.resolve import Resolved, resolve
from service.spec.table import Column, ColumnType, TableProfile, ValueCount

ROWS = 100


def column(name: str, kind: str = "number", *, missing: int = 0, distinct: int | None = None) -> Column:
    """A column as the reader of an upload would profile it; its values are 0, 1, ... or v000, v001, ..., equally
    frequent."""
    type_ = ColumnType(kind)
    many = 2 if type_ is ColumnType.boolean else ROWS - missing if distinct is None else distinct
    value = {ColumnType.text: "v{:03}".format, ColumnType.boolean: bool}.get(type_, int)
    listed = type_ in (ColumnType.text, ColumnType.boolean, ColumnType.integer) and many <= 1_000
    counts = [(ROWS - missing) // many + (i < (ROWS - missing) % many) for i in range(many)]
    values = [ValueCount(value=value(i), count=count) for i, count in enumerate(counts)] if listed else None
    return Column(name=name, type=type_, missing=missing, distinct=many, values=values)


TABLE = TableProfile(
    rows=ROWS,
    columns=[column("length"), column("island", "text", distinct=3), column("species", "text", distinct=3)],
)


def table(*columns: Column, rows: int = ROWS) -> TableProfile:
    """A table of these columns."""
    return TableProfile(rows=rows, columns=list(columns))


def spec(target: str = "species", features: list[str] | None = None, **fields: Any) -> JobSpec:
    """A job spec on an uploaded data set, with whatever else is given."""
    data = {"kind": "dataset", "id": "ds_1", "target": target, "features": features}
    return JobSpec.model_validate({"data": data, **fields})


def resolved(profile: TableProfile = TABLE, target: str = "species", **fields: Any) -> Resolved:
    """The spec on this table, resolved."""
    return resolve(spec(target, **fields), profile)


def inline(x: list[list[float | None]], y: list[Any], **fields: Any) -> JobSpec:
    """A job spec with its rows inside."""
    return JobSpec.model_validate({"data": {"kind": "inline", "x": x, "y": y}, **fields})


def refused(profile: TableProfile = TABLE, target: str = "species", **fields: Any) -> tuple[str, str]:
    """(pointer, message) of the one fault for which resolving refuses."""
    with pytest.raises(InvalidSpec) as error:
        resolved(profile, target, **fields)
    (fault,) = error.value.field_errors
    return fault.pointer, fault.message
