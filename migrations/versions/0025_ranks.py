"""Jobs that train on several devices: how many, where the ranks of an attempt meet, and the workers that train them."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("ranks", sa.Integer(), server_default="1", nullable=False))
    op.add_column("jobs", sa.Column("rendezvous", sa.String()))
    queued = sa.text("ranks > 1 AND status = 'queued'")
    op.create_index("ix_jobs_parallel", "jobs", ["status", "ranks"], sqlite_where=queued, postgresql_where=queued)
    op.create_table(
        "gang_members",
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("worker", sa.String(), nullable=False),
        sa.Column("ranks", sa.Integer(), nullable=False),
        sa.Column("ready", sa.Boolean(), nullable=False),
        sa.Column("deadline", sa.Float(), nullable=False),
        sa.Column("lease_until", sa.Float(), nullable=False),
        sa.Column("lease_boot", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_gang_members_job_id_jobs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "worker", name=op.f("pk_gang_members")),
    )
    op.create_index(op.f("ix_gang_members_worker"), "gang_members", ["worker"])
