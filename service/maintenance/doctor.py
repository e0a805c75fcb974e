"""`bestepoch doctor`: checks the integrity of database and artifacts while the service runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from service.artifacts import TRASH
from service.errors import ServiceError, StorageError
from service.maintenance import deployment_id
from service.maintenance.file_refs import file_refs
from service.store.maintenance import garbage, integrity
from service.store.maintenance.artifact_refs import referenced
from service.store.maintenance.integrity import Violation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from service.artifacts import Artifacts, File
    from service.store.engine import Database
    from service.store.maintenance.integrity import FileRef

FILES = 1_000  # looked up in one statement
UNREFERENCED = {  # by kind: singular, plural
    "discarded": (
        "was replaced or deleted and will be removed after the grace period",
        "were replaced or deleted and will be removed after the grace period",
    ),
    "orphan": (
        "is orphaned (no row refers to it) and will be moved to the trash after a day",
        "are orphaned (no row refers to them) and will be moved to the trash after a day",
    ),
    "trash": ("is in the trash", "are in the trash"),
}
LOST = {
    "rows": "restore the file from a backup, or delete the data set and upload it again",
    "member": "restore the file from a backup, or delete the version and publish the job again",
    "predictions": "restore the file from a backup; the job's checkpoints and metrics do not need it",
    "report": "nothing to do: the next request builds it again",
    "profile": "restore the file from a backup; where the data set still exists, it is made again when it is asked for",
    "state": "a live job restarts, with the same result; an ended one cannot be forked from its last epoch",
    "mid_epoch": "nothing to do: the job resumes from an earlier state, with the same result",
}
LOST_WEIGHTS = "restore the file from a backup, or delete the job and submit it again"
RULES = (
    integrity.foreign_keys,
    integrity.job_states,
    integrity.missing_datasets,
    integrity.histories,
    integrity.best_epochs,
    integrity.event_logs,
    integrity.model_versions_without_members,
)


@dataclass
class Findings:
    """Counts of an examination."""

    jobs: int = 0
    datasets: int = 0
    sweeps: int = 0
    files: int = 0
    file_bytes: int = 0
    problems: int = 0
    unreferenced: dict[str, tuple[int, int]] = field(default_factory=lambda: dict.fromkeys(UNREFERENCED, (0, 0)))
    """(number, bytes) of unreferenced files, by kind."""

    def count(self, kind: str, file: File) -> None:
        """Count an unreferenced file."""
        number, size = self.unreferenced[kind]
        self.unreferenced[kind] = number + 1, size + file.size_bytes

    def __str__(self) -> str:
        lines = [
            f"{_of(self.jobs, 'job')}, {_of(self.sweeps, 'sweep')}, {_of(self.datasets, 'data set')}; "
            f"{_of(self.files, 'file')} ({_megabytes(self.file_bytes)}) verified"
        ]
        for kind, (number, size) in self.unreferenced.items():
            if number:
                one = number == 1
                lines.append(f"{_of(number, 'file')} ({_megabytes(size)}) {UNREFERENCED[kind][0 if one else 1]}")
        return "\n".join([*lines, f"{_of(self.problems, 'problem')} found" if self.problems else "no problems found"])


class Doctor:
    """Checks a deployment; read-only."""

    def __init__(self, database: Database, artifacts: Artifacts) -> None:
        self._database, self._artifacts = database, artifacts
        self.findings = Findings()

    def examine(self) -> Iterator[Violation]:
        """Yield problems as they are found, counted in `findings`. Raises Unavailable."""
        for violation in self._examine():
            self.findings.problems += 1
            yield violation

    def _examine(self) -> Iterator[Violation]:
        damage = list(self._check(integrity.database_file))
        yield from damage
        if damage:
            return  # further checks of a damaged file are pointless
        mismatch = deployment_id.mismatch(self._database, self._artifacts)
        if mismatch:
            yield Violation("artifacts", mismatch, deployment_id.REMEDY)
        with self._database.reading() as connection:
            self.findings.jobs, self.findings.datasets, self.findings.sweeps = integrity.count(connection)
        for rule in RULES:
            yield from self._check(rule)
        for file in file_refs(self._database):
            yield from self._verify(file)
        self._count_unreferenced()

    def _check(self, rule: Callable[[Any], Iterator[Violation]]) -> Iterator[Violation]:
        try:
            with self._database.reading() as connection:
                yield from rule(connection)
        except StorageError as error:
            yield Violation("database", str(error), integrity.RESTORE)

    def _verify(self, file: FileRef) -> Iterator[Violation]:
        """Verify size and SHA-256. If the file was replaced since its row was read, the row no longer refers to it."""
        problem = self._compare(file)
        self.findings.files += 1
        self.findings.file_bytes += file.size_bytes
        if problem is not None:
            with self._database.reading() as connection:
                in_use = referenced(connection, [file.path])
            if in_use:
                trashed = f"{TRASH}/{file.path}"
                remedy = LOST.get(file.kind, LOST_WEIGHTS)
                if self._artifacts.size(trashed) is not None:
                    address = self._artifacts.address
                    remedy = f"it is in the trash: move {address(trashed)} to {address(file.path)}"
                yield Violation(file.owner, f"the file of its {file.kind} {problem} ({file.path})", remedy)

    def _compare(self, file: FileRef) -> str | None:
        try:
            size = self._artifacts.size(file.path)
            if size is None:
                return "is missing"
            if size != file.size_bytes:
                return f"has {_of(size, 'byte')} instead of {file.size_bytes}"
            return None if self._artifacts.sha256(file.path) == file.sha256 else "is corrupt: its SHA-256 differs"
        except FileNotFoundError:
            return "is missing"
        except ServiceError as error:
            return f"cannot be read: {error.detail}"
        except OSError as error:
            return f"cannot be read: {error.strerror}"

    def _count_unreferenced(self) -> None:
        files = self._artifacts.files()
        while page := {file.key: file for file in islice(files, FILES)}:
            with self._database.reading() as connection:
                unreferenced = page.keys() - referenced(connection, page)
                marks = garbage.marks(connection, unreferenced)
            for key in unreferenced:
                self.findings.count("discarded" if key in marks and marks[key].discarded else "orphan", page[key])
        for file in self._artifacts.trash():
            self.findings.count("trash", file)


def _of(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
