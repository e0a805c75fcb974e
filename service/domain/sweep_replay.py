"""Results of replaying halving and early stopping over the recorded curves of a sweep."""

from __future__ import annotations

from typing import Any, Literal

from service.domain.status import Status
from service.spec.base import FrozenModel
from service.spec.early_stopping import Monitor
from service.spec.sweep_replay import SweepRule


class ReplayedTrial(FrozenModel):
    """A trial, with its value."""

    trial: int
    """Its number in the sweep, from 1: a point with all its seeds and folds."""
    point: dict[str, Any]
    """Fields that it changes, by dotted name in the spec."""
    value: float
    """Mean of the monitored metric over its jobs, each at its best epoch."""


class ShortCurve(FrozenModel):
    """A job whose recorded curve is too short for a rule."""

    job: str
    """The job's id."""
    trial: int
    """Its trial."""
    status: Status
    """`pruned` jobs train on with `POST /v1/jobs/{id}/resume`; ended ones in a fork with another rule."""
    epochs: int
    """Epochs on record."""
    needed: int | None
    """Epochs that the rule would have let it train; null: until the rule stops it."""


class ReplayedRule(FrozenModel):
    """What a rule would have cost, and what it would have missed."""

    rule: SweepRule
    """The rule with all defaults filled in."""
    epochs: int
    """Epochs that all jobs together would have trained; of short curves only those on record are known."""
    saved: float
    """Share of the recorded epochs that would not have been trained; below 0 if there would have been more."""
    winner: ReplayedTrial | None
    """The trial that would have been best; null if none has a value."""
    regret: float | None
    """How much worse its value is than the best on record, in the metric's unit; 0 or more."""
    relative_regret: float | None
    """`regret` relative to the magnitude of the best value; null if that is 0."""
    exact: bool
    """Whether a sweep with this rule would have gone just so: all curves are long enough to tell."""
    short: list[ShortCurve]
    """The jobs whose curves are too short to tell, in the order of the trials."""
    reason: str
    """The result in words."""


class SweepReplay(FrozenModel):
    """Rules replayed over the recorded curves of a sweep."""

    object: Literal["list"] = "list"
    """What this JSON object is."""
    monitor: Monitor
    """The metric by which trials are compared."""
    trials: int
    """Number of trials."""
    epochs: int
    """Epochs on record, of all jobs together."""
    best: ReplayedTrial | None
    """The best trial on record."""
    data: list[ReplayedRule]
    """One per rule, in the rules' order."""
