"""/v1/models/{model}/drift: how new rows differ from those that a version was trained on."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Body, Request
from starlette.responses import Response

from service.api import expensive_work
from service.api.context import Reader, RequestContext
from service.api.http.openapi import PREDICT_EXAMPLES, problems
from service.api.http.ranges import JSON
from service.api.models.profiles import require_profile
from service.api.routes.model_predictions import HEADERS, Address, headers_of, ref_of, served_at
from service.api.routes.prediction_files import FileRoute, Reservation, format_of, received
from service.api.routes.predictions import PredictRequest
from service.api.strict_route import StrictRoute
from service.api.tabular_responses import TABULAR_CONTENT
from service.drift.report import ComparedVersion, DriftReport, ModelDrift
from service.errors import Conflict
from service.store.models import samples
from service.store.models.aliases import ServedVersion

if TYPE_CHECKING:
    from pathlib import Path

    from service.spec.read_options import ReadOptions

NAMES = ("Model-Name", "Model-Version", "Model-Alias")


router = APIRouter(tags=["predictions"])
_files = APIRouter(prefix="/models", route_class=FileRoute)
_rows = APIRouter(prefix="/models", route_class=StrictRoute)


@_files.post("/{model}/drift", include_in_schema=False)
async def measure_drift_of_file(
    model: Address, request: Request, context: Reader, reservation: Reservation
) -> Response:
    """See `measure_drift`. The file is streamed through the disk, never whole in memory."""
    format_ = format_of(request)
    served = await served_at(context, model)
    async with received(context, request, reservation) as source:
        work = _measured, context, served, source, format_.options
        return await expensive_work.run(context, request, context.state.report_slots, *work)


@_rows.post(
    "/{model}/drift",
    operation_id="measure_drift",
    summary="Measure drift",
    response_model=ModelDrift,
    openapi_extra={"requestBody": {"content": TABULAR_CONTENT}},
    responses={
        **problems(400, 404, 409, 413, 415, 507),
        200: {"headers": {name: HEADERS[name] for name in NAMES}},
    },
)
async def measure_drift(
    model: Address,
    asked: Annotated[PredictRequest, Body(openapi_examples=PREDICT_EXAMPLES)],
    request: Request,
    context: Reader,
) -> Response:
    """Compare rows, which need no target, with those that a version was trained on: JSON, CSV or Parquet, as for
    predictions. Nothing is stored.

    For each column: the population stability index, what it would be by chance, and the shares of missing and of
    unseen values. For the predictions: the same, compared with those for rows that were held out, and which drifted
    columns have moved their mean.
    The version keeps a profile of its training rows, which is made when it is published. A version without one gets it
    now, if its data sets still exist; otherwise the answer is a 409.
    """
    served = await served_at(context, model)
    work = _measured_rows, context, served, asked.rows
    return await expensive_work.run(context, request, context.state.report_slots, *work)


@_rows.get(
    "/{model}/drift",
    operation_id="measure_drift_of_sample",
    summary="Measure drift of sampled rows",
    response_model=ModelDrift,
    responses={**problems(404, 409, 507), 200: {"headers": {name: HEADERS[name] for name in NAMES}}},
)
async def measure_drift_of_sample(model: Address, request: Request, context: Reader) -> Response:
    """Compare a random sample of the rows that the version was asked to predict with its training rows.

    The sample has at most `BESTEPOCH_SAMPLE_ROWS` rows of requests in JSON, the latest most likely; 409 if that is 0,
    the default, or if none were asked yet.
    """
    served = await served_at(context, model)
    await context.state.sampler.flush()
    return await expensive_work.run(context, request, context.state.report_slots, _measured_sample, context, served)


router.include_router(_files)
router.include_router(_rows)


def _measured_sample(context: RequestContext, served: ServedVersion) -> Response:
    size = context.state.sampler.size
    if not size:
        raise Conflict("this server samples no rows: send rows, or let its operator set BESTEPOCH_SAMPLE_ROWS")
    with context.database.reading() as connection:
        sample = samples.read(connection, served.model_id, served.version, size)
    if not sample.rows:
        raise Conflict(f"{served.name}:{served.version} was not asked to predict rows in JSON yet")
    return _measured_rows(context, served, sample.rows, sample.since)


def _measured_rows(
    context: RequestContext, served: ServedVersion, rows: list[dict[str, Any]], since: datetime | None = None
) -> Response:
    with context.state.artifacts.scratch() as folder:
        source = folder / "source"
        source.write_text(json.dumps(rows), encoding="utf-8")
        return _measured(context, served, source, None, since)


def _measured(
    context: RequestContext,
    served: ServedVersion,
    source: Path,
    reading: ReadOptions | None,
    since: datetime | None = None,
) -> Response:
    """The drift of the rows in the file `source`: a list in JSON without `reading`. Blocks."""
    profile = require_profile(context, served)
    limits = context.state.file_process_limits
    found = context.state.predictor.drift(ref_of(context, served), profile, source, reading, limits)
    report = DriftReport.model_validate_json(found.read_bytes())
    by = ComparedVersion(name=served.name, version=served.version, alias=served.alias)
    body = ModelDrift(**dict(report), model=by, sampled_since=since).model_dump_json()
    return Response(body, headers=headers_of(served), media_type=JSON)
