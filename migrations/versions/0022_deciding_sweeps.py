"""Sweeps that decide: what is due, what was published, and the record of every decision."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    op.add_column("sweeps", sa.Column("key", sa.String()))
    op.add_column("sweeps", sa.Column("pending", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("sweeps", sa.Column("published", sa.JSON()))
    op.add_column("sweeps", sa.Column("error", sa.String()))
    op.create_index(op.f("ix_sweeps_pending_id"), "sweeps", ["pending", "id"])
    op.create_table(
        "sweep_decisions",
        sa.Column("sweep_id", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("tenant", sa.String(), nullable=False, server_default="default"),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("trial", sa.Integer()),
        sa.Column("rung", sa.Integer()),
        sa.Column("bracket", sa.Integer()),
        sa.Column("point", sa.JSON()),
        sa.Column("value", sa.Float()),
        sa.Column("epochs", sa.Integer()),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["sweep_id"], ["sweeps.id"], name=op.f("fk_sweep_decisions_sweep_id_sweeps"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("sweep_id", "number", name=op.f("pk_sweep_decisions")),
    )
