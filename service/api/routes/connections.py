"""GET /v1/connections: where data sets can be read from."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter

from service.api.context import Reader
from service.api.pagination import Limit, Page, cursor, page_of
from service.api.strict_route import StrictRoute
from service.domain.connection import ConnectionSummary
from service.store import connections

router = APIRouter(prefix="/connections", tags=["datasets"], route_class=StrictRoute)


@router.get("", operation_id="list_connections", summary="List connections")
def list_connections(
    context: Reader, limit: Limit = 20, after: Annotated[str | None, cursor("con")] = None
) -> Page[ConnectionSummary]:
    """The connections that this tenant may read data sets from, newest first: names and kinds.

    Operators declare them with `bestepoch connections add`; their addresses and secrets are not served.
    """
    with context.database.reading() as connection:
        found = connections.usable(connection, limit=limit + 1, after=after)
    return page_of(found, limit, lambda connection: connection.id)
