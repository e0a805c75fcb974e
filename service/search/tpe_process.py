"""A process that runs TPE, as importing Optuna takes a second."""

from __future__ import annotations

import multiprocessing
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

from service.concurrency.warm_process import WarmProcess

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from service.search.tpe_request import TpeRequest

ANSWER_SECONDS = 120.0
TRIAL_SECONDS = 10.0  # more for each trial that is asked for

TPE = "service.search.tpe"  # imports Optuna


class TpeProcess(WarmProcess):
    """A process that imports Optuna, and answers one request at a time."""

    def __init__(self) -> None:
        super().__init__("the process that proposes trials", multiprocessing.get_context("spawn"), _serve)

    def close(self) -> None:
        """Stop the process; a request in progress raises Unavailable."""
        self.kill()
        super().close()

    def propose(self, request: TpeRequest) -> list[dict[str, Any]]:
        """What `tpe.propose` returns. Raises Unavailable if the process dies or times out: a repetition is answered."""
        answer: list[dict[str, Any]] | Exception = self.ask(request, ANSWER_SECONDS + TRIAL_SECONDS * request.count)
        if isinstance(answer, Exception):
            raise answer
        return answer


def _serve(pipe: Connection) -> None:
    with suppress(Exception):  # it is reported to whoever asks
        import_module(TPE)  # takes a second
    while True:
        try:
            request = pipe.recv()
        except EOFError:
            return
        try:
            answer: list[dict[str, Any]] | Exception = import_module(TPE).propose(request)
        except Exception as error:
            answer = RuntimeError(f"TPE failed: {error!r}")
        pipe.send(answer)
