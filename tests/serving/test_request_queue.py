"""The queue of the prediction helpers: turns of tenants, batches, cancellation."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.model_ref import Member, ModelRef
from service.errors import Unavailable
from service.serving.request_queue import BATCH_ROWS, Request, RequestQueue

MODELS = {name: ModelRef((Member(name, ""),)) for name in "mno"}


def prediction(tenant: str, model: str, rows: int = 1) -> Request:
    return Request(tenant, "predict", ([{}] * rows,), MODELS[model])


def call(tenant: str) -> Request:
    return Request(tenant, "check_rows", ())


def taken(queue: RequestQueue, times: int) -> list[list[Request]]:
    return [queue.take() for _ in range(times)]


@pytest.mark.parametrize(
    ("asked", "served"), [("aaaa", "aaaa"), ("aaab", "abaa"), ("aaabbcc", "abcabca"), ("abab", "abab")]
)
def test_tenants_are_served_in_turn_and_fifo_within_a_tenant(asked: str, served: str) -> None:
    queue, requests = RequestQueue(), [call(tenant) for tenant in asked]
    for request in requests:
        queue.put(request)

    found = [request for batch in taken(queue, len(asked)) for request in batch]

    assert "".join(request.tenant for request in found) == served
    for tenant in set(asked):
        assert [each for each in found if each.tenant == tenant] == [each for each in requests if each.tenant == tenant]


def test_predictions_of_one_model_are_taken_together_across_tenants() -> None:
    queue = RequestQueue()
    one, other, call_, more = prediction("a", "m"), prediction("a", "n"), call("a"), prediction("b", "m")
    for request in (one, other, call_, more):
        queue.put(request)

    assert taken(queue, 3) == [[one, more], [other], [call_]]


@pytest.mark.parametrize(("members", "together"), [(1, 4), (4, 4), (16, 2), (200, 1)])
def test_the_more_members_a_model_has_the_fewer_rows_are_in_a_batch(members: int, together: int) -> None:
    queue, model = RequestQueue(), ModelRef((Member("m", ""),) * members)
    requests = [Request("a", "predict", ([{}],), model) for _ in range(4)]
    for request in requests:
        queue.put(request)

    assert queue.take() == requests[:together]


def test_a_batch_has_a_bounded_number_of_rows_and_a_larger_request_is_taken_alone() -> None:
    queue = RequestQueue()
    large, small = prediction("a", "m", BATCH_ROWS + 1), [prediction("a", "m", 10) for _ in range(4)]
    for request in (large, *small):
        queue.put(request)

    assert taken(queue, 3) == [[large], small[:3], small[3:]]


REQUESTS = st.tuples(st.sampled_from("abc"), st.sampled_from("mno"), st.integers(1, 40), st.booleans())


@given(st.lists(REQUESTS, max_size=30))
def test_every_request_is_taken_once_and_a_cancelled_one_never(asked: list[tuple[str, str, int, bool]]) -> None:
    queue, requests = RequestQueue(), list[Request]()
    for tenant, model, rows, cancelled in asked:
        requests.append(prediction(tenant, model, rows))
        queue.put(requests[-1])
        if cancelled:
            requests[-1].cancel()
    wanted = [request for request in requests if not request.answer.cancelled()]

    found = list[Request]()
    while len(found) < len(wanted):
        batch = queue.take()
        found += batch
        assert len({request.model for request in batch}) == 1
        assert len(batch) == 1 or sum(request.rows for request in batch) <= BATCH_ROWS

    assert sorted(map(id, found)) == sorted(map(id, wanted))


def test_a_cancelled_request_raises_and_is_not_taken() -> None:
    queue, waiting = RequestQueue(), [prediction("a", "m"), prediction("a", "n")]
    for request in waiting:
        queue.put(request)

    waiting[0].cancel()

    assert queue.take() == waiting[1:]
    with pytest.raises(CancelledError):
        waiting[0].answer.result(0)


def test_a_closed_queue_fails_what_waits_and_what_comes() -> None:
    queue, waiting = RequestQueue(), prediction("a", "m")
    queue.put(waiting)

    queue.close()

    assert queue.take() == []
    with pytest.raises(Unavailable):
        waiting.answer.result(0)
    with pytest.raises(Unavailable):
        queue.put(call("a"))


def test_take_waits_for_a_request() -> None:
    queue, began = RequestQueue(), threading.Event()

    def take() -> Any:
        began.set()
        return queue.take()

    with ThreadPoolExecutor(1) as threads:
        found = threads.submit(take)
        began.wait()
        request = call("a")
        queue.put(request)
        assert found.result(10) == [request]
