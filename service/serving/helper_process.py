"""A prediction helper: a process that runs `helper.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from service.concurrency.fork_server import forked_from
from service.concurrency.warm_process import WarmProcess
from service.errors import ServiceError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

ANSWER_SECONDS = 120.0
SERVER = "service.serving.helper_server"
MODEL_BYTES = 2**30
"""Memory of the models that a helper caches, in bytes."""


class HelperProcess(WarmProcess):
    """A process with torch, which serves one call at a time."""

    def __init__(self, model_bytes: int = MODEL_BYTES, answer_seconds: float | None = None) -> None:
        """`answer_seconds`: after which a call is given up; default: ANSWER_SECONDS."""
        super().__init__("the prediction helper", forked_from(SERVER), _serve, model_bytes)
        self._answer_seconds = answer_seconds

    def call(self, name: str, *arguments: Any) -> Any:
        """Call the function `name` of `helper.py`. Raises what it raises; Unavailable if the process dies or times out.

        Raises Cancelled if the current task was cancelled before.
        """
        fine, answer = self.ask((name, arguments), self._answer_seconds or ANSWER_SECONDS)
        if not fine:
            assert isinstance(answer, ServiceError)
            raise answer
        return answer


def _serve(pipe: Connection, model_bytes: int) -> None:
    """Only this process imports torch."""
    from service.serving import helper

    helper.serve(pipe, model_bytes)
