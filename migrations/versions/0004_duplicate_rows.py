"""Add datasets.duplicate_rows; null for existing data sets."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("datasets", sa.Column("duplicate_rows", sa.BigInteger(), nullable=True))
