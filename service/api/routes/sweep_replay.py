"""Replay of other searches and stopping rules over the recorded curves of a sweep."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Annotated

from fastapi import APIRouter, Body, Request
from pydantic import TypeAdapter, ValidationError

from service.api import expensive_work
from service.api.context import Reader, RequestContext, SweepId
from service.api.http.openapi import problems
from service.api.strict_route import StrictRoute
from service.concurrency.cancellation import current
from service.domain.epoch import EpochValue
from service.domain.status import Status, StopReason
from service.domain.sweep import Sweep
from service.domain.sweep_replay import SweepReplay
from service.errors import Conflict, InvalidSpec
from service.search.replay import Curve, Recorded, Stop, Trial, replay_halving, replay_stopping
from service.spec.early_stopping import EarlyStopping, Monitor
from service.spec.sweep_replay import Halving, SweepReplayRequest, SweepRule
from service.stopping.replay import started
from service.store import histories, sweeps
from service.store.histories import SweepCurve
from service.store.sweep_results import without_replicates

router = APIRouter(prefix="/sweeps", tags=["sweeps"], route_class=StrictRoute)

MAX_DECISIONS = 1_000_000  # epochs x stopping rules of a request: about 10 seconds of CPU time

EXAMPLE = {"rules": [{"kind": "halving", "eta": 4, "min_epochs": 3}, {"patience": 5}, {"rule": "gl", "alpha": 2.0}]}

_STOPPING: TypeAdapter[EarlyStopping] = TypeAdapter(EarlyStopping)


@router.post(
    "/{sweep_id}/replay",
    operation_id="replay_sweep",
    summary="Try other searches and stopping rules",
    responses=problems(400, 404, 409, 413, 415),
)
async def replay_sweep(
    sweep_id: SweepId,
    asked: Annotated[SweepReplayRequest, Body(openapi_examples={"rules": {"value": EXAMPLE}})],
    request: Request,
    context: Reader,
) -> SweepReplay:
    """What successive halving, or an early-stopping rule on each job, would have cost, which trial it would have found,
    and at what regret to the best on record.

    Nothing is trained: the rules run over the epochs recorded so far. Halving decides as the search of a sweep does. A
    stopping rule replaces that of each job, and monitors the metric of the sweep. An answer is `exact` where every
    curve is long enough to tell; `short` has the others, e.g. of jobs that a search has pruned, which can be resumed. A
    trial with a failed job has no value.
    """
    return await expensive_work.run(context, request, context.state.compute_slots, _replayed, context, sweep_id, asked)


def _replayed(context: RequestContext, sweep_id: str, asked: SweepReplayRequest) -> SweepReplay:
    with context.database.reading() as connection:
        sweep = sweeps.get(connection, sweep_id)
        found = histories.of_sweep(connection, sweep_id)
    rules = [_monitoring(rule, sweep.monitor, place) for place, rule in enumerate(asked.rules)]
    _check(sweep, found, rules)
    stopping = [rule for rule in rules if not isinstance(rule, Halving)]
    recorded = Recorded(
        _trials(found, _curves(context, sweep.monitor, found, stopping)),
        max(job.max_epochs for job in found),
        sweep.monitor.larger_is_better,
    )
    places = iter(range(len(stopping)))
    return SweepReplay(
        monitor=sweep.monitor,
        trials=len(recorded.trials),
        epochs=recorded.epochs,
        best=recorded.best,
        data=[
            replay_halving(recorded, rule)
            if isinstance(rule, Halving)
            else replay_stopping(recorded, rule, next(places))
            for rule in rules
        ],
    )


def _monitoring(rule: SweepRule, monitor: Monitor, place: int) -> SweepRule:
    """The rule with the sweep's metric; raises InvalidSpec for a rule that names another one, or cannot monitor it."""
    if isinstance(rule, Halving) or rule.monitor is monitor:
        return rule
    if "monitor" in rule.model_fields_set:
        raise InvalidSpec.at(f"/rules/{place}/monitor", f"should be the metric of the sweep, {monitor.value}")
    try:
        return _STOPPING.validate_python({**rule.model_dump(), "monitor": monitor})
    except ValidationError as error:
        message = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise InvalidSpec.at(f"/rules/{place}/monitor", message) from error


