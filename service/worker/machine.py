"""The machine that a worker runs on: its GPUs, and the configuration of each of its trainers."""

from __future__ import annotations

import shutil
import socket
import subprocess
from typing import TYPE_CHECKING

from service.artifacts import ArtifactsConfig
from service.concurrency.cores import cpu_count
from service.worker.protocol import CheckpointPolicy, TrainerConfig

if TYPE_CHECKING:
    from service.settings import Settings


def trainer_configs(settings: Settings, worker: str, gpus: int) -> list[TrainerConfig]:
    """One for each trainer."""
    count = settings.trainers or gpus or cpu_count()
    policy = CheckpointPolicy(
        settings.save_seconds,
        frozenset(settings.keep.split(",")),
        settings.max_superseded_bytes,
        settings.drain_seconds,
    )
    return [
        TrainerConfig(
            worker=worker,
            database_url=settings.database,
            statement_seconds=settings.statement_seconds,
            artifacts=ArtifactsConfig.of(settings),
            log_file=settings.logs / f"{socket.gethostname()}-{number}.log",
            log_format=settings.log_format,
            device=settings.device,
            gpu=number,
            threads=settings.trainer_threads or cpu_count(),
            checkpoints=policy,
        )
        for number in range(count)
    ]


def count_gpus() -> int:
    """The number of NVIDIA GPUs of this machine, without importing torch."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return 0
    listing = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=30, check=False)
    return sum(line.startswith("GPU ") for line in listing.stdout.splitlines())
