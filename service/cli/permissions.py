"""Whether somebody else on this machine can get at the service's files."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from service.settings import Settings


def exposed(settings: Settings) -> list[str]:
    """A sentence for each folder or database file that others may use, or its group where it may not; with the remedy.

    Nothing is changed: an operator's folder may be as it is for a reason.
    """
    home, artifacts, database = settings.home, settings.artifacts, _sqlite_file(settings.database)
    folders = [home, *(folder for folder in (artifacts, settings.logs) if home not in folder.parents)]
    files = [] if database is None or home in database.parents else [database]
    forbidden = stat.S_IRWXO if settings.group_access else stat.S_IRWXO | stat.S_IRWXG
    remedies = ("2770", "660") if settings.group_access else ("700", "600")
    return [
        f"other users of this machine may use {path} (mode {mode:o}): chmod {remedies[path in files]} {path}"
        for path in (*folders, *files)
        if (mode := _mode(path)) & forbidden
    ]


def _mode(path: Path) -> int:
    """Its permissions; none where nothing is, or where we cannot look."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return 0


def _sqlite_file(url: str) -> Path | None:
    scheme, _, path = url.partition(":///")
    return Path(path).absolute() if scheme.startswith("sqlite") else None
