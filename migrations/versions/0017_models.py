"""Add published models: models, model_versions, model_members, their files, aliases and their moves."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"

TENANT = {"server_default": "default", "nullable": False}
VERSION = ["model_versions.model_id", "model_versions.version"]


def upgrade() -> None:
    op.create_table(
        "models",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("tenant", sa.String(), **TENANT),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("latest", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_models")),
        sa.UniqueConstraint("tenant", "name", name=op.f("uq_models_tenant_name")),
    )
    op.create_index(op.f("ix_models_tenant_id"), "models", ["tenant", "id"])
    op.create_table(
        "model_versions",
        sa.Column("model_id", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("tenant", sa.String(), **TENANT),
        sa.Column("description", sa.String()),
        sa.Column("source", sa.JSON(), nullable=False),
        sa.Column("signature", sa.JSON(), nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("service_version", sa.String(), nullable=False),
        sa.Column("created_by", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("idempotency_key", sa.String()),
        sa.Column("request_sha256", sa.String()),
        sa.ForeignKeyConstraint(
            ["model_id"], ["models.id"], name=op.f("fk_model_versions_model_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("model_id", "version", name=op.f("pk_model_versions")),
        sa.UniqueConstraint("tenant", "idempotency_key", name=op.f("uq_model_versions_tenant_idempotency_key")),
    )
    _create_members()
    _create_member_files()
    _create_aliases()


def _create_members() -> None:
    op.create_table(
        "model_members",
        sa.Column("model_id", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("place", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("tenant", sa.String(), **TENANT),
        sa.Column("job", sa.String(), nullable=False),
        sa.Column("weight", sa.Float(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("test_metrics", sa.JSON()),
        sa.Column("dataset", sa.JSON()),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["model_id", "version"],
            VERSION,
            name=op.f("fk_model_members_model_id_version"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("model_id", "version", "place", name=op.f("pk_model_members")),
    )
    op.create_index("ix_model_members_bytes", "model_members", ["tenant", "path", "size_bytes"])
    op.create_index(op.f("ix_model_members_tenant_job"), "model_members", ["tenant", "job"])


def _create_member_files() -> None:
    op.create_table(
        "model_member_files",
        sa.Column("model_id", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("place", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("tenant", sa.String(), **TENANT),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["model_id", "version", "place"],
            ["model_members.model_id", "model_members.version", "model_members.place"],
            name=op.f("fk_model_member_files_model_id_version_place"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("model_id", "version", "place", "kind", name=op.f("pk_model_member_files")),
    )
    op.create_index("ix_model_member_files_bytes", "model_member_files", ["tenant", "path", "size_bytes"])


def _create_aliases() -> None:
    op.create_table(
        "model_aliases",
        sa.Column("model_id", sa.String(), nullable=False),
        sa.Column("alias", sa.String(), nullable=False),
        sa.Column("tenant", sa.String(), **TENANT),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("earlier", sa.JSON(), nullable=False),
        sa.Column("moved_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("moved_by", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["model_id", "version"], VERSION, name=op.f("fk_model_aliases_model_id_version")),
        sa.PrimaryKeyConstraint("model_id", "alias", name=op.f("pk_model_aliases")),
    )
    op.create_index(op.f("ix_model_aliases_model_id_version"), "model_aliases", ["model_id", "version"])
    op.create_table(
        "alias_moves",
        sa.Column("model_id", sa.String(), nullable=False),
        sa.Column("alias", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("tenant", sa.String(), **TENANT),
        sa.Column("from_version", sa.Integer()),
        sa.Column("to_version", sa.Integer()),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("by", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_alias_moves_model_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("model_id", "alias", "number", name=op.f("pk_alias_moves")),
    )
