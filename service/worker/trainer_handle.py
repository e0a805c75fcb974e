"""A trainer process as its supervisor holds it: started here, with the pipe to it and what it is doing."""

from __future__ import annotations

import multiprocessing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from service.worker import attempt_logs
from service.worker.watchdog import Vitals, new_pulse

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerContext, SpawnContext
    from multiprocessing.process import BaseProcess
    from pathlib import Path

    from service.store.jobs.claim import Claim
    from service.training.epoch import Pulse
    from service.worker.protocol import Workplace


@dataclass
class TrainerHandle:
    """One trainer process and what it is doing."""

    place: Workplace
    process: BaseProcess
    pipe: Connection
    vitals: Vitals
    device: str | None = None  # None until it is ready
    claims: Sequence[Claim] = ()  # what it trains as one array; some may have ended

    @property
    def free(self) -> bool:
        """Whether it can take a job now."""
        return self.device is not None and not self.claims

    @property
    def log_files(self) -> list[Path]:
        """What it writes to, the present one first."""
        attempt = [attempt_logs.path_of(self.place.log_file.parent, self.claims)] if self.claims else []
        return [*attempt, self.place.log_file]


def start(context: ForkServerContext | SpawnContext, place: Workplace) -> TrainerHandle:
    """Start a trainer process."""
    ours, theirs = context.Pipe()
    pulse = new_pulse(context)
    process = context.Process(target=_train, args=(theirs, place, pulse), daemon=True)
    process.start()
    theirs.close()
    return TrainerHandle(place, process, ours, Vitals(pulse))


def start_context(cuda: bool) -> ForkServerContext | SpawnContext:
    """How trainers are started: on a CPU forked from a server that has torch imported, so that a dead one is replaced
    at once; CUDA forbids forking."""
    if cuda:
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["service.worker.trainer"])
    return context


def _train(pipe: Connection, place: Workplace, pulse: Pulse) -> None:
    """Entry point of a trainer process; torch is imported there alone."""
    from service.worker import trainer

    trainer.main(pipe, place, pulse)
