"""Replay of other early-stopping rules over a recorded history."""

from __future__ import annotations

from itertools import chain, islice
from typing import Annotated, Literal

from fastapi import APIRouter, Body, Request
from pydantic import Field

from service.api import expensive_work
from service.api.context import JobId, Reader, RequestContext
from service.api.http.openapi import problems
from service.api.routes.epochs import pages
from service.api.routes.jobs import read_job
from service.api.strict_route import StrictRoute
from service.errors import Conflict, InvalidSpec
from service.spec.base import Strict
from service.spec.documented import Documented
from service.spec.early_stopping import EarlyStopping
from service.stopping.replay import Replayed, replay

router = APIRouter(prefix="/jobs", tags=["progress"], route_class=StrictRoute)

MAX_DECISIONS = 1_000_000  # rules x epochs of a request: about 8 seconds of CPU time

EXAMPLE = {
    "rules": [
        {"patience": 5},
        {"rule": "gl", "alpha": 2.0},
        {"rule": "pq", "alpha": 1.0, "k": 5},
        {"rule": "up", "s": 3, "k": 5},
    ]
}


class ReplayRequest(Strict):
    """Early-stopping rules to replay."""

    rules: Annotated[list[EarlyStopping], Field(min_length=1, max_length=100)]
    """Each as `early_stopping` of a job spec."""


class Replays(Documented):
    """The result of each rule."""

    object: Literal["list"] = "list"
    """What this JSON object is."""
    epochs: int
    """Epochs recorded, over which the rules were run."""
    data: list[Replayed]
    """One per rule, in the rules' order."""


@router.post(
    "/{job_id}/early-stopping/replay",
    operation_id="replay_early_stopping",
    summary="Try other stopping rules",
    responses=problems(400, 404, 409, 413, 415),
)
async def replay_early_stopping(
    job_id: JobId,
    asked: Annotated[ReplayRequest, Body(openapi_examples={"rules": {"value": EXAMPLE}})],
    request: Request,
    context: Reader,
) -> Replays:
    """Where each rule would have stopped this job, which epoch it would have kept, and at what regret.

    Nothing is trained: the rules run over the epochs recorded so far, of a job in any state; 409 before the first.
    An answer is `exact` where the same job, submitted with that rule, would have ended just so. It is not where the
    record ends before the rule does - unless the job ran to `max_epochs` or `max_seconds` - or where a rule monitors
    something else than a job whose `plateau` schedule follows its monitor.
    """
    return await expensive_work.run(context, request, context.state.compute_slots, _replayed, context, job_id, asked)


def _replayed(context: RequestContext, job_id: str, asked: ReplayRequest) -> Replays:
    job = read_job(context, job_id)
    epochs = job.progress.epoch
    if epochs == 0:
        raise Conflict(f"the job is {job.status.value} and has no epoch on record")
    if epochs * len(asked.rules) > MAX_DECISIONS:
        raise InvalidSpec.at("/rules", f"{epochs:,} epochs take at most {MAX_DECISIONS // epochs} rules at once")
    rows = islice(chain.from_iterable(pages(context, job_id)), epochs)
    return Replays(epochs=epochs, data=replay(job.known_spec, job.stop_reason, rows, asked.rules))
