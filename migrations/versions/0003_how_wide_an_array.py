"""Replace jobs.parameters by jobs.array_limit, the maximum array size; jobs already queued train alone."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("array_limit", sa.Integer(), server_default="1", nullable=False))
    op.execute("ALTER TABLE jobs DROP COLUMN parameters")
