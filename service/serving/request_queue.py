"""The queue of the prediction helpers: fair between tenants, small predictions of one model in one batch."""

from __future__ import annotations

import threading
from collections import Counter, deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from service.errors import Unavailable

if TYPE_CHECKING:
    from service.domain.model_ref import ModelRef
    from service.domain.prediction import PredictionOptions
    from service.serving.messages import Applied

BATCH_ROWS = 32
"""Rows of requests that are predicted together. More would save little time, and the slowest networks take 0.1 s for
a row."""


def batch_rows(model: ModelRef) -> int:
    """Rows that are predicted together: the more members predict each row, the fewer."""
    return max(1, BATCH_ROWS // len(model.members))


@dataclass(eq=False)
class Request:
    """A call of a function of `helper.py` that waits for its turn."""

    tenant: str
    function: str
    arguments: tuple[Any, ...]
    model: ModelRef | None = None
    """The model of a prediction, whose `arguments` are its rows."""
    options: PredictionOptions | Applied | None = None
    """What a prediction asks for, or what calibrates it."""
    answer: Future[Any] = field(default_factory=Future)

    def fits(self, other: Request) -> bool:
        """Whether both are predictions that can be made together."""
        return (self.model, self.options) == (other.model, other.options)

    @property
    def rows(self) -> int:
        """Number of rows to predict."""
        return len(self.arguments[0])

    def cancel(self) -> None:
        """Drop the request if it still waits."""
        self.answer.cancel()


class RequestQueue:
    """Requests in order: FIFO within a tenant, the least recently served tenant first. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: dict[str, deque[Request]] = {}
        self._served: Counter[str] = Counter()  # number of the last turn
        self._turns = 0
        self._closed = False

    def put(self, request: Request) -> None:
        """Add a request; raises Unavailable once the queue is closed."""
        with self._changed:
            if self._closed:
                raise Unavailable("the server is stopping")
            self._waiting.setdefault(request.tenant, deque()).append(request)
            self._changed.notify()

    def take(self) -> list[Request]:
        """The next request, and those that can be predicted with it; waits for one; empty once the queue is closed.

        A prediction of a few rows takes along others of the same model and options, at most `batch_rows` together.
        Cancelled requests are dropped.
        """
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return []
                tenant = min(self._waiting, key=self._served.__getitem__)
                self._turns += 1
                self._served[tenant] = self._turns
                first = self._waiting[tenant][0]
                together = [first]
                if first.model is not None:
                    self._add_others(first, batch_rows(first.model), together)
                self._remove(together)
                running = [request for request in together if request.answer.set_running_or_notify_cancel()]
                if running:
                    return running

    def close(self) -> None:
        """End `take`, and fail the waiting requests."""
        with self._changed:
            self._closed = True
            waiting = [request for requests in self._waiting.values() for request in requests]
            self._waiting.clear()
            self._changed.notify_all()
        for request in waiting:
            if request.answer.set_running_or_notify_cancel():
                request.answer.set_exception(Unavailable("the server is stopping"))

    def _add_others(self, first: Request, most: int, together: list[Request]) -> None:
        rows = first.rows
        for request in (each for requests in self._waiting.values() for each in requests):
            if rows >= most:
                return
            if request is not first and request.fits(first) and rows + request.rows <= most:
                together.append(request)
                rows += request.rows

    def _remove(self, taken: list[Request]) -> None:
        gone = set(map(id, taken))
        for tenant in {request.tenant for request in taken}:
            left = deque(request for request in self._waiting[tenant] if id(request) not in gone)
            if left:
                self._waiting[tenant] = left
            else:
                del self._waiting[tenant]
