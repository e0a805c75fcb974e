"""The supervisor: claims jobs for its trainers, renews their leases, notices the dead, and stops in good order."""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from multiprocessing import connection as pipes
from typing import TYPE_CHECKING

from service.errors import LeaseLost, StorageError, Unavailable
from service.lifecycle import ErrorCode, JobError, WorkerInfo, new_id
from service.store import queue, workers
from service.worker.protocol import DONE, STOP, FromTrainer, Ready, Workplace

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerContext, SpawnContext
    from multiprocessing.process import BaseProcess
    from threading import Event

    from service.settings import Settings
    from service.store.engine import Database
    from service.store.queue import Claim

log = logging.getLogger(__name__)

REAP_SECONDS = 1.0
STOP_SECONDS = 20.0
RESTART_SECONDS = 1.0
LOG_TAIL_BYTES = 4_000


@dataclass
class Seat:
    """One trainer process and what it is doing."""

    place: Workplace
    process: BaseProcess
    pipe: Connection
    device: str | None = None  # None until it is ready
    claim: Claim | None = None

    @property
    def free(self) -> bool:
        """Whether it can take a job now."""
        return self.device is not None and self.claim is None


class Supervisor:
    """One worker: run() trains jobs until the event is set."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._id = new_id("wrk")
        gpus = 0 if settings.device == "cpu" else _count_gpus()
        self._context = _context(gpus > 0)
        self._seats = [self._hire(place) for place in _places(settings, self._id, gpus)]
        self._changes = database.changes()
        self._look_in_queue = True
        self._started_at = datetime.now(UTC)
        self._renew_at = self._reap_at = 0.0

    def run(self, stop: Event) -> None:
        """Claim and watch until `stop` is set; then let every trainer end its epoch and give its job back."""
        log.info("worker %s starts %d trainers", self._id, len(self._seats))
        while not stop.is_set():
            self._listen(self._changes.pause)
            now = time.monotonic()
            try:
                if now >= self._renew_at:
                    self._renew()
                    self._renew_at = now + self._settings.lease_seconds / 3
                if now >= self._reap_at:
                    self._reap()
                    self._reap_at = now + REAP_SECONDS
                self._claim()
            except (Unavailable, StorageError) as error:
                log.warning("the database is away, trying again: %s", error)
                self._look_in_queue = True
                stop.wait(RESTART_SECONDS)
        self._stop()

    def _hire(self, place: Workplace) -> Seat:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_train, args=(theirs, place), daemon=True)
        process.start()
        theirs.close()
        return Seat(place, process, ours)

    def _listen(self, seconds: float) -> None:
        """Hear what the trainers say, and replace those that died."""
        handles = {seat.pipe: seat for seat in self._seats}
        for pipe in pipes.wait(list(handles), timeout=seconds):
            seat = handles[pipe]  # type: ignore[index]
            try:
                message: FromTrainer = seat.pipe.recv()
            except (EOFError, ConnectionResetError):
                self._bury(seat)
                continue
            if isinstance(message, Ready):
                seat.device = message.device
                self._renew_at = 0.0  # tell everybody
            elif message == DONE:
                seat.claim = None
            self._look_in_queue = True

    def _bury(self, seat: Seat) -> None:
        """A trainer died: give its job back with the reason, and hire another."""
        seat.process.join()
        seat.pipe.close()
        code = seat.process.exitcode
        log.error("a trainer died (exit code %s)%s", code, f" training {seat.claim.job_id}" if seat.claim else "")
        if seat.claim is not None:
            error = JobError(
                code=ErrorCode.worker_lost,
                message=f"the trainer died {queue.MAX_FAILURES} times, at last with {_describe_exit(code)}",
                log_tail=_tail(seat.place),
            )
            self._give_back(seat.claim, error)
        elif seat.device is None:
            time.sleep(RESTART_SECONDS)  # it cannot even start: do not spin
        self._seats[self._seats.index(seat)] = self._hire(seat.place)

    def _give_back(self, claim: Claim, error: JobError | None) -> None:
        try:
            with self._database.transaction() as connection:
                if error is None:
                    queue.release(connection, claim.job_id, claim.attempt)
                else:
                    queue.crashed(connection, claim.job_id, claim.attempt, error)
        except LeaseLost:
            log.info("%s ended or was taken over before its trainer died", claim.job_id)
        except (Unavailable, StorageError) as problem:
            log.warning("%s goes back when its lease lapses: %s", claim.job_id, problem)

    def _claim(self) -> None:
        free = [seat for seat in self._seats if seat.free]
        if not free or not (self._changes.happened() or self._look_in_queue):
            return
        with self._database.reading() as connection:
            if not queue.has_queued(connection):
                self._look_in_queue = False
                return
        devices = sorted({"cpu", *(str(seat.device).split(":")[0] for seat in free)})
        with self._database.transaction() as connection:
            claims = queue.claim(connection, self._id, devices, len(free), self._settings.lease_seconds)
        self._look_in_queue = False
        for seat, claim in zip(free, claims, strict=False):
            seat.claim = claim
            with suppress(OSError):  # it died just now: the next _listen() finds out and gives the job back
                seat.pipe.send(claim)

    def _renew(self) -> None:
        with self._database.transaction() as connection:
            owned = queue.renew(connection, self._id, self._settings.lease_seconds)
            workers.beat(connection, self._introduction())
        for seat in self._seats:
            if seat.claim is not None and owned.get(seat.claim.job_id) != seat.claim.attempt:
                log.info("%s is no longer ours; its trainer will notice at its next flush", seat.claim.job_id)

    def _reap(self) -> None:
        with self._database.reading() as connection:
            lapsed = queue.has_lapsed(connection)
        if lapsed:
            with self._database.transaction() as connection:
                count = queue.reap(connection)
            log.warning("took %d jobs from workers that gave no sign of life", count)
            self._look_in_queue = True

    def _introduction(self) -> WorkerInfo:
        return WorkerInfo(
            id=self._id,
            hostname=socket.gethostname(),
            pid=os.getpid(),
            trainers=len(self._seats),
            device=next((seat.device for seat in self._seats if seat.device), "starting"),
            jobs=[],
            started_at=self._started_at,
            seen_at=datetime.now(UTC),
        )

    def _stop(self) -> None:
        """Tell every trainer to stop at its epoch's end; those that take too long are killed, their jobs given back."""
        for seat in self._seats:
            with suppress(OSError):  # it died just now: its job is given back below
                seat.pipe.send(STOP)
        deadline = time.monotonic() + STOP_SECONDS
        for seat in self._seats:
            seat.process.join(max(0.0, deadline - time.monotonic()))
            if seat.process.is_alive():
                seat.process.kill()
                seat.process.join()
            if seat.claim is not None:
                self._give_back(seat.claim, None)
        try:
            with self._database.transaction() as connection:
                workers.leave(connection, self._id)
        except (Unavailable, StorageError) as problem:
            log.warning("could not sign off: %s", problem)
        self._changes.close()
        log.info("worker %s stopped", self._id)


