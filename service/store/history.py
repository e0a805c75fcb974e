"""The recorded epochs of a job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from service.lifecycle import Epoch
from service.store.tables import epochs
from service.store.tenancy import own

if TYPE_CHECKING:
    from sqlalchemy import Connection

_COLUMNS = [epochs.c[name] for name in Epoch.model_fields]


def read(connection: Connection, job_id: str, *, after_epoch: int = 0, limit: int | None = None) -> list[Epoch]:
    """Epochs after `after_epoch` in order, at most `limit`."""
    query = select(*_COLUMNS).where(own(connection, epochs), epochs.c.job_id == job_id, epochs.c.epoch > after_epoch)
    rows = connection.execute(query.order_by(epochs.c.epoch).limit(limit))
    return [Epoch.model_validate(dict(row._mapping)) for row in rows]
