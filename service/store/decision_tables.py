"""The table of the decisions that sweeps have taken."""

from __future__ import annotations

from sqlalchemy import JSON, Column, Float, ForeignKey, Integer, String, Table

from service.domain.access import DEFAULT_TENANT
from service.store.schema import metadata
from service.store.utc import Utc

sweep_decisions = Table(
    "sweep_decisions",
    metadata,
    Column("sweep_id", ForeignKey("sweeps.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),  # of two processes that decide, one collides
    Column("tenant", String, nullable=False, server_default=DEFAULT_TENANT),
    Column("kind", String, nullable=False),
    Column("trial", Integer),
    Column("rung", Integer),
    Column("bracket", Integer),
    Column("point", JSON(none_as_null=True)),
    Column("value", Float),
    Column("epochs", Integer),
    Column("reason", String, nullable=False),
    Column("created_at", Utc, nullable=False),
)