def _train(pipe: Connection, place: Workplace) -> None:
    """Entry point of a trainer process; torch is imported there alone."""
    from service.worker import trainer

    trainer.main(pipe, place)


def _context(cuda: bool) -> ForkServerContext | SpawnContext:
    """CPU trainers fork from a server that has torch imported, so that a dead one is replaced at once; CUDA forbids
    forking."""
    if cuda:
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["service.worker.trainer"])
    return context


def _places(settings: Settings, worker_id: str, gpus: int) -> list[Workplace]:
    place = Workplace(
        database_url=settings.database,
        artifacts=settings.artifacts,
        log_file=settings.logs / "trainer.log",
        device=settings.device,
        threads=settings.trainer_threads,
    )
    count = settings.trainers or gpus or os.cpu_count() or 1
    return [
        replace(
            place,
            log_file=settings.logs / f"{worker_id}-{number}.log",
            device=f"cuda:{number % gpus}" if gpus else settings.device,
        )
        for number in range(count)
    ]


def _count_gpus() -> int:
    """How many NVIDIA GPUs this machine shows, without importing torch."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return 0
    listing = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=30, check=False)
    return sum(line.startswith("GPU ") for line in listing.stdout.splitlines())


def _describe_exit(code: int | None) -> str:
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"


def _tail(place: Workplace) -> str | None:
    try:
        return place.log_file.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")
    except OSError:
        return None
