"""Add jobs.forked: the job and checkpoint that a job was forked from."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("forked", sa.JSON()))
