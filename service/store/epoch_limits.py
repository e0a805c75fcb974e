"""Epoch limits of jobs, at which they wait for a decision of their sweep."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_

from service.store.schema import jobs

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement


def at_epoch_limit() -> ColumnElement[bool]:
    """Whether the job has recorded as many epochs as its limit allows; false without a limit."""
    return and_(jobs.c.epoch_limit.is_not(None), jobs.c.epoch >= jobs.c.epoch_limit)
