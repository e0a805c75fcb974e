"""The process of a prediction helper, and the server that it is forked from."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from multiprocessing.context import ForkServerProcess

import pytest

from service.concurrency.cancellation import CancellableTask, Cancelled, set_current
from service.domain.model_ref import Member, ModelRef
from service.errors import Unavailable
from service.serving.helper_process import HelperProcess
from tests.processes import alive, linux_only, parent_of, until


@linux_only
def test_a_task_cancelled_while_its_helper_starts_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    work, start = CancellableTask("a"), ForkServerProcess.start

    def cancelled(process: ForkServerProcess) -> None:
        work.cancel()
        start(process)

    monkeypatch.setattr(ForkServerProcess, "start", cancelled)
    set_current(work)
    try:
        with HelperProcess() as helper, pytest.raises(Cancelled), work.on_cancel(helper.kill):
            helper.call("prediction_schema", ModelRef((Member("nowhere", ""),)))
    finally:
        set_current(CancellableTask())


@linux_only
def test_after_its_server_was_killed_a_helper_is_replaced() -> None:
    def answers() -> bool:
        with suppress(Unavailable):
            helper.call("warm_up")
            return helper._process.pid != first  # type: ignore[union-attr]
        return False

    with HelperProcess() as helper:
        helper.call("warm_up")
        first = helper._process.pid  # type: ignore[union-attr]
        server = parent_of(first)
        os.kill(server, signal.SIGKILL)

        until(answers)
        until(lambda: not alive(first))


def test_a_helper_that_is_closed_ends_by_itself() -> None:
    with HelperProcess() as helper:
        helper.call("warm_up")
        process = helper._process

    assert process is not None
    assert process.exitcode == 0
