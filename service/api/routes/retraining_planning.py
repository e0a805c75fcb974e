"""Plans the retraining of a job: the sweep's jobs, what they cost, and what is left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from service.api.routes.jobs import read_job
from service.api.spec_patch import apply
from service.api.sweeps.planning import plan_sweep
from service.api.table_profiles import profile_for
from service.domain.retraining import LeftOut, RetrainingPlan
from service.domain.status import Status
from service.domain.sweep import SweepStatus
from service.errors import Conflict, InvalidSpec
from service.reports.report import Report
from service.spec.data import DatasetData
from service.spec.duration import arrays_of
from service.spec.resolve import resolve
from service.spec.retraining import (
    DRAWS,
    FEATURES,
    FRACTIONS,
    MAX_COLUMNS,
    base_of_retraining,
    drop_column_points,
    learning_curve_points,
)
from service.spec.split import drawn_rows
from service.spec.sweep import SweepSpec
from service.store import retraining

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from service.api.context import RequestContext
    from service.domain.job import Job
    from service.domain.sweep import Sweep
    from service.spec.job import JobSpec
    from service.spec.resolved import Resolved
    from service.store.sweeps import SweepJob

NO_COLUMNS = "rows inside the spec have no columns that could be left out: upload them as a data set"
ONLY_COLUMN = "it is the only column"


@dataclass(frozen=True)
class PlannedRetraining:
    """The sweep that would retrain a job, its resolved jobs, and the plan that clients see."""

    spec: SweepSpec
    jobs: Sequence[SweepJob]
    plan: RetrainingPlan


def current_sweep(context: RequestContext, job_id: str) -> tuple[Sweep | None, str | None]:
    """The sweep that retrains the job, and the id of the newest one even if it is of no use any more: cancelled,
    without jobs, or finished without a job that has succeeded."""
    with context.database.reading() as connection:
        found = retraining.find(connection, job_id)
    if found is None:
        return None, None
    failed = found.status is SweepStatus.finished and not found.counts.get(Status.succeeded)
    return (None if found.status is SweepStatus.cancelled or failed else found), found.id


def require_retrainable(context: RequestContext, job_id: str) -> Job:
    """The ended job; raises NotFound, and Conflict without a best epoch or for a fork."""
    job = read_job(context, job_id)
    if not job.status.terminal or job.best is None:
        state = f"is {job.status.value}" if not job.status.terminal else "has no best epoch"
        raise Conflict(f"the job {state}; a job is retrained once it has ended with a best epoch")
    if job.forked is not None:
        raise Conflict(
            f"the job is a fork of {job.forked.job}: it started from trained weights, and networks that are retrained "
            "from random weights could not be compared with it; retrain a job that is no fork"
        )
    return job


def plan_retraining(context: RequestContext, job: Job, report: bytes) -> PlannedRetraining:
    """The plan for a job that can be retrained, and its report; raises Conflict if it cannot be trained again."""
    job_id = job.id
    base = base_of_retraining(job.known_spec, job_id)
    candidates, columns_by = _columns(Report.model_validate_json(report), base)
    fits, left_out = _checker(context, base), list[LeftOut]()
    points, fractions, columns = list[dict[str, Any]](), list[float](), list[str]()
    for fraction in FRACTIONS:
        changes = learning_curve_points(base, fraction)
        if reason := fits(changes[0]):
            if fraction == 1.0:
                raise Conflict(f"the job cannot be trained again: {reason}")
            left_out.append(LeftOut(fraction=fraction, column=None, reason=reason))
            continue
        points += changes
        fractions.append(fraction)
    for column in candidates[:MAX_COLUMNS]:
        changes = drop_column_points(base, column)
        if reason := ONLY_COLUMN if not changes[0][FEATURES] else fits(changes[0]):
            left_out.append(LeftOut(fraction=None, column=column, reason=reason))
            continue
        points += changes
        columns.append(column)
    left_out += _further_columns(base, candidates, columns_by)
    spec = SweepSpec(name=base.name, base=base, points=points)
    try:
        planned = plan_sweep(context, spec)
    except InvalidSpec as error:
        raise Conflict(f"the job cannot be retrained: {_reason(error)}") from error
    resolved = [each.resolved for each in planned]
    current, _ = current_sweep(context, job_id)
    plan = RetrainingPlan(
        job=job_id,
        sweep=None if current is None else current.id,
        jobs=len(planned),
        arrays=len(arrays_of(resolved)),
        epochs=sum(each.spec.max_epochs for each in resolved),
        estimated_seconds=_seconds(context, job, resolved),
        draws=DRAWS,
        fractions=fractions,
        columns=columns,
        columns_by=columns_by,
        left_out=left_out,
    )
    return PlannedRetraining(spec, planned, plan)


def _columns(report: Report, base: JobSpec) -> tuple[list[str], Literal["importance", "order"]]:
    """The features in the order in which they are to be left out."""
    if not isinstance(base.data, DatasetData):
        return [], "order"
    features = base.data.features or []
    if report.importance is None:
        return features, "order"
    important = [each.columns[0] for each in report.importance.columns if len(each.columns) == 1]
    return [name for name in dict.fromkeys([*important, *features]) if name in features], "importance"


def _further_columns(base: JobSpec, candidates: Sequence[str], by: str) -> Iterator[LeftOut]:
    if not isinstance(base.data, DatasetData):
        yield LeftOut(fraction=None, column=None, reason=NO_COLUMNS)
    elif len(candidates) > MAX_COLUMNS:
        first = "most important" if by == "importance" else "first"
        reason = f"{len(candidates) - MAX_COLUMNS:,} further columns: only the {MAX_COLUMNS} {first} ones are left out"
        yield LeftOut(fraction=None, column=None, reason=reason)


def _checker(context: RequestContext, base: JobSpec) -> Callable[[dict[str, Any]], str | None]:
    """A function that says why the base cannot be trained with some changes; None if it can. Raises Conflict if the
    data set was deleted."""
    try:
        profile = profile_for(context, base)
    except InvalidSpec as error:
        raise Conflict("the data set was deleted, and the job cannot be trained again") from error

    def check(changes: dict[str, Any]) -> str | None:
        try:
            resolve(apply(base, changes), profile, context.state.limits)
        except InvalidSpec as error:
            return _reason(error)
        return None

    return check


def _reason(error: InvalidSpec) -> str:
    """The first thing that is wrong."""
    return error.field_errors[0].message if error.field_errors else error.detail


def _seconds(context: RequestContext, job: Job, jobs: Sequence[Resolved]) -> float | None:
    """The job's epochs at its speed for every job, in proportion to the rows; None without epochs."""
    with context.database.reading() as connection:
        each = retraining.epoch_seconds(connection, job.id)
    if each is None:
        return None
    most = max(jobs, key=lambda other: other.rows.train).rows
    own = drawn_rows(most.train, job.known_spec.split) + most.validation
    rows = sum(other.rows.train + other.rows.validation for other in jobs)
    return each * job.progress.epoch * rows / own
