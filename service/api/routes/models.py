"""Models: publish a version, list, read, delete models and versions."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Path, Query, Request, Response

from service.api import expensive_work
from service.api.context import Admin, Reader, Submitter
from service.api.http.openapi import MODEL_EXAMPLES, problems
from service.api.models.publish import publish
from service.api.pagination import Limit, Page, cursor, page_of
from service.api.routes.jobs import REPLAYED, IdempotencyKey, fingerprint
from service.api.strict_route import StrictRoute
from service.domain.model import Model, ModelVersion, ModelVersionSummary
from service.spec.model import LABEL, MAX_VERSION, NewVersion
from service.store.models import models, versions

router = APIRouter(prefix="/models", tags=["models"], route_class=StrictRoute)

Name = Annotated[str, Path(pattern=f"^{LABEL}$", description="The model's name.", examples=["churn"])]
Version = Annotated[int, Path(ge=1, le=MAX_VERSION, description="The version's number.")]
UsingJob = Annotated[str | None, Query(max_length=100, description="Only those with the best epoch of this job.")]

_LOCATION = {"Location": {"description": "URL of the version.", "schema": {"type": "string"}}}


@router.post(
    "",
    status_code=201,
    operation_id="create_model_version",
    summary="Publish a version of a model",
    response_description="The version.",
    responses={
        **problems(400, 409, 413, 415),
        200: {"model": ModelVersion, "description": "The version that this key created before.", "headers": REPLAYED},
        201: {"headers": _LOCATION},
    },
)
async def create_model_version(
    asked: Annotated[NewVersion, Body(description="Name and members.", openapi_examples=MODEL_EXAMPLES)],
    context: Submitter,
    request: Request,
    response: Response,
    key: IdempotencyKey = None,
) -> ModelVersion:
    """Make the next version of this name: a weighted average of the best epochs of ended jobs, which never changes.

    All members must predict the same target, with the same classes; a column that several of them need must have the
    same type and null values for each. They must fit into memory together. The version keeps what it needs: deleting
    its jobs and data sets, by request or by `BESTEPOCH_KEEP_DAYS`, does not change it. The first version of a name gets
    the alias `champion`; later ones are reached by `:VERSION` until an alias is moved to them.
    """
    work = publish, context, asked, key, fingerprint(asked)
    version, created = await expensive_work.run(context, request, context.state.compute_slots, *work)
    response.headers["Location"] = f"/v1/models/{version.model}/versions/{version.version}"
    if not created:
        response.status_code = 200
        response.headers["Idempotent-Replayed"] = "true"
    return version


@router.get("", operation_id="list_models", summary="List models")
def list_models(
    context: Reader,
    name: Annotated[str | None, Query(max_length=100, description="Only the model with exactly this name.")] = None,
    job: UsingJob = None,
    limit: Limit = 20,
    after: Annotated[str | None, cursor("mdl")] = None,
) -> Page[Model]:
    """Models that match every filter, newest first, with their aliases."""
    with context.database.reading() as connection:
        found = models.find(connection, name=name, job=job, limit=limit + 1, after=after)
    return page_of(found, limit, lambda model: model.id)


@router.get("/{name}", operation_id="get_model", summary="Read a model", responses=problems(404))
def get_model(name: Name, context: Reader) -> Model:
    """The model with its aliases."""
    with context.database.reading() as connection:
        return models.get(connection, name)


@router.delete(
    "/{name}",
    status_code=204,
    operation_id="delete_model",
    summary="Delete a model",
    response_description="The model is deleted.",
    responses=problems(404, 409),
)
def delete_model(name: Name, context: Admin) -> None:
    """Delete a model with all its versions; 409 while it has an alias. The name can be used again, from version 1."""
    with context.database.transaction() as connection:
        models.remove(connection, name)


@router.get(
    "/{name}/versions", operation_id="list_model_versions", summary="List versions of a model", responses=problems(404)
)
def list_model_versions(
    name: Name,
    context: Reader,
    job: UsingJob = None,
    limit: Limit = 20,
    after: Annotated[
        int | None, Query(ge=1, le=MAX_VERSION, description="The `next` of the page before this one.")
    ] = None,
) -> Page[ModelVersionSummary]:
    """Versions, newest first, without their members."""
    with context.database.reading() as connection:
        found = versions.find(connection, name, job=job, limit=limit + 1, before=after)
    return page_of(found, limit, lambda each: str(each.version))


@router.get(
    "/{name}/versions/{version}",
    operation_id="get_model_version",
    summary="Read a version of a model",
    responses=problems(404),
)
def get_model_version(name: Name, version: Version, context: Reader) -> ModelVersion:
    """The version with its metrics, and the lineage of each member: job, spec, data set, weights."""
    with context.database.reading() as connection:
        return versions.get(connection, name, version)


@router.delete(
    "/{name}/versions/{version}",
    status_code=204,
    operation_id="delete_model_version",
    summary="Delete a version of a model",
    response_description="The version is deleted.",
    responses=problems(404, 409),
)
def delete_model_version(name: Name, version: Version, context: Admin) -> None:
    """Delete a version; 409 while an alias points to it. Files that no job and no other version has are freed."""
    with context.database.transaction() as connection:
        versions.remove(connection, name, version)
