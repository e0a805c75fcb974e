"""A module of this room as a child process with limits on memory, time and disk: files are strangers' data."""

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
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from service.concurrency.cancellation import current
from service.data.processes.confinement import confine
from service.errors import InvalidData, StorageError, TooLarge

_log = logging.getLogger(__name__)

OPEN_FILES = 1_024
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # numpy would start one for each core


class Allowance(BaseModel):
    """What a child may use."""

    memory_bytes: int
    """Memory in bytes."""
    unpacked_bytes: int
    """Bytes of the file once it is unpacked; what the child writes is bounded by a multiple of it."""
    seconds: float
    """Time in seconds."""
    profile_bytes: int = 16 * 2**20
    """Bytes of the values that the profile of a table lists."""
    environment: dict[str, str] = {}
    """Its environment, besides what tells Python where its modules are; nothing secret."""


class _Question(BaseModel):
    """What the child is asked, as JSON on its standard input."""

    allowed: Allowance
    request: dict[str, Any]
    readable: list[Path]
    writable: list[Path]


class _Answer(BaseModel):
    """What the child answers, as JSON on its standard output: exactly one of these."""

    found: Any = None
    invalid: str | None = None
    too_large: str | None = None
    storage: str | None = None


def ask(module: str, request: BaseModel, allowed: Allowance) -> Any:
    """What `module`, which ends by calling `respond`, makes of the request, as JSON values.

    Blocks for `allowed.seconds` at most. Raises InvalidData saying what to mend in the file or which limit was
    reached, TooLarge for what unpacks to too much, StorageError when the disk fails, Cancelled as the current work is.

    The child reads the files that the request names, and writes where those are to be that are not there yet.
    """
    readable, writable = _places(request)
    question = _Question(allowed=allowed, request=request.model_dump(mode="json"), readable=readable, writable=writable)
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
            raise InvalidData(message) from None
    if child.returncode == 0:
        return _found(_Answer.model_validate_json(found))
    _log.error("reading a file ended with %d: %s", child.returncode, said.decode(errors="replace")[-4_000:])
    if child.returncode == -signal.SIGKILL:  # the kernel's choice when memory runs out
        raise InvalidData(_out_of_memory(allowed))
    raise InvalidData("the file cannot be read: the process reading it ended unexpectedly")


def _places(request: BaseModel) -> tuple[list[Path], list[Path]]:
    """(files, folders) of a request: what there is to read, and where there is something to write."""
    named: list[Path] = []
    for _, value in request:
        named += [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, Path)]
    readable = [path for path in named if path.is_file()]
    folders = [path if path.is_dir() else path.parent for path in named if not path.is_file()]
    return readable, list(dict.fromkeys(folder for folder in folders if folder.is_dir()))


def _modules() -> str:
    """Where our own modules come from, as `PYTHONPATH`; never the current folder, whatever it is just now."""
    return os.pathsep.join(path for path in sys.path if Path(path).is_absolute())


def _found(answer: _Answer) -> Any:
    if answer.invalid is not None:
        raise InvalidData(answer.invalid)
    if answer.too_large is not None:
        raise TooLarge(answer.too_large)
    if answer.storage is not None:
        raise StorageError(answer.storage)
    return answer.found


def _out_of_memory(allowed: Allowance) -> str:
    return f"reading the file needs more than {allowed.memory_bytes / 2**20:,.0f} MiB of memory, the limit here"


def respond(work: Callable[[dict[str, Any], Allowance], BaseModel | None], *modules: str) -> None:
    """In the child: answer the question with what `work` makes of it, if anything.

    `modules` are those that it needs besides: they are imported before the process gives up its rights.
    """
    question = _Question.model_validate_json(sys.stdin.buffer.read())
    _limit(question.allowed)
    for module in modules:
        importlib.import_module(module)
    confine(question.readable, question.writable)
    try:
        found = work(question.request, question.allowed)
        answer = _Answer(found=None if found is None else found.model_dump(mode="json"))
    except InvalidData as error:
        answer = _Answer(invalid=error.detail)
    except TooLarge as error:
        answer = _Answer(too_large=error.detail)
    except MemoryError:
        answer = _Answer(invalid=_out_of_memory(question.allowed))
    except OSError as error:
        if error.errno == errno.EFBIG:
            answer = _Answer(too_large="the table needs more room on the disk than is allowed here")
        else:
            answer = _Answer(storage=f"the table could not be written: {error.strerror}")
    sys.stdout.write(answer.model_dump_json())


def _limit(allowed: Allowance) -> None:
    """A second line of defence: DuckDB keeps to its own limit, and the parent to the time."""
    if sys.platform == "linux":
        # Counts what is reserved, of which DuckDB touches a part: 1.2 GiB were reserved in a use of 64 MiB.
        most = 3 * allowed.memory_bytes + 2**31
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    # A few bytes can stand for many, packed or not: no file may grow for ever.
    room = 4 * allowed.unpacked_bytes + 2**26
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
    # A child whose parent was killed must not go on for ever.
    cpu = math.ceil(allowed.seconds) + 10
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu))
    # A core dump would be a copy of the table, and larger than what it is made of.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    most_files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    files = OPEN_FILES if most_files == resource.RLIM_INFINITY else min(OPEN_FILES, most_files)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
