"""POST /v1/models/{model}/predict: predictions of a published model, for rows in JSON and for files."""

from __future__ import annotations

import re
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query, Request
from pydantic import AfterValidator
from starlette.responses import Response

from service.api import expensive_work
from service.api.context import Reader, RequestContext
from service.api.http.openapi import PREDICT_EXAMPLES, problems
from service.api.models.shadow import ShadowPredictions, shadow_predictions
from service.api.routes.prediction_files import (
    FileRoute,
    Reservation,
    check_interval,
    file_response,
    format_of,
    predicted_file,
    received,
)
from service.api.routes.predictions import HEADERS as PREDICTION_HEADERS
from service.api.routes.predictions import Options, Prediction, PredictRequest, predicted_rows
from service.api.strict_route import StrictRoute
from service.api.tabular_responses import TABULAR_CONTENT
from service.domain.model import CHAMPION
from service.domain.model_ref import Member, ModelRef
from service.domain.prediction import AppliedCalibration, ModelCalibration, PredictedRows, PredictionOptions
from service.errors import InvalidRequest
from service.spec.documented import Documented
from service.spec.model import ADDRESS, LABEL
from service.store.models import aliases
from service.store.models.aliases import ServedMember, ServedVersion


def _address(text: str) -> str:
    if re.fullmatch(ADDRESS, text) is None:
        raise ValueError("should be NAME, NAME@ALIAS or NAME:VERSION")
    return text


Address = Annotated[
    str,
    AfterValidator(_address),
    Path(
        json_schema_extra={"pattern": f"^{ADDRESS}$"},
        description="`NAME` (its alias `champion`), `NAME@ALIAS` or `NAME:VERSION`.",
        examples=["churn", "churn@challenger", "churn:3"],
    ),
]

MODEL_HEADERS = {
    "Model-Name": {"description": "The model's name.", "schema": {"type": "string"}},
    "Model-Version": {"description": "The version that answered, for all rows.", "schema": {"type": "integer"}},
    "Model-Alias": {
        "description": "The alias that led to it; absent with `:VERSION`.",
        "schema": {"type": "string"},
    },
}
HEADERS = {"Calibration": PREDICTION_HEADERS["Calibration"], **MODEL_HEADERS}


UNCALIBRATED = ModelCalibration(
    temperature=1.0,
    rows=0,
    reason="the version was published before versions were calibrated; publish it again",
)
"""Versions of before predict what they always did."""


class PredictingModel(Documented):
    """The version that predicted."""

    name: str
    """The model's name."""
    version: int
    """The version that predicted every row."""
    alias: str | None
    """The alias that led to it; null for `NAME:VERSION`."""


class ModelPredictions(Documented):
    """A prediction for each row."""

    predictions: list[Prediction]
    """One per row, in the rows' order."""
    calibration: AppliedCalibration | None
    """How they were calibrated; null where nothing was to be: for regression without an interval, and for raw
    probabilities."""
    model: PredictingModel
    """The version that predicted."""
    shadow: ShadowPredictions | None = None
    """How often the version of `?shadow=` predicts something else; absent without it."""


Shadow = Annotated[
    str | None,
    Query(
        pattern=f"^{LABEL}$",
        description="An alias whose version predicts the same rows, too; the answer counts the differences in `shadow`."
        " An error of it is told there, and never fails the answer. For rows in JSON.",
        examples=["challenger"],
    ),
]


router = APIRouter(tags=["predictions"])
_files = APIRouter(prefix="/models", route_class=FileRoute)
_rows = APIRouter(prefix="/models", route_class=StrictRoute)


@_files.post("/{model}/predict", include_in_schema=False)
async def predict_file_by_model(
    model: Address,
    request: Request,
    context: Reader,
    reservation: Reservation,
    options: Options,
    shadow: Shadow = None,
) -> Response:
    """See `predict_by_model`. The file is streamed through the disk, never whole in memory."""
    if shadow is not None:
        raise InvalidRequest("`shadow` compares rows in JSON; predict the file by both versions to compare them")
    format_ = format_of(request)
    served = await served_at(context, model)
    model_ref = await context.located(ref_of, context, served)
    await check_interval(context, model_ref, options)
    async with received(context, request, reservation) as source:
        work = predicted_file, context, model_ref, options, source, format_
        found = await expensive_work.run(context, request, context.state.ingest_slots, *work)
    return file_response(found, reservation, f"{served.name}-{served.version}", format_, headers_of(served))


