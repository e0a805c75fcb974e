"""Recorded epochs of jobs: the training history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Integer, bindparam, select

from service.domain.epoch import Epoch
from service.store.schema import epochs
from service.store.tenancy import CachedSelect

if TYPE_CHECKING:
    from sqlalchemy import Connection

NO_LIMIT = 2**31 - 1

_of_job = epochs.c.job_id == bindparam("job_id"), epochs.c.epoch > bindparam("after")
_PAGE = CachedSelect(
    select(*(epochs.c[name] for name in Epoch.model_fields))
    .where(*_of_job)
    .order_by(epochs.c.epoch)
    .limit(bindparam("limit", type_=Integer)),
    epochs,
)


def read(connection: Connection, job_id: str, *, after_epoch: int = 0, limit: int | None = None) -> list[Epoch]:
    """Epochs after `after_epoch` in order, at most `limit`."""
    rows = _PAGE.execute(connection, job_id=job_id, after=after_epoch, limit=NO_LIMIT if limit is None else limit)
    return [Epoch.model_validate(dict(row._mapping)) for row in rows]
