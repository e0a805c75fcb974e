"""Indexes of queued jobs by what they ask of workers: a claim does not read past jobs that it cannot claim."""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"


def upgrade() -> None:
    asked = ["device_request", "worker_labels", "suits_preemptible", "ranks", "spec_version"]
    order = [sa.literal_column("priority DESC"), "id"]
    queued, unharmed = sa.text("status = 'queued'"), sa.text("status = 'queued' AND failures = 0")
    by_class, by_shape = [*asked, "tenant", *order], ["tenant", "shape_key", *asked, *order]
    op.create_index("ix_jobs_class", "jobs", by_class, sqlite_where=queued, postgresql_where=queued)
    op.create_index("ix_jobs_class_shape", "jobs", by_shape, sqlite_where=unharmed, postgresql_where=unharmed)
    op.drop_index("ix_jobs_claim_shape", "jobs")  # earlier versions find similar jobs without it, more slowly
