"""The prediction helpers: requests that wait for the same model are predicted together, each as if alone."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain.model_ref import ModelRef
from service.errors import CheckpointCorrupt, InvalidData, Unavailable
from service.serving import helper
from service.serving.predictor import Predictor
from tests.processes import until
from tests.serving.test_helper import checkpoint, predicted, ref

VALUES = st.one_of(st.none(), st.floats(-1e6, 1e6), st.integers(-5, 40), st.sampled_from(["NA", "1,000", "wrong"]))
ROWS = st.fixed_dictionaries({"x0": VALUES, "x1": VALUES})


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    path = checkpoint(tmp_path_factory.mktemp("model") / "a", ["yes" if i % 3 else "no" for i in range(40)])
    return ref(path)


@pytest.fixture(scope="module")
def predictor() -> Iterator[Predictor]:
    running = Predictor(helpers=2)
    yield running
    running.close()


def alone(model: ModelRef, rows: list[dict[str, Any]]) -> Any:
    """The answers to a request that is predicted by itself, or its error."""
    try:
        return predicted(model, rows)
    except InvalidData as error:
        return error.field_errors


@settings(max_examples=60)
@given(st.lists(st.lists(ROWS, min_size=1, max_size=4), min_size=1, max_size=12))
def test_requests_of_a_batch_are_answered_as_if_alone(model: ModelRef, requests: list[list[dict[str, Any]]]) -> None:
    answers = helper.predict(model, requests).answers

    together = [each.field_errors if isinstance(each, InvalidData) else each for each in answers]
    assert together == [alone(model, rows) for rows in requests]


def test_many_clients_get_the_bits_of_their_own_rows_and_a_wrong_row_fails_only_its_request(
    model: ModelRef, predictor: Predictor
) -> None:
    requests = [[{"x0": i / 7, "x1": "wrong" if i % 10 == 3 else float(i)}] for i in range(80)]

    async def ask() -> list[Any]:
        found = (predictor.predict_few(f"tenant{i % 3}", model, rows) for i, rows in enumerate(requests))
        return await asyncio.gather(*found, return_exceptions=True)

    answers = asyncio.run(ask())

    assert [each.field_errors if isinstance(each, InvalidData) else each.answers for each in answers] == [
        alone(model, rows) for rows in requests
    ]


def test_a_model_that_cannot_be_loaded_fails_its_own_requests(model: ModelRef, predictor: Predictor) -> None:
    missing = ModelRef((model.members[0]._replace(path="/nowhere"),))

    async def ask() -> list[Any]:
        found = (predictor.predict_few("a", each, [{"x0": 1.0, "x1": 2.0}]) for each in (model, missing) * 5)
        return await asyncio.gather(*found, return_exceptions=True)

    answers = asyncio.run(ask())

    assert all(isinstance(each, CheckpointCorrupt) for each in answers[1::2])
    assert [each.answers for each in answers[::2]] == [predicted(model, [{"x0": 1.0, "x1": 2.0}])] * 5
    with pytest.raises(CheckpointCorrupt):
        predictor.preload(missing)


def test_requests_of_a_helper_that_dies_are_unavailable_and_the_next_are_answered(model: ModelRef) -> None:
    predictor, row = Predictor(), [{"x0": 1.0, "x1": 2.0}]
    predictor.preload(model)
    process = predictor._pool._helpers[0]._process
    assert process is not None
    assert process.pid is not None
    os.kill(process.pid, signal.SIGSTOP)

    async def ask() -> list[Any]:
        answers = asyncio.gather(*(predictor.predict_few("a", model, row) for _ in range(100)), return_exceptions=True)
        await asyncio.sleep(0.05)
        predictor._pool._helpers[0].kill()
        return await answers

    try:
        answers = asyncio.run(ask())
    finally:
        predictor.close()

    refused = [each for each in answers if isinstance(each, Unavailable)]
    assert 1 <= len(refused) <= 64  # the batch that was sent; kill and SIGSTOP may each cost one
    assert [each.answers for each in answers if each not in refused] == [predicted(model, row)] * (100 - len(refused))


def test_a_cancelled_prediction_leaves_the_queue(model: ModelRef) -> None:
    predictor, row = Predictor(), [{"x0": 1.0, "x1": 2.0}]
    predictor.preload(model)
    process = predictor._pool._helpers[0]._process
    assert process is not None
    assert process.pid is not None
    os.kill(process.pid, signal.SIGSTOP)
    other = ModelRef((model.members[0]._replace(weight=2.0),))

    async def ask() -> Any:
        first = asyncio.ensure_future(predictor.predict_few("a", model, row))
        await asyncio.sleep(0.05)
        waiting = [asyncio.ensure_future(predictor.predict_few("a", each, row)) for each in (other, model)]
        await asyncio.sleep(0.05)
        waiting[0].cancel()
        assert process.pid is not None
        os.kill(process.pid, signal.SIGCONT)
        return await asyncio.gather(first, *waiting, return_exceptions=True)

    try:
        first, cancelled, last = asyncio.run(ask())
        until(lambda: not predictor._pool._queue._waiting)
    finally:
        predictor.close()

    assert isinstance(cancelled, asyncio.CancelledError)
    assert first.answers == last.answers == predicted(model, row)


def test_a_closed_predictor_is_unavailable(model: ModelRef) -> None:
    predictor = Predictor()
    predictor.start()
    predictor.close()

    with pytest.raises(Unavailable):
        predictor.predict(model, [{"x0": 1.0, "x1": 2.0}])


def test_helpers_start_before_the_first_prediction_and_survive_ctrl_c(model: ModelRef) -> None:
    predictor = Predictor(helpers=2)
    try:
        predictor.start()
        processes = [until(lambda each=each: each._process) for each in predictor._pool._helpers]
        predictor.preload(model)
        for process in processes:
            os.kill(process.pid, signal.SIGINT)

        assert len(predictor.predict(model, [{"x0": 1.0, "x1": 2.0}]).answers) == 1
        assert [each._process for each in predictor._pool._helpers] == processes
        assert all(process.is_alive() for process in processes)
    finally:
        predictor.close()


def test_preloading_loads_a_model_in_every_helper(model: ModelRef, predictor: Predictor, tmp_path: Path) -> None:
    path = Path(checkpoint(tmp_path / "b", [i % 3 for i in range(40)]))
    preloaded = ref(path)

    predictor.preload(preloaded)
    path.unlink()

    for each in predictor._pool._helpers:
        answers = each.call("predict", preloaded, [[{"x0": 1.0, "x1": 2.0}]]).answers
        assert len(answers[0]) == 1
