"""The tables of the workers that send heartbeats, and of their gangs."""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, Float, ForeignKey, Index, Integer, String, Table, false

from service.domain.access import DEFAULT_TENANT
from service.store.schema import metadata
from service.store.utc import Utc

workers = Table(
    "workers",
    metadata,
    Column("id", String, primary_key=True),
    Column("tenant", String, nullable=False, server_default=DEFAULT_TENANT),
    Column("hostname", String, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("trainers", Integer, nullable=False),
    Column("device", String, nullable=False),
    Column("labels", JSON, nullable=False, server_default="{}"),
    Column("preemptible", Boolean, nullable=False, server_default=false()),
    Column("spec_version", Integer, nullable=False, server_default="0"),  # 0: an older version does not say
    Column("claims", Integer, nullable=False, server_default="0"),
    Column("claimed", Integer, nullable=False, server_default="0"),
    Column("claim_seconds", Float, nullable=False, server_default="0"),
    Column("waited_seconds", Float, nullable=False, server_default="0"),
    Column("lapsed_leases", Integer, nullable=False, server_default="0"),
    Column("trainer_restarts", Integer, nullable=False, server_default="0"),
    Column("started_at", Utc, nullable=False),
    Column("seen_at", Utc, nullable=False),
)

# Workers that reserve trainers for a job on several devices, or train its ranks.
gang_members = Table(
    "gang_members",
    metadata,
    Column("job_id", ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("worker", String, primary_key=True),
    Column("kind", String, nullable=False, server_default=""),  # of its devices; a gang is of one kind
    Column("ranks", Integer, nullable=False),  # of its trainers
    Column("ready", Boolean, nullable=False),  # these trainers are free, or train the job's ranks
    Column("deadline", Float, nullable=False),  # of all members to be ready; on the lease clock, as `lease_until`
    Column("lease_until", Float, nullable=False),  # renewed by the worker
    Column("lease_boot", String, nullable=False),
    Index(None, "worker"),
)
