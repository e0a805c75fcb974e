"""The fair limiter: order between tenants, and cancellation of waiting and running tasks."""

from __future__ import annotations

import asyncio
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from service.concurrency.cancellation import CancellableTask, Cancelled, current
from service.concurrency.fair_slots import FairLimiter


async def order_of(limiter: FairLimiter, tenants: str) -> str:
    """Who got a slot one after the other, when all asked, in this order, while there was none."""
    served = list[str]()
    gate = threading.Event()
    first = asyncio.create_task(limiter.run("first", gate.wait))
    await asyncio.sleep(0)
    rest = [asyncio.create_task(limiter.run(tenant, served.append, tenant)) for tenant in tenants]
    while limiter.waiting < len(tenants):
        await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(first, *rest)
    return "".join(served)


@pytest.mark.parametrize(
    ("asked", "served"), [("aaaa", "aaaa"), ("aaab", "abaa"), ("aaabbcc", "abcabca"), ("abab", "abab")]
)
def test_tenants_are_served_in_turn_and_fifo_within_a_tenant(asked: str, served: str) -> None:
    assert asyncio.run(order_of(FairLimiter(1), asked)) == served


def test_the_least_recently_served_tenant_goes_first() -> None:
    async def both() -> str:
        limiter = FairLimiter(1)
        await order_of(limiter, "a")
        return await order_of(limiter, "ab")

    assert asyncio.run(both()) == "ba"


def test_a_tenant_at_its_limit_leaves_slots_to_others() -> None:
    async def scenario() -> list[str]:
        limiter, gate, began = FairLimiter(3, per_tenant=2), threading.Event(), list[str]()

        def work(name: str) -> None:
            began.append(name)
            gate.wait()

        tasks = [asyncio.create_task(limiter.run("a", work, f"a{i}")) for i in range(3)]
        while limiter.waiting < 1:
            await asyncio.sleep(0.001)
        tasks.append(asyncio.create_task(limiter.run("b", work, "b0")))
        while len(began) < 3:
            await asyncio.sleep(0.001)
        gate.set()
        await asyncio.gather(*tasks)
        return began

    began = asyncio.run(scenario())
    assert (sorted(began[:3]), began[3]) == (["a0", "a1", "b0"], "a2")


def test_a_task_cancelled_while_waiting_never_starts() -> None:
    async def scenario() -> list[str]:
        limiter, gate, began = FairLimiter(1), threading.Event(), list[str]()
        running = asyncio.create_task(limiter.run("a", gate.wait))
        await asyncio.sleep(0)
        waiting = asyncio.create_task(limiter.run("a", began.append, "cancelled"))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert limiter.waiting == 0
        gate.set()
        await running
        await limiter.run("a", began.append, "later")
        return began

    assert asyncio.run(scenario()) == ["later"]


def sleep_long() -> None:
    process = subprocess.Popen(["sleep", "600"])
    with process, current().on_cancel(process.kill):
        process.wait()


def test_a_task_cancelled_while_running_is_stopped_and_frees_its_slot() -> None:
    async def scenario() -> str:
        limiter = FairLimiter(1)
        running = asyncio.create_task(limiter.run("a", sleep_long))
        await asyncio.sleep(0.05)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return await limiter.run("b", str, "free")

    assert asyncio.run(asyncio.wait_for(scenario(), 30)) == "free"


def test_files_of_a_discarded_result_are_closed(tmp_path: Path) -> None:
    (tmp_path / "answer").touch()
    gate, files = threading.Event(), list[Any]()

    def work() -> Any:
        gate.wait()
        files.append(current().close_on_discard((tmp_path / "answer").open("rb")))
        return files[0]

    async def scenario() -> None:
        running = asyncio.create_task(FairLimiter(1).run("a", work))
        await asyncio.sleep(0.05)
        running.cancel()
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(asyncio.wait_for(scenario(), 30))
    assert files[0].closed


def test_a_cancelled_task_starts_no_process() -> None:
    work, stopped = CancellableTask(), threading.Event()
    work.cancel()

    with pytest.raises(Cancelled), work.on_cancel(stopped.set):
        pytest.fail("it goes on")
    assert stopped.is_set()
