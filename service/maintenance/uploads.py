"""Deletes uploads in parts that have expired, and parts that belong to no upload."""

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
    """Delete expired uploads, then parts without an upload; returns the number of parts. Raises as Artifacts do.

    The row of an upload is older than its first part, so that a part without one is garbage at once: its client has
    the file, and no backup needs it.
    """
    with database.transaction() as connection:
        expired = uploads.remove_expired(connection, datetime.now(UTC))
    if expired:
        log.info("deleted %d uploads that have expired", expired)
    deleted, parts = 0, artifacts.parts()
    while (page := list(islice(parts, PARTS))) and not stop.is_set():
        owners = {file.key: file.key.split("/")[1] for file in page}
        with database.reading() as connection:
            needed = uploads.incomplete(connection, set(owners.values()))
        deleted += sum(artifacts.delete(key) for key, owner in owners.items() if owner not in needed)
    return deleted
