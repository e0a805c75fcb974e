"""Messages between supervisor and trainers, through a pipe: tasks, RELEASE and STOP; Ready and DONE as answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from service.artifacts import ArtifactsConfig
from service.store.jobs.claim import Claim
from service.worker.superseded_checkpoints import SUPERSEDED_BYTES

STOP: Literal["stop"] = "stop"
RELEASE: Literal["release"] = "release"
"""The jobs are requeued at the epoch's end: their trainer is needed for a job on several devices."""
DONE: Literal["done"] = "done"


@dataclass(frozen=True)
class RankTask:
    """One rank of a job that trains on several devices; rank 0 leads."""

    claim: Claim
    rank: int
    address: str
    """Of this machine, where the other ranks reach it."""

    @property
    def leads(self) -> bool:
        """Whether this rank decides and records."""
        return self.rank == 0


ToTrainer = list[Claim] | RankTask | Literal["stop", "release"]


class SharedNumber(Protocol):
    """A number in memory that processes share."""

    value: int


@dataclass(frozen=True)
class CheckpointPolicy:
    """Which checkpoint files are written and kept."""

    save_seconds: float  # between two saved states
    keep: frozenset[str]  # checkpoints that an ended job keeps beside the best: last, state
    superseded_bytes: int = SUPERSEDED_BYTES  # of replaced files that wait for the garbage collector
    drain_seconds: float = 20.0  # notice of the worker: from its SIGTERM until states must be saved


@dataclass(frozen=True)
class TrainerConfig:
    """What a trainer process needs to know about its machine and the service."""

    worker: str
    database_url: str
    statement_seconds: float  # timeout of a database statement
    artifacts: ArtifactsConfig
    log_file: Path
    log_format: str
    device: str  # auto, cpu or cuda
    gpu: int  # the index of its GPU, modulo the number of GPUs
    threads: int  # at most, for a large network
    checkpoints: CheckpointPolicy
    prepared_files: Path | None = None  # the folder of prepared rows that are streamed or shared
    share_rows: bool = False  # there are other trainers on this machine


@dataclass(frozen=True)
class Ready:
    """The trainer can take jobs; `device` is where it trains jobs that do not ask for the CPU."""

    device: str


FromTrainer = Ready | Literal["done"]
