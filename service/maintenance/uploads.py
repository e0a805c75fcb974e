"""Deletes uploads in parts that have expired, parts that belong to no upload, and parts of a wrong size."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING

from service.store import uploads

if TYPE_CHECKING:
    from threading import Event

    from service.artifacts import Artifacts
    from service.store.engine import Database

log = logging.getLogger(__name__)

PARTS = 500  # looked up in one statement


def collect_uploads(database: Database, artifacts: Artifacts, stop: Event) -> int:
    """Delete expired uploads, then parts that are not needed; returns the number of parts. Raises as Artifacts do."""
    with database.transaction() as connection:
        expired = uploads.remove_expired(connection, datetime.now(UTC))
    if expired:
        log.info("deleted %d uploads that have expired", expired)
    return collect_parts(database, artifacts, stop)


def collect_parts(database: Database, artifacts: Artifacts, stop: Event) -> int:
    """Delete parts without an upload, or with another size than theirs; returns their number.

    The row of an upload is older than its first part, so that a part without one is garbage at once: its client has
    the file, and no backup needs it. A presigned URL takes a body of any size. Raises as Artifacts do.
    """
    deleted, parts = 0, artifacts.parts()
    while (page := list(islice(parts, PARTS))) and not stop.is_set():
        with database.reading() as connection:
            needed = uploads.needed_parts(connection, {file.key.split("/")[1] for file in page})
        for file in page:
            expected = needed.get(file.key)
            if expected not in (None, file.size_bytes):
                log.warning("deleting %s, which has %d bytes instead of %d", file.key, file.size_bytes, expected)
            if expected != file.size_bytes:
                deleted += artifacts.delete(file.key)
    return deleted
