"""A number with its confidence interval."""

from __future__ import annotations

from service.spec.base import FrozenModel


class Estimate(FrozenModel):
    """A number with its 95% confidence interval."""

    value: float | None
    """The value on these rows; null where it is undefined."""
    low: float | None
    """Lower end of the interval; null if there is none, e.g. because all resamples have the same value."""
    high: float | None
    """Upper end of the interval; null if there is none."""
