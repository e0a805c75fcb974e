"""Connections: add, list, remove; and those that a tenant may use: its own, and those of all tenants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, delete, insert, select
from sqlalchemy.exc import IntegrityError

from service.domain.connection import EVERY_TENANT, Connection, ConnectionSummary
from service.errors import Conflict, NotFound
from service.store.connection_tables import connections
from service.store.tenancy import tenant_of

if TYPE_CHECKING:
    from sqlalchemy import Connection as Database

_COLUMNS = [connections.c[name] for name in Connection.model_fields if name != "object"]
_SUMMARY = [connections.c[name] for name in ConnectionSummary.model_fields if name != "object"]


def add(database: Database, connection: Connection) -> None:
    """Store a connection; raises Conflict if its tenant has one of this name."""
    row = {**connection.model_dump(mode="json", exclude={"object", "created_at"}), "created_at": connection.created_at}
    try:
        with database.begin_nested():
            database.execute(insert(connections), row)
    except IntegrityError:
        raise Conflict(f"there is a connection {connection.name!r} already: remove it first") from None


def find(database: Database, tenant: str | None = None) -> list[Connection]:
    """All connections, or those declared for one tenant (`*`: for all), by name."""
    query = select(*_COLUMNS).order_by(connections.c.name, connections.c.tenant)
    rows = database.execute(query if tenant is None else query.where(connections.c.tenant == tenant))
    return [Connection.model_validate(dict(row._mapping)) for row in rows]


def remove(database: Database, name: str, tenant: str) -> None:
    """Remove the connection of this name and tenant; raises NotFound. Data sets read from it stay."""
    these = connections.c.name == name, connections.c.tenant == tenant
    if not database.execute(delete(connections).where(*these)).rowcount:
        raise NotFound(f"no connection {name!r} of {'all tenants' if tenant == EVERY_TENANT else f'tenant {tenant!r}'}")


def usable(database: Database, *, limit: int, after: str | None = None) -> list[ConnectionSummary]:
    """The connections that the database's tenant may use, newest first, at most `limit`, older than `after`."""
    query = select(*_SUMMARY).where(_usable(database))
    if after is not None:
        query = query.where(connections.c.id < after)
    rows = database.execute(query.order_by(connections.c.id.desc()).limit(limit))
    return [ConnectionSummary.model_validate(dict(row._mapping)) for row in rows]


def get(database: Database, name: str) -> Connection:
    """The connection of this name that the database's tenant may use, its own before one of all; raises NotFound."""
    query = select(*_COLUMNS).where(_usable(database), connections.c.name == name)
    row = database.execute(query.order_by(connections.c.tenant == EVERY_TENANT).limit(1)).first()
    if row is None:
        raise NotFound(f"no connection {name!r}")
    return Connection.model_validate(dict(row._mapping))


def _usable(database: Database) -> ColumnElement[bool]:
    return connections.c.tenant.in_([tenant_of(database), EVERY_TENANT])
