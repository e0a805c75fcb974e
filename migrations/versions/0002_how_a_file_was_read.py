"""How an uploaded file was read: every one before was CSV."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    column = sa.Column("read_as", sa.JSON(), server_default='{"format": "csv"}', nullable=False)
    op.add_column("datasets", column)
