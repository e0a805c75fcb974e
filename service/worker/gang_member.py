"""A worker's part in gangs, which train jobs on more devices than it has free: reserves trainers, and starts ranks."""

from __future__ import annotations

import logging
import socket
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from service.errors import Unavailable
from service.store.jobs import gangs
from service.store.jobs.claim_order import UNLIMITED
from service.store.jobs.gangs import Dissolved, Member, Reservation, Start

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from service.settings import Settings
    from service.store.engine import Database
    from service.worker.trainer_handle import TrainerHandle

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.25  # between steps while it is a member
SKIPPED_TIMES = 2  # the deadline: until the worker joins a gang again that was dissolved
LOOPBACK = "127.0.0.1"


class GangMember:
    """Decides which free trainers are kept for a gang, and when its ranks start."""

    def __init__(self, settings: Settings, database: Database, worker: str, labels: Collection[str]) -> None:
        """`labels`: the subsets of the worker's labels, as text."""
        self._settings, self._database, self._worker, self._labels = settings, database, worker, labels
        self._skipped: dict[str, float] = {}  # until when
        self._joined: str | None = None  # the job for which it has reserved trainers
        self._running: str | None = None  # the job of which its trainers are ranks
        self._look_at = 0.0
        self.trainers_of_all = 0  # of all workers on CPUs, when it was last known

    @property
    def active(self) -> bool:
        """Whether the worker is a member of a gang."""
        return (self._joined or self._running) is not None

    @property
    def due(self) -> bool:
        """Whether the worker is a member of a gang, and has not looked for a while."""
        return self.active and time.monotonic() >= self._look_at

    def step(self, trainers: Sequence[TrainerHandle], free: Sequence[TrainerHandle]) -> Reservation | Start | None:
        """Go on with the gang: `Start` says which ranks to start, a reservation which free trainers to keep."""
        now = time.monotonic()
        self._look_at = now + LOOK_SECONDS
        if self._running is not None:
            self._end(trainers)
        if self._running is not None or not any(trainer.device for trainer in trainers):
            return None
        with self._database.reading() as connection:
            if not gangs.has_work(connection, self._worker):
                self._joined = None
                return None
        self._skipped = {job: until for job, until in self._skipped.items() if until > now}
        with self._database.transaction() as connection:
            found = gangs.step(connection, self._member(trainers, free), self._skipped)
        self._joined = found.job_id if isinstance(found, Reservation) else None
        match found:
            case Dissolved(job_id):
                log.info("%s does not start: the workers' trainers were not free in time", job_id)
                self._skipped[job_id] = now + SKIPPED_TIMES * self._settings.gang_seconds
                return None
            case Start(claim):
                self._running = claim.job_id
            case Reservation():
                self._release(trainers, found, found.ranks - len(free))
        return found

    def startable(self, free: int, device: str, *, idle: bool) -> tuple[int, int]:
        """`ranks` and `beyond` of a claim: the worker can start a job on as many devices as are free. For a job on more
        than all workers have, an idle worker of CPUs starts further trainers."""
        return free, max(free, self.trainers_of_all) if idle and device == "cpu" else UNLIMITED

    def address_for(self, start: Start) -> str:
        """This machine's address for the other ranks: where it reaches the database from, if they are elsewhere."""
        host = urlsplit(self._settings.database).hostname
        if len(start.own) == start.claim.spec.devices or host is None:
            return LOOPBACK
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((host, 9))  # sends nothing: finds the route
            except OSError as error:
                raise Unavailable(f"the database's host {host} has no address: {error.strerror or error}") from error
            return str(probe.getsockname()[0])

    def _member(self, trainers: Sequence[TrainerHandle], free: Sequence[TrainerHandle]) -> Member:
        own = [trainer for trainer in trainers if not trainer.temporary]
        kind = next((trainer.device.split(":")[0] for trainer in own if trainer.device), "")
        settings = self._settings.lease_seconds, self._settings.gang_seconds
        return Member(self._worker, kind, len(own), len(free), *settings, self._labels, self._joined)

    def _release(self, trainers: Sequence[TrainerHandle], reserved: Reservation, missing: int) -> None:
        """When half of the time is over: ask trainers to requeue their jobs, as many as are missing."""
        if not reserved.complete or reserved.seconds_left > self._settings.gang_seconds / 2:
            return
        able = [each for each in trainers if each.claims and each.claims[0].spec.devices == 1]
        for trainer in able[: max(missing, 0)]:
            trainer.release()

    def _end(self, trainers: Sequence[TrainerHandle]) -> None:
        """Leave the gang when its ranks on this worker have ended."""
        tasks = [claim for each in trainers for claim in (*each.claims, each.following) if claim is not None]
        if any(claim.job_id == self._running for claim in tasks):
            return
        with self._database.transaction(quiet=True) as connection:
            gangs.leave(connection, self._worker)
        self._running = None
