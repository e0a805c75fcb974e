"""Labels and classes of workers, what jobs ask for, and an index to count the demand for workers."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("worker_labels", sa.String(), nullable=False, server_default=""))
    op.add_column("jobs", sa.Column("suits_preemptible", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("workers", sa.Column("labels", sa.JSON(), nullable=False, server_default="{}"))
    op.add_column("workers", sa.Column("preemptible", sa.Boolean(), nullable=False, server_default=sa.false()))
    queued = sa.text("status = 'queued'")
    columns = ["status", "array_limit", "tenant", "device_request", "worker_labels", "shape_key", "failures"]
    op.create_index("ix_jobs_demand", "jobs", columns, sqlite_where=queued, postgresql_where=queued)
