"""Forks: jobs that start from the weights of another job, and may take over its history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, literal, select, update

from service.domain.checkpoint import CheckpointKind
from service.errors import Conflict, NotFound
from service.store.epochs import read as read_epochs
from service.store.jobs import jobs as job_store
from service.store.jobs import resolutions
from service.store.schema import checkpoints, epochs, jobs
from service.store.tenancy import in_tenant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Row

    from service.domain.epoch import Epoch
    from service.domain.job import Job
    from service.spec.resolve import Resolved
    from service.store.jobs.attempt import BestSoFar


@dataclass(frozen=True)
class ForkSource:
    """The job and checkpoint that a fork starts from."""

    parent: Job
    kind: CheckpointKind  # best, or state (of the last saved epoch)
    epoch: int  # of the checkpoint
    path: str
    rows: Sequence[Epoch]  # epochs that the fork takes over
    resolved: Resolved | None  # what the parent trains; None: an older version did not store it


def find(connection: Connection, job_id: str, kind: CheckpointKind) -> ForkSource:
    """What a fork of this job would start from; raises NotFound, and Conflict when no checkpoint exists (yet)."""
    parent = job_store.get(connection, job_id)
    file = _file(connection, job_id, kind)
    if file is None:
        what = "best checkpoint" if kind is CheckpointKind.best else "saved state"
        raise Conflict(f"the job is {parent.status.value} and has no {what} to fork from")
    rows = read_epochs(connection, job_id, limit=file.epoch) if kind is CheckpointKind.state else []
    resolved = resolutions.of_job(connection, job_id, parent.known_spec)
    return ForkSource(parent, kind, file.epoch, file.path, rows, resolved)


def attach(connection: Connection, job_id: str, source: ForkSource, best: BestSoFar | None) -> bool:
    """Give the new job the checkpoint and history of its parent; False: the parent has changed since `find`, retry.

    `best`: the best of the epochs taken over. Files are shared: one is collected when no row refers to it any more.
    """
    parent = select(jobs.c.id).where(in_tenant(connection, jobs), jobs.c.id == source.parent.id)
    if connection.execute(parent.with_for_update()).first() is None:  # serializes with its recorder
        raise NotFound(f"no job {source.parent.id!r}")
    file = _file(connection, source.parent.id, source.kind)
    if file is None or file.path != source.path:
        return False
    start = file.epoch if source.kind is CheckpointKind.state else 0
    _share(connection, job_id, file, kind=CheckpointKind.state, epoch=start)
    if start:
        _copy_epochs(connection, job_id, source.parent.id, start)
        values = {"epoch": start, "best_epoch": None, "best_value": None, "best_metrics": None}
        if best is not None:
            values |= {"best_epoch": best.epoch, "best_value": best.value, "best_metrics": best.metrics}
            published = _file(connection, source.parent.id, CheckpointKind.best)
            if published is not None and published.epoch == best.epoch:
                _share(connection, job_id, published)
        connection.execute(update(jobs).where(in_tenant(connection, jobs), jobs.c.id == job_id).values(values))
    return True


def _file(connection: Connection, job_id: str, kind: CheckpointKind) -> Row[Any] | None:
    query = select(checkpoints).where(
        in_tenant(connection, checkpoints), checkpoints.c.job_id == job_id, checkpoints.c.kind == kind
    )
    return connection.execute(query).first()


def _share(connection: Connection, job_id: str, file: Row[Any], **changes: Any) -> None:
    connection.execute(insert(checkpoints), {**file._mapping, "job_id": job_id, **changes})


def _copy_epochs(connection: Connection, job_id: str, parent: str, until: int) -> None:
    others = [column for column in epochs.c if column.name != "job_id"]
    taken = in_tenant(connection, epochs), epochs.c.job_id == parent, epochs.c.epoch <= until
    rows = select(literal(job_id), *others).where(*taken)
    connection.execute(insert(epochs).from_select(["job_id", *(column.name for column in others)], rows))
