"""A worker's part in gangs, which train jobs on more devices than it has free: reserves trainers, and starts ranks."""

from __future__ import annotations

import logging
import socket
import time
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from service.errors import Unavailable
from service.store.jobs import gangs
from service.store.jobs.claim_order import UNLIMITED
from service.store.jobs.gang_order import Member
from service.store.jobs.gangs import Dissolved, Reservation, Start

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from service.settings import Settings
    from service.store.engine import Database
    from service.store.jobs.claim import Claim
    from service.worker.trainer_handle import TrainerHandle

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.25  # between steps while it is a member
STUCK_SECONDS = 40.0  # without progress, after the attempt has ended: longer than an exchange with lost ranks takes
SKIPPED_TIMES = 2  # the deadline: until the worker joins a gang again that was dissolved
LOOPBACK = "127.0.0.1"


class GangMember:
    """Decides which free trainers are kept for a gang, and when its ranks start."""

    def __init__(self, settings: Settings, database: Database, worker: str, labels: Collection[str]) -> None:
        """`labels`: the subsets of the worker's labels, as text."""
        self._settings, self._database, self._worker, self._labels = settings, database, worker, labels
        self._skipped: dict[str, float] = {}  # until when
        self._joined: str | None = None  # the job for which it has reserved trainers
        self._running: Claim | None = None  # the attempt of which its trainers are ranks
        self._look_at = 0.0
        self._left = False  # a gang that cannot be completed: another may wait for it
        self._has_ended = False  # that attempt, although its ranks here have not
        self._address = LOOPBACK  # of this machine, as the other ranks reach it
        self._warned = False
        self.trainers_of_all = 0  # of all workers on CPUs that train what this one does, when it was last known

    @property
    def active(self) -> bool:
        """Whether the worker is a member of a gang: it does not exit as idle."""
        return (self._joined or self._running) is not None

    @property
    def due(self) -> bool:
        """Whether the worker is a member of a gang, or has just left one, and has not looked for a while."""
        return (self.active or self._left) and time.monotonic() >= self._look_at

    def step(
        self, trainers: Sequence[TrainerHandle], free: Sequence[TrainerHandle], *, may_join: bool = True
    ) -> Reservation | Start | None:
        """Go on with the gang: `Start` says which ranks to start, a reservation which free trainers to keep."""
        now = time.monotonic()
        self._look_at = now + LOOK_SECONDS
        if self._running is not None:
            self._end(self._running, trainers)
        if self._running is not None or not any(trainer.device for trainer in trainers):
            return None
        if not may_join:
            self.withdraw()
            return None
        with self._database.reading() as connection:
            if not gangs.has_work(connection, self._worker):
                self._joined, self._left = None, False
                return None
        self._address = self._own_address()  # before a claim: without an address its ranks could not start
        self._skipped = {job: until for job, until in self._skipped.items() if until > now}
        member, most = self._member(trainers, free), self._settings.max_running_jobs
        with self._database.transaction() as connection:
            found = gangs.step(connection, member, self._skipped, max_running=most)
        self._left = found is None and self._joined is not None
        self._joined = found.job_id if isinstance(found, Reservation) else None
        match found:
            case Dissolved(job_id):
                log.info("%s does not start now: its gang was dissolved", job_id)
                self._skipped[job_id] = now + SKIPPED_TIMES * self._settings.gang_seconds
                return None
            case Start(claim):
                self._running = claim
            case Reservation():
                self._release(trainers, found, found.ranks - len(free))
        return found

    def patience(self, trainer: TrainerHandle) -> float:
        """After so many seconds without progress this trainer is killed: soon, if the other ranks have gone on."""
        stuck = self._has_ended and self._running is not None and trainer.trains(self._running)
        return min(STUCK_SECONDS, self._settings.stall_seconds) if stuck else self._settings.stall_seconds

    def startable(self, free: int, device: str, *, idle: bool) -> tuple[int, int]:
        """`ranks` and `beyond` of a claim: the worker can start a job on as many devices as are free. For a job on more
        than all workers have, an idle worker of CPUs starts further trainers."""
        return free, max(free, self.trainers_of_all) if idle and device == "cpu" else UNLIMITED

    def withdraw(self) -> None:
        """The worker stops: leave a gang whose ranks have not started here."""
        if self._joined is not None:
            with self._database.transaction() as connection:
                gangs.withdraw(connection, self._worker)
            self._joined = None

    def address_for(self, start: Start) -> str:
        """This machine's address for the other ranks, if they are elsewhere."""
        if len(start.own) == start.claim.spec.devices:
            return LOOPBACK
        if not self._warned and ip_address(self._address).is_loopback and not self._database.is_sqlite:
            self._warned = True
            log.warning(
                "ranks on other machines cannot reach %s: if there are any, set BESTEPOCH_RANK_ADDRESS", self._address
            )
        return self._address

    def _own_address(self) -> str:
        """The one that the operator has set, or from which this machine reaches the database. Raises Unavailable."""
        if self._settings.rank_address is not None:
            return str(self._settings.rank_address)
        host = urlsplit(self._settings.database).hostname
        if host is None:
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

    def _end(self, running: Claim, trainers: Sequence[TrainerHandle]) -> None:
        """Leave the gang when its ranks on this worker have ended."""
        if any(trainer.trains(running) for trainer in trainers):
            with self._database.reading(once=True) as connection:
                self._has_ended = not gangs.is_running(connection, running)
            return
        with self._database.transaction(quiet=True) as connection:
            gangs.leave(connection, self._worker)
        self._running, self._has_ended = None, False
