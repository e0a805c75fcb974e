"""What folders of files need: fsync, and the operating system's errors as the service's own."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from service.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def fsync(path: Path) -> None:
    """Flush a file or a folder to disk. Raises OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def storage_errors(place: str) -> Iterator[None]:
    """Raise StorageError for an OSError; `place`: of the files, for the message."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"{place} could not write: {error.strerror or error}") from error
