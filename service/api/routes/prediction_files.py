"""POST /v1/jobs/{id}/predict with a CSV or Parquet file: predictions as a file of the same format."""

from __future__ import annotations

import codecs
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.message import Message
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, NamedTuple, get_args

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import contextmanager_in_threadpool, run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request as PlainRequest
from starlette.responses import Response
from starlette.routing import Match

from service.api import expensive_work
from service.api.context import JobId, Reader, RequestContext
from service.api.http import uploads
from service.api.http.ranges import CSV, PARQUET, whole
from service.api.quota import UploadReservation
from service.api.routes.predictions import BestEpoch, Options, model_of, with_best
from service.api.strict_route import StrictRoute, is_json
from service.concurrency.cancellation import current
from service.domain.model_ref import ModelRef
from service.domain.prediction import AppliedCalibration, PredictionOptions
from service.errors import StorageError
from service.spec.read_options import Encoding, FileFormat, ReadOptions

if TYPE_CHECKING:
    from starlette.types import Scope

FORMATS = {CSV: FileFormat.csv, PARQUET: FileFormat.parquet}
ENCODINGS: dict[str, str] = {codecs.lookup(name).name: name for name in get_args(Encoding)}


@dataclass(frozen=True)
class RowsFormat:
    """The format of a file of rows, and of its predictions."""

    media_type: str
    options: ReadOptions


class FileRoute(StrictRoute):
    """Matches requests to the path of JSON predictions whose Content-Type is not JSON."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """No match for JSON and for a request without Content-Type."""
        if scope["type"] == "http" and _is_file(PlainRequest(scope)):
            return super().matches(scope)
        return Match.NONE, {}


def _is_file(request: PlainRequest) -> bool:
    content_type = request.headers.get("content-type", "")
    return bool(content_type) and not is_json(content_type)


router = APIRouter(prefix="/jobs", route_class=FileRoute)


async def _reservation(context: Reader) -> AsyncIterator[UploadReservation]:
    """Counts the file, then the response, against the quota until the response is sent or the client disconnects."""
    with context.state.quota.upload(context.database, context.caller.tenant) as reservation:
        yield reservation


Reservation = Annotated[UploadReservation, Depends(_reservation)]


@router.post("/{job_id}/predict", include_in_schema=False)
async def predict_file(
    job_id: JobId, request: Request, context: Reader, reservation: Reservation, options: Options
) -> Response:
    """See `predict`. The file is streamed through the disk, never whole in memory."""
    format_ = format_of(request)

    async def check(best: BestEpoch) -> None:
        await check_interval(context, await context.located(model_of, context, best), options)

    # Checked before the body is read: without a best epoch it would be refused anyway.
    await with_best(context, job_id, check)
    async with received(context, request, reservation) as source:

        def answer(best: BestEpoch) -> PredictedFile:
            return predicted_file(context, model_of(context, best), options, source, format_)

        work = partial(expensive_work.run, context, request, context.state.ingest_slots, answer)
        (checkpoint, _), found = await with_best(context, job_id, work)
    headers = {"Checkpoint-Epoch": str(checkpoint.epoch), "Checkpoint-SHA256": checkpoint.sha256}
    return file_response(found, reservation, job_id, format_, headers)


@asynccontextmanager
async def received(context: RequestContext, request: Request, reservation: UploadReservation) -> AsyncIterator[Path]:
    """The path of the file of rows, received into a folder that is deleted at the end."""
    async with contextmanager_in_threadpool(context.state.artifacts.scratch()) as folder:
        source = folder / "source"
        await uploads.receive(reservation.watch(request), source, context.state.settings.max_upload_bytes)
        yield source


class PredictedFile(NamedTuple):
    """An open file of predictions, and how they were calibrated."""

    file: BinaryIO
    calibration: AppliedCalibration | None


def predicted_file(
    context: RequestContext, ref: ModelRef, options: PredictionOptions, source: Path, format_: RowsFormat
) -> PredictedFile:
    """The predictions for the rows of `source`; the file outlives its folder. Blocks."""
    limits = context.state.file_process_limits
    answers, calibration = context.state.predictor.predict_file(ref, source, format_.options, limits, options)
    try:
        return PredictedFile(current().close_on_discard(answers.open("rb")), calibration)
    except OSError as error:
        raise StorageError(f"the predictions could not be read: {error.strerror}") from error


def file_response(
    found: PredictedFile, reservation: UploadReservation, name: str, format_: RowsFormat, headers: dict[str, str]
) -> Response:
    """The predictions as a download, with headers that say what made them."""
    reservation.resize(found.file.seek(0, 2))
    disposition = f'attachment; filename="{name}-predictions.{format_.options.format}"'
    if found.calibration is not None:
        headers = {**headers, "Calibration": json.dumps(found.calibration.model_dump())}
    return whole(found.file, {"Content-Disposition": disposition, **headers}, format_.media_type)


async def check_interval(context: RequestContext, ref: ModelRef, options: PredictionOptions) -> None:
    """Raise Conflict or PredictionsCorrupt if an interval is asked for and the model has none of this level."""
    if options.interval is not None:
        await run_in_threadpool(context.state.predictor.check_options, ref, options)  # leaves the body unread


def format_of(request: Request) -> RowsFormat:
    """The format that the request's Content-Type names; raises a 415 for anything but CSV and Parquet."""
    content_type = request.headers["content-type"]
    header = Message()
    header["Content-Type"] = content_type
    media_type, charset = header.get_content_type(), header.get_param("charset")
    if media_type not in FORMATS or not content_type.strip().lower().startswith(media_type):
        known = ", ".join(["application/json", *FORMATS])
        raise HTTPException(415, f"the body must be one of {known}; its Content-Type is {content_type[:100]!r}")
    options: dict[str, Any] = {"format": FORMATS[media_type]}
    if charset is not None:
        options["encoding"] = _encoding(str(charset))
    return RowsFormat(media_type, ReadOptions.model_validate(options))


def _encoding(charset: str) -> str:
    try:
        return ENCODINGS[codecs.lookup(charset).name]
    except (LookupError, ValueError):
        raise HTTPException(415, f"the charset {charset[:100]!r} is none of {', '.join(get_args(Encoding))}") from None
