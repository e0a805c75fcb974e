"""The ranks of a job that trains on several devices: collective operations of torch.distributed, in a fixed order.

Sums are taken in the order of ranks, so their bits depend on the number of ranks alone, not on timing, on the algorithm
of a library or on the machines of the ranks. Tensors go through gloo or NCCL; the leader's messages (rank 0) through a
key-value store, in which the others wait without a timeout.
"""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor, distributed
from torch._C._distributed_c10d import PrefixStore, TCPStore

from service.engine_constants import PAD

log = logging.getLogger(__name__)

LEADER = 0
TIMEOUT = timedelta(seconds=30)
"""Of an operation of all ranks: a rank whose machine has vanished ends the attempt after it; a dead process at once."""
POLL_SECONDS = (0.0002, 0.02)  # between looks into the store: at first, at most
FAREWELL = timedelta(seconds=5)

Store = Any  # distributed.Store
Message = dict[str, Any] | None
"""What the followers do next; None: training has ended."""


class RankLost(Exception):
    """Another rank has died, or does not answer: the attempt ends, and the next one goes on from the saved state."""


def host_store(address: str) -> tuple[Store, str]:
    """The leader's store, which listens at `address` only; returns it with what `join_store` takes."""
    listening = socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET)
    port = listening.getsockname()[1]
    fd = listening.detach()
    store = TCPStore(address, port, None, True, TIMEOUT, False, master_listen_fd=fd)
    return store, f"{address} {port}"


def join_store(address: str) -> Store:
    """A follower's connection to the leader's store. Raises RankLost."""
    host, _, port = address.partition(" ")
    try:
        return TCPStore(host, int(port), None, False, TIMEOUT, False)
    except RuntimeError as error:
        raise RankLost(f"the leader does not answer: {error}") from error


def connect(
    store: Store, rank: int, size: int, device: torch.device, address: str, waiting: Callable[[], None]
) -> Ranks:
    """Wait until all ranks are ready, then connect them. `address`: of this machine, where the others reach it.

    `waiting` is called now and then meanwhile. Raises RankLost.
    """
    if rank == LEADER:
        for follower in range(1, size):
            _wait_for(store, f"ready/{follower}", waiting)
        store.set("go", "")
    else:
        store.set(f"ready/{rank}", "")
        _wait_for(store, "go", waiting)
    try:
        group = _group(PrefixStore("group", store), rank, size, device, address)
    except RuntimeError as error:
        raise RankLost(f"the ranks cannot connect: {error}") from error
    return Ranks(group, store, rank, size)


def _group(store: Store, rank: int, size: int, device: torch.device, address: str) -> Any:
    if device.type == "cuda":
        torch.cuda.set_device(device)
        of_gpus = distributed.ProcessGroupNCCL.Options()
        of_gpus._timeout = TIMEOUT
        return distributed.ProcessGroupNCCL(store, rank, size, of_gpus)
    options = distributed.ProcessGroupGloo._Options()  # type: ignore[attr-defined]
    options._devices = [distributed.ProcessGroupGloo.create_device(hostname=address)]
    options._timeout = TIMEOUT
    return distributed.ProcessGroupGloo(store, rank, size, options)


