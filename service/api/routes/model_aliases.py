"""Aliases of models: move, read, delete, history."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Path, Query, Request

from service.api import expensive_work
from service.api.context import Admin, Reader, RequestContext, Submitter
from service.api.http.openapi import problems
from service.api.pagination import Limit, Page, page_of
from service.api.routes.model_predictions import ref_of
from service.api.routes.models import Name
from service.api.strict_route import StrictRoute
from service.domain.model import AliasMoved, ModelAlias
from service.errors import InvalidSpec, NotFound
from service.spec.model import LABEL, MAX_VERSION, AliasMove
from service.store import keys
from service.store.models import aliases, models

router = APIRouter(prefix="/models", tags=["models"], route_class=StrictRoute)

Alias = Annotated[str, Path(pattern=f"^{LABEL}$", description="The alias.", examples=["champion"])]


@router.put(
    "/{name}/aliases/{alias}",
    operation_id="move_alias",
    summary="Move an alias",
    response_description="The alias, where it points now.",
    responses=problems(400, 404, 409, 413, 415),
)
async def move_alias(
    name: Name,
    alias: Alias,
    asked: Annotated[AliasMove, Body(description="The version to point to.")],
    context: Submitter,
    request: Request,
) -> ModelAlias:
    """Point an alias to a version, atomically; it is created if it does not exist. Each prediction is made by the
    version before or by the version after the move, and says which. The version is loaded before the move, so that its
    first prediction does not wait.

    To roll back, move it to its `previous` version, with the version it points to as `expected`: then `previous` is the
    one before that. With `expected`, an alias that somebody else has moved meanwhile stays, with a 409.
    """
    return await expensive_work.run(context, request, context.state.predict_slots, _move, context, name, alias, asked)


def _move(context: RequestContext, name: str, alias: str, asked: AliasMove) -> ModelAlias:
    with context.database.reading() as connection:
        by = keys.actor(connection, context.caller.key)
        aliases.require_model(connection, name)
        try:
            version = aliases.served(connection, name, version=asked.version)
        except NotFound as error:
            raise InvalidSpec.at("/version", error.detail) from error
    context.state.predictor.preload(ref_of(context, version))
    with context.database.transaction() as connection:
        model = models.lock(connection, name)
        try:
            aliases.move(connection, model.id, alias, asked.version, by, expected=asked.expected)
        except NotFound as error:  # deleted meanwhile
            raise InvalidSpec.at("/version", f"the model {name!r} has {error.detail}") from error
        return aliases.get(connection, name, alias)


@router.get("/{name}/aliases/{alias}", operation_id="get_alias", summary="Read an alias", responses=problems(404))
def get_alias(name: Name, alias: Alias, context: Reader) -> ModelAlias:
    """The version that the alias points to, and the one to roll back to."""
    with context.database.reading() as connection:
        return aliases.get(connection, name, alias)


@router.get(
    "/{name}/aliases/{alias}/history",
    operation_id="get_alias_history",
    summary="Read an alias's history",
    responses=problems(404),
)
def get_alias_history(
    name: Name,
    alias: Alias,
    context: Reader,
    limit: Limit = 20,
    after: Annotated[
        int | None, Query(ge=1, le=MAX_VERSION, description="The `next` of the page before this one.")
    ] = None,
) -> Page[AliasMoved]:
    """Who moved the alias, when, from where and to where, newest first. The history of a deleted alias stays."""
    with context.database.reading() as connection:
        found = aliases.history(connection, name, alias, limit=limit + 1, before=after)
    return page_of(found, limit, lambda move: str(move.number))


@router.delete(
    "/{name}/aliases/{alias}",
    status_code=204,
    operation_id="delete_alias",
    summary="Delete an alias",
    response_description="The alias is deleted.",
    responses=problems(404),
)
def delete_alias(name: Name, alias: Alias, context: Admin) -> None:
    """Delete an alias; the version that it points to stays."""
    with context.database.transaction() as connection:
        by = keys.actor(connection, context.caller.key)
        model = models.lock(connection, name)
        try:
            aliases.remove(connection, model.id, alias, by)
        except NotFound as error:
            raise NotFound(f"the model {name!r} has {error.detail}") from error
