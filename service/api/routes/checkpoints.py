"""Checkpoints: list, read and download in any format."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from fastapi import APIRouter, Query, Request
from fastapi import Path as InPath
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from service.api import expensive_work
from service.api.context import JobId, Reader, RequestContext
from service.api.http.openapi import problems
from service.api.http.ranges import OCTETS, documented, serve
from service.api.pagination import Page
from service.api.redirects import redirect_to_store
from service.api.routes.exported_files import CALIBRATED, ZIP, export_checkpoint, media_type, opened, written
from service.api.strict_route import StrictRoute
from service.domain.checkpoint import Checkpoint, CheckpointFormat, CheckpointKind
from service.errors import CheckpointCorrupt, NotFound
from service.store import checkpoints
from service.store.jobs import jobs

router = APIRouter(prefix="/jobs", tags=["checkpoints"], route_class=StrictRoute)

FORMATS = (
    "`pt`: a state dict for torch.load(..., weights_only=True). With the preprocessing inside: `onnx`, an input a "
    "column; `pt2`, for torch.export.load; `bundle`, a zip with a model card and a load.py."
)

T = TypeVar("T")
U = TypeVar("U")
Kind = Annotated[Literal["best", "last"], InPath(description="The best or the last epoch's weights.")]


@router.get(
    "/{job_id}/checkpoints", operation_id="list_checkpoints", summary="List checkpoints", responses=problems(404)
)
def list_checkpoints(job_id: JobId, context: Reader) -> Page[Checkpoint]:
    """The published checkpoints: none, the best, or the best and the last."""
    with context.database.reading() as connection:
        jobs.require(connection, job_id)
        return Page(data=checkpoints.find(connection, job_id))


@router.get(
    "/{job_id}/checkpoints/{kind}",
    operation_id="get_checkpoint",
    summary="Read about a checkpoint",
    responses=problems(404),
)
def get_checkpoint(job_id: JobId, kind: Kind, context: Reader) -> Checkpoint:
    """The checkpoint's epoch, metrics, SHA-256 and size. While a job trains, its best may be replaced."""
    return read_checkpoint(context, job_id, CheckpointKind(kind))


def read_checkpoint(context: RequestContext, job_id: str, kind: CheckpointKind) -> Checkpoint:
    """The job's checkpoint of this kind; raises NotFound, for the job or for the checkpoint."""
    with context.database.reading() as connection:
        try:
            return checkpoints.get(connection, job_id, kind)
        except NotFound:
            jobs.require(connection, job_id)
            raise


def _located(context: RequestContext, job_id: str, kind: CheckpointKind) -> tuple[str, str]:
    """(artifact key, SHA-256) of the checkpoint's file."""
    found = read_checkpoint(context, job_id, kind)
    return found.path, found.sha256


@router.head("/{job_id}/checkpoints/{kind}/download", include_in_schema=False)
@router.get(
    "/{job_id}/checkpoints/{kind}/download",
    operation_id="download_checkpoint",
    summary="Download a checkpoint",
    response_class=Response,
    responses={**problems(404, 409, 416, 501, 507), **documented(OCTETS, ZIP)},
)
async def download_checkpoint(
    job_id: JobId,
    kind: Kind,
    context: Reader,
    request: Request,
    format: Annotated[CheckpointFormat, Query(description=FORMATS)] = CheckpointFormat.safetensors,  # noqa: A002
    calibrated: Annotated[bool, Query(description=CALIBRATED)] = True,
) -> Response:
    """The file, with its SHA-256 as ETag: `If-None-Match` saves a download, `Range` and `If-Range` resume one.

    `onnx`, `pt2` and `bundle` are made on request and verified on rows of the data set, one by one and as a batch:
    an export whose predictions differ from those of `/predict` is refused with 409. The bytes are reproducible.
    A file that is missing or damaged on the server is a 500 with the code `checkpoint_corrupt`.
    """
    of = CheckpointKind(kind)
    if format is CheckpointFormat.safetensors:
        what = f"the {kind} checkpoint's file"
        redirect = await redirect_to_store(context, request, partial(_located, context, job_id, of))
        if redirect is not None:
            return redirect
        checkpoint, file = await with_weights(
            context, job_id, of, lambda _, path: run_in_threadpool(opened, path, what)
        )
        sha256 = checkpoint.sha256
    else:

        def write(checkpoint: Checkpoint, path: Path, target: Path) -> None:
            if format is CheckpointFormat.pt:
                context.state.predictor.to_pt(path, checkpoint.sha256, target)
            else:
                export_checkpoint(context, job_id, checkpoint, format, target, calibrated=calibrated)

        limiter = context.state.predict_slots if format is CheckpointFormat.pt else context.state.export_slots
        work = partial(expensive_work.run, context, request, limiter)
        checkpoint, (file, sha256) = await with_weights(
            context, job_id, of, lambda *found: work(written, context, partial(write, *found))
        )
    size = os.fstat(file.fileno()).st_size
    filename = f"{job_id}-{kind}-epoch{checkpoint.epoch}{format.file_ending(calibrated=calibrated)}"
    return serve(request, file, size, sha256, filename, media_type(format))


async def with_weights(
    context: RequestContext, job_id: str, kind: CheckpointKind, use: Callable[[Checkpoint, Path], Awaitable[T]]
) -> tuple[Checkpoint, T]:
    """The checkpoint, and the result of `use(checkpoint, path of its file)`; retried as `with_current` does."""
    read, key = partial(read_checkpoint, context, job_id, kind), (context.caller.tenant, job_id, kind)

    async def use_file(found: Checkpoint) -> T:
        return await use(found, await context.located(context.state.artifacts.path, found.path, found.sha256))

    return await with_current(context, read, key, use_file)


async def with_current(
    context: RequestContext, read: Callable[[], U], key: tuple[str, ...], use: Callable[[U], Awaitable[T]]
) -> tuple[U, T]:
    """What `read` finds, and the result of `use`; `key`: of reads that are one.

    Retried if a new best checkpoint has replaced a file meanwhile.
    """
    failed: U | None = None
    while True:
        found = await context.state.read_batcher.run(read, key)
        try:
            return found, await use(found)
        except CheckpointCorrupt:
            if found == failed:
                raise
            failed = found
