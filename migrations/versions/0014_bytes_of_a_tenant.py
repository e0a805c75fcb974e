"""Add datasets.profile_bytes, jobs.expected_bytes, and covering indexes to sum a tenant's bytes."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.add_column("datasets", sa.Column("profile_bytes", sa.BigInteger(), server_default="0", nullable=False))
    if op.get_bind().dialect.name == "postgresql":
        op.execute("UPDATE datasets SET profile_bytes = octet_length(columns::text)")
    else:
        op.execute("UPDATE datasets SET profile_bytes = length(columns)")
    op.create_index("ix_datasets_bytes", "datasets", ["tenant", "parquet_bytes", "profile_bytes"])
    op.add_column("jobs", sa.Column("expected_bytes", sa.BigInteger(), server_default="0", nullable=False))
    op.create_index("ix_checkpoints_bytes", "checkpoints", ["tenant", "path", "size_bytes"])
