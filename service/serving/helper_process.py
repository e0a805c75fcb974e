"""A prediction helper: a process that runs `helper.py`, started on first use and replaced if it dies."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, Self

from service.concurrency.cancellation import current
from service.errors import ServiceError, Unavailable

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

ANSWER_SECONDS = 120.0
MODEL_BYTES = 2**30
"""Memory of the models that a helper caches, in bytes."""


class HelperProcess:
    """A process with torch, which serves one call at a time."""

    def __init__(self, model_bytes: int = MODEL_BYTES, answer_seconds: float | None = None) -> None:
        """`answer_seconds`: after which a call is given up; default: ANSWER_SECONDS."""
        self._model_bytes = model_bytes
        self._answer_seconds = answer_seconds
        self._lock = threading.Lock()
        self._process: SpawnProcess | None = None
        self._pipe: Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the process, after the call in progress."""
        with self._lock:
            self._drop()

    def kill(self) -> None:
        """Kill the process; a call that waits for it raises Unavailable."""
        process = self._process
        if process is not None:
            process.kill()

    def call(self, name: str, *arguments: Any) -> Any:
        """Call the function `name` of `helper.py`. Raises what it raises; Unavailable if the process dies or times out.

        Raises Cancelled if the current task was cancelled before.
        """
        with self._lock:
            pipe = self._connected()
            current().check()  # after the start of the process: a cancellation from now on kills it
            try:
                pipe.send((name, arguments))
                if not pipe.poll(self._answer_seconds or ANSWER_SECONDS):
                    raise TimeoutError
                fine, answer = pipe.recv()
            except (OSError, EOFError) as error:
                self._drop()
                raise Unavailable("the prediction helper did not answer; try again") from error
        if not fine:
            assert isinstance(answer, ServiceError)
            raise answer
        return answer

    def _connected(self) -> Connection:
        if self._pipe is None or self._process is None or not self._process.is_alive():
            self._drop()
            context = multiprocessing.get_context("spawn")
            self._pipe, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, self._model_bytes), daemon=True)
            process.start()
            self._process = process  # not before the start: a process that has not started cannot be killed
            theirs.close()
        return self._pipe

    def _drop(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
        if self._process is not None:
            self._process.kill()
            self._process.join()
        self._pipe = self._process = None


def _serve(pipe: Connection, model_bytes: int) -> None:
    """Entry point of the helper process; only this process imports torch."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal, whose Ctrl-C reaches the API too: it stops this
    from service.serving import helper

    helper.serve(pipe, model_bytes)
