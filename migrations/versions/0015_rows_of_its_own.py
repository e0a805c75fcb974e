"""Add jobs.shape_key and jobs.row_sets: jobs with different splits of a table can be trained as one array."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("shape_key", sa.String()))
    op.add_column("jobs", sa.Column("row_sets", sa.Integer(), server_default="1", nullable=False))
    columns = ["tenant", "shape_key", "status", sa.text("priority DESC"), "id"]
    op.create_index("ix_jobs_claim_shape", "jobs", columns)
