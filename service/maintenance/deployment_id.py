"""Guards against a mismatched database and artifacts folder: both store the same deployment id."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from service.errors import Misconfigured
from service.store.maintenance import artifact_refs

if TYPE_CHECKING:
    from service.artifacts import Artifacts
    from service.store.engine import Database

FILES = 1_000  # looked up in one statement
REMEDY = (
    "set BESTEPOCH_DATABASE_URL and BESTEPOCH_ARTIFACTS_URL to a matching pair; "
    "if you have combined these two on purpose, run `bestepoch adopt`"
)


def pair(database: Database, artifacts: Artifacts) -> None:
    """At start-up: write the database's id to a new folder; raises Misconfigured where the two do not match."""
    check(database, artifacts)
    with database.reading() as connection:
        ours, paired = artifact_refs.deployment_id(connection)
    if not paired:
        _write_id(database, artifacts, ours)


def check(database: Database, artifacts: Artifacts) -> None:
    """Raises Misconfigured if database and folder do not match; also Unavailable and StorageError."""
    problem = mismatch(database, artifacts)
    if problem is not None:
        raise Misconfigured(f"{problem}; no file was changed: {REMEDY}")


def mismatch(database: Database, artifacts: Artifacts) -> str | None:
    """Why database and folder do not match; None if they do."""
    with database.reading() as connection:
        ours, paired = artifact_refs.deployment_id(connection)
    theirs = artifacts.deployment_id()  # read after the row: a concurrent `pair` writes the file first
    folder = f"the artifact store {artifacts.address('')}"
    if theirs == ours:
        return None
    if theirs is not None:
        return f"{folder} belongs to another database: its id is {theirs}, the database's is {ours}"
    if paired:
        return f"{folder} is not the one that this database has used, or has lost its id (is the volume mounted?)"
    if _is_unknown(database, artifacts):
        return f"{folder} has files, but the database refers to none of them: is the database new or wrong?"
    return None


def adopt(database: Database, artifacts: Artifacts) -> tuple[int, int]:
    """Pair the folder with this database, whatever its id; returns (number of files, number of referenced files)."""
    number = in_use = 0
    files = artifacts.files()
    while keys := [file.key for file in islice(files, FILES)]:
        with database.reading() as connection:
            in_use += len(artifact_refs.referenced(connection, keys))
        number += len(keys)
    with database.reading() as connection:
        ours, _ = artifact_refs.deployment_id(connection)
    _write_id(database, artifacts, ours, replace=True)
    return number, in_use


def _write_id(database: Database, artifacts: Artifacts, ours: str, *, replace: bool = False) -> None:
    """File first, then row: concurrent starts write the same id; the next start completes an interrupted pairing."""
    artifacts.set_deployment_id(ours, replace=replace)
    with database.transaction() as connection:
        artifact_refs.set_paired(connection)


def _is_unknown(database: Database, artifacts: Artifacts) -> bool:
    """Whether there are files and none is referenced; deployments older than the id refer to at least one."""
    files = artifacts.files()
    has_files = False
    while keys := [file.key for file in islice(files, FILES)]:
        has_files = True
        with database.reading() as connection:
            if artifact_refs.referenced(connection, keys):
                return False
    return has_files
