"""Forks: a new job that continues from the weights of another."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Body, Request, Response
from pydantic import BaseModel

from service.api import expensive_work, spec_patch
from service.api.context import JobId, RequestContext, Submitter
from service.api.http.openapi import problems
from service.api.routes.jobs import CREATED, IdempotencyKey, answer, fingerprint, replay
from service.api.strict_route import StrictRoute
from service.api.table_profiles import profile_for
from service.domain.checkpoint import CheckpointKind
from service.domain.job import Forked, Job
from service.errors import Conflict, FieldError, InvalidSpec, json_pointer, located
from service.spec.fork import ForkSpec, base_of_fork, check_fork, resolve_fork
from service.spec.limits import file_bytes_of
from service.spec.resolve import Resolved, SpecWarning, resolve
from service.spec.sweep import Point
from service.stopping.tracker import tracker_after
from service.store.jobs import forks, jobs
from service.store.jobs.attempt import BestSoFar
from service.store.jobs.forks import ForkSource

router = APIRouter(prefix="/jobs", tags=["jobs"], route_class=StrictRoute)

MAX_ATTEMPTS = 5  # a running job replaces its saved state every few seconds


class _Request(BaseModel):
    """The request that an Idempotency-Key identifies."""

    job: str
    asked: ForkSpec


class _CheckpointReplacedError(Exception):
    """The source job has replaced the checkpoint meanwhile."""


@router.post(
    "/{job_id}/fork",
    status_code=201,
    operation_id="fork_job",
    summary="Fork a job",
    response_description="The new job, queued.",
    responses={**CREATED, **problems(400, 404, 409, 413, 415, 429)},
)
async def fork_job(
    job_id: JobId,
    asked: Annotated[ForkSpec, Body(description="The checkpoint to continue from, and the changes.")],
    context: Submitter,
    request: Request,
    response: Response,
    key: IdempotencyKey = None,
) -> Job:
    """Start a new job from the weights of another, ended or not, with changes: more patience, more epochs, another
    learning rate.

    From `last`, the optimizer's state and the history are taken over, and early stopping sees all of it: the new job
    does what the other would have done with this spec. Data, split, preprocessing and layers cannot change.
    """
    job, created = await expensive_work.run(
        context, request, context.state.plan_slots, _create, context, job_id, asked, key
    )
    return answer(job, created, response)


def _create(context: RequestContext, job_id: str, asked: ForkSpec, key: str | None) -> tuple[Job, bool]:
    sha256 = fingerprint(_Request(job=job_id, asked=asked))
    known = replay(context, key, sha256)
    if known is not None:
        return known, False
    kind = CheckpointKind.state if asked.checkpoint == "last" else CheckpointKind.best
    for _ in range(MAX_ATTEMPTS):
        with context.database.reading() as connection:
            basis = forks.find(connection, job_id, kind)
        resolved, best = _planned(context, basis, asked)
        context.check_quota(file_bytes_of(resolved))
        with suppress(_CheckpointReplacedError), context.database.transaction() as connection:
            job, created = jobs.submit(
                connection,
                resolved,
                max_queued=context.state.settings.max_queued_jobs,
                idempotency_key=key,
                request_sha256=sha256,
                forked=Forked(job=job_id, checkpoint=asked.checkpoint, epoch=basis.epoch),
            )
            if created and not forks.attach(connection, job.id, basis, best):
                raise _CheckpointReplacedError
            return jobs.get(connection, job.id), created
    raise Conflict("the job's checkpoint changes too often to be forked; pause the job first")


def _planned(context: RequestContext, basis: ForkSource, asked: ForkSpec) -> tuple[Resolved, BestSoFar | None]:
    """The resolved fork, and the best of its inherited epochs; raises InvalidSpec with pointers into the request."""
    point = Point(asked.changes, {name: json_pointer("changes", name) for name in asked.changes}, "/changes")
    try:
        spec = spec_patch.apply(base_of_fork(basis.parent.known_spec, asked.changes), asked.changes)
        profile = profile_for(context, spec)
        parent = basis.resolved or resolve(basis.parent.known_spec, profile_for(context, basis.parent.known_spec))
        resolved = resolve_fork(spec, profile, context.state.limits, parent)
        check_fork(parent, resolved, asked)
        return _after(basis, resolved)
    except InvalidSpec as error:
        in_request = [replace(each, pointer=point.locate(each.pointer)) for each in error.field_errors]
        found = tuple(
            FieldError("/changes", f"{each.pointer.removeprefix('/base')} {each.message}")
            if each.pointer.startswith("/base")
            else each
            for each in in_request
        )
        raise InvalidSpec(located(found[0].pointer, found[0].message), found) from error


def _after(basis: ForkSource, resolved: Resolved) -> tuple[Resolved, BestSoFar | None]:
    """Replay the fork's early stopping over the inherited epochs."""
    if not basis.rows:
        return resolved, None
    spec, rows = resolved.spec, basis.rows
    if spec.max_epochs <= len(rows):
        raise InvalidSpec.at("/max_epochs", f"{len(rows)} epochs are trained already: ask for more")
    tracker, decision = tracker_after(resolved.monitor, spec.early_stopping, rows)
    before, _ = tracker_after(basis.parent.known_spec.monitor, basis.parent.known_spec.early_stopping, rows)
    if tracker.best_epoch != before.best_epoch:
        message = f"by {resolved.monitor.value} epoch {tracker.best_epoch} is the best, whose weights are not kept"
        raise InvalidSpec.at("/early_stopping/monitor", f"{message}; fork from `best`")
    if decision is not None and decision.stop is not None:
        message = f"the rule has fired at epoch {len(rows)}: one more epoch may be all; change early_stopping"
        warning = SpecWarning(code="rule_has_fired", message=message, pointer="/early_stopping")
        resolved = replace(resolved, warnings=(*resolved.warnings, warning))
    if not tracker.best_epoch:
        return resolved, None
    row = rows[tracker.best_epoch - 1]
    value = row.value(resolved.monitor)
    assert value is not None, "a best epoch has a finite value"
    return resolved, BestSoFar(row.epoch, value, row.measured())
