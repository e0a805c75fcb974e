"""A process that is kept warm, as its imports take seconds: started at the first request, replaced if it dies."""

from __future__ import annotations

import signal
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from service.concurrency.cancellation import current
from service.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerContext, SpawnContext
    from multiprocessing.process import BaseProcess


END_SECONDS = 1.0


class WarmProcess:
    """Runs `serve(pipe, *arguments)` in a process, which answers one request of its pipe at a time."""

    def __init__(
        self, name: str, context: ForkServerContext | SpawnContext, serve: Callable[..., None], *arguments: Any
    ) -> None:
        """`name`: of the process, in messages. `context`: what starts it."""
        self._name, self._context, self._serve, self._arguments = name, context, serve, arguments
        self._lock = threading.Lock()
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start the process, if possible; it takes a while to be ready. Does not wait for it."""
        with self._lock, suppress(OSError):
            self._connected()

    def close(self) -> None:
        """Stop the process, after the request in progress."""
        with self._lock:
            self._drop(END_SECONDS)

    def kill(self) -> None:
        """Kill the process; a request that waits for it raises Unavailable."""
        process = self._process
        if process is not None:
            process.kill()

    def ask(self, request: Any, seconds: float) -> Any:
        """The answer. Raises Unavailable if the process dies, or takes longer than `seconds`.

        Raises Cancelled if the current task was cancelled before.
        """
        with self._lock:
            try:
                pipe = self._connected()
                current().check()  # after the start of the process: a cancellation from now on kills it
                pipe.send(request)
                if not pipe.poll(seconds):
                    raise TimeoutError
                return pipe.recv()
            except (OSError, EOFError) as error:
                self._drop()
                raise Unavailable(f"{self._name} did not answer; try again") from error

    def _connected(self) -> Connection:
        if self._pipe is None or self._process is None or not self._process.is_alive():
            self._drop()
            self._pipe, theirs = self._context.Pipe()
            process = self._context.Process(target=_run, args=(self._serve, theirs, *self._arguments), daemon=True)
            process.start()
            self._process = process  # not before the start: a process that has not started cannot be killed
            theirs.close()
        return self._pipe

    def _drop(self, seconds: float = 0.0) -> None:
        """Stop the process, which gets so long to end by itself: a killed one may leave semaphores behind."""
        if self._pipe is not None:
            self._pipe.close()
        if self._process is not None:
            self._process.join(seconds)
            self._process.kill()
            self._process.join()
        self._pipe = self._process = None


def _run(serve: Callable[..., None], pipe: Connection, *arguments: Any) -> None:
    """Entry point of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal, whose Ctrl-C reaches the API too: it stops this
    serve(pipe, *arguments)
