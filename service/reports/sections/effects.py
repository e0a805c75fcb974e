"""Effects of columns on predictions."""

from __future__ import annotations

from typing import Literal

from service.spec.base import FrozenModel


class EffectPoint(FrozenModel):
    """The effect at one value of a column."""

    value: bool | float | str
    """The number, text or boolean; of a time the seconds since 1970 (UTC)."""
    effect: list[float]
    """By how much the mean prediction differs from that of all rows: one number for each of the `outputs`."""
    rows: int
    """Rows between the value before and this one, or with this text."""


class ColumnEffect(FrozenModel):
    """How predictions change with the value of one column."""

    column: str
    """The column."""
    method: Literal["ale", "replaced"]
    """`ale`: accumulated local effects between quantiles of a number. `replaced`: mean predictions with every row's
    text replaced by this one."""
    points: list[EffectPoint]
    """In the order of the numbers, or the most frequent text first."""


class Effects(FrozenModel):
    """Effects of the most important columns."""

    outputs: list[str]
    """What each number of an effect is of: probabilities of these classes, or the target."""
    rows: int
    """How many rows were used."""
    columns: list[ColumnEffect]
    """The most important column first."""
