"""Takes away what nobody needs: ended jobs after their time, files that no row names, scraps of killed processes."""

from __future__ import annotations

import logging
import random
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING

from service.errors import StorageError, Unavailable
from service.store import retention
from service.store.named import abandoned

if TYPE_CHECKING:
    from threading import Event

    from service.artifacts import Artifacts
    from service.store.engine import Database

log = logging.getLogger(__name__)

TURN_SECONDS = 3_600.0  # between two collections of one artifacts folder, whoever does them
FILES = 1_000  # looked up in one statement
JOBS = 20  # forgotten in one transaction: each may have thousands of epochs
STAGED_AGE = timedelta(hours=1)  # storing a sweep takes seconds
STAGED_JOBS = 500  # deleted in one transaction
BREATH_SECONDS = 0.05  # between two, in which others get SQLite's write lock


class Collector:
    """`keep_days`: how long ended jobs are kept; 0: for ever."""

    def __init__(self, database: Database, artifacts: Artifacts, keep_days: int) -> None:
        self._database, self._artifacts, self._keep_days = database, artifacts, keep_days

    def run(self, stop: Event) -> None:
        """Collect about once an hour until `stop` is set; the first time at once, unless another process just has."""
        while not stop.is_set():
            try:
                if self._artifacts.take_turn(TURN_SECONDS):
                    self.collect(stop)
            except (Unavailable, StorageError) as error:
                log.warning("not collected, trying again in an hour or so: %s", error)
            stop.wait(TURN_SECONDS * random.uniform(0.9, 1.3))

    def collect(self, stop: Event) -> None:
        """Everything once, in steps that hold nobody up; ends early when `stop` is set.

        Raises Unavailable and StorageError.
        """
        self._artifacts.tidy()
        if self._keep_days:
            self._forget(datetime.now(UTC) - timedelta(days=self._keep_days), stop)
        self._forget_staged(stop)
        self._sweep_up(stop)

    def _forget_staged(self, stop: Event) -> None:
        """Jobs of sweeps whose process died while it stored them."""
        before, count = datetime.now(UTC) - STAGED_AGE, STAGED_JOBS
        while count == STAGED_JOBS and not stop.wait(BREATH_SECONDS):
            with self._database.transaction() as connection:
                count = retention.forget_staged(connection, before, STAGED_JOBS)
            if count:
                log.info("deleted %d jobs of sweeps that were never stored whole", count)

    def _forget(self, before: datetime, stop: Event) -> None:
        forgotten, count = 0, JOBS
        while count == JOBS and not stop.wait(BREATH_SECONDS):
            with self._database.transaction() as connection:
                count, keys = retention.forget_jobs(connection, before, JOBS)
            for key in keys:
                self._artifacts.delete(key)
            forgotten += count
        with self._database.transaction() as connection:
            sweeps = retention.forget_sweeps(connection, before)
        if forgotten or sweeps:
            log.info("forgot %d jobs and %d sweeps that ended before %s", forgotten, sweeps, before.date())

    def _sweep_up(self, stop: Event) -> None:
        """First the files, then the rows: a file that is named only now was not old, or its job is alive."""
        old = (file.key for file in self._artifacts.files() if file.old)
        while (keys := list(islice(old, FILES))) and not stop.is_set():
            with self._database.reading() as connection:
                left = abandoned(connection, keys)
            for key in sorted(left):
                log.info("no row names %s: deleted", key)
                self._artifacts.delete(key)