def _check(sweep: Sweep, found: Sequence[SweepCurve], rules: Sequence[SweepRule]) -> None:
    """Raise Conflict or InvalidSpec if the rules cannot be replayed on this sweep."""
    epochs = sum(job.epochs for job in found)
    if not epochs:
        raise Conflict("no job of the sweep has an epoch on record")
    if {job.monitor for job in found} != {sweep.monitor}:
        raise Conflict(f"some jobs of the sweep monitor another metric than {sweep.monitor.value}")
    stopping = sum(not isinstance(rule, Halving) for rule in rules)
    if epochs * max(stopping, 1) > MAX_DECISIONS:
        most = MAX_DECISIONS // epochs
        raise InvalidSpec.at("/rules", f"{epochs:,} epochs take at most {most} stopping rules at once")
    max_epochs = {job.max_epochs for job in found}
    for place, rule in enumerate(rules):
        if isinstance(rule, Halving) and len(max_epochs) > 1:
            raise InvalidSpec.at(f"/rules/{place}/kind", "halving needs jobs with the same max_epochs")
        if isinstance(rule, Halving) and rule.min_epochs is not None and rule.min_epochs >= max(max_epochs):
            message = f"should be less than max_epochs of the jobs, {max(max_epochs)}"
            raise InvalidSpec.at(f"/rules/{place}/min_epochs", message)


def _curves(
    context: RequestContext, monitor: Monitor, found: Sequence[SweepCurve], rules: Sequence[EarlyStopping]
) -> dict[str, Curve]:
    """The curves by job; each is read, and the stopping rules are replayed on it, before the next ones are read."""
    by_id = {job.id: job for job in found}
    with context.database.reading() as connection:
        curves = {job.id: _curve(job, [], monitor, rules) for job in found}
        for job_id, rows in histories.values(connection, list(by_id), monitor):
            current().check()
            curves[job_id] = _curve(by_id[job_id], rows, monitor, rules)
        return curves


def _curve(job: SweepCurve, rows: Sequence[EpochValue], monitor: Monitor, rules: Sequence[EarlyStopping]) -> Curve:
    sign = -1.0 if monitor.larger_is_better else 1.0
    improvements = list[tuple[int, float]]()
    runs = [started(rule) for rule in rules]
    for epoch, row in enumerate(rows, start=1):
        if row.value is not None and (not improvements or sign * row.value < sign * improvements[-1][1]):
            improvements.append((epoch, row.value))
        for run in runs:
            run.add(epoch, row.value, row.train_loss, non_finite=row.non_finite)
    at_the_end = len(rows) >= job.max_epochs or job.stop_reason is StopReason.max_time
    stops = [
        Stop(run.stop_epoch or len(rows), run.tracker.best_value, run.stop_epoch is not None or at_the_end)
        for run in runs
    ]
    return Curve(job.id, job.status, len(rows), job.status is Status.succeeded, improvements, stops)


def _trials(found: Iterable[SweepCurve], curves: dict[str, Curve]) -> list[Trial]:
    """The trials, numbered by the search, or as submitted; jobs that differ only in seed and fold are one trial."""
    groups: dict[str, list[SweepCurve]] = {}
    for job in found:
        point = json.dumps(without_replicates(job.point), sort_keys=True)
        groups.setdefault(point if job.trial is None else str(job.trial), []).append(job)
    return [
        Trial(
            group[0].trial or number,
            without_replicates(group[0].point),
            [curves[job.id] for job in group],
        )
        for number, group in enumerate(groups.values(), start=1)
    ]
