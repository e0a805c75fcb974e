"""Downloads of a published model: one file that predicts without the service, its members' weights, its model card."""

from __future__ import annotations

import os
from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi import Path as InPath
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from service.api import expensive_work
from service.api.context import Reader, RequestContext
from service.api.http.openapi import problems
from service.api.http.ranges import OCTETS, documented, serve
from service.api.redirects import redirect_to_store
from service.api.routes.exported_files import CALIBRATED, ZIP, export_version, media_type, opened, written
from service.api.routes.model_predictions import MODEL_HEADERS, Address, headers_of, ref_of, served_at
from service.api.strict_route import StrictRoute
from service.domain.checkpoint import CheckpointFormat
from service.domain.model import ModelVersion
from service.errors import NotFound
from service.store.models import versions
from service.store.models.aliases import ServedMember, ServedVersion

router = APIRouter(prefix="/models", tags=["models"], route_class=StrictRoute)

MARKDOWN = "text/markdown; charset=utf-8"
FORMATS = (
    "A file with the preprocessing and every member inside: `bundle`, a zip with a model card and a load.py that needs "
    "torch only; `onnx`, an input a column; `pt2`, for torch.export.load."
)


@router.head("/{model}/download", include_in_schema=False)
@router.get(
    "/{model}/download",
    operation_id="download_model",
    summary="Download a model",
    response_class=Response,
    responses={**problems(404, 409, 416, 501, 507), **documented(OCTETS, ZIP, headers=MODEL_HEADERS)},
)
async def download_model(
    model: Address,
    context: Reader,
    request: Request,
    format: Annotated[Literal["bundle", "onnx", "pt2"], Query(description=FORMATS)] = "bundle",  # noqa: A002
    calibrated: Annotated[bool, Query(description=CALIBRATED)] = True,
) -> Response:
    """The version as one file, whose predictions are the weighted mean of those of its members.

    It is made on request and verified on rows of the data sets, one by one and as a batch: an export whose predictions
    differ from those of `/predict` is refused with 409. The bytes are reproducible: their SHA-256 is the ETag.
    """
    served, format_ = await served_at(context, model), CheckpointFormat(format)
    version = await run_in_threadpool(_version, context, served)
    ref = await context.located(ref_of, context, served)
    write = partial(export_version, context, version, ref, format_, calibrated=calibrated)
    slots = context.state.export_slots
    file, sha256 = await expensive_work.run(context, request, slots, written, context, write)
    filename = f"{served.name}-{served.version}{format_.file_ending(calibrated=calibrated)}"
    size = os.fstat(file.fileno()).st_size
    return serve(request, file, size, sha256, filename, media_type(format_), headers_of(served))


@router.head("/{model}/members/{job}/download", include_in_schema=False)
@router.get(
    "/{model}/members/{job}/download",
    operation_id="download_model_member",
    summary="Download the weights of a member",
    response_class=Response,
    responses={**problems(404, 416, 507), **documented(OCTETS, headers=MODEL_HEADERS)},
)
async def download_model_member(
    model: Address,
    job: Annotated[str, InPath(max_length=100, description="The job that trained the member.")],
    context: Reader,
    request: Request,
    format: Annotated[  # noqa: A002
        Literal["safetensors", "pt"],
        Query(description="`pt`: a state dict for torch.load(..., weights_only=True)."),
    ] = "safetensors",
) -> Response:
    """The weights of one member, also after its job has been deleted. The SHA-256 of the file is its ETag."""
    served = await served_at(context, model)
    member = await run_in_threadpool(_member, context, served, job)
    if format == "safetensors":
        located = member.path, member.sha256
        redirect = await redirect_to_store(context, request, lambda: located, headers_of(served))
        if redirect is not None:
            return redirect
    path = await context.located(context.state.artifacts.path, member.path, member.sha256)
    sha256 = member.sha256
    if format == "safetensors":
        file = await run_in_threadpool(opened, path, "the member's file")
    else:
        write = partial(context.state.predictor.to_pt, path, sha256)
        slots = context.state.predict_slots
        file, sha256 = await expensive_work.run(context, request, slots, written, context, write)
    size, filename = os.fstat(file.fileno()).st_size, f"{served.name}-{served.version}-{job}.{format}"
    return serve(request, file, size, sha256, filename, OCTETS, headers_of(served))


@router.get(
    "/{model}/card",
    operation_id="get_model_card",
    summary="Read the model card",
    response_class=Response,
    responses={
        **problems(404, 409),
        200: {"content": {"text/markdown": {"schema": {"type": "string"}}}, "headers": MODEL_HEADERS},
    },
)
async def get_model_card(model: Address, context: Reader, request: Request) -> Response:
    """The model card of the version, in Markdown: metrics, members, lineage, training data, columns."""
    served = await served_at(context, model)

    def card() -> str:
        return context.state.predictor.card(ref_of(context, served), _version(context, served))

    text = await expensive_work.run(context, request, context.state.predict_slots, card)
    return Response(text, headers=headers_of(served), media_type=MARKDOWN)


def _version(context: RequestContext, served: ServedVersion) -> ModelVersion:
    with context.database.reading() as connection:
        return versions.get(connection, served.name, served.version)


def _member(context: RequestContext, served: ServedVersion, job: str) -> ServedMember:
    """The member that this job has trained; raises NotFound."""
    members = zip(_version(context, served).members, served.members, strict=True)
    for member, file in members:
        if member.job == job:
            return file
    raise NotFound(f"version {served.version} of the model {served.name!r} has no member of the job {job!r}")
