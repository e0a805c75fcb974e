"""Rows that versions of models were asked to predict: a random sample in numbered slots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from service.store.model_tables import model_samples
from service.store.tenancy import in_tenant, tenant_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy import Connection


@dataclass(frozen=True)
class Sample:
    """The sampled rows of a version."""

    rows: list[dict[str, Any]]
    """As they were sent."""
    since: datetime | None
    """When the oldest was stored; None without rows."""


def store(
    connection: Connection, model_id: str, version: int, rows: Mapping[int, dict[str, Any]], at: datetime
) -> None:
    """Store rows by slot, in place of those there; raises IntegrityError if the version was deleted."""
    key = {"model_id": model_id, "version": version, "tenant": tenant_of(connection)}
    insert = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(model_samples)
    upsert = insert.on_conflict_do_update(
        index_elements=["model_id", "version", "slot"],
        set_={name: insert.excluded[name] for name in ("row", "at")},
    )
    connection.execute(upsert, [{**key, "slot": slot, "row": row, "at": at} for slot, row in sorted(rows.items())])


def read(connection: Connection, model_id: str, version: int, most: int) -> Sample:
    """The rows in the first `most` slots of the version."""
    this = model_samples.c.model_id == model_id, model_samples.c.version == version, model_samples.c.slot < most
    query = select(model_samples.c.row, model_samples.c.at).where(in_tenant(connection, model_samples), *this)
    found = connection.execute(query.order_by(model_samples.c.slot)).all()
    return Sample([each.row for each in found], min((each.at for each in found), default=None))
