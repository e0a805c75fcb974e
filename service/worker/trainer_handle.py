"""The supervisor's handle on a trainer process: starts it, and holds its pipe, watchdog and claims."""

from __future__ import annotations

import multiprocessing
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from service.concurrency.fork_server import forked_from
from service.worker import attempt_logs
from service.worker.protocol import RELEASE, STOP, RankTask
from service.worker.watchdog import Watchdog, new_progress_counter

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerContext, SpawnContext
    from multiprocessing.process import BaseProcess
    from pathlib import Path

    from service.store.jobs.claim import Claim
    from service.training.progress import ProgressCounter
    from service.worker.protocol import SharedNumber, ToTrainer, TrainerConfig

STOP_SECONDS = 1.0  # until an idle trainer is killed
START_TRIES, START_SECONDS = 10, 0.2


@dataclass
class TrainerHandle:
    """One trainer process and what it is training."""

    config: TrainerConfig
    process: BaseProcess
    pipe: Connection
    watchdog: Watchdog
    device: str | None = None  # None until it is ready
    claims: Sequence[Claim] = ()  # the jobs that it trains as one array; some may have ended
    following: Claim | None = None  # the job of which it is a rank, which another trainer leads
    temporary: bool = False  # stops after its task
    releasing: bool = False  # it was asked to requeue its jobs at the epoch's end

    @property
    def busy(self) -> bool:
        """Whether it has a task."""
        return bool(self.claims) or self.following is not None

    @property
    def free(self) -> bool:
        """Whether it can take jobs now."""
        return self.device is not None and not self.busy and not self.temporary

    def trains(self, claim: Claim) -> bool:
        """Whether it trains this attempt, alone or as a rank."""
        return claim in (*self.claims, self.following)

    def take(self, task: list[Claim] | RankTask) -> None:
        """Begin a task."""
        if not isinstance(task, RankTask):
            self.claims = task
        elif task.leads:
            self.claims = [task.claim]
        else:
            self.following = task.claim
        self.watchdog.reset()
        self._send(task)

    def release(self) -> None:
        """Ask it to requeue its jobs at the epoch's end."""
        if not self.releasing:
            self.releasing = True
            self._send(RELEASE)

    def done(self) -> None:
        """Its task has ended."""
        self.claims, self.following, self.releasing = (), None, False

    def stop(self) -> None:
        """Stop an idle trainer."""
        self._send(STOP)
        self.process.join(STOP_SECONDS)
        self.process.kill()
        self.process.join()
        self.pipe.close()

    def _send(self, message: ToTrainer) -> None:
        with suppress(OSError):  # it just died: its pipe closes, and the supervisor requeues the jobs
            self.pipe.send(message)

    @property
    def log_files(self) -> list[Path]:
        """The files that it logs to, the current one first."""
        attempt = [attempt_logs.path_of(self.config.log_file.parent, self.claims)] if self.claims else []
        return [*attempt, self.config.log_file]


def start(context: ForkServerContext | SpawnContext, config: TrainerConfig, busy: SharedNumber) -> TrainerHandle:
    """Start a trainer process; `busy`: the number of trainers that have jobs, as of now."""
    pipe, trainers_end = context.Pipe()
    progress = new_progress_counter(context)
    process = context.Process(target=_train, args=(trainers_end, config, progress, busy), daemon=True)
    _start(process)
    trainers_end.close()
    return TrainerHandle(config, process, pipe, Watchdog(progress))


def _start(process: BaseProcess) -> None:
    for left in reversed(range(START_TRIES)):
        try:
            process.start()
            return
        except (EOFError, ConnectionError):  # the fork server was killed just now; another try starts a new one
            if not left:
                raise
            time.sleep(START_SECONDS)


def start_temporary(
    context: ForkServerContext | SpawnContext, like: TrainerConfig, number: int, busy: SharedNumber
) -> TrainerHandle:
    """Start a further trainer for one task; `number` tells several apart."""
    log_file = like.log_file.with_stem(f"{like.log_file.stem}-temporary-{number}")
    handle = start(context, replace(like, log_file=log_file), busy)
    handle.temporary = True
    return handle


def start_context(cuda: bool) -> ForkServerContext | SpawnContext:
    """How trainers are started. Without CUDA they are forked from a server that has imported torch, so that a crashed
    one is replaced at once; CUDA does not work in forked processes."""
    if cuda:
        return multiprocessing.get_context("spawn")
    return forked_from("service.worker.trainer_server")


def new_shared_number(context: ForkServerContext | SpawnContext) -> SharedNumber:
    """A number that this process shares with those that `context` starts."""
    return cast("SharedNumber", context.RawValue("i", 0))


def _train(pipe: Connection, config: TrainerConfig, progress: ProgressCounter, busy: SharedNumber) -> None:
    """Entry point of a trainer process; only this process imports torch."""
    from service.worker import trainer

    trainer.main(pipe, config, progress, busy)
