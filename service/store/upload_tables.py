"""The table of uploads in parts."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, String, Table

from service.domain.access import DEFAULT_TENANT
from service.store.schema import metadata
from service.store.utc import Utc

# Files that are uploaded in parts; the artifact store lists the parts that are there.
uploads = Table(
    "uploads",
    metadata,
    Column("id", String, primary_key=True),
    Column("tenant", String, nullable=False, server_default=DEFAULT_TENANT),
    Column("name", String),
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", String),
    Column("options", String, nullable=False),  # reading options, as canonical JSON
    Column("part_bytes", BigInteger, nullable=False),
    Column("dataset_id", ForeignKey("datasets.id", ondelete="CASCADE")),  # that it became; null: not complete
    Column("created_at", Utc, nullable=False),
    Column("expires_at", Utc, nullable=False),
    Index(None, "tenant", "sha256"),
    Index(None, "dataset_id"),
    Index(None, "expires_at"),
)
