"""Add jobs.trial and jobs.epoch_limit: searches give jobs a limit of epochs, and raise it or prune them."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("trial", sa.Integer()))
    op.add_column("jobs", sa.Column("epoch_limit", sa.Integer()))
