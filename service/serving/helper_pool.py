"""The prediction helpers, and a thread for each that gives it requests in the queue's order."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

from service.concurrency.cancellation import Cancelled, current
from service.concurrency.cores import cpu_count
from service.errors import ServiceError
from service.serving.helper_process import HelperProcess
from service.serving.request_queue import Request, RequestQueue

if TYPE_CHECKING:
    from concurrent.futures import Future

    from service.domain.model_ref import ModelRef
    from service.domain.prediction import PredictionOptions
    from service.serving.messages import Applied


CORES_PER_HELPER = 4
MAX_HELPERS = 4


def helper_count() -> int:
    """How many helpers suit this machine: most of its cores train, and each helper holds torch and its own models."""
    return max(1, min(MAX_HELPERS, cpu_count() // CORES_PER_HELPER))


class HelperPool:
    """Calls of several threads and tasks, served by `helpers` processes that cache models of `model_bytes` together.

    Calls wait in an order that is fair between tenants, so cut long work into calls of about a second. Small
    predictions with one model that wait at the same time are one call: nothing waits for others to come.
    """

    def __init__(self, helpers: int, model_bytes: int) -> None:
        self._queue = RequestQueue()
        self._helpers = [HelperProcess(model_bytes // helpers) for _ in range(helpers)]
        self._threads = [threading.Thread(target=self._serve, args=(helper,), daemon=True) for helper in self._helpers]
        for thread in self._threads:
            thread.start()

    def call(self, function: str, *arguments: Any) -> Any:
        """Call a function of `helper.py` and wait for what it returns.

        Raises what it raises; Unavailable if the process dies or times out; Cancelled if the current task is cancelled.
        """
        return self._wait(Request(current().tenant, function, arguments))

    def predict(self, model: ModelRef, rows: list[dict[str, Any]], options: PredictionOptions | Applied) -> Any:
        """Wait for (answers, calibration, seconds) of these rows: see `helper.predict`. Raises as `call` does."""
        return self._wait(Request(current().tenant, "predict", (rows,), model, options))

    def submit(
        self, tenant: str, model: ModelRef, rows: list[dict[str, Any]], options: PredictionOptions
    ) -> Future[Any]:
        """Like `predict`, without waiting."""
        request = Request(tenant, "predict", (rows,), model, options)
        self._queue.put(request)
        return request.answer

    def call_each(self, function: str, *arguments: Any) -> None:
        """Call a function in every helper, before the requests that wait."""
        for helper in self._helpers:
            helper.call(function, *arguments)

    def close(self) -> None:
        """Stop the processes; waiting requests fail with Unavailable."""
        self._queue.close()
        for helper in self._helpers:
            helper.kill()
        for helper, thread in zip(self._helpers, self._threads, strict=True):
            thread.join()
            helper.close()

    def _wait(self, request: Request) -> Any:
        self._queue.put(request)
        try:
            with current().on_cancel(request.cancel):
                return request.answer.result()
        except CancelledError:
            raise Cancelled from None

    def _serve(self, helper: HelperProcess) -> None:
        while requests := self._queue.take():
            try:
                answers = _answers(helper, requests)
            except Exception as error:
                answers = [error] * len(requests)
            for request, answer in zip(requests, answers, strict=True):
                if isinstance(answer, Exception):
                    request.answer.set_exception(answer)
                else:
                    request.answer.set_result(answer)


def _answers(helper: HelperProcess, requests: list[Request]) -> list[Any]:
    """What each request gets: a result, or an error of its own rows. Raises an error of all of them."""
    first = requests[0]
    if first.model is None:
        return [helper.call(first.function, *first.arguments)]
    batch = helper.call("predict", first.model, [request.arguments[0] for request in requests], first.options)
    return [
        answer if isinstance(answer, ServiceError) else (answer, batch.calibration, batch.seconds)
        for answer in batch.answers
    ]
