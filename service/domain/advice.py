"""Advice from recorded training histories."""

from __future__ import annotations

from typing import Literal

from service.spec.base import FrozenModel
from service.spec.early_stopping import Monitor


class MeanInterval(FrozenModel):
    """A mean with its 95% bootstrap interval."""

    mean: float
    """The mean."""
    low: float | None
    """Lower end of the interval; null with fewer than two independent histories."""
    high: float | None
    """Upper end; null as `low`."""


class PatienceOutcome(FrozenModel):
    """What one patience would have saved and lost."""

    patience: int
    """The patience, in epochs; other settings of the rule as each job has them."""
    jobs: int
    """Number of jobs whose histories tell."""
    histories: int
    """Number of independent histories: jobs that differ only in seed and fold are one."""
    epochs_saved: MeanInterval
    """Share of the epochs that would not have been trained, from 0 to 1."""
    relative_regret: MeanInterval
    """How much worse the best epoch would have been, relative to the best value of the recorded history."""
    missed: float
    """Share of the histories in which a better epoch would have come after the stop."""


class EarlyStoppingAdvice(FrozenModel):
    """Which patience would have saved how many epochs at what regret, by recorded histories."""

    object: Literal["early_stopping_advice"] = "early_stopping_advice"
    """What this JSON object is."""
    monitor: Monitor
    """The monitored metric."""
    jobs: int
    """Number of jobs whose histories were read."""
    histories: int
    """Number of independent histories among them."""
    stopped_early: int
    """Number of these jobs that early stopping has ended: what they would have found later is not known."""
    truncated: bool
    """Whether there are more matching jobs, older ones or very long ones, that were not read."""
    patiences: list[PatienceOutcome]
    """In ascending order; only those that the histories tell about."""
    max_regret: float
    """The relative regret asked for."""
    recommended: int | None
    """The smallest patience whose mean relative regret is at most `max_regret` by the upper end of its interval; null
    if there is none, or too few histories."""
    sentences: list[str]
    """The advice in words, with its uncertainty."""
