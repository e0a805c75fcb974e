"""Which jobs a new version is made of, and with which weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from service.domain.job_file import JobFileKind
from service.domain.status import LIVE
from service.ensembling.process import select_members
from service.errors import Conflict, FieldError, InvalidSpec, NotFound, ReadingLimit
from service.spec.model import MAX_MEMBERS
from service.store import job_files, sweep_results, sweeps

if TYPE_CHECKING:
    from pathlib import Path

    from service.api.context import RequestContext
    from service.domain.sweep import SweepResult
    from service.spec.model import VersionSource

_INSTEAD = "publish the sweep with `select: best`, or train it again with `predictions` in BESTEPOCH_KEEP"


@dataclass(frozen=True)
class Chosen:
    """A job that becomes a member."""

    job: str
    weight: float
    """Relative to those of the others."""
    pointer: str
    """JSON pointer to what names it in the request."""


def choose(context: RequestContext, source: VersionSource) -> list[Chosen]:
    """The jobs of a new version. Raises InvalidSpec for an unknown sweep, Conflict while it has no result.

    Takes long for `greedy`, which reads the predictions of all jobs of the sweep.
    """
    if source.job is not None:
        return [Chosen(source.job, 1.0, "/from/job")]
    if source.members is not None:
        return [
            Chosen(member.job, member.weight, f"/from/members/{place}/job")
            for place, member in enumerate(source.members)
        ]
    assert source.sweep is not None
    points = points_of(context, source.sweep)
    if source.select == "greedy" and len(points) > 1:  # a single point has none to be compared with
        chosen = _greedy(context, points)
    else:
        chosen = [(row.job, 1.0) for row in points[0]]
    if len(chosen) > MAX_MEMBERS:
        message = f"the version would have {len(chosen)} members; {MAX_MEMBERS} are allowed"
        raise InvalidSpec.at("/from/sweep", message)
    return [Chosen(job, weight, "/from/sweep") for job, weight in chosen]


def _greedy(context: RequestContext, points: list[list[SweepResult]]) -> list[tuple[str, float]]:
    """(job, weight) of the points that greedy ensemble selection takes; the jobs of a point have equal weights."""
    names = {name for rows in points for row in rows for name in row.point}
    if differing := sorted(name for name in names if name.split(".")[0] == "data" and name != "data.features"):
        message = f"`greedy` compares predictions of the same rows, but the sweep changes {differing[0]!r}"
        raise InvalidSpec.at("/from/select", message)
    candidates = [[_predictions(context, row.job) for row in rows] for rows in points]
    try:
        counts = select_members(candidates, context.state.file_process_limits)
    except ReadingLimit as error:
        message = f"the sweep is too large for `greedy`: {error.detail}"
        raise InvalidSpec.at("/from/sweep", message) from error
    if counts is None:
        raise conflict("/from/sweep", "the points of the sweep have no validation row in common")
    taken = [(rows, count) for rows, count in zip(points, counts, strict=True) if count]
    return [(row.job, count / len(rows)) for rows, count in taken for row in rows]


def _predictions(context: RequestContext, job_id: str) -> Path:
    """The file of the job's predictions; raises Conflict if it has kept none."""
    with context.database.reading() as connection:
        kept = job_files.find(connection, job_id, JobFileKind.predictions)
    if kept is None:
        message = f"the job {job_id!r} has kept no predictions of validation rows, which `greedy` compares: {_INSTEAD}"
        raise conflict("/from/select", message)
    return context.state.artifacts.path(kept.path, kept.sha256)


def points_of(context: RequestContext, sweep_id: str) -> list[list[SweepResult]]:
    """The jobs of each point of an ended sweep, best point first; only points with a value for each seed and fold."""
    try:
        with context.database.reading() as connection:
            sweep = sweeps.get(connection, sweep_id)
            found = sweep_results.points(connection, sweep_id)
    except NotFound as error:
        raise InvalidSpec.at("/from/sweep", error.detail) from error
    if any(sweep.counts[status] for status in LIVE):
        raise conflict("/from/sweep", "the sweep is still running; wait until it has ended, or cancel it")
    replicates = sweep.replicates * sweep.repeats * (sweep.folds or 1)
    complete = [rows for _, rows in found if len(rows) >= replicates and all(row.value is not None for row in rows)]
    if not complete:
        raise conflict("/from/sweep", "no point of the sweep has a best epoch for each of its seeds and folds")
    return complete


def conflict(pointer: str, message: str) -> Conflict:
    """A Conflict with a field error."""
    return Conflict(message, (FieldError(pointer, message),))
