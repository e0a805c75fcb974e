"""The plan of a sweep: its jobs, arrays, epochs and about how many seconds, before anything is queued."""

from __future__ import annotations

import math
from itertools import islice
from typing import TYPE_CHECKING

from service.api.sweeps.presets import planned
from service.search.rung_steps import planned_brackets
from service.search.steps import planned_epochs
from service.spec.documented import Documented
from service.spec.duration import array_seconds, arrays_of
from service.spec.limits import file_bytes_of
from service.spec.resolved import SpecWarning
from service.spec.search import HalvingSearch, HyperbandSearch
from service.store import workers

if TYPE_CHECKING:
    from service.api.context import RequestContext
    from service.api.sweeps.presets import PlannedSweep
    from service.spec.sweep import SweepSpec

MAX_WARNINGS = 100


class PlannedRung(Documented):
    """A rung of successive halving."""

    bracket: int
    """The number of its bracket, from 1."""
    rung: int
    """Its number in the bracket, from 1."""
    trials: int
    """Trials that train in it."""
    epochs: int
    """Epochs up to which their jobs train."""


class SweepPlan(Documented):
    """What a sweep would train."""

    points: int
    """Number of points: jobs that differ only in seed and fold count once. Of a search the trials, at most."""
    folds: int | None
    """Number of cross-validation folds; null without cross-validation."""
    jobs: int
    """Number of jobs; of a search, at most."""
    rungs: list[PlannedRung] | None
    """The rungs of successive halving and Hyperband; null for other sweeps."""
    arrays: int
    """Number of arrays in which they train together, at least; `BESTEPOCH_ARRAY_WIDTH` may make more of them. Of a
    search that proposes trials in batches, those of the first batch."""
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
    warnings: list[SpecWarning]
    """Warnings about the jobs, each once, the first 100, with pointers into a job spec; with a preset only those about
    what the client sends: the data, and the fields that `base` sets."""


def plan_of_sweep(context: RequestContext, asked: SweepSpec) -> SweepPlan:
    """The plan; raises InvalidSpec as the submission would. Blocks."""
    sweep = planned(context, asked)
    spec, jobs = sweep.spec, [job.resolved for job in sweep.jobs]
    size = len(jobs) if isinstance(spec.search, HalvingSearch | HyperbandSearch | None) else spec.size
    arrays = arrays_of(jobs)
    with context.database.reading() as connection:
        trainers = sum(worker.trainers for worker in workers.find(connection)) or 1
    epochs = sum(job.spec.max_epochs for job in jobs)
    most = epochs if spec.search is None else planned_epochs(spec, [each.point or {} for each in sweep.decisions])
    seconds = [array_seconds(array) * most / epochs for array in arrays]
    return SweepPlan(
        points=size // spec.jobs_per_point,
        folds=spec.folds,
        jobs=size,
        rungs=_rungs(spec, len(jobs) // spec.jobs_per_point),
        arrays=len(arrays),
        epochs=most,
        seconds=max(max(seconds), sum(seconds) / trainers),
        trainers=trainers,
        file_bytes=math.ceil(sum(map(file_bytes_of, jobs)) * size / len(jobs)),
        recipes=sweep.recipes,
        warnings=_warnings(sweep),
    )


def _warnings(sweep: PlannedSweep) -> list[SpecWarning]:
    recipes = (sweep.spec.points or []) if sweep.recipes is not None else []
    chosen = {f"/{name.partition('.')[0]}" for point in recipes for name in point}  # by the recipes, not by the client
    found = {warning.message: warning for job in sweep.jobs for warning in job.resolved.warnings}
    shown = (each for each in found.values() if not any(f"{each.pointer}/".startswith(f"{field}/") for field in chosen))
    return list(islice(shown, MAX_WARNINGS))


def _rungs(spec: SweepSpec, trials: int) -> list[PlannedRung] | None:
    if not isinstance(spec.search, HalvingSearch | HyperbandSearch):
        return None
    return [
        PlannedRung(bracket=number, rung=place, trials=rung.trials, epochs=rung.epochs)
        for number, bracket in enumerate(planned_brackets(spec, trials), start=1)
        for place, rung in enumerate(bracket.rungs, start=1)
    ]
