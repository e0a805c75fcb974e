"""Tables of published models: versions with their members, aliases, and the log of alias moves."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    String,
    Table,
    UniqueConstraint,
)

from service.domain.access import DEFAULT_TENANT
from service.store.schema import metadata
from service.store.utc import Utc

models = Table(
    "models",
    metadata,
    Column("id", String, primary_key=True),
    Column("tenant", String, nullable=False, server_default=DEFAULT_TENANT),
    Column("name", String, nullable=False),
    Column("latest", Integer, nullable=False),  # the last version number given: numbers of deleted versions stay unused
    Column("created_at", Utc, nullable=False),
    UniqueConstraint("tenant", "name"),
    Index(None, "tenant", "id"),
)

model_versions = Table(
    "model_versions",
    metadata,
    Column("model_id", ForeignKey("models.id", ondelete="CASCADE"), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("tenant", String, nullable=False, server_default=DEFAULT_TENANT),
    Column("description", String),
    Column("source", JSON, nullable=False),  # `from` of the request
    Column("signature", JSON, nullable=False),  # task, target, classes, features, calibration
    Column("metrics", JSON, nullable=False),
    Column("service_version", String, nullable=False),
    Column("created_by", JSON, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("idempotency_key", String),
    Column("request_sha256", String),
    UniqueConstraint("tenant", "idempotency_key"),
)

# Members own their checkpoint files: `path` protects a file from collection when its job is deleted.
model_members = Table(
    "model_members",
    metadata,
    Column("model_id", String, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("place", Integer, primary_key=True, autoincrement=False),
    Column("tenant", String, nullable=False, server_default=DEFAULT_TENANT),
    Column("job", String, nullable=False),  # no foreign key: the job may be deleted
    Column("weight", Float, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("metrics", JSON, nullable=False),
    Column("test_metrics", JSON(none_as_null=True)),
    Column("dataset", JSON(none_as_null=True)),  # id, name and SHA-256; null for inline and synthetic data
    Column("spec", JSON, nullable=False),
    Column("sha256", String, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("path", String, nullable=False),
    ForeignKeyConstraint(
        ["model_id", "version"], ["model_versions.model_id", "model_versions.version"], ondelete="CASCADE"
    ),
    Index("ix_model_members_bytes", "tenant", "path", "size_bytes"),  # covering index for sums over distinct files
    Index(None, "tenant", "job"),
)

# Kept predictions of members, for metrics and calibration of the version.
model_member_files = Table(
    "model_member_files",
    metadata,
    Column("model_id", String, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("place", Integer, primary_key=True, autoincrement=False),
    Column("kind", String, primary_key=True),
    Column("tenant", String, nullable=False, server_default=DEFAULT_TENANT),
    Column("sha256", String, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("path", String, nullable=False),
    ForeignKeyConstraint(
        ["model_id", "version", "place"],
        ["model_members.model_id", "model_members.version", "model_members.place"],
        ondelete="CASCADE",
    ),
    Index("ix_model_member_files_bytes", "tenant", "path", "size_bytes"),  # covering index, as that of members
)

# Made from the version as a whole: its report, the profile of its training rows.
model_version_files = Table(
    "model_version_files",
    metadata,
    Column("model_id", String, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("kind", String, primary_key=True),
    Column("tenant", String, nullable=False, server_default=DEFAULT_TENANT),
    Column("sha256", String, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("path", String, nullable=False),
    ForeignKeyConstraint(
        ["model_id", "version"], ["model_versions.model_id", "model_versions.version"], ondelete="CASCADE"
    ),
    Index("ix_model_version_files_bytes", "tenant", "path", "size_bytes"),  # covering index, as that of members
)

# A random sample of the rows that a version was asked to predict: a new row overwrites the one in a random slot.
model_samples = Table(
    "model_samples",
    metadata,
    Column("model_id", String, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("slot", Integer, primary_key=True, autoincrement=False),
    Column("tenant", String, nullable=False, server_default=DEFAULT_TENANT),
    Column("row", JSON, nullable=False),
    Column("at", Utc, nullable=False),
    ForeignKeyConstraint(
        ["model_id", "version"], ["model_versions.model_id", "model_versions.version"], ondelete="CASCADE"
    ),
)

model_aliases = Table(
    "model_aliases",
    metadata,
    Column("model_id", String, primary_key=True),
    Column("alias", String, primary_key=True),
    Column("tenant", String, nullable=False, server_default=DEFAULT_TENANT),
    Column("version", Integer, nullable=False),
    Column("earlier", JSON, nullable=False),  # versions to roll back to, the latest last
    Column("moved_at", Utc, nullable=False),
    Column("moved_by", JSON, nullable=False),
    # No cascade: a version with an alias cannot be deleted.
    ForeignKeyConstraint(["model_id", "version"], ["model_versions.model_id", "model_versions.version"]),
    Index(None, "model_id", "version"),
)

alias_moves = Table(
    "alias_moves",
    metadata,
    Column("model_id", ForeignKey("models.id", ondelete="CASCADE"), primary_key=True),
    Column("alias", String, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("tenant", String, nullable=False, server_default=DEFAULT_TENANT),
    Column("from_version", Integer),  # null: the alias was created
    Column("to_version", Integer),  # null: it was deleted
    Column("at", Utc, nullable=False),
    Column("by", JSON, nullable=False),
)
