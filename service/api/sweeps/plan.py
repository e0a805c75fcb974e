"""The plan of a sweep: its jobs, arrays, epochs and about how many seconds, before anything is queued."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from service.api.sweeps.presets import planned
from service.spec.duration import array_seconds, arrays_of
from service.spec.limits import file_bytes_of
from service.store import workers

if TYPE_CHECKING:
    from service.api.context import RequestContext
    from service.spec.sweep import SweepSpec


class SweepPlan(BaseModel):
    """What a sweep would train."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    points: int
    """Number of points: jobs that differ only in seed and fold count once."""
    folds: int | None
    """Number of cross-validation folds; null without cross-validation."""
    jobs: int
    """Number of jobs."""
    arrays: int
    """Number of arrays in which they train together, at least; `BESTEPOCH_ARRAY_WIDTH` may make more of them."""
    epochs: int
    """Epochs of all jobs together, at most; early stopping usually ends sooner."""
    seconds: float
    """About how long they train for all these epochs, on the trainers that are running now, with nothing else to do.
    Estimated for a CPU core from the sizes of rows and networks, without the time of a publication."""
    trainers: int
    """Trainers that are running now, or 1."""
    file_bytes: int
    """Estimated size of the files that the jobs write."""
    recipes: str | None
    """The version of the recipes of a preset."""


def plan_of_sweep(context: RequestContext, asked: SweepSpec) -> SweepPlan:
    """The plan; raises InvalidSpec as the submission would. Blocks."""
    sweep = planned(context, asked)
    spec, jobs = sweep.spec, [job.resolved for job in sweep.jobs]
    arrays = arrays_of(jobs)
    with context.database.reading() as connection:
        trainers = sum(worker.trainers for worker in workers.find(connection)) or 1
    seconds = [array_seconds(array) for array in arrays]
    return SweepPlan(
        points=len(jobs) // (spec.replicates * spec.repeats * (spec.folds or 1)),
        folds=spec.folds,
        jobs=len(jobs),
        arrays=len(arrays),
        epochs=sum(job.spec.max_epochs for job in jobs),
        seconds=max(max(seconds), sum(seconds) / trainers),
        trainers=trainers,
        file_bytes=sum(map(file_bytes_of, jobs)),
        recipes=sweep.recipes,
    )
