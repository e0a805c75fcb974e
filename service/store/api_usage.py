"""What each API process has of each tenant: requests, streams, uploads. For limits over all processes of a service."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from service.store.schema import metadata
from service.store.utc import Utc, ago

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

DEAD_AFTER = timedelta(seconds=10)  # a process reports every second what it has
DELETED_AFTER = timedelta(hours=1)

api_usage = Table(
    "api_usage",
    metadata,
    Column("process", String, primary_key=True),
    Column("tenant", String, primary_key=True),
    Column("requests", BigInteger, nullable=False),  # accepted since the process started
    Column("streams", Integer, nullable=False),
    Column("upload_bytes", BigInteger, nullable=False),
    Column("seen_at", Utc, nullable=False),
    Index(None, "tenant", "seen_at"),
)


@dataclass(frozen=True)
class TenantUse:
    """What one API process has of one tenant."""

    requests: int = 0
    """Requests accepted since the process started."""
    streams: int = 0
    """Open streams and waits."""
    upload_bytes: int = 0
    """Bytes of unfinished uploads."""


def exchange(connection: Connection, process: str, mine: Mapping[str, TenantUse]) -> dict[tuple[str, str], TenantUse]:
    """Record what this process has, by tenant; returns what the other live ones have, by (tenant, process)."""
    if not mine:
        return {}
    now = ago(connection)
    rows = [
        {
            "process": process,
            "tenant": tenant,
            "requests": use.requests,
            "streams": use.streams,
            "upload_bytes": use.upload_bytes,
        }
        for tenant, use in sorted(mine.items())
    ]
    insert = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(api_usage).values(seen_at=now)
    updated = {name: insert.excluded[name] for name in ("requests", "streams", "upload_bytes", "seen_at")}
    connection.execute(insert.on_conflict_do_update(index_elements=["process", "tenant"], set_=updated), rows)
    others = api_usage.c.process != process, api_usage.c.tenant.in_(list(mine))
    query = select(api_usage).where(*others, api_usage.c.seen_at > ago(connection, DEAD_AFTER))
    return {
        (row.tenant, row.process): TenantUse(row.requests, row.streams, row.upload_bytes)
        for row in connection.execute(query)
    }


def forget(connection: Connection, process: str) -> None:
    """Delete the rows of a process that ends, and of those that ended long ago without doing so."""
    old = api_usage.c.seen_at < ago(connection, DELETED_AFTER)
    connection.execute(delete(api_usage).where((api_usage.c.process == process) | old))
