"""The database schema. Rows that clients create have a `tenant`; every change of a job increments its `version`."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    and_,
    false,
)

from service.domain.access import DEFAULT_TENANT
from service.store.utc import Utc

# Status and tenant of staged jobs, whose sweep is still being stored. No query of any version of the service, also of
# older ones, selects this status or this tenant.
STAGED, NO_TENANT = "staged", "~"

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

datasets = Table(
    "datasets",
    metadata,
    Column("id", String, primary_key=True),
    Column("tenant", String, nullable=False, server_default=DEFAULT_TENANT),
    Column("name", String),
    Column("sha256", String, nullable=False),
    Column("options", String, nullable=False),  # reading options, as canonical JSON
    Column("source_bytes", BigInteger, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("duplicate_rows", BigInteger),  # null: stored before duplicates were counted
    Column("columns", JSON, nullable=False),
    Column("column_count", Integer, nullable=False, server_default="0"),  # `columns` is slow to read
    Column("null_values", JSON, nullable=False),
    Column("read_as", JSON, nullable=False, server_default='{"format": "csv"}'),
    Column("warnings", JSON, nullable=False),
    Column("path", String, nullable=False),
    Column("parquet_sha256", String, nullable=False),
    Column("parquet_bytes", BigInteger, nullable=False),
    Column("profile_bytes", BigInteger, nullable=False, server_default="0"),  # size of `columns`
    Column("created_at", Utc, nullable=False),
    Column("version", Integer, nullable=False, server_default="1"),
    Column("series", String),  # id of version 1, which may be deleted; null: it was uploaded
    Column("connection", String),
    Column("provenance", JSON(none_as_null=True)),
    Column("idempotency_key", String),
    Column("request_sha256", String),
    UniqueConstraint("tenant", "sha256", "options"),
    Index(None, "tenant", "id"),
    Index("uq_datasets_series", "series", "version", unique=True),
    Index("uq_datasets_idempotency_key", "idempotency_key", "tenant", unique=True),
    # Covering index for sums: rows may take megabytes.
    Index("ix_datasets_bytes", "tenant", "parquet_bytes", "profile_bytes"),
)

# Input encoding of a data set, as resolved at submission; shared by jobs.
dataset_inputs = Table(
    "dataset_inputs",
    metadata,
    Column("dataset_id", ForeignKey("datasets.id", ondelete="CASCADE"), primary_key=True),
    Column("sha256", String, primary_key=True),  # of `inputs` as canonical JSON
    Column("tenant", String, nullable=False, server_default=DEFAULT_TENANT),
    Column("inputs", JSON, nullable=False),
)

sweeps = Table(
    "sweeps",
    metadata,
    Column("id", String, primary_key=True),
    Column("tenant", String, nullable=False, server_default=DEFAULT_TENANT),
    Column("name", String),
    Column("labels", JSON, nullable=False),
    Column("spec", JSON, nullable=False),  # base, grid, points, replicates, folds and repeats as submitted
    Column("monitor", String, nullable=False),  # the metric by which its jobs are compared
    Column("idempotency_key", String),
    Column("request_sha256", String),
    Column("created_at", Utc, nullable=False),
    Column("cancelled_at", Utc),
    Column("retrains", String),  # id of the job that it retrains, which may be deleted
    Column("key", String),  # id of the API key that submitted it, if any
    Column("pending", Boolean, nullable=False, server_default=false()),  # decisions are due, or a publication
    Column("published", JSON(none_as_null=True)),  # model and version
    Column("error", String),  # why nothing was published
    UniqueConstraint("tenant", "idempotency_key"),
    Index(None, "tenant", "id"),
    Index(None, "tenant", "retrains"),
    Index(None, "pending", "id"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", String, primary_key=True),
    Column("tenant", String, nullable=False, server_default=DEFAULT_TENANT),
    Column("name", String),
    Column("labels", JSON, nullable=False),
    Column("spec", JSON, nullable=False),
    Column("spec_version", Integer, nullable=False, server_default="1"),  # older workers leave it queued
    Column("resolved", JSON(none_as_null=True)),  # null: an older version has submitted it
    Column("warnings", JSON, nullable=False),
    Column("dataset_id", ForeignKey("datasets.id", ondelete="SET NULL")),
    Column("sweep_id", ForeignKey("sweeps.id")),
    Column("point", JSON(none_as_null=True)),  # fields changed by the sweep, by dotted name
    Column("trial", Integer),  # number of its trial in a search, from 1; null: its sweep does not search
    Column("forked", JSON(none_as_null=True)),  # parent job, checkpoint and epoch
    Column("array_key", String, nullable=False),  # jobs with the same key can be trained as one array on the same rows
    Column("shape_key", String),  # ... each on its own rows; null: an older version has submitted it
    Column("row_sets", Integer, nullable=False, server_default="1"),  # maximum number of array keys in an array
    Column("array_limit", Integer, nullable=False, server_default="1"),  # maximum number of jobs in an array
    Column("idempotency_key", String),
    Column("request_sha256", String),
    Column("priority", Integer, nullable=False),
    Column("device_request", String, nullable=False),
    Column("worker_labels", String, nullable=False, server_default=""),  # that its worker must have: KEY=VALUE,...
    Column("suits_preemptible", Boolean, nullable=False, server_default=false()),  # long, and saves cheaply
    Column("ranks", Integer, nullable=False, server_default="1"),  # trainers that it takes, one for each device
    Column("max_epochs", Integer, nullable=False),
    Column("monitor", String, nullable=False),
    Column("expected_bytes", BigInteger, nullable=False, server_default="0"),  # estimated size of its files
    # columns that change while the job is live
    Column("version", Integer, nullable=False, server_default="0"),
    Column("status", String, nullable=False),
    Column("stop_reason", String),
    Column("control", String),
    Column("epoch_limit", Integer),  # after this epoch it pauses until its sweep decides; null: no limit
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("worker", String),
    Column("device", String),
    Column("lease_until", Float),
    Column("lease_boot", String),
    Column("rendezvous", String),  # where the ranks of an attempt meet: "ATTEMPT ADDRESS PORT"
    Column("epoch", Integer, nullable=False, server_default="0"),
    Column("furthest_epoch", Integer, nullable=False, server_default="0"),  # of all attempts
    Column("eta_seconds", Float),
    Column("best_epoch", Integer),
    Column("best_value", Float),
    Column("best_metrics", JSON(none_as_null=True)),
    Column("test_metrics", JSON(none_as_null=True)),
    Column("error", JSON(none_as_null=True)),
    Column("created_at", Utc, nullable=False),
    Column("started_at", Utc),
    Column("finished_at", Utc),
    UniqueConstraint("tenant", "idempotency_key"),
    Index(None, "tenant", "id"),
    Index(None, "dataset_id"),
    Index(None, "sweep_id", "id"),
    Index(None, "tenant", "started_at"),
)
Index("ix_jobs_claim_tenant", jobs.c.status, jobs.c.tenant, jobs.c.priority.desc(), jobs.c.id)
Index("ix_jobs_claim_alike", jobs.c.tenant, jobs.c.array_key, jobs.c.status, jobs.c.priority.desc(), jobs.c.id)
_queued = jobs.c.status == "queued"
_class = jobs.c.device_request, jobs.c.worker_labels, jobs.c.suits_preemptible, jobs.c.ranks, jobs.c.spec_version
_claimed = *_class, jobs.c.tenant, jobs.c.priority.desc(), jobs.c.id  # what a worker can claim: jobs/claim_queries.py
Index("ix_jobs_class", *_claimed, sqlite_where=_queued, postgresql_where=_queued)
_alike = jobs.c.tenant, jobs.c.shape_key, *_class, jobs.c.priority.desc(), jobs.c.id
_fresh = and_(_queued, jobs.c.failures == 0)  # others are claimed alone
Index("ix_jobs_class_shape", *_alike, sqlite_where=_fresh, postgresql_where=_fresh)
_demanded = jobs.c.tenant, jobs.c.device_request, jobs.c.worker_labels, jobs.c.shape_key, jobs.c.failures
_keys = jobs.c.status, jobs.c.array_limit, *_demanded  # claims look for no array_limit: SQLite does not use it for them
Index("ix_jobs_demand", *_keys, sqlite_where=_queued, postgresql_where=_queued)  # covering index of store/demand.py
_parallel = and_(jobs.c.ranks > 1, _queued)
Index("ix_jobs_parallel", jobs.c.status, jobs.c.ranks, sqlite_where=_parallel, postgresql_where=_parallel)

epochs = Table(
    "epochs",
    metadata,
    Column("job_id", ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("tenant", String, nullable=False, server_default=DEFAULT_TENANT),
    Column("train_loss", Float),
    Column("val_loss", Float),
    Column("metrics", JSON, nullable=False),
    Column("lr", Float, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("improved", Boolean, nullable=False),
    Column("is_best", Boolean, nullable=False),
    Column("wait", Integer, nullable=False),
    Column("closeness", Float),
    Column("reason", String, nullable=False),
    Column("non_finite", Boolean, nullable=False),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("job_id", ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("kind", String, primary_key=True),
    Column("tenant", String, nullable=False, server_default=DEFAULT_TENANT),
    Column("epoch", Integer, nullable=False),
    Column("metrics", JSON, nullable=False),
    Column("sha256", String, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("path", String, nullable=False),
    Column("created_at", Utc, nullable=False),
    Index("ix_checkpoints_bytes", "tenant", "path", "size_bytes"),  # covering index for sums over distinct files
)

# Files of ended jobs beside their checkpoints, such as their predictions.
job_files = Table(
    "job_files",
    metadata,
    Column("job_id", ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("kind", String, primary_key=True),
    Column("tenant", String, nullable=False, server_default=DEFAULT_TENANT),
    Column("sha256", String, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("path", String, nullable=False),
    Column("created_at", Utc, nullable=False),
    Index("ix_job_files_bytes", "tenant", "path", "size_bytes"),  # covering index for sums over distinct files
)

events = Table(
    "events",
    metadata,
    Column("job_id", ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("tenant", String, nullable=False, server_default=DEFAULT_TENANT),
    Column("at", Utc, nullable=False),
    Column("kind", String, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("message", String, nullable=False),
    Column("details", JSON, nullable=False),
)

keys = Table(
    "keys",
    metadata,
    Column("id", String, primary_key=True),
    Column("tenant", String, nullable=False),
    Column("name", String),
    Column("scope", String, nullable=False),
    Column("sha256", String, nullable=False),  # of the key's text, which is not stored
    Column("created_at", Utc, nullable=False),
    Column("expires_at", Utc),
    Column("revoked_at", Utc),  # rows are never deleted: a server that had keys stays protected
)

# One row: the oldest revision that a process must know to use the database.
schema_compatibility = Table(
    "schema_compatibility",
    metadata,
    Column("usable_since", String, primary_key=True),
)

# Tables of the service itself, without tenants.

deployment = Table(  # one row, inserted by the migration
    "deployment",
    metadata,
    Column("id", String, primary_key=True),  # also stored in the artifacts folder
    Column("paired", Boolean, nullable=False),  # the id was written to the artifacts folder
    Column("failed", Integer, nullable=False, server_default="0"),  # collections that ended with an error
    Column("refused", Integer, nullable=False, server_default="0"),  # collections that would have deleted too many
    Column("undeleted", Integer, nullable=False, server_default="0"),  # files that could not be removed
)

collections = Table(
    "collections",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("clock", Float, nullable=False),  # seconds at its start: see store/maintenance/garbage.py
    Column("reading", Float, nullable=False),  # lease clock and its boot id at the start
    Column("boot", String, nullable=False),
    Column("wall", Utc, nullable=False),  # wall clock at the start
    Column("files", BigInteger),  # found; null unless completed
    Column("bytes", BigInteger),
    Column("trash_files", BigInteger),
    Column("trash_bytes", BigInteger),
)

garbage = Table(
    "garbage",
    metadata,
    Column("name", String, primary_key=True),  # path relative to the artifacts folder
    Column("since", Float),  # by the collection clock; null until the first collection after it was discarded
    Column("seen", Integer, nullable=False),  # number of the last collection that confirmed the mark
    Column("discarded", Boolean, nullable=False),  # its row was deleted or replaced
)
