"""The stored profile of a version's training rows and held-out predictions, with which new rows are compared."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from service.spec.base import FrozenModel
from service.spec.table import ColumnType

FORMAT = 1
"""Of the stored profile."""


class NumberProfile(FrozenModel):
    """A column of numbers, of booleans as 0 and 1, or of dates in seconds since 1970."""

    kind: Literal["number"] = "number"
    column: str
    """The column's name."""
    type: ColumnType
    """The type of its values."""
    missing: int
    """Rows without a finite value."""
    low: float | None
    """The smallest value; null if all are missing."""
    high: float | None
    """The largest value."""
    edges: list[float]
    """Rising; a bin has the values above an edge up to the next one."""
    counts: list[int]
    """Rows of each bin, one more than edges; empty if all values are missing."""
    quantiles: list[float]
    """Values at equally spaced ranks, each of which a row has."""


class TextProfile(FrozenModel):
    """A column of texts."""

    kind: Literal["text"] = "text"
    column: str
    """The column's name."""
    missing: int
    """Rows without a text."""
    texts: list[str]
    """The most frequent texts, in order."""
    counts: list[int]
    """Rows of each of them."""
    other: int
    """Rows of all other texts."""

    @property
    def type(self) -> ColumnType:
        """The type of its values."""
        return ColumnType.text


ColumnProfile = Annotated[NumberProfile | TextProfile, Field(discriminator="kind")]


class Profile(FrozenModel):
    """What a version knows of its training rows and of its predictions for held-out rows."""

    format: int = FORMAT
    """The format of this document."""
    rows: int
    """Number of training rows, those of all members together."""
    columns: list[ColumnProfile]
    """The feature columns of all members."""
    no_columns: str | None
    """Why there are no columns; null if there are."""
    predicted_rows: int
    """Number of rows that no member was trained on, and that all have predicted; 0: there are none."""
    no_predictions: str | None = None
    """Why there are none; null if there are."""
    predictions: list[ColumnProfile]
    """Predictions for these rows, named as in files of predictions."""
    means: list[float]
    """Mean predicted number, or mean probability of each class, for these rows."""
