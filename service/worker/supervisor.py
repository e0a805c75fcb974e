"""The supervisor: claims jobs for its trainers, renews their leases, replaces crashed trainers, reaps lapsed leases."""

from __future__ import annotations

import logging
import math
import os
import random
import socket
import time
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from multiprocessing import connection as pipes
from typing import TYPE_CHECKING

from service import logs
from service.domain.job import JobError
from service.errors import SchemaMismatch, StorageError, Unavailable
from service.store import migrations, workers
from service.store.backoff import Backoff
from service.store.ids import new_id
from service.store.jobs import gangs, leases
from service.store.jobs.claim import has_queued
from service.store.jobs.gangs import Start
from service.store.notifications import QUEUE_CHANNEL
from service.store.workers import WorkerInfo
from service.worker import attempt_logs
from service.worker.claimer import Claimer
from service.worker.db_liveness import DbLiveness
from service.worker.gang_member import LOOPBACK, GangMember
from service.worker.machine import count_gpus, trainer_configs
from service.worker.protocol import DONE, STOP, FromTrainer, RankTask, Ready
from service.worker.requeue import requeue
from service.worker.temporary_folder import folder_of_prepared_files
from service.worker.trainer_handle import new_shared_number, start, start_context, start_temporary

if TYPE_CHECKING:
    from threading import Event

    from service.settings import Settings
    from service.store.engine import Database
    from service.store.jobs.claim import Claim
    from service.worker.trainer_handle import TrainerHandle

log = logging.getLogger(__name__)

REAP_SECONDS = 1.0
RESTART_SECONDS = 1.0
LISTEN_SECONDS = 0.1  # at most, between looks at the stop event and the duties of the loop
BACK_OFF_SECONDS = (0.1, 2.0)


