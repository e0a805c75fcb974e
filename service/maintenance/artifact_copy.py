"""Copies the files of a deployment to another artifact store, while the deployment runs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from service.errors import Misconfigured
from service.maintenance import deployment_id
from service.maintenance.file_refs import file_refs
from service.store.maintenance.artifact_refs import referenced

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.artifacts import Artifacts
    from service.store.engine import Database
    from service.store.maintenance.integrity import FileRef

WRITTEN_ONCE = ("checkpoints/", "datasets/")
"""First parts of keys whose files are never replaced: those of the right size need not be read."""


@dataclass
class CopyReport:
    """Result of a copy."""

    copied: int = 0
    copied_bytes: int = 0
    present: int = 0  # files that the target had
    problems: list[str] = field(default_factory=list)  # files that could not be copied, and why


class ArtifactCopier:
    """Copies every file that a row refers to from one store to another, verified by its SHA-256."""

    def __init__(self, database: Database, source: Artifacts, target: Artifacts) -> None:
        """Pairs the target with the database; raises Misconfigured if it is another deployment's, or the source."""
        if source.address("") == target.address(""):
            raise Misconfigured(f"source and target are the same store: {source.address('')}")
        self._database, self._source, self._target = database, source, target
        deployment_id.check(database, source)
        ours, theirs = source.deployment_id(), target.deployment_id()
        if theirs not in (None, ours):
            raise Misconfigured(f"the artifact store {target.address('')} belongs to another deployment: {theirs}")
        if theirs is None and ours is not None:
            target.set_deployment_id(ours)

    def copy(self, *, verify: bool = False, progress: Callable[[CopyReport], None] = lambda _: None) -> CopyReport:
        """Copy the files that the target lacks; raises Unavailable, StorageError.

        `verify`: read also the files that it has, and copy damaged ones again. `progress`: called after each file.
        """
        report = CopyReport()
        for file in file_refs(self._database):
            if self._is_there(file, verify=verify):
                report.present += 1
            elif (problem := self._copy(file)) is None:
                report.copied += 1
                report.copied_bytes += file.size_bytes
            elif self._is_referenced(file):
                report.problems.append(f"{file.path}: {problem}")
            progress(report)
        return report

    def _is_there(self, file: FileRef, *, verify: bool) -> bool:
        if self._target.size(file.path) != file.size_bytes:
            return False
        return (not verify and file.path.startswith(WRITTEN_ONCE)) or self._target.sha256(file.path) == file.sha256

    def _is_referenced(self, file: FileRef) -> bool:
        """False for a file that was replaced or deleted since its row was read."""
        with self._database.reading() as connection:
            return bool(referenced(connection, [file.path]))

    def _copy(self, file: FileRef) -> str | None:
        """Copy one file; returns what is wrong with it, if anything."""
        digest = hashlib.sha256()
        with self._target.scratch() as folder:
            path = folder / "copy"
            try:
                with path.open("wb") as copy:
                    for chunk in self._source.chunks(file.path):
                        copy.write(chunk)
                        digest.update(chunk)
            except FileNotFoundError:
                return "it is missing"
            if digest.hexdigest() != file.sha256:
                return "it is corrupt: its SHA-256 differs"
            self._target.adopt(path, file.path, replace=True)
        if self._target.sha256(file.path) != file.sha256:
            return "the target stored other bytes"
        return None
