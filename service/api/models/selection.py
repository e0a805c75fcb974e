"""Which jobs a new version is made of, and with which weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from service.domain.sweep import SweepStatus
from service.errors import Conflict, FieldError, InvalidSpec, NotFound
from service.spec.model import MAX_MEMBERS
from service.store import sweep_results, sweeps

if TYPE_CHECKING:
    from service.api.context import RequestContext
    from service.domain.sweep import SweepResult
    from service.spec.model import VersionSource


@dataclass(frozen=True)
class Chosen:
    """A job that becomes a member."""

    job: str
    weight: float
    """Relative to those of the others."""
    pointer: str
    """JSON pointer to what names it in the request."""


def choose(context: RequestContext, source: VersionSource) -> list[Chosen]:
    """The jobs of a new version. Raises InvalidSpec for an unknown sweep, Conflict while it has no result."""
    if source.job is not None:
        return [Chosen(source.job, 1.0, "/from/job")]
    if source.members is not None:
        return [
            Chosen(member.job, member.weight, f"/from/members/{place}/job")
            for place, member in enumerate(source.members)
        ]
    assert source.sweep is not None
    best = points_of(context, source.sweep)[0]
    if len(best) > MAX_MEMBERS:
        message = f"its best point has {len(best)} jobs; a version has {MAX_MEMBERS} members at most"
        raise InvalidSpec.at("/from/sweep", message)
    return [Chosen(row.job, 1.0, "/from/sweep") for row in best]


def points_of(context: RequestContext, sweep_id: str) -> list[list[SweepResult]]:
    """The jobs of each point of an ended sweep, best point first; only points with a value for each seed and fold."""
    try:
        with context.database.reading() as connection:
            sweep = sweeps.get(connection, sweep_id)
            found = sweep_results.points(connection, sweep_id)
    except NotFound as error:
        raise InvalidSpec.at("/from/sweep", error.detail) from error
    if sweep.status is SweepStatus.running:
        raise conflict("/from/sweep", "the sweep is still running; wait until it has ended, or cancel it")
    replicates = sweep.replicates * sweep.repeats * (sweep.folds or 1)
    complete = [rows for _, rows in found if len(rows) >= replicates and all(row.value is not None for row in rows)]
    if not complete:
        raise conflict("/from/sweep", "no point of the sweep has a best epoch for each of its seeds and folds")
    return complete


def conflict(pointer: str, message: str) -> Conflict:
    """A Conflict with a field error."""
    return Conflict(message, (FieldError(pointer, message),))
