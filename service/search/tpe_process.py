"""A process that runs TPE, as importing Optuna takes a second: started at the first request, replaced if it dies."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from contextlib import suppress
from importlib import import_module
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, Self

from service.errors import Unavailable

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

    from service.search.tpe_request import TpeRequest

ANSWER_SECONDS = 120.0
TRIAL_SECONDS = 10.0  # more for each trial that is asked for

TPE = "service.search.tpe"  # imports Optuna


class TpeProcess:
    """A process that imports Optuna, and answers one request at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: SpawnProcess | None = None
        self._pipe: Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the process; a request in progress raises Unavailable."""
        if (process := self._process) is not None:
            process.kill()
        with self._lock:
            self._drop()

    def start(self) -> None:
        """Start the process, if possible; it takes a second to be ready. Does not wait for it."""
        with self._lock, suppress(OSError):
            self._connected()

    def propose(self, request: TpeRequest) -> list[dict[str, Any]]:
        """What `tpe.propose` returns. Raises Unavailable if the process dies or times out: a repetition is answered."""
        with self._lock:
            try:
                pipe = self._connected()
                pipe.send(request)
                if not pipe.poll(ANSWER_SECONDS + TRIAL_SECONDS * request.count):
                    raise TimeoutError
                answer: list[dict[str, Any]] | Exception = pipe.recv()
            except (OSError, EOFError) as error:
                self._drop()
                raise Unavailable("the process that proposes trials did not answer; try again") from error
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _connected(self) -> Connection:
        if self._pipe is None or self._process is None or not self._process.is_alive():
            self._drop()
            context = multiprocessing.get_context("spawn")
            self._pipe, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs,), daemon=True)
            process.start()
            self._process = process
            theirs.close()
        return self._pipe

    def _drop(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
        if self._process is not None:
            self._process.kill()
            self._process.join()
        self._pipe = self._process = None


def _serve(pipe: Connection) -> None:
    """Entry point of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal, whose Ctrl-C reaches the API too: it stops this
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
