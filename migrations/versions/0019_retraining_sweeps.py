"""Add sweeps.retrains: the job that a sweep retrains for its report."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    op.add_column("sweeps", sa.Column("retrains", sa.String()))
    op.create_index(op.f("ix_sweeps_tenant_retrains"), "sweeps", ["tenant", "retrains"])
