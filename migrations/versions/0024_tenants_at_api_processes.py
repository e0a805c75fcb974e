"""Add api_usage: what each API process has of each tenant, for limits over all processes."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    op.create_table(
        "api_usage",
        sa.Column("process", sa.String(), nullable=False),
        sa.Column("tenant", sa.String(), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("streams", sa.Integer(), nullable=False),
        sa.Column("upload_bytes", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("process", "tenant", name=op.f("pk_api_usage")),
    )
    op.create_index(op.f("ix_api_usage_tenant_seen_at"), "api_usage", ["tenant", "seen_at"])
