"""Puts a trainer's jobs back into the queue."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from service.errors import LeaseLost, StorageError, Unavailable
from service.store.jobs import attempt, leases

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service.domain.job import JobError
    from service.store.engine import Database
    from service.store.jobs.claim import Claim

log = logging.getLogger(__name__)


def requeue(database: Database, claims: Sequence[Claim], error: JobError | None) -> None:
    """Requeue these jobs: as crashed with `error`, or as released without one."""
    for claim in claims:
        try:
            with database.transaction() as connection:
                if error is None:
                    attempt.release(connection, claim.job_id, claim.attempt)
                else:
                    leases.record_crash(connection, claim.job_id, claim.attempt, error)
        except LeaseLost:
            log.info("%s had ended or was reclaimed before its trainer died", claim.job_id)
        except (Unavailable, StorageError) as problem:
            log.warning("%s is requeued when its lease lapses: %s", claim.job_id, problem)
