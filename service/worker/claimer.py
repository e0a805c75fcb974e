"""Claims arrays of jobs for the idle trainers of a worker, within the limits of its life and its class."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from service.engine_constants import ARRAY_WIDTHS
from service.spec.worker import parse_labels, subsets
from service.store.jobs.claim import claim_jobs
from service.store.jobs.claim_order import Claimant
from service.store.notifications import tell_workers
from service.worker.claim_stats import ClaimStats
from service.worker.lifetime import Lifetime

if TYPE_CHECKING:
    from service.settings import Settings
    from service.store.engine import Database
    from service.store.jobs.claim import Claim
    from service.store.jobs.gangs import Start
    from service.store.workers import LiveWorkers

log = logging.getLogger(__name__)

LEAVES_SECONDS = 10.0  # a job that suits preemptible workers is left to them for so long, or the other way round
SPREAD_SECONDS, MAX_SPREAD_SECONDS = 0.001, 0.05  # for each live worker, and at most


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
        self.spread_seconds = 0.0
        """After a notification, idle workers look into the queue at random moments of this time."""
        self.ended = False
        """Whether a job has ended since `tell_of_ended`."""

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

    def know(self, live: LiveWorkers) -> None:
        """Which workers are alive: jobs that suit the other class are left to it, and idle workers look in turn.

        One worker in a few begins its look while another claims, and finds nothing; the later ones see an empty queue.
        """
        self._leaves_seconds = LEAVES_SECONDS if live.has_class(preemptible=not self._settings.preemptible) else 0.0
        self.spread_seconds = min(SPREAD_SECONDS * len(live), MAX_SPREAD_SECONDS)

    def tell_of_ended(self) -> None:
        """Wake idle workers if jobs have ended of a tenant that may have been at its limit of running jobs."""
        if self.ended and self._settings.max_running_jobs and not self._database.is_sqlite:
            with self._database.transaction() as connection:
                tell_workers(connection)
        self.ended = False

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
