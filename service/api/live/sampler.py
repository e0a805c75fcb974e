"""Samples the rows that models are asked to predict, for their drift, where an operator has switched it on."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from service.store.models import samples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service.api.quota import StorageQuota
    from service.store.engine import Database
    from service.store.models.aliases import ServedVersion

_log = logging.getLogger(__name__)

FLUSH_SECONDS = 10.0
MAX_REQUEST_ROWS = 100
"""Of one request, chosen at random: a large request does not replace the whole sample."""
MAX_ROW_VALUES = 1_000
MAX_ROW_CHARACTERS = 20_000
"""In names of columns and texts. Larger rows are not sampled."""
MAX_VERSIONS = 100
"""Versions whose rows wait in memory; those of further ones are dropped."""


class Sampler:
    """Keeps a random sample of `size` rows of each version: a new row overwrites the one in a random slot.

    Rows wait in memory, and are written every few seconds: sampling neither delays a prediction nor fails it. One per
    process, used on the event loop. Rows beyond the tenant's storage quota are dropped.
    """

    def __init__(self, database: Database, quota: StorageQuota, size: int) -> None:
        self.size = size
        self._database, self._quota = database, quota
        self._writing = asyncio.Lock()
        self._waiting: dict[tuple[str, str, int], dict[int, dict[str, Any]]] = {}
        self._task: asyncio.Task[None] | None = None

    def add(self, tenant: str, served: ServedVersion, rows: Sequence[dict[str, Any]]) -> None:
        """Sample rows that this version has predicted."""
        if not self.size:
            return
        key = tenant, served.model_id, served.version
        if key not in self._waiting and len(self._waiting) >= MAX_VERSIONS:
            return
        chosen = rows if len(rows) <= MAX_REQUEST_ROWS else random.sample(rows, MAX_REQUEST_ROWS)
        slots = self._waiting.setdefault(key, {})
        slots.update((random.randrange(self.size), row) for row in chosen if _is_small(row))

    def start(self) -> None:
        """Start the task; call it on the event loop."""
        if self.size:
            self._task = asyncio.create_task(self._run(), name="sampler")

    async def stop(self) -> None:
        """Write what waits, and end the task."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            await self.flush()

    async def flush(self) -> None:
        """Write the rows that wait, after those that are being written; what cannot be written is dropped."""
        async with self._writing:
            for key in list(self._waiting):
                if rows := self._waiting.pop(key):
                    await asyncio.to_thread(self._store, *key, rows)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await self.flush()

    def _store(self, tenant: str, model_id: str, version: int, rows: dict[int, dict[str, Any]]) -> None:
        try:
            database = self._database.of(tenant)
            self._quota.check(database, tenant, sum(len(json.dumps(row)) for row in rows.values()))
            with database.transaction() as connection:
                samples.store(connection, model_id, version, rows, datetime.now(UTC))
        except Exception as error:  # any error: a sample is not worth a failure
            _log.warning("%d sampled rows of version %d of %s are dropped: %r", len(rows), version, model_id, error)


def _is_small(row: dict[str, Any]) -> bool:
    texts = (text for item in row.items() for text in item if isinstance(text, str))
    return len(row) <= MAX_ROW_VALUES and sum(map(len, texts)) <= MAX_ROW_CHARACTERS
