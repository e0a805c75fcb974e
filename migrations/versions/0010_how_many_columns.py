"""Add datasets.column_count."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("datasets", sa.Column("column_count", sa.Integer(), server_default="0", nullable=False))
    op.execute(
        "UPDATE datasets SET column_count = json_array_length(columns)"
    )  # the same function in SQLite and Postgres
