"""Rows on which the error is larger than elsewhere."""

from __future__ import annotations

from service.spec.base import FrozenModel


class SliceCondition(FrozenModel):
    """A condition on one column: a value, a range, or missing."""

    column: str
    """The column."""
    value: str | float | bool | None
    """The value; null for a range, or missing values."""
    low: float | None
    """Values from here on; null without a lower end."""
    high: float | None
    """Values below this one; null without an upper end."""
    missing: bool
    """Whether these are the rows without a value."""


class ErrorSlice(FrozenModel):
    """Rows on which the error is larger than on the others."""

    conditions: list[SliceCondition]
    """One or two conditions, which all hold."""
    rows: int
    """Number of rows."""
    mean_loss: float
    """Mean loss of these rows."""
    rest_mean_loss: float
    """Mean loss of all other rows."""
    excess: float
    """`mean_loss` minus `rest_mean_loss`."""
    p_value: float
    """One-sided p-value of a t-test; for two conditions, the largest one of those against all other rows and against
    the other rows of each condition alone."""
    corrected_p_value: float
    """The p-value corrected for all slices that were looked at, by Holm's method (`looked_at` and `pairs`)."""


class SlicesSection(FrozenModel):
    """Where the error is significantly larger than elsewhere."""

    rows: int
    """Number of rows."""
    mean_loss: float
    """Mean loss of all rows."""
    min_rows: int
    """Slices with fewer rows, or with fewer rows outside, are not looked at."""
    looked_at: int
    """Slices of one condition that were looked at."""
    pairs: int
    """Pairs of them in different columns: the number that pairs are corrected for."""
    slices: list[ErrorSlice]
    """Slices with a corrected p-value of at most 0.05, by decreasing total excess (`rows` times `excess`)."""
