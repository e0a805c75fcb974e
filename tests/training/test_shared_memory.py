"""Ranks of one machine share memory, with the bits of gloo, which takes over where they cannot; nothing is left."""

from __future__ import annotations

import gc
import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Timer
from typing import Any

import pytest
import torch

from service.training import shared_memory
from service.training.ranks import RankLost, Ranks, connect, host_store, join_store
from tests.processes import linux_only
from tests.training.jobs import CPU
from tests.training.ranks import LOOPBACK, in_a_process, on_ranks, train_on
from tests.training.test_parallel import assert_same, parallel

pytestmark = linux_only
ARCHITECTURE = {"kind": "mlp", "hidden": [160, 128], "batch_norm": True}  # large enough for the fused optimizer
ADAMW = {"kind": "adamw", "weight_decay": 0.1, "max_grad_norm": 0.5}
SGD = {"kind": "sgd", "momentum": 0.9, "max_grad_norm": 0.1}


@pytest.mark.parametrize("devices", [2, 3])
@pytest.mark.parametrize("batch_norm", ["local", "synchronized"])
@pytest.mark.parametrize("fields", [{"optimizer": ADAMW}, {"optimizer": SGD, "averaging": {"kind": "ema"}}])
def test_shared_memory_gives_the_bits_of_gloo(devices: int, batch_norm: str, fields: dict[str, Any]) -> None:
    job = parallel(devices, batch_norm, architecture=ARCHITECTURE, max_epochs=2, **fields)

    by_memory, by_gloo = train_on(devices, job), train_on(devices, job, by_memory=False)

    assert len(by_memory) == 2
    for one, other in zip(by_memory, by_gloo, strict=True):
        assert_same(one, other)


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
def test_sums_have_the_bits_of_gloo(size: int, dtype: torch.dtype) -> None:
    def work(ranks: Ranks) -> list[torch.Tensor]:
        of_rank = torch.Generator().manual_seed(ranks.rank)
        sizes = [(), (3, 5), (shared_memory.SMALL_BYTES // 4 + 1,), (0,), (7,)]
        return [ranks.sum((torch.randn(shape, generator=of_rank) * 1e3).to(dtype)) for shape in sizes]

    by_memory, by_gloo = on_ranks(size, work), on_ranks(size, work, by_memory=False)

    for found in (*by_memory, *by_gloo):
        assert all(torch.equal(*pair) for pair in zip(found, by_gloo[0], strict=True))


def test_all_ranks_see_what_each_has_written_before_the_barrier() -> None:
    def work(ranks: Ranks) -> list[float]:
        places = ranks.place(32)
        assert places is not None
        parameters, gradients = places
        parameters[0, ranks.rank] = gradients[ranks.rank, 0] = 1.0 + ranks.rank
        ranks.barrier()
        return [*parameters[0, :3].tolist(), *gradients[:, 0].tolist()]

    assert on_ranks(3, work) == [[1.0, 2.0, 3.0] * 2] * 3


def test_one_rank_on_another_machine_makes_all_exchange_by_gloo(monkeypatch: pytest.MonkeyPatch) -> None:
    reach = shared_memory._reach
    monkeypatch.setattr(
        shared_memory, "_reach", lambda store, rank, *to: None if rank == 2 else reach(store, rank, *to)
    )

    assert on_ranks(3, lambda ranks: (ranks.place(32), ranks.sum(torch.ones(1)).item())) == [(None, 3.0)] * 3


def test_processes_of_another_user_share_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    own = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: own + 1)

    assert on_ranks(2, lambda ranks: ranks.place(32)) == [None, None]


def test_a_network_for_which_there_is_too_little_memory_is_exchanged_by_gloo() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)  # it also limits shared memory
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, hard))
    try:
        found = on_ranks(2, lambda ranks: (ranks.place(2**20), ranks.sum(torch.ones(1)).item()))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert found == [(None, 2.0)] * 2


def test_messages_arrive_whole_whatever_their_length() -> None:
    message = {"epoch": 3, "rates": [0.1] * 200_000}  # more than a socket's buffer

    def work(ranks: Ranks) -> object:
        if not ranks.leads:
            return ranks.hear(lambda: None), ranks.hear(lambda: None)
        ranks.tell(message)
        ranks.tell({"moments": True})
        return None

    assert on_ranks(3, work)[1:] == [(message, {"moments": True})] * 2


def test_an_error_of_the_leader_ends_the_wait_of_a_follower() -> None:
    def work(ranks: Ranks) -> None:
        if ranks.leads:
            raise ZeroDivisionError
        with pytest.raises(RankLost):
            ranks.barrier()

    with pytest.raises(ZeroDivisionError):
        on_ranks(3, work)


def test_nothing_is_left_when_training_has_ended() -> None:
    def work(ranks: Ranks) -> bool:
        found = ranks.place(1024) is not None
        if not ranks.leads:
            ranks.hear(lambda: None)  # that training has ended
        return found

    assert all(on_ranks(2, work))

    gc.collect()
    assert "bestepoch-ranks" not in Path("/proc/self/maps").read_text()
    assert not [each for each in Path("/proc/self/fd").iterdir() if "bestepoch" in os.path.realpath(each)]


@pytest.mark.slow
@pytest.mark.parametrize("by_memory", [True, False])
@pytest.mark.parametrize("wait", ["sum", "hear"])
def test_the_death_of_the_leader_ends_the_wait_of_a_follower_within_seconds(by_memory: bool, wait: str) -> None:
    with in_a_process(by_memory, leads=True) as (leader, address):
        ranks = connect(join_store(address), 1, 2, CPU, LOOPBACK, lambda: None, by_memory=by_memory)
        with ranks, ends_soon(leader):
            ranks.sum(torch.ones(1)) if wait == "sum" else ranks.hear(lambda: None)


@pytest.mark.slow
@pytest.mark.parametrize("by_memory", [True, False])
def test_the_death_of_a_follower_ends_the_wait_of_the_leader_within_seconds(by_memory: bool) -> None:
    store, address = host_store(LOOPBACK)
    with in_a_process(by_memory, leads=False, address=address) as (follower, _):
        ranks = connect(store, 0, 2, CPU, LOOPBACK, lambda: None, by_memory=by_memory)
        with ranks, ends_soon(follower):
            ranks.sum(torch.ones(1))


@contextmanager
def ends_soon(victim: BaseProcess) -> Iterator[None]:
    """Kill the process while this one waits for it."""
    killer = Timer(0.5, victim.kill)
    killer.start()
    started = time.monotonic()
    with pytest.raises(RankLost):
        yield
    killer.join()
    assert time.monotonic() - started < 10.0
