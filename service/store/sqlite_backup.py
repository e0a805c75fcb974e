"""Backs up the SQLite file before a migration, for a rollback to the previous version."""

from __future__ import annotations

import glob
import os
import re
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from service.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

KEPT = 3  # newest backups


def back_up(path: Path, revision: str, connect: Callable[[str], Any]) -> Path:
    """Copy the database at `path`, whose write lock the caller holds, and delete all but the newest backups.

    `connect` opens a SQLite file. The copy is renamed when complete. Raises StorageError.
    """
    timestamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    copy = path.with_name(f"{path.name}.{revision}.{timestamp}.backup")
    unfinished = copy.with_suffix(".unfinished")
    try:
        os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        # A second connection: a backup from the connection that holds the write lock would deadlock.
        with closing(connect(str(path))) as source, closing(connect(str(unfinished))) as target:
            source.backup(target)
        unfinished.replace(copy)
    except Exception as error:
        for leftover in path.parent.glob(f"{glob.escape(unfinished.name)}*"):
            leftover.unlink()
        raise StorageError(f"the database was not migrated: the backup failed: {error}") from error
    for old in _backups(path)[:-KEPT]:
        old.unlink(missing_ok=True)
    return copy


def _backups(path: Path) -> list[Path]:
    """Backups made by this function, oldest first; files with other names are left alone."""
    ours = re.compile(rf"{re.escape(path.name)}\.\w+\.(?P<made>\d{{8}}T\d{{6}}\.\d{{6}}Z)\.backup")
    found = ((ours.fullmatch(each.name), each) for each in path.parent.iterdir())
    return [each for _, each in sorted((match["made"], each) for match, each in found if match)]