class Ranks:
    """This process's rank among those of a job. Each operation is called by all ranks, and raises RankLost."""

    def __init__(self, group: Any, store: Store, rank: int, size: int) -> None:
        self._group, self._store = group, store
        self.rank, self.size = rank, size
        self._messages = 0

    @property
    def leads(self) -> bool:
        """Whether this is rank 0, which decides and records."""
        return self.rank == LEADER

    def own_rows(self, rows: int) -> slice:
        """This rank's rows of a batch."""
        return slice(rows * self.rank // self.size, rows * (self.rank + 1) // self.size)

    def parts(self, columns: int) -> list[slice]:
        """Each rank's columns of a matrix of parameters; some may be empty."""
        units = columns // PAD
        ends = [units * place // self.size * PAD for place in range(self.size + 1)]
        return [slice(start, end) for start, end in pairwise(ends)]

    def gathered(self, values: Tensor) -> list[Tensor]:
        """The values of every rank, which have the same shape."""
        found = [torch.empty_like(values) for _ in range(self.size)]
        self._run(lambda: self._group.allgather([found], [values]))
        return found

    def sum(self, values: Tensor) -> Tensor:
        """The sum over the ranks."""
        return _in_order(self.gathered(values.contiguous()))

    def sum_of_own_part(self, values: Tensor, parts: Sequence[slice], received: Tensor) -> Tensor:
        """The sum over the ranks of this rank's part of `values` (P,); received: scratch memory (ranks, own part)."""
        own, sizes = received.shape[1], [part.stop - part.start for part in parts]
        self._run(lambda: self._group.alltoall_base(received.view(-1), values, [own] * self.size, sizes))
        return _in_order(received)

    def share_parts(self, values: Tensor, parts: Sequence[slice]) -> None:
        """Give each rank's part of `values` (P,) to all others, in place."""
        for rank, part in enumerate(parts):
            if part.stop > part.start:
                self._from(rank, values[part])

    def copy_from_leader(self, values: Tensor) -> None:
        """Overwrite `values`, which is contiguous, with those of the leader."""
        self._from(LEADER, values)

    def rows_for_leader(self, own: Tensor, sizes: Sequence[int]) -> Tensor | None:
        """The leader gets all rows, in the order of ranks; the others None. own: (rows, ...); sizes: each rank's."""
        if not self.leads:
            if len(own):
                self._run(lambda: self._group.send([own.contiguous()], LEADER, 0))
            return None
        rows = own.new_empty(sum(sizes), *own.shape[1:])
        for rank, (start, end) in enumerate(pairwise(accumulate(sizes, initial=0))):
            if rank == self.rank:
                rows[start:end] = own
            elif end > start:
                self._receive(rows[start:end], rank)
        return rows

    def tell(self, message: Message) -> None:
        """By the leader: the others `hear` this message."""
        self._messages += 1
        self._in_store(lambda: self._store.set(f"message/{self._messages}", json.dumps(message)))
        self._store.delete_key(f"message/{self._messages - 2}")  # all have heard it: they took part in what followed

    def hear(self, waiting: Callable[[], None]) -> Message:
        """By the others: the leader's next message; `waiting` is called now and then until there is one."""
        self._messages += 1
        key = f"message/{self._messages}"
        _wait_for(self._store, key, waiting)
        message: Message = json.loads(self._in_store(lambda: self._store.get(key)))
        return message

    def __enter__(self) -> Ranks:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """The leader tells the others that training has ended, and they leave; after an error at once."""
        try:
            if self.leads:
                self.tell(None)
            if self.leads and kind is None:
                self._store.wait([f"left/{rank}" for rank in range(1, self.size)], FAREWELL)
            elif not self.leads and kind is None:
                self._store.set(f"left/{self.rank}", "")
        except (RankLost, RuntimeError) as error:
            log.warning("a rank has left before the end: %s", error)
        finally:
            self._group.abort()  # those who wait for this rank get an error

    def ask_to_stop(self) -> None:
        """By a follower: the leader stops at the end of the epoch."""
        self._in_store(lambda: self._store.set("stop", ""))

    @property
    def asked_to_stop(self) -> bool:
        """By the leader: whether a follower has asked to stop."""
        return bool(self._in_store(lambda: self._store.check(["stop"])))

    def _from(self, rank: int, values: Tensor) -> None:
        options = distributed.BroadcastOptions()
        options.rootRank, options.rootTensor = rank, 0
        self._run(lambda: self._group.broadcast([values], options))

    def _receive(self, values: Tensor, rank: int) -> None:
        self._run(lambda: self._group.recv([values], rank, 0))

    def _run(self, start: Callable[[], Any]) -> None:
        try:
            start().wait()
        except RuntimeError as error:
            raise RankLost(f"another rank has died, or does not answer: {error}") from error

    def _in_store(self, ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except RuntimeError as error:
            raise RankLost(f"the store of the leader does not answer: {error}") from error


def _in_order(values: Sequence[Tensor] | Tensor) -> Tensor:
    """The sum of these tensors, from the first to the last."""
    total = values[0].clone()
    for each in values[1:]:
        total += each
    return total


def _wait_for(store: Store, key: str, waiting: Callable[[], None]) -> None:
    """Look again and again, ever more rarely: torch logs a warning whenever a wait ends without the key."""
    pause, longest = POLL_SECONDS
    try:
        while not store.check([key]):
            waiting()
            time.sleep(pause)
            pause = min(2 * pause, longest)
    except RuntimeError as error:
        raise RankLost(f"another rank has died, or does not answer: {error}") from error
