"""The supervisor: claims jobs for its trainers, renews their leases, notices the dead, and stops in good order."""

from __future__ import annotations

import logging
import os
import socket
import time
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from multiprocessing import connection as pipes
from typing import TYPE_CHECKING

from service import logs
from service.domain.job import JobError
from service.errors import LeaseLost, SchemaMismatch, StorageError, Unavailable
from service.store import migrations, workers
from service.store.backoff import Backoff
from service.store.ids import new_id
from service.store.jobs import attempt, leases
from service.store.jobs.claim import Claimant, claim_jobs, has_queued
from service.store.workers import WorkerInfo
from service.worker import attempt_logs
from service.worker.claim_stats import Tally
from service.worker.db_liveness import Contact
from service.worker.machine import count_gpus, places
from service.worker.protocol import DONE, STOP, FromTrainer, Ready
from service.worker.trainer_handle import start, start_context

if TYPE_CHECKING:
    from collections.abc import Sequence
    from threading import Event

    from service.settings import Settings
    from service.store.engine import Database
    from service.store.jobs.claim import Claim
    from service.worker.trainer_handle import TrainerHandle

log = logging.getLogger(__name__)

REAP_SECONDS = 1.0
STOP_SECONDS = 20.0
RESTART_SECONDS = 1.0
LISTEN_SECONDS = 0.1  # at most, until it is seen that it is time to stop, or for one of the duties below
BACK_OFF_SECONDS = (0.1, 2.0)
ARRAY_WIDTHS = {"cpu": 16, "cuda": 256}


