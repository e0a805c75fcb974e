"""The ranks of a job that trains on several devices: collective operations of torch.distributed, in a fixed order.

Sums are taken in the order of ranks, so their bits depend on the number of ranks alone, not on timing, on the algorithm
of a library or on the machines of the ranks. Tensors go through gloo or NCCL; the leader's messages (rank 0) through a
key-value store, in which the others wait without a timeout. Ranks on the CPUs of one machine do both through shared
memory and sockets of their own (see shared_memory.py), with the same bits.
"""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from itertools import accumulate, pairwise
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed
from torch._C._distributed_c10d import PrefixStore, TCPStore

from service.engine_constants import PAD
from service.training import shared_memory
from service.training.shared_memory import SharedMemory

log = logging.getLogger(__name__)

LEADER = 0
TIMEOUT = timedelta(seconds=30)
"""Of an operation of all ranks: a rank whose machine has vanished ends the attempt after it; a dead process at once."""
POLL_SECONDS = (0.0002, 0.02)  # between looks into the store: at first, at most
FAREWELL = timedelta(seconds=5)

T = TypeVar("T")
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
    store: Store,
    rank: int,
    size: int,
    device: torch.device,
    address: str,
    waiting: Callable[[], None],
    *,
    by_memory: bool = True,
) -> Ranks:
    """Wait until all ranks are ready, then connect them. `address`: of this machine, where the others reach it.

    `waiting` is called now and then meanwhile. `by_memory`: share memory, if all are on one machine, and on CPUs.
    Raises RankLost.
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
    ranks = Ranks(group, store, rank, size)
    if by_memory and device.type == "cpu":
        ranks.share_memory()
    return ranks


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
        self._memory: SharedMemory | None = None

    @property
    def leads(self) -> bool:
        """Whether this is rank 0, which decides and records."""
        return self.rank == LEADER

    def share_memory(self) -> None:
        """From now on exchange by shared memory what it takes, if all ranks are on one machine."""
        self._memory = self._waited(
            lambda: shared_memory.connect(self._store, self.rank, self.size, TIMEOUT.seconds, self._agree)
        )
        if self._memory is None and self.leads:
            log.info("the ranks share no memory: they exchange gradients over the network")

    def place(self, columns: int) -> tuple[Tensor, Tensor] | None:
        """Zeros in memory that all ranks share: (1, columns) and (ranks, columns); None if there is none for it."""
        if self._memory is None:
            return None
        memory = self._memory
        found = self._waited(lambda: memory.zeros(1 + self.size, columns))
        if found is None:
            log.warning("the ranks exchange their gradients over the network: too little memory to share them")
            return None
        return found[:1], found[1:]

    def barrier(self) -> None:
        """Wait until all ranks are here: each then sees what the others have written to shared memory."""
        assert self._memory is not None
        self._waited(self._memory.barrier)

    def own_rows(self, rows: int) -> slice:
        """This rank's rows of a batch."""
        return slice(rows * self.rank // self.size, rows * (self.rank + 1) // self.size)

    def parts(self, columns: int) -> list[slice]:
        """Each rank's columns of a matrix of parameters; some may be empty."""
        units = columns // PAD
        ends = [units * place // self.size * PAD for place in range(self.size + 1)]
        return [slice(start, end) for start, end in pairwise(ends)]

    def gathered(self, values: Tensor) -> list[Tensor]:
        """The values of every rank, which have the same shape and are contiguous; valid until the next call."""
        memory = self._memory
        if memory is not None and memory.takes(values):
            return self._waited(lambda: memory.gathered(values))
        found = [torch.empty_like(values) for _ in range(self.size)]
        self._run(lambda: self._group.allgather([found], [values]))
        return found

    def sum(self, values: Tensor) -> Tensor:
        """The sum over the ranks."""
        return in_order(self.gathered(values.contiguous()), torch.empty_like(values))

    def own_part_of_all(self, values: Tensor, parts: Sequence[slice], received: Tensor) -> None:
        """This rank's part of the `values` (P,) of each rank, to `received`: (ranks, own part)."""
        own, sizes = received.shape[1], [part.stop - part.start for part in parts]
        self._run(lambda: self._group.alltoall_base(received.view(-1), values, [own] * self.size, sizes))

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
                self._run(partial(self._group.recv, [rows[start:end]], rank, 0))
        return rows

    def tell(self, message: Message) -> None:
        """By the leader: the others `hear` this message."""
        memory, text = self._memory, json.dumps(message)
        if memory is not None:
            self._waited(lambda: memory.tell(text.encode()))
            return
        self._messages += 1
        self._in_store(lambda: self._store.set(f"message/{self._messages}", text))
        self._store.delete_key(f"message/{self._messages - 2}")  # all have heard it: they took part in what followed

    def hear(self, waiting: Callable[[], None]) -> Message:
        """By the others: the leader's next message; `waiting` is called now and then until there is one."""
        text = self._heard(waiting) if self._memory is None else self._heard_from(self._memory, waiting)
        message: Message = json.loads(text)
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
            if self._memory is not None:
                self._memory.close()
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

    def _run(self, start: Callable[[], Any]) -> None:
        self._waited(lambda: start().wait())

    def _waited(self, wait: Callable[[], T]) -> T:
        try:
            return wait()
        except (RuntimeError, OSError) as error:
            raise RankLost(f"another rank has died, or does not answer: {error}") from error

    def _agree(self, own: bool) -> bool:
        """Whether `own` is true on all ranks."""
        return int(self.sum(torch.tensor([int(own)]))) == self.size

    def _heard(self, waiting: Callable[[], None]) -> bytes:
        self._messages += 1
        key = f"message/{self._messages}"
        _wait_for(self._store, key, waiting)
        return bytes(self._in_store(lambda: self._store.get(key)))

    def _heard_from(self, memory: SharedMemory, waiting: Callable[[], None]) -> bytes:
        text = None
        while text is None:
            waiting()
            text = self._waited(memory.message)
        return text

    def _in_store(self, ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except RuntimeError as error:
            raise RankLost(f"the store of the leader does not answer: {error}") from error


def in_order(values: Sequence[Tensor], total: Tensor) -> Tensor:
    """The sum of these tensors, from the first to the last, in `total`."""
    if len(values) == 1:
        return total.copy_(values[0])
    torch.add(values[0], values[1], out=total)
    for each in values[2:]:
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
