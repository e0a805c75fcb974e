"""What an error of the database is to those who asked: an outage, a fault of its storage, or a fault of this code."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import exc

from service.errors import SchemaMismatch, ServiceError, StorageError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

# SQLSTATEs of Postgres (appendix A of its manual), whole or their beginnings: no connection, a transaction that others
# or a timeout have ended, no resources, a lock that was not to be had, an operator's or a system's intervention.
OUTAGES = ("08", "25P03", "25P04", "40001", "40P01", "53", "55P03", "57", "58")
READ_ONLY, DISK_FULL = "25006", "53100"
UNDEFINED = ("42P01", "42703")  # a table, a column
NO_SUCH = ("no such table", "no such column", "has no column named")  # the same of SQLite


@contextmanager
def translate_errors() -> Iterator[None]:
    """Turn the database's errors into Unavailable, StorageError and SchemaMismatch; faults of this code stay."""
    try:
        yield
    except exc.TimeoutError as error:  # every pooled connection is in use
        raise Unavailable("the database cannot be reached right now; try again") from error
    except exc.DatabaseError as error:
        plain = _plain(error)
        if plain is None:
            raise
        raise plain from error
    except exc.InterfaceError as error:
        raise Unavailable("the database cannot be reached right now; try again") from error


def _plain(error: exc.DatabaseError) -> ServiceError | None:
    """What the database's error is for a client: an outage, a fault of storage or schema, or None: one of this code."""
    message, state = str(error.orig), getattr(error.orig, "sqlstate", None) or ""
    if state in UNDEFINED or any(words in message for words in NO_SUCH):
        what = "the database lacks tables or columns that this version needs"
        how = "`/readyz` and `bestepoch doctor` say what to do"
        return SchemaMismatch(f"{what}, as if another version had migrated it: {how}")
    if any(words in message for words in ("malformed", "not a database")):
        return StorageError(f"the database file is damaged: {message}")
    if state == DISK_FULL or (isinstance(error, exc.OperationalError) and _tells_of_disk(message)):
        return StorageError(f"the database could not write: {message}")
    if state == READ_ONLY:
        return Unavailable("the database takes no writes right now: it is read-only; try again")
    if isinstance(error, exc.OperationalError) or state.startswith(OUTAGES):
        return Unavailable("the database cannot be reached right now; try again")
    return None


def _tells_of_disk(message: str) -> bool:
    return "disk" in message or "No space" in message
