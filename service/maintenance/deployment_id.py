"""Keeps a database and an artifacts folder that belong together together: both have the deployment's id."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from service.errors import Misconfigured
from service.store.maintenance import deployment_id
from service.store.maintenance.artifact_refs import referenced

if TYPE_CHECKING:
    from service.artifacts import Artifacts
    from service.store.engine import Database

FILES = 1_000  # looked up in one statement
REMEDY = (
    "set BESTEPOCH_DATABASE_URL and BESTEPOCH_ARTIFACTS_URL to what belongs together; "
    "if you have put these two together on purpose, run `bestepoch adopt`"
)


def join(database: Database, artifacts: Artifacts) -> None:
    """As a process starts: give a new folder the database's id; raises Misconfigured where the two do not match."""
    check(database, artifacts)
    with database.reading() as connection:
        ours, paired = deployment_id.read(connection)
    if not paired:
        _pair(database, artifacts, ours)


def check(database: Database, artifacts: Artifacts) -> None:
    """Raises Misconfigured where database and folder do not match, Unavailable and StorageError."""
    wrong = mismatch(database, artifacts)
    if wrong is not None:
        raise Misconfigured(f"{wrong}; no file was touched: {REMEDY}")


def mismatch(database: Database, artifacts: Artifacts) -> str | None:
    """How the folder turns out to be another database's; None where it does not."""
    with database.reading() as connection:
        ours, paired = deployment_id.read(connection)
    theirs = artifacts.deployment_id()  # after: who pairs them at this moment writes the file before the row
    folder = f"the artifacts folder {artifacts.root}"
    if theirs == ours:
        return None
    if theirs is not None:
        return f"{folder} belongs to another database: its id is {theirs}, the database's is {ours}"
    if paired:
        return f"{folder} is not the one that this database has used, or its id is lost (is the volume mounted?)"
    if _is_strange(database, artifacts):
        return f"{folder} has files, and the database names none of them: is it a new or a wrong database?"
    return None


def adopt(database: Database, artifacts: Artifacts) -> tuple[int, int]:
    """Make the folder this database's, whatever it was; the number of its files, and of those that rows name."""
    number = known = 0
    files = artifacts.files()
    while keys := [file.key for file in islice(files, FILES)]:
        with database.reading() as connection:
            known += len(referenced(connection, keys))
        number += len(keys)
    with database.reading() as connection:
        ours, _ = deployment_id.read(connection)
    _pair(database, artifacts, ours)
    return number, known


def _pair(database: Database, artifacts: Artifacts, ours: str) -> None:
    """File first: processes that start at once write the same, and one that dies in between is made up for."""
    artifacts.set_deployment_id(ours)
    with database.transaction() as connection:
        deployment_id.pair(connection)


def _is_strange(database: Database, artifacts: Artifacts) -> bool:
    """Whether there are files, and none is named: a deployment from before there were ids names at least one."""
    files = artifacts.files()
    some = False
    while keys := [file.key for file in islice(files, FILES)]:
        some = True
        with database.reading() as connection:
            if referenced(connection, keys):
                return False
    return some
