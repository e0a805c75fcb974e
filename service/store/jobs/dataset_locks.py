"""Locks on the data sets that new or revived jobs need, against their deletion at the same time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from service.errors import NotFound
from service.store.schema import datasets
from service.store.tenancy import in_tenant

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Connection


def lock_datasets(connection: Connection, dataset_ids: Collection[str]) -> None:
    """Prevent deletion of these data sets until the transaction ends; raises NotFound if one was deleted."""
    these = select(datasets.c.id).where(in_tenant(connection, datasets), datasets.c.id.in_(list(dataset_ids)))
    held = these.order_by(datasets.c.id).with_for_update(read=True, key_share=True)
    if dataset_ids and len(connection.scalars(held).all()) < len(dataset_ids):
        raise NotFound("the data set was deleted")
