"""The process that builds one report: limited, sandboxed, then gone. Imported once by the server it is forked from."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import torch

from service.data.processes.confinement import confine
from service.data.processes.runner import limit_resources
from service.errors import ServiceError, StorageError, Unavailable
from service.serving.reports.build import build

with suppress(ImportError):
    import service.reports.learned_baselines  # noqa: F401  # scikit-learn, an extra

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from pathlib import Path

    from service.data.processes.runner import Allowance
    from service.domain.report import ReportInputs


def run(pipe: Connection, asked: ReportInputs, target: Path, allowed: Allowance) -> None:
    """Write the report as JSON to `target`, and send None, or the error."""
    torch.set_num_threads(1)  # sums of several threads may differ in the last bit
    limit_resources(allowed)
    files = [asked.predictions, asked.checkpoint, asked.table]
    confine([file.path for file in files if file is not None], [target.parent])
    try:
        target.write_text(build(asked).model_dump_json(), encoding="utf-8")
        pipe.send(None)
    except ServiceError as error:
        pipe.send(error)
    except MemoryError:
        most = allowed.memory_bytes / 2**20
        pipe.send(Unavailable(f"the report needs more than {most:,.0f} MiB of memory, the limit here"))
    except OSError as error:
        pipe.send(StorageError(f"the report could not be written: {error.strerror}"))
