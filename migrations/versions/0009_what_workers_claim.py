"""Add claim statistics to workers: count, duration and queue time."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    for name, kind in (
        ("claims", sa.Integer()),
        ("claimed", sa.Integer()),
        ("claim_seconds", sa.Float()),
        ("waited_seconds", sa.Float()),
    ):
        op.add_column("workers", sa.Column(name, kind, server_default="0", nullable=False))
