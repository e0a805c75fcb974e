"""How models read the columns of rows to predict: in what two models differ, and the columns of both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from service.spec.read_options import DEFAULT_NULL_VALUES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service.spec.table import ColumnType


class Column(Protocol):
    """A feature column of a model; see `FittedFeature`."""

    @property
    def column(self) -> str:
        """The column's name."""

    @property
    def type(self) -> ColumnType:
        """What its values are."""

    @property
    def categories(self) -> list[str] | None:
        """The texts that have an input; null for anything but text."""

    @property
    def origin(self) -> float:
        """The earliest training date, in seconds since 1970."""


class Columns(Protocol):
    """The feature columns of a model; see `Preprocessing`."""

    @property
    def features(self) -> Sequence[Column]:
        """The columns."""

    @property
    def null_values(self) -> list[str]:
        """Texts that mean a missing value in the data set."""

    @property
    def date_format(self) -> str | None:
        """How dates are written."""


C = TypeVar("C", bound=Column)


def null_values_of(columns: Columns, column: Column) -> set[str]:
    """Null values of a column in rows to predict; its categories are not among them."""
    return {*(columns.null_values or DEFAULT_NULL_VALUES)} - {*(column.categories or ())}


def has_clock(column: Column) -> bool:
    """Whether a date column may contain times of day alone, which are read as of the first day of 1970."""
    return 0 <= column.origin < 86_400.0


def difference(one: Columns, other: Columns) -> str | None:
    """What keeps `one` from reading the columns of both as `other` reads its own; None if nothing does."""
    known = {each.column: each for each in one.features}
    for column in other.features:
        if _reading(one, known.get(column.column, column)) != _reading(other, column):
            return f"column {column.column!r} as another type, or with other null values,"
    return "dates in another format" if one.date_format != other.date_format else None


def union(one: Sequence[C], other: Sequence[C]) -> list[C]:
    """The columns of `one`, then those that only `other` has."""
    known = {each.column for each in one}
    return [*one, *(each for each in other if each.column not in known)]


def _reading(columns: Columns, column: Column) -> tuple[object, ...]:
    """On which the reading of a value of the column depends."""
    return column.type, column.categories is None, has_clock(column), null_values_of(columns, column)
