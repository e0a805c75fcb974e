"""What the ranks of a job share on one machine: memory that all of them map, and sockets, on which they wait.

The memory is anonymous (memfd), and its descriptor is sent through the sockets (SCM_RIGHTS): it has no name that a
killed process could leave behind, and is not limited by the size of /dev/shm. The end of a process closes its sockets,
which ends the waits of the others. Linux only.

A socket orders memory: what a rank wrote before it sent a byte is visible to the rank that has received it.
"""

from __future__ import annotations

import logging
import mmap
import os
import select
import socket
import struct
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from secrets import token_hex
from typing import Any

import torch
from torch import Tensor

log = logging.getLogger(__name__)

SMALL_BYTES = 2**16
"""Values of a rank up to this size are exchanged through memory that is always there."""
LOOK_MILLISECONDS = 20
NAME = "memory"  # the key of the leader's socket in the store
LENGTH = struct.Struct("!I")
YES, NO = b"\1", b"\0"


def connect(store: Any, rank: int, ranks: int, timeout: int, agree: Callable[[bool], bool]) -> SharedMemory | None:
    """By all ranks: what they share; None if they are on several machines, or have no memory. Raises OSError.

    `store`: where the leader publishes the name of its socket. `timeout`: seconds, of each wait for another rank.
    `agree`: whether its argument is true on all ranks.
    """
    own = _listen(store, timeout) if rank == 0 else _reach(store, rank, timeout)
    all_reached = agree(own is not None)
    if own is None:
        return None
    with ExitStack() as exits:
        exits.callback(own.close)
        if not all_reached:
            return None
        memory = SharedMemory(rank, [own])
        if rank == 0:
            memory = SharedMemory(rank, _accepted(own, ranks - 1, timeout))
            exits.callback(memory.close)
        if not memory.start(ranks):
            return None
        exits.pop_all()
    if rank == 0:
        own.close()
    return memory


