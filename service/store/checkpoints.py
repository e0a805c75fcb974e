"""Published checkpoints of jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, select

from service.domain.checkpoint import Checkpoint, CheckpointKind
from service.errors import NotFound
from service.store.jobs.jobs import download_url
from service.store.schema import checkpoints
from service.store.tenancy import CachedSelect, in_tenant

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Connection, Row


_ONE = CachedSelect(
    select(checkpoints).where(checkpoints.c.job_id == bindparam("job_id"), checkpoints.c.kind == bindparam("kind")),
    checkpoints,
)


def find(connection: Connection, job_id: str) -> list[Checkpoint]:
    """The job's checkpoints: none, best, or best and last."""
    public = (
        in_tenant(connection, checkpoints),
        checkpoints.c.job_id == job_id,
        checkpoints.c.kind.in_([CheckpointKind.best, CheckpointKind.last]),
    )
    query = select(checkpoints).where(*public).order_by(checkpoints.c.kind)
    return [_checkpoint(row) for row in connection.execute(query)]


def get(connection: Connection, job_id: str, kind: CheckpointKind) -> Checkpoint:
    """The job's checkpoint of this kind; raises NotFound when none is published (yet)."""
    row = _ONE.execute(connection, job_id=job_id, kind=kind).first()
    if row is None:
        raise NotFound(f"job {job_id!r} has no {kind.value} checkpoint")
    return _checkpoint(row)


def of_jobs(connection: Connection, job_ids: Collection[str], kind: CheckpointKind) -> dict[str, Checkpoint]:
    """Checkpoints of one kind, by job id, of those jobs that have one."""
    these = in_tenant(connection, checkpoints), checkpoints.c.job_id.in_(list(job_ids)), checkpoints.c.kind == kind
    query = select(checkpoints).where(*these)
    return {row.job_id: _checkpoint(row) for row in connection.execute(query)}


def _checkpoint(row: Row[Any]) -> Checkpoint:
    return Checkpoint.model_validate({**row._mapping, "download_url": download_url(row.job_id, row.kind)})