class Supervisor:
    """One worker: `run` trains jobs until the event is set."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._id = new_id("wrk")
        self._claimer = Claimer(settings, database, self._id)
        logs.always_about(worker=self._id)
        gpus = 0 if settings.device == "cpu" else count_gpus()
        self._context = start_context(gpus > 0)
        self._busy = new_shared_number(self._context)
        configs = trainer_configs(settings, self._id, gpus)
        self._prepared_files = folder_of_prepared_files()
        if self._prepared_files is not None:
            folder, share = self._prepared_files.path, len(configs) > 1
            configs = [replace(config, prepared_files=folder, share_rows=share) for config in configs]
        self._trainers = [start(self._context, config, self._busy) for config in configs]
        self._changes = database.listen(QUEUE_CHANNEL)
        self._look_in_queue = True
        self._started_at = datetime.now(UTC)
        self._renew_at = self._reap_at = 0.0
        self._liveness = DbLiveness(settings.lease_seconds)
        self._gang = GangMember(settings, database, self._id, self._claimer.subsets)
        self._back_off = Backoff(*BACK_OFF_SECONDS)
        self._logs = attempt_logs.LogRotation(settings.logs, settings.max_log_bytes)

    def run(self, stop: Event) -> None:
        """Claim and supervise until `stop` is set; then let every trainer finish its epoch and requeue its jobs.

        However this ends, no trainer process survives. Raises SchemaMismatch after stopping in the same way.
        """
        log.info("starting; number of trainers: %d", len(self._trainers))
        try:
            while not (stop.is_set() or self._is_done()):
                self._listen(LISTEN_SECONDS)
                self._busy.value = sum(trainer.busy for trainer in self._trainers)
                self._logs.rotate(path for trainer in self._trainers for path in trainer.log_files)
                if self._back_off.is_waiting():
                    continue
                try:
                    self._keep_leases()
                    self._claimer.tell_of_ended()
                    self._claim()
                    self._back_off.reset()
                except SchemaMismatch as mismatch:
                    log.error("stopping: %s", mismatch)
                    self._stop()
                    raise
                except (Unavailable, StorageError) as error:
                    seconds = self._back_off.failed()
                    log.warning("the database is unavailable, next try in %.1f s: %s", seconds, error)
                    self._look_in_queue = True
                    for trainer in self._trainers:
                        trainer.watchdog.reset()  # trainers wait for the database too
            self._stop()
        finally:
            for trainer in self._trainers:
                trainer.process.kill()
                trainer.process.join()
            self._changes.close()
            if self._prepared_files is not None:
                self._prepared_files.close()
        log.info("stopped")

    def _is_done(self) -> bool:
        busy = any(not trainer.free for trainer in self._trainers)
        return self._claimer.is_done(busy=busy, reserved=self._gang.active)

    def _keep_leases(self) -> None:
        now = time.monotonic()
        if now >= self._renew_at:
            self._renew()
            self._renew_at = now + self._settings.lease_seconds / 3
        self._end_stalled()
        if now >= self._reap_at:
            self._reap()

    def _listen(self, seconds: float) -> None:
        """Wait for a database change or a message; handle trainers' messages, and replace crashed trainers."""
        handles = {trainer.pipe: trainer for trainer in self._trainers}
        if not any(trainer.free for trainer in self._trainers):
            self._changes.rest()
            pipes.wait(list(handles), timeout=seconds)
        elif self._changes.wait(seconds, list(handles)):
            pipes.wait(list(handles), timeout=random.uniform(0.0, self._claimer.spread_seconds))
            self._look_in_queue = True
        for pipe in pipes.wait(list(handles), timeout=0):
            trainer = handles[pipe]  # type: ignore[index]
            try:
                message: FromTrainer = trainer.pipe.recv()
            except (EOFError, ConnectionResetError):
                self._replace(trainer)
                continue
            if isinstance(message, Ready):
                trainer.device = message.device
                self._renew_at = 0.0  # publish the device soon
            elif message == DONE:
                trainer.done()
                self._claimer.ended = True
                if trainer.temporary:
                    self._trainers.remove(trainer)
                    trainer.stop()
            self._look_in_queue = True

    def _replace(self, trainer: TrainerHandle) -> None:
        """A trainer died: requeue its jobs with the reason, and start another trainer."""
        trainer.process.join()
        trainer.pipe.close()
        code, cause = trainer.watchdog.crash_cause(trainer.process.exitcode)
        self._claimer.stats.trainer_restarts += 1
        claims = trainer.claims if trainer.following is None else [trainer.following]
        log.error("a trainer crashed (%s), training %d jobs", cause, len(claims))
        if claims:
            error = JobError(
                code=code, message=f"the trainer crashed: {cause}", log_tail=attempt_logs.tail(*trainer.log_files)
            )
            requeue(self._database, claims, error)
        elif trainer.device is None:
            time.sleep(RESTART_SECONDS)  # it crashed during its start: do not restart in a busy loop
        if trainer.temporary:
            self._trainers.remove(trainer)
        else:
            self._trainers[self._trainers.index(trainer)] = start(self._context, trainer.config, self._busy)

    def _end_stalled(self) -> None:
        """Kill trainers without progress; the next _listen() replaces them."""
        for trainer in self._trainers:
            seconds = trainer.watchdog.seconds_without_progress()
            if trainer.busy and seconds > self._gang.patience(trainer):
                trainer.watchdog.stalled_seconds = seconds
                trainer.process.kill()

    def _claim(self) -> None:
        free = [trainer for trainer in self._trainers if trainer.free]
        look, self._look_in_queue = self._look_in_queue, False
        if look:
            with self._database.reading(once=True) as connection:
                look = has_queued(connection)
        if look or self._gang.due:
            free = self._claim_as_gang(free)
        if not look:
            return
        while free:
            trainer, *free = free
            device = str(trainer.device).split(":")[0]
            startable = self._gang.startable(1 + len(free), device, idle=1 + len(free) == len(self._trainers))
            claims = self._claimer.claim(device, 1 + len(free), startable)
            if not claims:
                return
            devices = claims[0].spec.devices
            self._busy.value += devices
            if devices == 1:
                trainer.take(claims)
            else:
                free = self._start_ranks(claims[0], range(devices), LOOPBACK, [trainer, *free])

    def _claim_as_gang(self, free: list[TrainerHandle]) -> list[TrainerHandle]:
        """Go on with a job on more devices than are free here; returns the trainers that are free for other jobs."""
        found = self._gang.step(self._trainers, free, may_join=self._claimer.jobs_left != 0)
        if isinstance(found, Start):
            self._claimer.count(found)
            return self._start_ranks(found.claim, found.own, self._gang.address_for(found), free)
        return free if found is None else free[found.kept :]

    def _start_ranks(self, claim: Claim, ranks: range, address: str, free: list[TrainerHandle]) -> list[TrainerHandle]:
        """Start these ranks on the first trainers of `free`, and on temporary ones; returns those that are left."""
        like, missing = self._trainers[0].config, range(len(ranks) - len(free))
        extra = [start_temporary(self._context, like, number, self._busy) for number in missing]
        self._trainers += extra
        for rank, trainer in zip(ranks, [*free, *extra], strict=False):
            trainer.take(RankTask(claim, rank, address))
        return free[len(ranks) :]

    def _renew(self) -> None:
        with self._database.transaction(quiet=True) as connection:
            held = [claim.job_id for trainer in self._trainers for claim in trainer.claims]
            leases.renew(connection, self._id, held, self._settings.lease_seconds)
            if self._gang.active:
                gangs.renew(connection, self._id, self._settings.lease_seconds)
            workers.heartbeat(connection, self._info())
        self._liveness.record_answer()
        with self._database.reading() as connection:
            migrations.check(connection)  # it may have been migrated since the start
            self._claimer.know(live := workers.live(connection))
            self._gang.trainers_of_all = live.trainers("cpu", self._claimer.labels)
            self._look_in_queue |= has_queued(connection)  # in case a notification was missed
            self._schedule_reap(leases.seconds_left(connection))  # others may have got leases meanwhile

    def _reap(self) -> None:
        with self._database.reading(once=True) as connection:
            left = leases.seconds_left(connection)
        self._liveness.record_answer()
        self._schedule_reap(left)
        if left is not None and left <= 0 and self._liveness.stable:
            with self._database.transaction() as connection:
                count = leases.reap(connection)
                if self._liveness.interrupted:  # this process was stopped: the leases may have lapsed only for that
                    raise Unavailable("the connection was interrupted")
            self._claimer.stats.lapsed_leases += count
            log.warning("requeued %d jobs whose leases had lapsed", count)
            self._look_in_queue = True

    def _schedule_reap(self, left: float | None) -> None:
        """Look for expired leases after the first one has ended, of which `left` seconds are left, if any."""
        wait = math.inf if left is None else max(left, 0.0) + random.uniform(0.1, REAP_SECONDS)
        self._reap_at = time.monotonic() + wait

    def _info(self) -> WorkerInfo:
        return WorkerInfo(
            id=self._id,
            hostname=socket.gethostname(),
            pid=os.getpid(),
            trainers=sum(not trainer.temporary for trainer in self._trainers),
            device=next((trainer.device for trainer in self._trainers if trainer.device), "starting"),
            labels=self._claimer.labels,
            preemptible=self._settings.preemptible,
            jobs=[],
            **asdict(self._claimer.stats),
            started_at=self._started_at,
            seen_at=datetime.now(UTC),
        )

    def _stop(self) -> None:
        """Tell every trainer to stop at its epoch's end; kill those that take too long, and requeue their jobs."""
        with suppress(Unavailable, StorageError):  # the others wait until the lease lapses
            self._gang.withdraw()
        for trainer in self._trainers:
            with suppress(OSError):  # it just died: its jobs are requeued below
                trainer.pipe.send(STOP)
        deadline = time.monotonic() + self._settings.drain_seconds
        while any(trainer.process.is_alive() for trainer in self._trainers) and time.monotonic() < deadline:
            with suppress(Unavailable, StorageError, SchemaMismatch):
                self._keep_leases()
            pipes.wait([trainer.process.sentinel for trainer in self._trainers], timeout=REAP_SECONDS / 4)
        # Before a rank is killed: the others would record that as a crash.
        followed = [each.following for each in self._trainers if each.following and each.process.is_alive()]
        requeue(self._database, followed, None)
        for trainer in self._trainers:
            trainer.process.kill()
            trainer.process.join()
            requeue(self._database, trainer.claims, None)
        try:
            with self._database.transaction() as connection:
                workers.deregister(connection, self._id)
        except (Unavailable, StorageError) as problem:
            log.warning("the worker's row could not be removed: %s", problem)
