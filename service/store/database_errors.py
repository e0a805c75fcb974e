"""Translates database errors into those of the service: outage, storage error, schema mismatch, or a bug."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import exc

from service.errors import SchemaMismatch, ServiceError, StorageError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

# SQLSTATE codes and classes of Postgres (appendix A of its manual): connection errors, aborted transactions,
# insufficient resources, lock not available, operator intervention, system errors.
OUTAGES = ("08", "25P03", "25P04", "40001", "40P01", "53", "55P03", "57", "58")
READ_ONLY, DISK_FULL = "25006", "53100"
UNDEFINED = ("42P01", "42703")  # table, column
SQLITE_UNDEFINED = ("no such table", "no such column", "has no column named")


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise Unavailable, StorageError and SchemaMismatch for database errors; bugs keep their exception."""
    try:
        yield
    except exc.TimeoutError as error:  # connection pool exhausted
        raise Unavailable("the database cannot be reached right now; try again") from error
    except exc.DatabaseError as error:
        translated = _translate(error)
        if translated is None:
            raise
        raise translated from error
    except exc.InterfaceError as error:
        raise Unavailable("the database cannot be reached right now; try again") from error


def _translate(error: exc.DatabaseError) -> ServiceError | None:
    """The error of the service for this error of the database; None: a bug."""
    message, state = str(error.orig), getattr(error.orig, "sqlstate", None) or ""
    if state in UNDEFINED or any(words in message for words in SQLITE_UNDEFINED):
        what = "the database lacks tables or columns that this version needs"
        how = "`/readyz` and `bestepoch doctor` say what to do"
        return SchemaMismatch(f"{what}, as if another version had migrated it: {how}")
    if any(words in message for words in ("malformed", "not a database")):
        return StorageError(f"the database file is damaged: {message}")
    if state == DISK_FULL or (isinstance(error, exc.OperationalError) and _is_disk_error(message)):
        return StorageError(f"the database could not write: {message}")
    if state == READ_ONLY:
        return Unavailable("the database is read-only right now; try again")
    if isinstance(error, exc.OperationalError) or state.startswith(OUTAGES):
        return Unavailable("the database cannot be reached right now; try again")
    return None


def _is_disk_error(message: str) -> bool:
    return "disk" in message or "No space" in message