class SharedMemory:
    """One rank's side. All ranks call each method in the same order; each raises OSError if another rank has died."""

    def __init__(self, rank: int, sockets: Sequence[socket.socket]) -> None:
        """`sockets`: of the leader, to each follower in order; of a follower, to the leader."""
        self._rank, self._sockets = rank, sockets
        self._small: Tensor | None = None  # (2, ranks, SMALL_BYTES)
        self._turn = 0

    def start(self, ranks: int) -> bool:
        """Map the memory of small values; whether all ranks could."""
        values = self.zeros(2 * ranks, SMALL_BYTES // 4)
        if values is not None:
            self._small = values.view(torch.uint8).view(2, ranks, SMALL_BYTES)
        return values is not None

    def barrier(self) -> None:
        """Wait until all ranks are here; then each sees what the others have written before."""
        if not self._all(True):
            raise ConnectionAbortedError("the leader has left")  # this is the start of its last message

    def zeros(self, rows: int, columns: int) -> Tensor | None:
        """(rows, columns) float32 in memory of all ranks; None if there is not enough."""
        size = rows * columns * 4
        descriptor = _allocated(size) if self._rank == 0 else self._receive_descriptor()
        if self._rank == 0:
            self._send_descriptor(descriptor)
        mapped = None
        if descriptor is not None:
            try:
                mapped = mmap.mmap(descriptor, size)
            except OSError:
                mapped = None
            finally:
                os.close(descriptor)
        if not self._all(mapped is not None) or mapped is None:
            return None
        return torch.frombuffer(mapped, dtype=torch.float32).view(rows, columns)

    def takes(self, values: Tensor) -> bool:
        """Whether `gathered` takes values of this size."""
        return values.nbytes <= SMALL_BYTES

    def gathered(self, values: Tensor) -> list[Tensor]:
        """The values of every rank, valid until the next but one call: each rank may be one call ahead."""
        assert self._small is not None
        places = self._small[self._turn, :, : values.nbytes]
        self._turn = 1 - self._turn
        places[self._rank] = values.reshape(-1).view(torch.uint8)
        self.barrier()
        return [each.view(values.dtype).view(values.shape) for each in places]

    def tell(self, message: bytes) -> None:
        """By the leader: send a message to all others."""
        for follower in self._sockets:
            follower.sendall(LENGTH.pack(len(message)) + message)

    def message(self) -> bytes | None:
        """By the others: what the leader has told; None if there is nothing yet, after a moment."""
        (leader,) = self._sockets
        look = select.poll()
        look.register(leader, select.POLLIN)
        if not look.poll(LOOK_MILLISECONDS):
            return None
        (length,) = LENGTH.unpack(_received(leader, LENGTH.size))
        return _received(leader, length)

    def close(self) -> None:
        """Leave: those who wait for this rank get an error. The memory stays as long as a tensor uses it."""
        for each in self._sockets:
            each.close()

    def _all(self, own: bool) -> bool:
        """Whether `own` is true on all ranks."""
        answer = YES if own else NO
        if self._rank == 0:
            answer = min(answer, *(_received(follower, 1) for follower in self._sockets))
            for follower in self._sockets:
                follower.send(answer)
        else:
            self._sockets[0].send(answer)
            answer = _received(self._sockets[0], 1)
        return answer == YES

    def _send_descriptor(self, descriptor: int | None) -> None:
        for follower in self._sockets:
            if descriptor is None:
                follower.send(NO)
            else:
                socket.send_fds(follower, [YES], [descriptor])

    def _receive_descriptor(self) -> int | None:
        answer, descriptors, _, _ = socket.recv_fds(self._sockets[0], 1, 1)
        if not answer:
            raise ConnectionResetError("the leader has died")
        return descriptors[0] if descriptors else None


def _received(peer: socket.socket, length: int) -> bytes:
    """So many bytes."""
    found = b""
    while len(found) < length:
        more = peer.recv(length - len(found))
        if not more:
            raise ConnectionResetError("its process has ended")
        found += more
    return found


def _listen(store: Any, timeout: int) -> socket.socket | None:
    """The leader's socket, in Linux's abstract namespace: only processes of this machine reach it."""
    own, name = None, f"bestepoch-{token_hex(16)}"
    if hasattr(os, "memfd_create"):
        own = _with_timeout(socket.socket(socket.AF_UNIX), timeout)
        own.bind(f"\0{name}")
        own.listen(socket.SOMAXCONN)
    store.set(NAME, name)
    return own


def _accepted(own: socket.socket, followers: int, timeout: int) -> list[socket.socket]:
    """The connections of the followers, in order."""
    found: dict[int, socket.socket] = {}
    while len(found) < followers:
        peer = _with_timeout(own.accept()[0], timeout)
        if _is_of_own_user(peer):
            found[_received(peer, 1)[0]] = peer
        else:
            peer.close()
    return [found[rank] for rank in sorted(found)]


def _reach(store: Any, rank: int, timeout: int) -> socket.socket | None:
    """A follower's connection to the leader; None if that is on another machine, or of another user."""
    own = _with_timeout(socket.socket(socket.AF_UNIX), timeout)
    try:
        own.connect(f"\0{store.get(NAME).decode()}")
        if _is_of_own_user(own):
            own.sendall(bytes([rank]))
            return own
    except OSError as error:
        log.info("rank %d shares no memory with the leader: %s", rank, error)
    own.close()
    return None


def _allocated(size: int) -> int | None:
    """A descriptor of anonymous memory, all of it reserved: to write where none is left would kill the process."""
    try:
        descriptor = os.memfd_create("bestepoch-ranks", os.MFD_CLOEXEC)
    except OSError:
        return None
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _with_timeout(own: socket.socket, seconds: int) -> socket.socket:
    """Limits waits in the kernel: with `settimeout`, Python polls before each call, which takes twice the time."""
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        own.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", seconds, 0))
    return own


def _is_of_own_user(peer: socket.socket) -> bool:
    """Any user of the machine can connect to an abstract socket."""
    _, user, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return bool(user == os.geteuid())
