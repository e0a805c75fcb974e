"""How much each parameter of a sweep matters for the value of its points."""

from __future__ import annotations

from typing import Literal

from service.spec.base import FrozenModel
from service.spec.early_stopping import Monitor

Scale = Literal["linear", "log", "choice"]


class ParameterImportance(FrozenModel):
    """The importance of a parameter."""

    name: str
    """The field of the spec, by dotted name."""
    importance: float
    """Share of the variance of the points' values that the parameter explains by itself, relative to the other
    parameters: all shares together are 1."""
    scale: Scale
    """How its values are compared: as numbers, by their logarithms, or as choices without an order."""


class ParameterLeftOut(FrozenModel):
    """A parameter without an importance."""

    name: str
    """The field of the spec, by dotted name."""
    reason: str
    """Why in words."""


class SweepImportance(FrozenModel):
    """The importance of the parameters of a sweep."""

    sweep: str
    """The sweep's id."""
    monitor: Monitor
    """The metric whose variance is explained."""
    points: int
    """Number of points that were used: those with a value, or some of them, spread evenly, if there are many."""
    parameters: list[ParameterImportance]
    """The most important one first."""
    left_out: list[ParameterLeftOut]
    """Parameters that cannot be compared."""
