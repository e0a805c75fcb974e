"""DuckDB's exceptions -> whose fault it was: the file's, the disk's, or the limits'."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

from service.errors import InvalidData

OURS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENOENT, errno.EACCES)


@contextmanager
def duckdb_faults() -> Iterator[None]:
    """Raise InvalidData, OSError (EFBIG where a file grew too large) or MemoryError in place of DuckDB's errors."""
    try:
        yield
    except duckdb.OutOfMemoryException:
        raise MemoryError from None
    except duckdb.IOException as error:
        raise _input_output_fault(str(error)) from error
    except duckdb.Error as error:
        raise _invalid(str(error)) from error


def _input_output_fault(message: str) -> Exception:
    """DuckDB has one exception for full disks and for damaged files."""
    for number in (errno.EFBIG, *OURS):
        if os.strerror(number) in message:
            return OSError(number, os.strerror(number))
    return _invalid(message)


def _invalid(message: str) -> InvalidData:
    first = re.sub(r"""\s*(['"])/.*?\1""", "", message.splitlines()[0])  # paths of this machine tell a client nothing
    return InvalidData(f"the file cannot be read: {first[:200]}")
