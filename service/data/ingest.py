"""An uploaded file -> Parquet and its profile, read in a child process with limits on memory and time."""

from __future__ import annotations

import errno
import hashlib
import logging
import math
import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from pydantic import BaseModel

from service.errors import InvalidData, StorageError, TooLarge
from service.spec.base import Strict
from service.spec.reading import ReadAs, ReadOptions
from service.spec.table import Column

_log = logging.getLogger(__name__)


class Ingested(Strict):
    """What reading a file gave."""

    rows: int
    """Number of rows."""
    columns: list[Column]
    """Schema and profile, a column each."""
    duplicate_rows: int
    """Rows that equal an earlier one in every column."""
    warnings: list[str]
    """What a person should know about how the file was read."""
    read_as: ReadAs
    """How the file was read."""
    null_values: list[str]
    """Texts that were read as a missing value."""
    parquet_sha256: str
    """SHA-256 of the Parquet file."""
    parquet_bytes: int
    """Size of the Parquet file in bytes."""


class _Request(BaseModel):
    """What the child is asked for, as JSON on its standard input."""

    source: Path
    parquet: Path
    options: ReadOptions
    memory_bytes: int
    unpacked_bytes: int
    seconds: float


class _Answer(BaseModel):
    """What the child answers, as JSON on its standard output: exactly one of these."""

    ingested: Ingested | None = None
    invalid: str | None = None
    too_large: str | None = None
    storage: str | None = None


def ingest(
    source: Path,
    parquet: Path,
    options: ReadOptions | None = None,
    *,
    memory_bytes: int,
    unpacked_bytes: int,
    seconds: float,
) -> Ingested:
    """Read the file `source`, of any format, and write its table to the new file `parquet`.

    Blocks for `seconds` at most. Raises InvalidData saying what to mend in the file or which limit was reached,
    TooLarge for what unpacks to more than `unpacked_bytes`, and StorageError when the disk fails; `parquet` is not
    there then.
    """
    with tempfile.TemporaryDirectory(dir=parquet.parent, prefix="ingest-") as folder:
        request = _Request(
            source=source.absolute(),
            parquet=Path(folder).absolute() / "table.parquet",
            options=options or ReadOptions(),
            memory_bytes=memory_bytes,
            unpacked_bytes=unpacked_bytes,
            seconds=seconds,
        )
        answer = _ask_child(request)
        if answer.invalid is not None:
            raise InvalidData(answer.invalid)
        if answer.too_large is not None:
            raise TooLarge(answer.too_large)
        if answer.ingested is None:
            raise StorageError(answer.storage)
        request.parquet.replace(parquet)
        return answer.ingested


def _ask_child(request: _Request) -> _Answer:
    command = [sys.executable, "-m", "service.data.ingest"]
    try:
        child = subprocess.run(
            command,
            input=request.model_dump_json().encode(),
            capture_output=True,
            timeout=request.seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise InvalidData(f"reading the file took longer than {request.seconds:g} seconds, the limit here") from None
    if child.returncode == 0:
        return _Answer.model_validate_json(child.stdout)
    _log.error("reading a file ended with %d: %s", child.returncode, child.stderr.decode(errors="replace")[-4_000:])
    if child.returncode == -signal.SIGKILL:  # the kernel's choice when memory runs out
        raise InvalidData(_out_of_memory(request.memory_bytes))
    raise InvalidData("the file cannot be read: the process reading it ended unexpectedly")


def _out_of_memory(memory_bytes: int) -> str:
    return f"reading the file needs more than {memory_bytes / 2**20:,.0f} MiB of memory, the limit here"


def _main() -> None:
    """In the child: answer the request."""
    request = _Request.model_validate_json(sys.stdin.buffer.read())
    _limit(request)
    try:
        answer = _Answer(ingested=_read(request))
    except InvalidData as error:
        answer = _Answer(invalid=error.detail)
    except TooLarge as error:
        answer = _Answer(too_large=error.detail)
    except MemoryError:
        answer = _Answer(invalid=_out_of_memory(request.memory_bytes))
    except OSError as error:
        if error.errno == errno.EFBIG:
            answer = _Answer(too_large="the table needs more room on the disk than is allowed here")
        else:
            answer = _Answer(storage=f"the table could not be written: {error.strerror}")
    sys.stdout.write(answer.model_dump_json())


def _limit(request: _Request) -> None:
    """A second line of defence: DuckDB keeps to its own limit, and the parent to the time."""
    if sys.platform == "linux":
        # Counts what is reserved, of which DuckDB touches a part: 1.2 GiB were reserved in a use of 64 MiB.
        most = 3 * request.memory_bytes + 2**31
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    # A few bytes can stand for many, packed or not: no file may grow for ever.
    room = 4 * request.unpacked_bytes + 2**26
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
    # A child whose parent was killed must not go on for ever.
    cpu = math.ceil(request.seconds) + 10
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu))


def _read(request: _Request) -> Ingested:
    # Only here: the API imports this module, and must stay without duckdb.
    from service.data.read import read_table
    from service.data.staging import Limits

    limits = Limits(request.memory_bytes, request.unpacked_bytes)
    found = read_table(request.source, request.parquet, request.options, limits)
    with request.parquet.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return Ingested(
        rows=found.rows,
        columns=found.columns,
        duplicate_rows=found.duplicate_rows,
        warnings=found.warnings,
        read_as=found.read_as,
        null_values=found.null_values,
        parquet_sha256=sha256,
        parquet_bytes=request.parquet.stat().st_size,
    )


if __name__ == "__main__":
    _main()
