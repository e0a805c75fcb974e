"""Multi-tenancy: each connection belongs to one tenant, or to the service, which sees all rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, true

if TYPE_CHECKING:
    from sqlalchemy import Alias, ColumnElement, Connection, CursorResult, Select, Table

TENANT_OPTION = "bestepoch_tenant"


def in_tenant(connection: Connection, *tables: Table | Alias) -> ColumnElement[bool]:
    """A WHERE condition: rows of these tables that belong to the connection's tenant; all rows for the service."""
    tenant = connection.get_execution_options()[TENANT_OPTION]
    condition: ColumnElement[bool] = true()
    for table in tables:
        condition = condition if tenant is None else condition & (table.c.tenant == tenant)
    return condition


class CachedSelect:
    """Cached SELECT with the tenant filter: building it costs more than running it."""

    def __init__(self, statement: Select[Any], *tables: Table) -> None:
        """`statement`, with a bindparam for each argument of `execute`, reads these tables."""
        self._all_tenants = statement
        self._one_tenant = statement.where(*(table.c.tenant == bindparam("tenant") for table in tables))

    def execute(self, connection: Connection, **arguments: Any) -> CursorResult[Any]:
        """Run it with these parameters, for the connection's tenant."""
        tenant = connection.get_execution_options()[TENANT_OPTION]
        if tenant is None:
            return connection.execute(self._all_tenants, arguments)
        return connection.execute(self._one_tenant, {**arguments, "tenant": tenant})


def tenant_of(connection: Connection) -> str:
    """The tenant of the connection, for new rows; it must have one."""
    tenant: str | None = connection.get_execution_options()[TENANT_OPTION]
    assert tenant is not None, "the connection has no tenant"
    return tenant
