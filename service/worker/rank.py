"""A trainer as one rank of a job on several devices: the ranks meet at the leader's address, which the database has."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from service.store.jobs import gangs, rendezvous
from service.training.parallel import ParallelTrainer
from service.training.ranks import RankLost, Ranks, connect, host_store, join_store
from service.worker.recorder import retry

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    import torch

    from service.data.preprocess.dataset import Prepared
    from service.spec.resolved import Resolved
    from service.store.engine import Database
    from service.training.progress import ProgressCounter
    from service.worker.protocol import RankTask

log = logging.getLogger(__name__)

JOIN_SECONDS = 600.0  # until all ranks have prepared their rows
LOOK_SECONDS = 0.5  # between looks into the database


class Interrupted(Exception):
    """The worker stops, or is gone."""


class RankOfJob:
    """One rank's way into the group of ranks, and its part in training."""

    def __init__(
        self, database: Database, task: RankTask, pipe: Connection, device: torch.device, progress: ProgressCounter
    ) -> None:
        """`pipe`: to the supervisor; a message, or its end, means to stop."""
        self._database, self._task, self._pipe, self._device = database, task, pipe, device
        self._progress = progress
        self._deadline = time.monotonic() + JOIN_SECONDS
        self._look_at = 0.0

    def lead(self) -> Ranks:
        """Publish where the ranks meet, and wait for them. Raises RankLost, LeaseLost, Interrupted."""
        store, address = host_store(self._task.address)

        def publish() -> None:
            with self._database.transaction(quiet=True) as connection:
                rendezvous.publish(connection, self._task.claim.job_id, self._task.claim.attempt, address)

        retry(publish)
        return self._connect(store)

    def follow(self, job: Resolved, data: Prepared) -> None:
        """Train until the leader says that training has ended. Raises RankLost, LeaseLost, Interrupted."""
        while (address := self._leader()) is None:
            self._waiting_to_join()
            time.sleep(LOOK_SECONDS / 10)
        with self._connect(join_store(address)) as ranks:
            asked = False

            def waiting() -> None:
                nonlocal asked
                self._progress.value += 1
                if not asked and self._pipe.poll():
                    asked = True
                    ranks.ask_to_stop()

            ParallelTrainer(job, data, self._device, ranks, progress=self._progress).follow(waiting)

    def _connect(self, store: object) -> Ranks:
        claim, task = self._task.claim, self._task
        return connect(store, task.rank, claim.spec.devices, self._device, task.address, self._waiting_to_join)

    def _leader(self) -> str | None:
        with self._database.reading() as connection:
            return rendezvous.find(connection, self._task.claim.job_id, self._task.claim.attempt)

    def _waiting_to_join(self) -> None:
        """Look now and then whether the other ranks can still come."""
        self._progress.value += 1
        now = time.monotonic()
        if now > self._deadline:
            raise RankLost(f"not all ranks have joined within {JOIN_SECONDS:.0f} s")
        if now < self._look_at:
            return
        self._look_at = now + LOOK_SECONDS
        if self._pipe.poll():
            raise Interrupted
        retry(self._leader)  # raises LeaseLost when another rank has ended the attempt
        with self._database.reading() as connection:
            if gangs.has_lost_member(connection, self._task.claim.job_id):
                raise RankLost("the worker of another rank has vanished")
