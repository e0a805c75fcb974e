"""Steps of a sweep's search: trials that it proposes become jobs; at the end of a rung jobs train on, or are pruned."""

from __future__ import annotations

import math
from itertools import groupby
from typing import TYPE_CHECKING, Any

from service.api.http.validation_errors import MAX_ERRORS
from service.api.sweeps.planning import Resolver, check_comparable, check_size, in_sweep, plan_sweep, refuse
from service.concurrency.cancellation import current
from service.domain.status import Status
from service.domain.sweep import DecisionKind, NewDecision
from service.errors import FieldError, InvalidSpec, NotFound
from service.search.state import SearchState, TrialResult
from service.search.steps import next_step
from service.spec.search import TpeSearch
from service.spec.space import bounds_of
from service.spec.sweep import SweepSpec, drawn_point, jobs_of
from service.store import decisions, sweeps, trials
from service.store.jobs import actions, jobs
from service.store.jobs.dataset_locks import lock_datasets
from service.store.sweeps import SweepJob, row_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service.api.context import RequestContext
    from service.domain.sweep import Sweep
    from service.search.sampling import Admits
    from service.store.trials import TrialJob


def first_step(context: RequestContext, spec: SweepSpec) -> tuple[list[SweepJob], list[NewDecision]]:
    """The jobs of a search's first trials, and the decisions that propose them. Raises InvalidSpec. Blocks."""
    check_size(context, spec)
    if isinstance(spec.search, TpeSearch):
        context.state.tpe.start()  # it will be asked once the first trials have ended
    resolver = Resolver(context, spec.base)
    _check_space(resolver, spec)
    step = next_step(SearchState(spec), admits=_admits(resolver, spec), propose=context.state.tpe.propose)
    return plan_sweep(context, spec, step), step


def take_step(context: RequestContext, sweep: Sweep) -> bool:
    """Take the next step of the sweep's search, and carry it out; False when there is none.

    Computed outside of transactions. Raises AlreadyDecided when another process was first, Unavailable, StorageError,
    and InvalidSpec when the data set was deleted.
    """
    with context.database.reading() as connection:
        taken = decisions.find(connection, sweep.id)  # before its jobs: a step taken in between makes this one fail
        recorded = trials.find(connection, sweep.id)
    spec = _spec_of(sweep)
    state = SearchState(spec, taken, _results(spec, recorded), trials.seconds_since(sweep.created_at))
    resolver = Resolver(context, spec.base)
    step = next_step(state, admits=_admits(resolver, spec), propose=context.state.tpe.propose)
    if not step:
        return False
    new, failed = _jobs(resolver, spec, step)
    rows = [{**row_of(job, context.caller.tenant), "sweep_id": sweep.id} for job in new]
    with context.database.transaction() as connection:
        decisions.take(connection, sweep.id, len(taken), [*step, *failed])
        try:
            lock_datasets(connection, {row["dataset_id"] for row in rows} - {None})
        except NotFound as error:
            raise InvalidSpec.at("/base/data/id", error.detail) from error
        for start in range(0, len(rows), sweeps.CHUNK):
            jobs.add(connection, rows[start : start + sweeps.CHUNK])
        for (kind, rung, limit), ids in _grouped(step, recorded).items():
            if kind is DecisionKind.promoted:
                actions.promote(connection, ids, limit)
            else:
                actions.prune(connection, ids, "pruned by the search" + (f" at rung {rung}" if rung else ""))
    return True


def _check_space(resolver: Resolver, spec: SweepSpec) -> None:
    """Raise InvalidSpec if a bound or a choice of the space makes no valid spec, or one that is not comparable."""
    errors, first = dict[tuple[str, str], FieldError](), None
    for changes in bounds_of(spec.space or {}):
        current().check()
        try:
            found = resolver.resolve(changes).spec
            first = first or found
            check_comparable(spec.base.monitor, first, found)
        except InvalidSpec as error:
            for each in error.field_errors:
                error_in_sweep = in_sweep(each, drawn_point(spec.space or {}, changes), resolver.base_errors)
                errors.setdefault((error_in_sweep.pointer, each.message), error_in_sweep)
        if len(errors) >= MAX_ERRORS:
            break
    refuse(list(errors.values()))


def _admits(resolver: Resolver, spec: SweepSpec) -> Admits:
    """Whether the network of a point is small enough; a point that makes no valid spec is found elsewhere."""
    most = spec.search.max_parameters if spec.search else None

    def admits(changes: Any) -> bool:
        if most is None:
            return True
        current().check()
        try:
            return resolver.resolve(changes).graph.parameters <= most
        except InvalidSpec:
            return True

    return admits


def _spec_of(sweep: Sweep) -> SweepSpec:
    """The sweep's spec as it was submitted, without what its search does not depend on."""
    fields = ("base", "grid", "points", "space", "search", "replicates", "folds", "repeats")
    return SweepSpec.model_validate({name: getattr(sweep, name) for name in fields})


def _results(spec: SweepSpec, recorded: Sequence[TrialJob]) -> dict[int, TrialResult]:
    ordered = sorted(recorded, key=lambda job: job.trial)
    return {trial: _result(spec, list(own)) for trial, own in groupby(ordered, key=lambda job: job.trial)}


def _result(spec: SweepSpec, own: Sequence[TrialJob]) -> TrialResult:
    lost = len(own) < spec.jobs_per_point or any(job.status in (Status.failed, Status.cancelled) for job in own)
    values = [job.value for job in own if job.value is not None and math.isfinite(job.value)]
    return TrialResult(
        value=None if lost or len(values) < len(own) else math.fsum(values) / len(values),
        epochs=sum(job.epoch for job in own),
        live=any(not job.status.terminal and not job.at_limit for job in own),
        waiting=any(job.status in (Status.queued, Status.paused) for job in own),
    )


def _jobs(resolver: Resolver, spec: SweepSpec, step: Sequence[NewDecision]) -> tuple[list[SweepJob], list[NewDecision]]:
    """The jobs of the trials that the step proposes; for a trial that makes no valid spec a decision that says so."""
    found, failed = list[SweepJob](), list[NewDecision]()
    for each in step:
        if each.kind is not DecisionKind.proposed:
            continue
        points = [job.changes for job in jobs_of(spec, drawn_point(spec.space or {}, each.point or {}))]
        try:
            found += [SweepJob(point, resolver.resolve(point), each.trial, each.epochs) for point in points]
        except InvalidSpec as error:
            if any(fault.pointer == "/data/id" for fault in error.field_errors):  # the data set was deleted
                raise
            failed.append(NewDecision(DecisionKind.failed, error.detail, trial=each.trial))
    return found, failed


def _grouped(
    step: Sequence[NewDecision], recorded: Sequence[TrialJob]
) -> dict[tuple[DecisionKind, int | None, int | None], list[str]]:
    """The jobs that the step promotes or prunes, by (kind, rung, epoch limit)."""
    decided = {each.trial: each for each in step if each.kind in (DecisionKind.promoted, DecisionKind.pruned)}
    found: dict[tuple[DecisionKind, int | None, int | None], list[str]] = {}
    for job in recorded:
        if each := decided.get(job.trial):
            found.setdefault((each.kind, each.rung, each.epochs), []).append(job.id)
    return found
