"""Add datasets.read_as: the format of the uploaded file. Existing data sets are CSV."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    column = sa.Column("read_as", sa.JSON(), server_default='{"format": "csv"}', nullable=False)
    op.add_column("datasets", column)
