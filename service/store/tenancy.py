"""Whose rows a connection may see: each is opened for one tenant, or for the service itself, which serves them all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import true

if TYPE_CHECKING:
    from sqlalchemy import Alias, ColumnElement, Connection, Table

OPTION = "bestepoch_tenant"


def own(connection: Connection, *tables: Table | Alias) -> ColumnElement[bool]:
    """The rows of these tables that are for this connection to see and to change: a part of every WHERE."""
    tenant = connection.get_execution_options()[OPTION]
    condition: ColumnElement[bool] = true()
    for table in tables:
        condition = condition if tenant is None else condition & (table.c.tenant == tenant)
    return condition


def tenant_of(connection: Connection) -> str:
    """Whose new rows are; the service itself makes none but for rows that are somebody's."""
    tenant: str | None = connection.get_execution_options()[OPTION]
    assert tenant is not None, "opened for nobody in particular"
    return tenant
