"""Whose rows a connection may see: each is opened for one tenant, or for the service itself, which serves them all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, true

if TYPE_CHECKING:
    from sqlalchemy import Alias, ColumnElement, Connection, CursorResult, Select, Table

TENANT_OPTION = "bestepoch_tenant"


def in_tenant(connection: Connection, *tables: Table | Alias) -> ColumnElement[bool]:
    """The rows of these tables that are for this connection to see and to change: a part of every WHERE."""
    tenant = connection.get_execution_options()[TENANT_OPTION]
    condition: ColumnElement[bool] = true()
    for table in tables:
        condition = condition if tenant is None else condition & (table.c.tenant == tenant)
    return condition


class CachedSelect:
    """A SELECT of rows that are for the connection to see, built once: what polls ask for, whom building it would cost
    more than running it."""

    def __init__(self, statement: Select[Any], *tables: Table) -> None:
        """`statement`, with a bindparam for each argument of `on`, reads these tables."""
        self._of_all = statement
        self._own = statement.where(*(table.c.tenant == bindparam("tenant") for table in tables))

    def execute(self, connection: Connection, **arguments: Any) -> CursorResult[Any]:
        """Run it."""
        tenant = connection.get_execution_options()[TENANT_OPTION]
        if tenant is None:
            return connection.execute(self._of_all, arguments)
        return connection.execute(self._own, {**arguments, "tenant": tenant})


def tenant_of(connection: Connection) -> str:
    """Whose new rows are; the service itself makes none but for rows that are somebody's."""
    tenant: str | None = connection.get_execution_options()[TENANT_OPTION]
    assert tenant is not None, "opened for nobody in particular"
    return tenant
