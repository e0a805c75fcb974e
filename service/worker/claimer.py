"""Claims arrays of jobs for the idle trainers of a worker, within the limits of its life and its class."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from service.engine_constants import ARRAY_WIDTHS
from service.spec.worker import parse_labels, subsets
from service.store import workers
from service.store.jobs.claim import claim_jobs
from service.store.jobs.claim_order import Claimant
from service.worker.claim_stats import ClaimStats
from service.worker.lifetime import Lifetime

if TYPE_CHECKING:
    from service.settings import Settings
    from service.store.engine import Database
    from service.store.jobs.claim import Claim
    from service.store.jobs.gangs import Start

log = logging.getLogger(__name__)

LEAVES_SECONDS = 10.0  # a job that suits preemptible workers is left to them for so long, or the other way round


class Claimer:
    """Claims jobs for one worker."""

    def __init__(self, settings: Settings, database: Database, worker: str) -> None:
        self._settings, self._database, self._worker = settings, database, worker
        self.labels = parse_labels(settings.worker_labels)
        self.stats = ClaimStats()
        self.subsets = subsets(self.labels)
        self._lifetime = Lifetime(settings.exit_when_idle, settings.max_worker_jobs)
        self._leaves_seconds = 0.0
        self._followed = 0  # jobs on several devices that other workers have claimed

    @property
    def jobs_left(self) -> int | None:
        """How many more jobs the worker may train; None: any number."""
        return self._lifetime.jobs_left(self.stats.claimed + self._followed)

    def is_done(self, *, busy: bool, reserved: bool) -> bool:
        """Whether the worker exits by itself now: see `Lifetime.end`."""
        why = self._lifetime.end(busy=busy, reserved=reserved, claimed=self.stats.claimed + self._followed)
        if why is not None:
            log.info("exiting: %s", why)
        return why is not None

    def look_for_other_class(self) -> None:
        """Find out whether workers of the other class are alive, to which jobs that suit them are left."""
        with self._database.reading() as connection:
            others = workers.class_is_live(connection, preemptible=not self._settings.preemptible)
        self._leaves_seconds = LEAVES_SECONDS if others else 0.0

    def count(self, start: Start) -> None:
        """Count a job of a gang."""
        if start.leads:
            with self.stats.claiming() as claims:
                claims.append(start.claim)
        else:
            self._followed += 1

    def claim(self, device: str, idle: int, startable: tuple[int, int]) -> list[Claim]:
        """Claim an array for one of `idle` trainers, or a job on several devices: see `GangMember.startable`."""
        width = self._settings.array_width or ARRAY_WIDTHS[device]
        left = self.jobs_left
        width = width if left is None else min(width, left)
        if width == 0:
            return []
        by = Claimant(
            self._worker,
            {"cpu", device},
            width,
            idle,
            self.subsets,
            *startable,
            preemptible=self._settings.preemptible,
            leaves_seconds=self._leaves_seconds,
        )
        most = self._settings.max_running_jobs
        with self.stats.claiming() as claims, self._database.transaction() as connection:
            claims += claim_jobs(connection, by, seconds=self._settings.lease_seconds, max_running=most)
        return claims
