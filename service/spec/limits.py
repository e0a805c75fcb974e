"""What the one who runs a service lets a job ask for at most, and about how much memory a job takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from service.engine_constants import (
    CELL_BYTES,
    FILE_BYTES,
    INPUT_BYTES,
    PARAMETER_BYTES,
    PROCESS_BYTES,
    STEP_BYTES,
    VALUE_BYTES,
)
from service.errors import InvalidSpec
from service.spec.optimizer import Sgd

if TYPE_CHECKING:
    from service.spec.job import JobSpec
    from service.spec.resolved import Resolved


@dataclass(frozen=True)
class JobLimits:
    """Bounds of one job."""

    parameters: int
    epochs: int
    seconds: float | None  # of training; None: as long as it takes
    memory_bytes: int

    def bounded(self, spec: JobSpec) -> JobSpec:
        """`spec`, with the most seconds written out where it names none; raises InvalidSpec where it asks for more."""
        if spec.max_epochs > self.epochs:
            raise InvalidSpec.at("/max_epochs", f"this server allows {self.epochs:,} epochs, not {spec.max_epochs:,}")
        if self.seconds is None:
            return spec
        if spec.max_seconds is None:
            return spec.model_copy(update={"max_seconds": self.seconds})
        if spec.max_seconds > self.seconds:
            said = f"this server allows {self.seconds:,.0f} seconds, not {spec.max_seconds:,.0f}"
            raise InvalidSpec.at("/max_seconds", said)
        return spec

    def check(self, job: Resolved) -> None:
        """Raise InvalidSpec where the network or what it takes to train it is too large."""
        if job.parameters > self.parameters:
            said = f"the network has {job.parameters:,} parameters; this server allows {self.parameters:,}"
            raise InvalidSpec.at("/architecture", said)
        parts = memory_of(job)
        total = PROCESS_BYTES + sum(parts.values())
        if total > self.memory_bytes:
            most = max(parts, key=parts.__getitem__)
            said = f"training would take about {_gib(total)}, of which this is {_gib(parts[most])}"
            raise InvalidSpec.at(most, f"{said}; this server has {_gib(self.memory_bytes)} for a job")


def memory_of(job: Resolved) -> dict[str, int]:
    """About how many bytes training takes beside the process itself, by the part of the spec that they come from."""
    rows = job.rows.train + job.rows.validation + job.rows.test
    return {
        "/architecture": PARAMETER_BYTES * job.parameters,
        "/batch_size": STEP_BYTES * job.step_values,
        "/data": CELL_BYTES * rows * job.inputs,
    }


def checkpoint_bytes_of(job: Resolved) -> int:
    """About how many bytes its files take on disk: best, last, and the state to go on from.

    A state holds the weights, the best ones and what the optimizer remembers; best and last hold the spec too.
    """
    moments = 1 if isinstance(job.spec.optimizer, Sgd) else 2
    values = job.parameters * (1 + 1 + (2 + moments))
    described = 2 * (len(job.spec.model_dump_json()) + INPUT_BYTES * job.inputs) + 3 * FILE_BYTES
    return VALUE_BYTES * values + described


def _gib(number: int) -> str:
    return f"{number / 2**30:,.1f} GiB"
