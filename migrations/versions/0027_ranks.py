"""Add jobs.ranks and jobs.rendezvous: jobs that train on several devices, and where the ranks of an attempt meet."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0028"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("ranks", sa.Integer(), server_default="1", nullable=False))
    op.add_column("jobs", sa.Column("rendezvous", sa.String()))
