"""A trainer as one rank of a job on several devices: the ranks meet at the leader's address, which the database has."""

from __future__ import annotations

import logging
import socket
import time
from typing import TYPE_CHECKING

from service.domain.job import JobError
from service.domain.status import ErrorCode
from service.store.jobs import gangs, rendezvous
from service.training.parallel import ParallelTrainer
from service.training.ranks import RankLost, Ranks, connect, host_store, join_store
from service.worker.recorder import retry
from service.worker.requeue import requeue

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    import torch

    from service.data.preprocess.dataset import Prepared
    from service.spec.resolved import Resolved
    from service.store.engine import Database
    from service.training.progress import ProgressCounter
    from service.worker.protocol import RankTask

log = logging.getLogger(__name__)

JOIN_SECONDS = 120.0
"""Until all ranks have prepared their rows: how much longer the slowest takes than the others. It goes on when the
attempt has ended, and its trainer keeps the rows for the next one."""
RECORD_SECONDS = 10.0  # until a follower records the loss of other ranks, if the leader has not
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

        retry(publish, self._progress)
        return self._connect(store)

    def follow(self, job: Resolved, data: Prepared) -> None:
        """Train until the leader says that training has ended. Raises RankLost, LeaseLost, Interrupted."""
        while (address := self._leader()) is None:
            self._waiting_to_join()
            time.sleep(LOOK_SECONDS / 10)
        try:
            with self._connect(join_store(address)) as ranks:
                self._train(job, data, ranks)
        except RankLost as error:
            self._record_loss(error)
            raise

    def _train(self, job: Resolved, data: Prepared, ranks: Ranks) -> None:
        asked = False

        def waiting() -> None:
            nonlocal asked
            self._progress.value += 1
            if not asked and self._pipe.poll():
                asked = True
                ranks.ask_to_stop()

        ParallelTrainer(job, data, self._device, ranks, progress=self._progress).follow(waiting)

    def _record_loss(self, error: RankLost) -> None:
        """End the attempt unless the leader does, which knows more: it may wait for this rank, or have been stopped.

        Raises LeaseLost when the leader has.
        """
        given_up = time.monotonic() + RECORD_SECONDS
        while time.monotonic() < given_up:
            self._leader()
            self._progress.value += 1
            time.sleep(LOOK_SECONDS / 5)
        message = f"rank {self._task.rank} on {socket.gethostname()} has lost the others: {error}"
        requeue(self._database, [self._task.claim], JobError(code=ErrorCode.worker_lost, message=message))

    def _connect(self, store: object) -> Ranks:
        claim, task = self._task.claim, self._task
        return connect(store, task.rank, claim.spec.devices, self._device, task.address, self._waiting_to_join)

    def _leader(self) -> str | None:
        """Where the leader is, if it is known by now. Raises LeaseLost when the attempt has ended."""

        def find() -> str | None:
            with self._database.reading() as connection:
                return rendezvous.find(connection, self._task.claim.job_id, self._task.claim.attempt)

        return retry(find, self._progress)

    def _lacks_member(self) -> bool:
        def look() -> bool:
            with self._database.reading() as connection:
                return gangs.has_lost_member(connection, self._task.claim.job_id)

        return retry(look, self._progress)

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
        self._leader()  # raises LeaseLost when another rank has ended the attempt
        if self._lacks_member():
            raise RankLost("the worker of another rank has vanished")
