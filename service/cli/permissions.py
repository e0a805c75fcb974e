"""Checks whether other users of this machine can access the service's files."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from service.settings import Settings


def exposed(settings: Settings) -> list[str]:
    """A warning, with the `chmod` that fixes it, for each folder or database file that others can access.

    Without `group_access` the group counts too. Nothing is changed: the operator may have a reason for the mode.
    """
    home, artifacts, database = settings.home, settings.artifacts, _sqlite_file(settings.database)
    folders = [home, *(folder for folder in (artifacts, settings.logs) if home not in folder.parents)]
    files = [] if database is None or home in database.parents else [database]
    forbidden = stat.S_IRWXO if settings.group_access else stat.S_IRWXO | stat.S_IRWXG
    modes = ("2770", "660") if settings.group_access else ("700", "600")
    return [
        f"other users of this machine can access {path} (mode {mode:o}): chmod {modes[path in files]} {path}"
        for path in (*folders, *files)
        if (mode := _mode(path)) & forbidden
    ]


def _mode(path: Path) -> int:
    """The permission bits of a path; 0 if it does not exist or is inaccessible."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return 0


def _sqlite_file(url: str) -> Path | None:
    scheme, _, path = url.partition(":///")
    return Path(path).absolute() if scheme.startswith("sqlite") else None