class Supervisor:
    """One worker: run() trains jobs until the event is set."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._id = new_id("wrk")
        logs.always_about(worker=self._id)
        gpus = 0 if settings.device == "cpu" else count_gpus()
        self._context = start_context(gpus > 0)
        self._trainers = [start(self._context, place) for place in places(settings, self._id, gpus)]
        self._changes = database.listen()
        self._look_in_queue = True
        self._started_at, self._tally = datetime.now(UTC), Tally()
        self._renew_at = self._reap_at = 0.0
        self._contact = Contact(settings.lease_seconds)
        self._back_off = Backoff(*BACK_OFF_SECONDS)
        self._logs = attempt_logs.Keeper(settings.logs, settings.max_log_bytes)

    def run(self, stop: Event) -> None:
        """Claim and watch until `stop` is set; then let every trainer end its epoch and give its jobs back.

        However this ends, no trainer is left behind. Raises SchemaMismatch, having stopped in the same way.
        """
        log.info("starts %d trainers", len(self._trainers))
        try:
            while not stop.is_set():
                self._listen(LISTEN_SECONDS)
                self._logs.keep(path for trainer in self._trainers for path in trainer.log_files)
                if self._back_off.is_waiting():
                    continue
                try:
                    self._keep_leases()
                    self._claim()
                    self._back_off.reset()
                except SchemaMismatch as mismatch:
                    log.error("stops: %s", mismatch)
                    self._stop()
                    raise
                except (Unavailable, StorageError) as error:
                    seconds = self._back_off.failed()
                    log.warning("the database is away, trying again in %.1f s: %s", seconds, error)
                    self._look_in_queue = True
                    for trainer in self._trainers:
                        trainer.vitals.moved()  # trainers wait for the database too
            self._stop()
        finally:
            for trainer in self._trainers:
                trainer.process.kill()
                trainer.process.join()
            self._changes.close()
        log.info("stopped")

    def _keep_leases(self) -> None:
        now = time.monotonic()
        if now >= self._renew_at:
            self._renew()
            self._renew_at = now + self._settings.lease_seconds / 3
            self._look_in_queue = True  # should a change ever go unheard
        if now >= self._reap_at:
            self._end_stalled()
            self._reap()
            self._reap_at = now + REAP_SECONDS

    def _listen(self, seconds: float) -> None:
        """Wait until the database changes or a trainer speaks; hear what trainers say, and replace those that died."""
        handles = {trainer.pipe: trainer for trainer in self._trainers}
        self._look_in_queue |= self._changes.wait(seconds, list(handles))
        for pipe in pipes.wait(list(handles), timeout=0):
            trainer = handles[pipe]  # type: ignore[index]
            try:
                message: FromTrainer = trainer.pipe.recv()
            except (EOFError, ConnectionResetError):
                self._replace(trainer)
                continue
            if isinstance(message, Ready):
                trainer.device = message.device
                self._renew_at = 0.0  # tell everybody
            elif message == DONE:
                trainer.claims = ()
            self._look_in_queue = True

    def _replace(self, trainer: TrainerHandle) -> None:
        """A trainer died: give its job back with the reason, and start another."""
        trainer.process.join()
        trainer.pipe.close()
        code, cause = trainer.vitals.cause_of_death(trainer.process.exitcode)
        self._tally.trainer_restarts += 1
        log.error("a trainer died with %s, training %d jobs", cause, len(trainer.claims))
        if trainer.claims:
            error = JobError(
                code=code, message=f"the trainer died with {cause}", log_tail=attempt_logs.tail(*trainer.log_files)
            )
            self._give_back(trainer.claims, error)
        elif trainer.device is None:
            time.sleep(RESTART_SECONDS)  # it cannot even start: do not spin
        self._trainers[self._trainers.index(trainer)] = start(self._context, trainer.place)

    def _end_stalled(self) -> None:
        """Kill trainers that do not get on; the next _listen() finds them dead."""
        for trainer in self._trainers:
            still = trainer.vitals.still()
            if trainer.claims and still > self._settings.stall_seconds:
                trainer.vitals.stalled_for = still
                trainer.process.kill()

    def _give_back(self, claims: Sequence[Claim], error: JobError | None) -> None:
        """Back to the queue with these jobs: because of `error`, or unharmed."""
        for claim in claims:
            try:
                with self._database.transaction() as connection:
                    if error is None:
                        attempt.release(connection, claim.job_id, claim.attempt)
                    else:
                        leases.record_crash(connection, claim.job_id, claim.attempt, error)
            except LeaseLost:
                log.info("%s had ended or was taken over before its trainer died", claim.job_id)
            except (Unavailable, StorageError) as problem:
                log.warning("%s goes back when its lease lapses: %s", claim.job_id, problem)

    def _claim(self) -> None:
        free = [trainer for trainer in self._trainers if trainer.free]
        if not free or not self._look_in_queue:
            return
        with self._database.reading() as connection:
            if not has_queued(connection):
                self._look_in_queue = False
                return
        self._look_in_queue = False
        for place, trainer in enumerate(free):
            device = str(trainer.device).split(":")[0]
            width = self._settings.array_width or ARRAY_WIDTHS[device]
            with self._tally.claiming() as claims, self._database.transaction() as connection:
                claims += claim_jobs(
                    connection,
                    Claimant(self._id, {"cpu", device}, width=width, trainers=len(free) - place),
                    seconds=self._settings.lease_seconds,
                    max_running=self._settings.max_running_jobs,
                )
            if not claims:
                return
            trainer.claims = claims
            trainer.vitals.moved()
            with suppress(OSError):  # it died just now: the next _listen() finds out and gives the jobs back
                trainer.pipe.send(claims)

    def _renew(self) -> None:
        with self._database.transaction(quiet=True) as connection:
            held = [claim.job_id for trainer in self._trainers for claim in trainer.claims]
            leases.renew(connection, self._id, held, self._settings.lease_seconds)
            workers.heartbeat(connection, self._introduction())
        self._contact.made()
        with self._database.reading() as connection:
            migrations.check(connection)  # it may have been migrated while we run

    def _reap(self) -> None:
        with self._database.reading() as connection:
            lapsed = leases.has_expired(connection)
        self._contact.made()
        if lapsed and self._contact.lasting:
            with self._database.transaction() as connection:
                count = leases.reap(connection)
                if self._contact.broken:  # stopped just now, for who knows how long: these leases prove nothing
                    raise Unavailable("out of touch for a while")
            self._tally.lapsed_leases += count
            log.warning("took %d jobs from workers that gave no sign of life", count)
            self._look_in_queue = True

    def _introduction(self) -> WorkerInfo:
        return WorkerInfo(
            id=self._id,
            hostname=socket.gethostname(),
            pid=os.getpid(),
            trainers=len(self._trainers),
            device=next((trainer.device for trainer in self._trainers if trainer.device), "starting"),
            jobs=[],
            **asdict(self._tally),
            started_at=self._started_at,
            seen_at=datetime.now(UTC),
        )

    def _stop(self) -> None:
        """Tell every trainer to stop at its epoch's end; those that take too long are killed, their jobs given back."""
        for trainer in self._trainers:
            with suppress(OSError):  # it died just now: its jobs are given back below
                trainer.pipe.send(STOP)
        deadline = time.monotonic() + STOP_SECONDS
        while any(trainer.process.is_alive() for trainer in self._trainers) and time.monotonic() < deadline:
            with suppress(Unavailable, StorageError):
                self._keep_leases()
            pipes.wait([trainer.process.sentinel for trainer in self._trainers], timeout=REAP_SECONDS / 4)
        for trainer in self._trainers:
            trainer.process.kill()
            trainer.process.join()
            self._give_back(trainer.claims, None)
        try:
            with self._database.transaction() as connection:
                workers.deregister(connection, self._id)
        except (Unavailable, StorageError) as problem:
            log.warning("could not sign off: %s", problem)