@_rows.post(
    "/{model}/predict",
    operation_id="predict_by_model",
    summary="Predict rows by a model",
    response_model=ModelPredictions,
    openapi_extra={"requestBody": {"content": TABULAR_CONTENT}},
    responses={
        **problems(400, 404, 409, 413, 415, 507),
        200: {"content": TABULAR_CONTENT, "headers": HEADERS},
    },
)
async def predict_by_model(
    model: Address,
    asked: Annotated[PredictRequest, Body(openapi_examples=PREDICT_EXAMPLES)],
    request: Request,
    context: Reader,
    options: Options,
    shadow: Shadow = None,
) -> Response:
    """Predict rows with a published model: JSON, CSV or Parquet, as for a job.

    `/v1/models/churn/predict` is the alias `champion`, `/v1/models/churn@challenger/predict` another alias,
    `/v1/models/churn:3/predict` one version for good. An alias is looked up once for each request, so one version
    predicts all its rows, and the answer names it, in JSON and as headers. The prediction of several members is the
    weighted mean of their probabilities, or of their numbers. A version keeps the temperature that it was published
    with; an `interval` reads the predictions that its members' jobs have kept: a 500 with the code
    `predictions_corrupt` if their file is missing or damaged on the server.
    """
    served = await served_at(context, model)
    by = {"model": {"name": served.name, "version": served.version, "alias": served.alias}}
    model_ref = await context.located(ref_of, context, served)
    more = None if shadow is None else partial(_shadow, context, served.name, shadow, asked.rows, options)
    answer = await predicted_rows(context, request, model_ref, options, asked.rows, by, headers_of(served), more)
    context.state.sampler.add(context.caller.tenant, served, asked.rows)
    return answer


def _shadow(
    context: RequestContext,
    name: str,
    alias: str,
    rows: list[dict[str, Any]],
    options: PredictionOptions,
    answered: PredictedRows,
) -> dict[str, Any]:
    def find() -> tuple[ModelRef, int]:
        with context.database.reading() as connection:
            served = aliases.served(connection, name, alias=alias)
        return ref_of(context, served), served.version

    return {"shadow": shadow_predictions(context, find, alias, rows, options, answered)}


router.include_router(_files)
router.include_router(_rows)


async def served_at(context: RequestContext, address: str) -> ServedVersion:
    """The version at this address now; raises NotFound."""
    found = re.fullmatch(ADDRESS, address)
    assert found is not None, "the route has checked the address"
    name, alias, version = found.groups()
    which = {"alias": alias or CHAMPION} if version is None else {"version": int(version)}

    def read() -> ServedVersion:
        with context.database.reading() as connection:
            return aliases.served(connection, name, **which)

    return await context.state.read_batcher.run(read, (context.caller.tenant, "model", address))


def ref_of(context: RequestContext, served: ServedVersion) -> ModelRef:
    """The files of the version, and their weights, for the predictor. Blocks if they have to be fetched."""
    return ModelRef(tuple(_member(context, each) for each in served.members), served.calibration or UNCALIBRATED)


def _member(context: RequestContext, served: ServedMember) -> Member:
    path, kept = context.state.artifacts.path, served.predictions
    predictions = None if kept is None else (str(path(*kept)), kept[1])
    return Member(str(path(served.path, served.sha256)), served.sha256, served.weight, predictions)


def headers_of(served: ServedVersion) -> dict[str, str]:
    """The headers of an answer by the version."""
    alias = {} if served.alias is None else {"Model-Alias": served.alias}
    return {"Model-Name": served.name, "Model-Version": str(served.version), **alias}
