"""What retraining a job would cost."""

from __future__ import annotations

from typing import Literal

from service.spec.base import FrozenModel


class LeftOut(FrozenModel):
    """What is not retrained."""

    fraction: float | None
    """A share of the training rows; null: it is about columns."""
    column: str | None
    """A column; null: it is about a share of the rows, or about several columns."""
    reason: str
    """Why not."""


class RetrainingPlan(FrozenModel):
    """What retraining a job would train, and what that costs."""

    object: Literal["retraining_plan"] = "retraining_plan"
    """What this JSON object is."""
    job: str
    """The job's id."""
    sweep: str | None
    """The sweep that retrains the job already; null: none."""
    jobs: int
    """How many jobs would be queued."""
    arrays: int
    """Into how many arrays they fit; a worker with a small BESTEPOCH_ARRAY_WIDTH makes more of them."""
    epochs: int
    """Epochs of all these jobs together, at most."""
    estimated_seconds: float | None
    """An estimate by the speed and the number of epochs of the job itself, as if each job trained alone, one after
    another: jobs of an array take less. Null if the job has no epochs."""
    draws: int
    """Jobs of each share and each column, with different seeds."""
    fractions: list[float]
    """Shares of the training rows of the learning curve."""
    columns: list[str]
    """Columns that are left out one by one."""
    columns_by: Literal["importance", "order"]
    """These are the most important columns of the report, or, where it has no importance, the first of the table."""
    left_out: list[LeftOut]
    """What is not retrained, and why."""
