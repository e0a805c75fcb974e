"""Table of connections, from which data sets are read by reference.

The tenant `*` stands for all. Secrets are references, never secrets themselves.
"""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, String, Table, UniqueConstraint

from service.store.schema import metadata
from service.store.utc import Utc

connections = Table(
    "connections",
    metadata,
    Column("id", String, primary_key=True),
    Column("tenant", String, nullable=False),
    Column("name", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("url", String, nullable=False),
    Column("options", JSON, nullable=False),
    Column("secrets", JSON, nullable=False),
    Column("allow_private", Boolean, nullable=False),
    Column("created_at", Utc, nullable=False),
    UniqueConstraint("tenant", "name"),
)
