"""Client of the processes that build reports; each is forked from a server process that has imported torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.concurrency.cancellation import current
from service.concurrency.fork_server import forked_from
from service.errors import ServiceError, Unavailable
from service.serving.helper_process import SERVER
from service.serving.reports.limits import too_slow

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from pathlib import Path

    from service.data.processes.runner import Allowance
    from service.domain.drift import DriftInputs
    from service.domain.report import EvaluationInputs, ReportInputs


class Reporter:
    """Builds reports, each in a process with limits of its own."""

    def __init__(self) -> None:
        self._context = forked_from(SERVER)

    def write(self, asked: ReportInputs | EvaluationInputs | DriftInputs, target: Path, allowed: Allowance) -> None:
        """Write the answer as JSON to the new file `target`. Blocks for `allowed.seconds` at most.

        Raises what making it raises; Conflict beyond the limits of time and memory, where a retry does not
        help; Unavailable if the process dies; Cancelled.
        """
        ours, theirs = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_build, args=(theirs, asked, target, allowed), daemon=True)
        process.start()
        theirs.close()
        try:
            with current().on_cancel(process.kill):
                if not ours.poll(allowed.seconds):
                    raise too_slow(allowed)
                error = ours.recv()
        except EOFError:
            current().check()  # killed by a cancellation
            raise Unavailable("the process that builds the report ended unexpectedly; try again") from None
        finally:
            process.kill()
            process.join()
            ours.close()
        if error is not None:
            assert isinstance(error, ServiceError)
            raise error


def _build(
    pipe: Connection, asked: ReportInputs | EvaluationInputs | DriftInputs, target: Path, allowed: Allowance
) -> None:
    """Entry point of the process; only it and its server process import torch."""
    from service.serving.reports import process

    process.run(pipe, asked, target, allowed)
