"""Sweeps over HTTP: submit, list, read, wait, cancel."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Body, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from service.api import expensive_work
from service.api.context import Limit, Page, Reader, Service, Submitter, SweepId, cursor, page_of
from service.api.http.openapi import SWEEP_EXAMPLES, problems
from service.api.routes.jobs import REPLAYED, IdempotencyKey, fingerprint
from service.api.routes.sweep_planning import plan_sweep
from service.api.strict_route import Route
from service.domain.sweep import Sweep, SweepStatus
from service.errors import InvalidSpec, NotFound, StorageError, Unavailable
from service.spec.limits import checkpoint_bytes_of
from service.spec.sweep import SweepSpec
from service.store import sweeps
from service.store.jobs import jobs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service.store.sweeps import NewSweep

log = logging.getLogger(__name__)

router = APIRouter(prefix="/sweeps", tags=["sweeps"], route_class=Route)

_LOCATION = {"Location": {"description": "Where the sweep is.", "schema": {"type": "string"}}}


@router.post(
    "",
    status_code=201,
    operation_id="create_sweep",
    summary="Submit a sweep",
    response_description="The sweep, its jobs queued.",
    responses={
        **problems(400, 413, 415, 429),
        200: {"model": Sweep, "description": "The sweep that this key created before.", "headers": REPLAYED},
        201: {"headers": _LOCATION},
    },
)
async def create_sweep(
    asked: Annotated[SweepSpec, Body(description="What to try.", openapi_examples=SWEEP_EXAMPLES)],
    service: Submitter,
    request: Request,
    response: Response,
    key: IdempotencyKey = None,
) -> Sweep:
    """Queue many jobs at once: a `grid` of values to combine, or `points` one by one; `replicates` adds seeds, and
    `folds` cross-validates.

    Names are dotted paths into the spec, as in `optimizer.lr`. Every job is checked first: all are queued, or none,
    and a fault points at the value that brings it about. Two equal jobs are refused.
    """
    # Thousands of jobs take seconds to check: in a thread apart from those that answer short requests.
    sweep, created = await expensive_work.run(service, request, service.parts.computing, _create, service, asked, key)
    response.headers["Location"] = f"/v1/sweeps/{sweep.id}"
    if not created:
        response.status_code = 200
        response.headers["Idempotent-Replayed"] = "true"
    return sweep


def _create(service: Service, asked: SweepSpec, key: str | None) -> tuple[Sweep, bool]:
    sha256 = fingerprint(asked)
    if key is not None:
        with service.database.reading() as connection:
            known = sweeps.by_idempotency_key(connection, key, sha256)
        if known is not None:
            return known, False
    planned = plan_sweep(service, asked)
    service.make_room(sum(checkpoint_bytes_of(job.resolved) for job in planned))
    new = sweeps.prepare(asked, planned, service.caller.tenant, idempotency_key=key, request_sha256=sha256)
    try:
        return _store(service, new)
    except NotFound as error:
        raise InvalidSpec.at("/base/data/id", error.detail) from error


def _store(service: Service, new: NewSweep) -> tuple[Sweep, bool]:
    """In transactions so short that others get a turn in between; nothing is seen of the sweep before the last one."""
    most, staged, stored = service.parts.settings.max_queued_jobs, list[str](), False
    try:
        if new.chunks:
            with service.database.reading() as connection:
                jobs.check_queue_limit(connection, len(new.jobs), most)
        for chunk in new.chunks:
            began = time.monotonic()
            staged += [job["id"] for job in chunk]
            with service.database.transaction() as connection:
                jobs.stage(connection, chunk)
            if service.database.is_sqlite:  # whose lock goes to whoever looks next
                time.sleep(time.monotonic() - began)
        with service.database.transaction() as connection:
            sweep, created = sweeps.create(connection, new, staged=staged, max_queued=most)
        stored = created
        return sweep, created
    finally:
        if not stored:
            _discard(service, staged)


def _discard(service: Service, staged: Sequence[str]) -> None:
    """What cannot be deleted now, the collector deletes later."""
    for start in range(0, len(staged), sweeps.CHUNK):
        try:
            with service.database.transaction() as connection:
                jobs.discard_staged(connection, staged[start : start + sweeps.CHUNK])
        except (Unavailable, StorageError) as error:
            log.warning("%d staged jobs of a sweep are left to the collector: %s", len(staged) - start, error)
            return


@router.get("", operation_id="list_sweeps", summary="List sweeps")
def list_sweeps(service: Reader, limit: Limit = 20, after: Annotated[str | None, cursor("swp")] = None) -> Page[Sweep]:
    """Sweeps, newest first."""
    with service.database.reading() as connection:
        found = sweeps.find(connection, limit=limit + 1, after=after)
    return page_of(found, limit, lambda sweep: sweep.id)


@router.get("/{sweep_id}", operation_id="get_sweep", summary="Read a sweep", responses=problems(404))
async def get_sweep(
    sweep_id: SweepId,
    service: Reader,
    wait: Annotated[float, Query(ge=0, le=60, description="Seconds to wait for the end of all its jobs.")] = 0,
) -> Sweep:
    """The sweep with its counts and its best job. With `wait` the answer comes when no job is live any more, or else
    after so many seconds."""
    sweep = await run_in_threadpool(_read, service, sweep_id)
    if wait and sweep.status is SweepStatus.running:
        with service.parts.traffic.stream(service.caller.tenant):
            await _ended(service, sweep_id, wait)
        sweep = await run_in_threadpool(_read, service, sweep_id)
    return sweep


async def _ended(service: Service, sweep_id: str, seconds: float) -> None:
    """Return when no job of the sweep is live, and at `seconds` at the latest: wait for its newest live job, again and
    again."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + seconds
    while (left := deadline - clock()) > 0 and not service.parts.watcher.stopped:
        job_id = await run_in_threadpool(_last_live, service, sweep_id)
        if job_id is None:
            return
        await service.parts.watcher.ended(job_id, left)


def _read(service: Service, sweep_id: str) -> Sweep:
    with service.database.reading() as connection:
        return sweeps.get(connection, sweep_id)


def _last_live(service: Service, sweep_id: str) -> str | None:
    with service.database.reading() as connection:
        return sweeps.last_live(connection, sweep_id)


@router.post(
    "/{sweep_id}/cancel",
    operation_id="cancel_sweep",
    summary="Cancel a sweep",
    response_description="None of its jobs is live.",
    responses={**problems(404), 202: {"model": Sweep, "description": "Running jobs will stop at their epoch's end."}},
)
def cancel_sweep(sweep_id: SweepId, service: Submitter, response: Response) -> Sweep:
    """Stop all jobs of a sweep for good: waiting ones at once, running ones at their epoch's end; each keeps its best.

    A sweep that has ended stays as it is.
    """
    with service.database.transaction() as connection:
        sweep = sweeps.cancel(connection, sweep_id)
    if sweep.status is SweepStatus.running:
        response.status_code = 202
    return sweep
