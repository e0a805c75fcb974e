"""Which jobs a request asks for: conditions on status, name, labels and sweep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from service.domain.status import Status
from service.store.schema import jobs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Select


@dataclass(frozen=True)
class JobFilter:
    """Conditions that jobs must match; None: any."""

    status: Status | None = None
    name: str | None = None
    labels: Mapping[str, str] | None = None
    sweep: str | None = None

    def apply(self, query: Select[Any]) -> Select[Any]:
        """The query with these conditions."""
        if self.status is not None:
            query = query.where(jobs.c.status == self.status)
        if self.name is not None:
            query = query.where(jobs.c.name == self.name)
        if self.sweep is not None:
            query = query.where(jobs.c.sweep_id == self.sweep)
        for key, value in (self.labels or {}).items():
            query = query.where(jobs.c.labels[key].as_string() == value)
        return query


ALL_JOBS = JobFilter()
