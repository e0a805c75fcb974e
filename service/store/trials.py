"""Trials of a search: what each of their jobs has recorded."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import select

from service.domain.status import Status
from service.store.schema import jobs, sweeps
from service.store.sweeps import VALUE
from service.store.tenancy import in_tenant

if TYPE_CHECKING:
    from sqlalchemy import Connection


class TrialJob(NamedTuple):
    """A job of a trial."""

    id: str
    trial: int
    status: Status
    epoch: int
    """Epochs finished and recorded."""
    epoch_limit: int | None
    value: float | None
    """The sweep's metric at the best epoch."""

    @property
    def at_limit(self) -> bool:
        """Whether it waits at its epoch limit for the sweep's decision."""
        return self.status is Status.paused and self.epoch_limit is not None and self.epoch >= self.epoch_limit


def find(connection: Connection, sweep_id: str) -> list[TrialJob]:
    """The jobs of the sweep's trials, as submitted."""
    columns = [jobs.c[name] for name in ("id", "trial", "status", "epoch", "epoch_limit")]
    query = (
        select(*columns, VALUE.label("value"))
        .join(sweeps, sweeps.c.id == jobs.c.sweep_id)
        .where(in_tenant(connection, jobs, sweeps), sweeps.c.id == sweep_id, jobs.c.trial.is_not(None))
        .order_by(jobs.c.id)
    )
    return [TrialJob(**{**row._mapping, "status": Status(row.status)}) for row in connection.execute(query)]


def is_overdue(connection: Connection, sweep_id: str) -> bool:
    """Whether the budget of the sweep's search in seconds is used up."""
    row = connection.execute(
        select(sweeps.c.spec["search"]["seconds"].as_float(), sweeps.c.created_at).where(
            in_tenant(connection, sweeps), sweeps.c.id == sweep_id
        )
    ).first()
    return row is not None and row[0] is not None and seconds_since(row[1]) >= row[0]


def seconds_since(moment: datetime) -> float:
    """Seconds from a moment until now."""
    return (datetime.now(UTC) - moment).total_seconds()
