"""What supervisor and trainers say to each other down a pipe: claims or STOP one way, Ready and DONE the other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from service.store.jobs.claim import Claim

STOP: Literal["stop"] = "stop"
DONE: Literal["done"] = "done"

ToTrainer = list[Claim] | Literal["stop"]


@dataclass(frozen=True)
class Workplace:
    """What a trainer needs to know of the machine and the service it works for."""

    worker: str
    database_url: str
    statement_seconds: float  # that a statement may take
    artifacts: Path
    log_file: Path
    log_format: str
    device: str  # auto, cpu or cuda
    gpu: int  # which one, counted around those that torch sees
    threads: int
    save_seconds: float  # from one saved state to the next
    keep: frozenset[str]  # the checkpoints that an ended job leaves beside the best: last, state
    superseded_bytes: int  # of files that a trainer has replaced and that wait to be collected


@dataclass(frozen=True)
class Ready:
    """A trainer can take jobs; `device` is what it trains on unless a job asks for the CPU."""

    device: str


FromTrainer = Ready | Literal["done"]
