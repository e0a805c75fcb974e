"""Add spec_version, resolved and furthest_epoch to jobs; tables dataset_inputs and schema_compatibility.

Expand-only: processes of the previous version keep working with this schema.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("spec_version", sa.Integer(), server_default="1", nullable=False))
    op.add_column("jobs", sa.Column("resolved", sa.JSON()))
    op.add_column("jobs", sa.Column("furthest_epoch", sa.Integer(), server_default="0", nullable=False))
    op.execute("UPDATE jobs SET furthest_epoch = epoch WHERE status IN ('queued', 'running', 'paused')")
    op.create_table(
        "dataset_inputs",
        sa.Column("dataset_id", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("tenant", sa.String(), server_default="default", nullable=False),
        sa.Column("inputs", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset_id"], ["datasets.id"], name="fk_dataset_inputs_dataset_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("dataset_id", "sha256", name="pk_dataset_inputs"),
    )
    schema = op.create_table(
        "schema_compatibility",
        sa.Column("usable_since", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("usable_since", name="pk_schema_compatibility"),
    )
    op.bulk_insert(schema, [{"usable_since": "0010"}])
