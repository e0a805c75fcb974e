"""Connections, and data sets that are read from them: versions, provenance, idempotency keys."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    op.add_column("datasets", sa.Column("version", sa.Integer(), nullable=False, server_default="1"))
    for name in ("series", "connection", "idempotency_key", "request_sha256"):
        op.add_column("datasets", sa.Column(name, sa.String()))
    op.add_column("datasets", sa.Column("provenance", sa.JSON()))
    op.create_index("uq_datasets_series", "datasets", ["series", "version"], unique=True)
    op.create_index("uq_datasets_idempotency_key", "datasets", ["idempotency_key", "tenant"], unique=True)
    op.create_table(
        "connections",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("secrets", sa.JSON(), nullable=False),
        sa.Column("allow_private", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_connections")),
        sa.UniqueConstraint("tenant", "name", name=op.f("uq_connections_tenant_name")),
    )
