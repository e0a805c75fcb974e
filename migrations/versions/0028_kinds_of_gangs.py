"""Which specs a worker reads, and of which kind of device a member of a gang is."""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    op.add_column("workers", sa.Column("spec_version", sa.Integer(), server_default="0", nullable=False))
    op.add_column("gang_members", sa.Column("kind", sa.String(), server_default="", nullable=False))
