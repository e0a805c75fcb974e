"""Sweeps: submit, list, read, wait, cancel."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Body, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from service.api import expensive_work
from service.api.context import Reader, RequestContext, Submitter, SweepId
from service.api.http.openapi import SWEEP_EXAMPLES, problems
from service.api.pagination import Limit, Page, cursor, page_of
from service.api.routes.jobs import REPLAYED, IdempotencyKey, fingerprint
from service.api.strict_route import StrictRoute
from service.api.sweeps.plan import SweepPlan, plan_of_sweep
from service.api.sweeps.presets import planned
from service.domain.sweep import Sweep, SweepStatus
from service.errors import InvalidSpec, NotFound, StorageError, Unavailable
from service.spec.limits import file_bytes_of
from service.spec.sweep import SweepSpec
from service.store import decisions, sweeps
from service.store.jobs import jobs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service.store.sweeps import NewSweep

log = logging.getLogger(__name__)

DECISION_SECONDS = 0.1  # between two looks at a sweep that decides, while none of its jobs is live

router = APIRouter(prefix="/sweeps", tags=["sweeps"], route_class=StrictRoute)

LOCATION = {"Location": {"description": "URL of the sweep.", "schema": {"type": "string"}}}


@router.post(
    "",
    status_code=201,
    operation_id="create_sweep",
    summary="Submit a sweep",
    response_description="The sweep, its jobs queued.",
    responses={
        **problems(400, 413, 415, 429),
        200: {"model": Sweep, "description": "The sweep that this key created before.", "headers": REPLAYED},
        201: {"headers": LOCATION},
    },
)
async def create_sweep(
    asked: Annotated[SweepSpec, Body(description="The base spec and its variations.", openapi_examples=SWEEP_EXAMPLES)],
    context: Submitter,
    request: Request,
    response: Response,
    key: IdempotencyKey = None,
) -> Sweep:
    """Queue many jobs at once: a `grid` of values to combine, or `points` one by one; `replicates` adds seeds, `folds`
    cross-validates, and `repeats` does so with several assignments of rows to folds.

    Names are dotted paths into the spec, as in `optimizer.lr`. Every job is validated first: all are queued, or none,
    and an error points at the value that causes it. Duplicate jobs are refused.
    """
    # Validating thousands of jobs takes seconds: use threads apart from those of short requests.
    sweep, created = await expensive_work.run(
        context, request, context.state.compute_slots, _create, context, asked, key
    )
    response.headers["Location"] = f"/v1/sweeps/{sweep.id}"
    if not created:
        response.status_code = 200
        response.headers["Idempotent-Replayed"] = "true"
    return sweep


@router.post("/plan", operation_id="plan_sweep", summary="Plan a sweep", responses=problems(400, 413, 415))
async def plan_sweep(
    asked: Annotated[SweepSpec, Body(description="A sweep as for its submission.", openapi_examples=SWEEP_EXAMPLES)],
    context: Reader,
    request: Request,
) -> SweepPlan:
    """How many jobs, arrays and epochs a sweep would train, and about how long. Checks it like a submission, and
    creates nothing.
    """
    return await expensive_work.run(context, request, context.state.compute_slots, plan_of_sweep, context, asked)


def _create(context: RequestContext, asked: SweepSpec, key: str | None) -> tuple[Sweep, bool]:
    sha256 = fingerprint(asked)
    if key is not None:
        with context.database.reading() as connection:
            known = sweeps.by_idempotency_key(connection, key, sha256)
        if known is not None:
            return known, False
    sweep = planned(context, asked)
    share = len(sweep.jobs) / sweep.spec.size  # the first trials of a search that proposes others later
    context.check_quota(math.ceil(sum(file_bytes_of(job.resolved) for job in sweep.jobs) / share))
    new = sweeps.prepare(
        sweep.spec,
        sweep.jobs,
        context.caller.tenant,
        idempotency_key=key,
        request_sha256=sha256,
        key=context.caller.key,
        recipes=sweep.recipes,
        decisions=sweep.decisions,
    )
    try:
        stored = store_sweep(context, new)
    except NotFound as error:
        raise InvalidSpec.at("/base/data/id", error.detail) from error
    if stored[0].pending:
        context.state.decisions_due.set()
    return stored


def store_sweep(context: RequestContext, new: NewSweep) -> tuple[Sweep, bool]:
    """Store the sweep in short transactions, so that others are not blocked; it is visible only after the last one.

    (sweep, False) if its Idempotency-Key and request were accepted before. Raises NotFound when a data set was deleted.
    """
    most, staged, stored = context.state.settings.max_queued_jobs, list[str](), False
    try:
        if new.chunks:
            with context.database.reading() as connection:
                jobs.check_queue_limit(connection, len(new.jobs), most)
        for chunk in new.chunks:
            began = time.monotonic()
            staged += [job["id"] for job in chunk]
            with context.database.transaction() as connection:
                jobs.stage(connection, chunk)
            if context.database.is_sqlite:  # SQLite's write lock is not fair: give other writers time to take it
                time.sleep(time.monotonic() - began)
        with context.database.transaction() as connection:
            sweep, created = sweeps.create(connection, new, staged=staged, max_queued=most)
        stored = created
        return sweep, created
    finally:
        if not stored:
            _discard(context, staged)


def _discard(context: RequestContext, staged: Sequence[str]) -> None:
    """Delete staged jobs; the garbage collector deletes what is left."""
    for start in range(0, len(staged), sweeps.CHUNK):
        try:
            with context.database.transaction() as connection:
                jobs.discard_staged(connection, staged[start : start + sweeps.CHUNK])
        except (Unavailable, StorageError) as error:
            log.warning("%d staged jobs of a sweep are left to the garbage collector: %s", len(staged) - start, error)
            return


@router.get("", operation_id="list_sweeps", summary="List sweeps")
def list_sweeps(context: Reader, limit: Limit = 20, after: Annotated[str | None, cursor("swp")] = None) -> Page[Sweep]:
    """Sweeps, newest first."""
    with context.database.reading() as connection:
        found = sweeps.find(connection, limit=limit + 1, after=after)
    return page_of(found, limit, lambda sweep: sweep.id)


@router.get("/{sweep_id}", operation_id="get_sweep", summary="Read a sweep", responses=problems(404))
async def get_sweep(
    sweep_id: SweepId,
    context: Reader,
    wait: Annotated[float, Query(ge=0, le=60, description="Seconds to wait for all its jobs to end.")] = 0,
) -> Sweep:
    """The sweep with its counts and its best job. With `wait`, the response is delayed until no job is live, at most so
    many seconds."""
    sweep = await run_in_threadpool(_read, context, sweep_id)
    if wait and sweep.status is SweepStatus.running:
        with context.state.rate_limiter.stream(context.caller.tenant):
            await _ended(context, sweep_id, wait)
        sweep = await run_in_threadpool(_read, context, sweep_id)
    return sweep


async def _ended(context: RequestContext, sweep_id: str, seconds: float) -> None:
    """Wait until the sweep has ended, at most `seconds`: wait for its newest live job, repeatedly."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + seconds
    while (left := deadline - clock()) > 0 and not context.state.watcher.stopped:
        job_id, pending = await run_in_threadpool(_awaited, context, sweep_id)
        if job_id is not None:
            await context.state.watcher.wait_for_end(job_id, left)
        elif pending:
            await asyncio.sleep(min(left, DECISION_SECONDS))
        else:
            return


def _read(context: RequestContext, sweep_id: str) -> Sweep:
    with context.database.reading() as connection:
        return sweeps.get(connection, sweep_id)


def _awaited(context: RequestContext, sweep_id: str) -> tuple[str | None, bool]:
    """The sweep's newest live job, and whether a decision is due."""
    with context.database.reading() as connection:
        return sweeps.newest_live(connection, sweep_id), decisions.is_pending(connection, sweep_id)


@router.post(
    "/{sweep_id}/cancel",
    operation_id="cancel_sweep",
    summary="Cancel a sweep",
    response_description="No job of the sweep is live.",
    responses={
        **problems(404),
        202: {"model": Sweep, "description": "Running jobs will stop at the end of their epoch."},
    },
)
def cancel_sweep(sweep_id: SweepId, context: Submitter, response: Response) -> Sweep:
    """Stop all jobs of a sweep permanently: queued ones at once, running ones at the end of their epoch, keeping their
    best. An ended sweep does not change.
    """
    with context.database.transaction() as connection:
        sweep = sweeps.cancel(connection, sweep_id)
    if sweep.status is SweepStatus.running:
        response.status_code = 202
    return sweep
