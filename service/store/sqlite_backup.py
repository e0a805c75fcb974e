"""A copy of the SQLite file from before a migration, beside it: the way back to the version before."""

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

KEPT = 3


def copy_before_migration(path: Path, revision: str, connect: Callable[[str], Any]) -> Path:
    """Copy the database at `path`, which nobody writes to meanwhile, and delete all such copies but the newest few.

    `connect` opens a SQLite file. The copy is complete before it has its name. Raises StorageError.
    """
    made = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    copy = path.with_name(f"{path.name}.{revision}.{made}.backup")
    unfinished = copy.with_suffix(".unfinished")
    try:
        os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        # The connection that holds the write lock cannot be copied from: SQLite would wait for it for ever.
        with closing(connect(str(path))) as source, closing(connect(str(unfinished))) as target:
            source.backup(target)
        unfinished.replace(copy)
    except Exception as error:
        for scrap in path.parent.glob(f"{glob.escape(unfinished.name)}*"):
            scrap.unlink()
        raise StorageError(f"the database was not migrated, for no copy of it could be made first: {error}") from error
    for old in _copies(path)[:-KEPT]:
        old.unlink(missing_ok=True)
    return copy


def _copies(path: Path) -> list[Path]:
    """Ours, oldest first; what somebody else has named alike is theirs."""
    ours = re.compile(rf"{re.escape(path.name)}\.\w+\.(?P<made>\d{{8}}T\d{{6}}\.\d{{6}}Z)\.backup")
    found = ((ours.fullmatch(each.name), each) for each in path.parent.iterdir())
    return [each for _, each in sorted((match["made"], each) for match, each in found if match)]
