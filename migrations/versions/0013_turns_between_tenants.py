"""Replace the claim indexes by per-tenant ones; add lapsed_leases and trainer_restarts to workers.

Workers of the previous version keep working, but their claims scan the whole queue.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.create_index("ix_jobs_claim_tenant", "jobs", ["status", "tenant", sa.literal_column("priority DESC"), "id"])
    alike = ["tenant", "array_key", "status", sa.literal_column("priority DESC"), "id"]
    op.create_index("ix_jobs_claim_alike", "jobs", alike)
    op.create_index(op.f("ix_jobs_tenant_started_at"), "jobs", ["tenant", "started_at"])
    op.drop_index("ix_jobs_claim", "jobs")
    op.drop_index("ix_jobs_claim_array", "jobs")
    for name in ("lapsed_leases", "trainer_restarts"):
        op.add_column("workers", sa.Column(name, sa.Integer(), server_default="0", nullable=False))
