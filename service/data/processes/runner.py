"""Runs a module as a child process with limits on memory, time and disk, because uploaded files are untrusted.

`ask` is the parent's side, `respond` the child's: a JSON request on standard input, a JSON response on standard output.
"""

from __future__ import annotations

import errno
import importlib
import logging
import math
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from service.concurrency.cancellation import current
from service.data.processes.confinement import confine
from service.errors import InvalidData, ReadingLimit, ServiceError, SourceError, StorageError, TooLarge

_log = logging.getLogger(__name__)

OPEN_FILES = 1_024
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # NumPy would start one thread per core


class Allowance(BaseModel):
    """Resource limits of a child process."""

    memory_bytes: int
    """Memory in bytes."""
    unpacked_bytes: int
    """Decompressed size of the file; the size of written files is limited to a multiple of it."""
    seconds: float
    """Time in seconds."""
    profile_bytes: int = 16 * 2**20
    """Size of the values listed in a profile."""
    environment: dict[str, str] = {}
    """Environment variables, in addition to the module search path; no secrets."""


class _Request(BaseModel):
    """The request to the child, as JSON on its standard input."""

    allowed: Allowance
    request: dict[str, Any]
    readable: list[Path]
    writable: list[Path]
    network: bool


class _Response(BaseModel):
    """The response of the child, as JSON on its standard output: exactly one of these."""

    found: Any = None
    invalid: str | None = None
    limit: str | None = None
    too_large: str | None = None
    storage: str | None = None
    source: str | None = None


def ask(
    module: str, request: BaseModel, allowed: Allowance, *, readable: Sequence[Path] = (), network: bool = False
) -> Any:
    """Run `module`, which ends by calling `respond`, and return its response as JSON values.

    Blocks for `allowed.seconds` at most. Raises InvalidData saying what to fix in the file, ReadingLimit saying which
    limit was reached, TooLarge if it decompresses to too much, StorageError if the disk fails, SourceError if another
    server does not give what was asked for, Cancelled if the current work is cancelled.

    The child may read existing files that the request names, and `readable`; write to the folders of those that do not
    exist yet; and, with `network`, open TCP connections.
    """
    named, writable = _places(request)
    question = _Request(
        allowed=allowed,
        request=request.model_dump(mode="json"),
        readable=[*named, *readable],
        writable=writable,
        network=network,
    )
    folder = str(writable[0] if writable else Path("/"))
    child = subprocess.Popen(
        [sys.executable, "-P", "-s", "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        env={**allowed.environment, **ONE_THREAD, "PYTHONPATH": _modules(), "TMPDIR": folder},
    )
    with child, current().on_cancel(child.kill):
        try:
            found, said = child.communicate(question.model_dump_json().encode(), timeout=allowed.seconds)
        except subprocess.TimeoutExpired:
            child.kill()
            message = f"reading the file took longer than {allowed.seconds:g} seconds, the limit here"
            raise ReadingLimit(message) from None
    if child.returncode == 0:
        answer = _Response.model_validate_json(found)
        if answer.source is not None:
            _log.warning("a source of data failed: %s %s", answer.source, said.decode(errors="replace")[-4_000:])
        return _found(answer)
    _log.error("reading a file ended with %d: %s", child.returncode, said.decode(errors="replace")[-4_000:])
    if child.returncode == -signal.SIGKILL:  # the kernel's OOM killer
        raise ReadingLimit(_out_of_memory(allowed))
    raise InvalidData("the file cannot be read: the process reading it ended unexpectedly")


def ask_about_stored(
    module: str, request: BaseModel, allowed: Allowance, damaged: Callable[[str], ServiceError]
) -> Any:
    """`ask` about files that this service has written, so that an invalid one is no fault of the client.

    Raises `damaged(what is wrong)` instead of InvalidData, and ReadingLimit, StorageError, Cancelled.
    """
    try:
        return ask(module, request, allowed)
    except ReadingLimit:
        raise
    except InvalidData as error:
        raise damaged(error.detail) from error


def _places(request: BaseModel) -> tuple[list[Path], list[Path]]:
    """(readable files, writable folders) of a request."""
    named: list[Path] = []
    for _, value in request:
        named += [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, Path)]
    readable = [path for path in named if path.is_file()]
    folders = [path if path.is_dir() else path.parent for path in named if not path.is_file()]
    return readable, list(dict.fromkeys(folder for folder in folders if folder.is_dir()))


def _modules() -> str:
    """The module search path for `PYTHONPATH`, without the current folder."""
    return os.pathsep.join(path for path in sys.path if Path(path).is_absolute())


def _found(answer: _Response) -> Any:
    if answer.invalid is not None:
        raise InvalidData(answer.invalid)
    if answer.limit is not None:
        raise ReadingLimit(answer.limit)
    if answer.too_large is not None:
        raise TooLarge(answer.too_large)
    if answer.storage is not None:
        raise StorageError(answer.storage)
    if answer.source is not None:
        raise SourceError(answer.source)
    return answer.found


def _out_of_memory(allowed: Allowance) -> str:
    return f"reading the file needs more than {allowed.memory_bytes / 2**20:,.0f} MiB of memory, the limit here"


def respond(work: Callable[[dict[str, Any], Allowance], BaseModel | None], *modules: str) -> None:
    """In the child: read the request, sandbox the process, and respond with the result of `work`.

    `modules` are imported first, while the process may still open them.
    """
    request = _Request.model_validate_json(sys.stdin.buffer.read())
    limit_resources(request.allowed)
    for module in modules:
        importlib.import_module(module)
    confine(request.readable, request.writable, network=request.network)
    try:
        found = work(request.request, request.allowed)
        answer = _Response(found=None if found is None else found.model_dump(mode="json"))
    except InvalidData as error:
        answer = _Response(invalid=error.detail)
    except TooLarge as error:
        answer = _Response(too_large=error.detail)
    except SourceError as error:
        answer = _Response(source=error.detail)
    except MemoryError:
        answer = _Response(limit=_out_of_memory(request.allowed))
    except OSError as error:
        if error.errno == errno.EFBIG:
            answer = _Response(too_large="the table needs more disk space than is allowed here")
        else:
            answer = _Response(storage=f"the table could not be written: {error.strerror}")
    sys.stdout.write(answer.model_dump_json())


def limit_resources(allowed: Allowance) -> None:
    """Resource limits (rlimits): a second line of defence behind DuckDB's own limit and the parent's timeout."""
    if sys.platform == "linux":
        # Counts reserved memory, of which DuckDB uses a part: 1.2 GiB were reserved when 64 MiB were used.
        most = 3 * allowed.memory_bytes + 2**31
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    # A few bytes can expand to many: no file may grow without limit.
    room = 4 * allowed.unpacked_bytes + 2**26
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
    # A child whose parent was killed must not run forever.
    cpu = math.ceil(allowed.seconds) + 10
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu))
    # A core dump would be a copy of the table, and larger than its file.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    most_files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    files = OPEN_FILES if most_files == resource.RLIM_INFINITY else min(OPEN_FILES, most_files)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
