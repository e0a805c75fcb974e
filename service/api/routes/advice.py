"""Advice from the tenant's recorded histories: which patience would have been enough."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from pydantic import AfterValidator

from service.api import expensive_work
from service.api.context import Reader, RequestContext
from service.api.routes.jobs import label_filters
from service.api.strict_route import StrictRoute
from service.domain.advice import EarlyStoppingAdvice
from service.domain.status import StopReason
from service.spec.base import known
from service.spec.early_stopping import Monitor, Patience
from service.stopping.advice import History, advise
from service.store import histories
from service.store.histories import EndedJob
from service.store.jobs.job_filter import JobFilter

router = APIRouter(prefix="/advice", tags=["progress"], route_class=StrictRoute)


@router.get(
    "/early-stopping",
    operation_id="advise_early_stopping",
    summary="Which patience is enough?",
)
async def advise_early_stopping(
    context: Reader,
    request: Request,
    labels: Annotated[dict[str, str], Depends(label_filters)],
    monitor: Annotated[
        Annotated[Monitor, AfterValidator(known)], Query(description="The monitored metric.")
    ] = Monitor.val_loss,
    max_regret: Annotated[
        float, Query(gt=0, le=1, description="How much worse the best epoch may become, relative to its value.")
    ] = 0.01,
    dataset: Annotated[str | None, Query(max_length=100, description="Only jobs on the data set with this id.")] = None,
    sweep: Annotated[str | None, Query(max_length=100, description="Only jobs of the sweep with this id.")] = None,
    name: Annotated[str | None, Query(max_length=200, description="Only jobs with exactly this name.")] = None,
) -> EarlyStoppingAdvice:
    """How many epochs each patience from 1 to 50 would have saved over the recorded histories, and at what regret.

    Nothing is trained: the rule runs over the histories of the newest 500 ended jobs that match, with up to 50,000
    epochs. A job without early stopping tells about every patience; one whose own rule monitors the same metric with
    patience q tells about smaller ones. Jobs with other rules, forks, and jobs that were cancelled, pruned or failed
    are left out. Intervals are a bootstrap over independent histories: jobs that differ only in seed and fold are one.
    """
    which = JobFilter(name=name, labels=labels, sweep=sweep)
    slots = context.state.compute_slots
    return await expensive_work.run(context, request, slots, _advice, context, which, dataset, monitor, max_regret)


def _advice(
    context: RequestContext, which: JobFilter, dataset: str | None, monitor: Monitor, max_regret: float
) -> EarlyStoppingAdvice:
    with context.database.reading() as connection:
        ended, truncated = histories.find(connection, which, dataset)
        told = [job for job in ended if _tells(job, monitor)]
        read = dict(histories.values(connection, [job.id for job in told], monitor))
    found = [
        History(job.unit, _own_rule(job), job.stop_reason is StopReason.early_stopped, read[job.id])
        for job in told
        if job.id in read
    ]
    return advise(found, monitor, max_regret=max_regret, truncated=truncated)


def _tells(job: EndedJob, monitor: Monitor) -> bool:
    """Whether the job's end does not depend on a rule of another kind, or on another metric."""
    rule = job.early_stopping
    return rule is None or (rule.get("rule", "patience") == "patience" and job.monitor == monitor)


def _own_rule(job: EndedJob) -> Patience | None:
    return None if job.early_stopping is None else Patience.model_validate(job.early_stopping)
