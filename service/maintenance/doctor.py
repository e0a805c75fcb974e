"""`bestepoch doctor`: checks rows against artifacts and the queue against its own rules, while the service runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from service.artifacts import TRASH, sha256_of
from service.errors import StorageError
from service.maintenance import deployment_id
from service.store.maintenance import garbage, integrity
from service.store.maintenance.artifact_refs import referenced
from service.store.maintenance.integrity import Violation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from service.artifacts import Artifacts, File
    from service.store.engine import Database
    from service.store.maintenance.integrity import FileRef

FILES = 1_000  # looked up in one statement
UNNAMED = {  # by kind: of one, and of several
    "discarded": (
        "was replaced or deleted and goes after the grace period",
        "were replaced or deleted and go after the grace period",
    ),
    "stray": (
        "has no row, which may yet come: it goes to the trash once it has had none for a day",
        "have no row, which may yet come: they go to the trash once they have had none for a day",
    ),
    "trash": ("is in the trash", "are in the trash"),
}
LOST = {
    "rows": "put the file back from a backup, or delete the data set and upload it again",
    "state": "a live job begins anew, to the same end; an ended one cannot be forked from its last epoch",
}
LOST_WEIGHTS = "put the file back from a backup, or delete the job and submit it again"
RULES = (
    integrity.foreign_keys,
    integrity.job_states,
    integrity.missing_datasets,
    integrity.histories,
    integrity.best_epochs,
    integrity.event_logs,
)


@dataclass
class Findings:
    """What an examination has counted on its way."""

    jobs: int = 0
    datasets: int = 0
    sweeps: int = 0
    files: int = 0
    file_bytes: int = 0
    wrong: int = 0
    unnamed: dict[str, tuple[int, int]] = field(default_factory=lambda: dict.fromkeys(UNNAMED, (0, 0)))
    """Files that no row names, and their bytes, by what becomes of them."""

    def count(self, kind: str, file: File) -> None:
        """One more file that no row names."""
        number, size = self.unnamed[kind]
        self.unnamed[kind] = number + 1, size + file.size_bytes

    def __str__(self) -> str:
        lines = [
            f"{_of(self.jobs, 'job')}, {_of(self.sweeps, 'sweep')}, {_of(self.datasets, 'data set')}; "
            f"{_of(self.files, 'file')} of {_megabytes(self.file_bytes)} compared"
        ]
        for kind, (number, size) in self.unnamed.items():
            if number:
                one = number == 1
                lines.append(f"{_of(number, 'file')} of {_megabytes(size)} {UNNAMED[kind][0 if one else 1]}")
        wrong = f"{_of(self.wrong, 'thing')} {'is' if self.wrong == 1 else 'are'} wrong"
        return "\n".join([*lines, wrong if self.wrong else "nothing is wrong"])


class Doctor:
    """Examines a service; changes nothing."""

    def __init__(self, database: Database, artifacts: Artifacts) -> None:
        self._database, self._artifacts = database, artifacts
        self.findings = Findings()

    def examine(self) -> Iterator[Violation]:
        """Everything that is wrong, as it is found; `findings` counts. Raises Unavailable."""
        for wrong in self._examine():
            self.findings.wrong += 1
            yield wrong

    def _examine(self) -> Iterator[Violation]:
        damage = list(self._checked(integrity.database_file))
        yield from damage
        if damage:
            return  # what else a damaged file says is not worth much
        strange = deployment_id.mismatch(self._database, self._artifacts)
        if strange:
            yield Violation("artifacts", strange, deployment_id.REMEDY)
        with self._database.reading() as connection:
            self.findings.jobs, self.findings.datasets, self.findings.sweeps = integrity.count(connection)
        for rule in RULES:
            yield from self._checked(rule)
        for file in chain(self._pages(integrity.checkpoint_files), self._pages(integrity.dataset_files)):
            yield from self._compared(file)
        self._count_unnamed()

    def _checked(self, rule: Callable[[Any], Iterator[Violation]]) -> Iterator[Violation]:
        try:
            with self._database.reading() as connection:
                yield from rule(connection)
        except StorageError as error:
            yield Violation("database", str(error), integrity.RESTORE)

    def _pages(self, read: Callable[[Any, FileRef | None], list[FileRef]]) -> Iterator[FileRef]:
        last: FileRef | None = None
        while True:
            with self._database.reading() as connection:
                page = read(connection, last)
            if not page:
                return
            for file in page:
                if last is None or file.path != last.path:  # best and last are often one file
                    yield file
                last = file

    def _compared(self, file: FileRef) -> Iterator[Violation]:
        """Read the whole file. It may have been replaced since its row was read: then the row has gone too."""
        fault = self._fault(file)
        self.findings.files += 1
        self.findings.file_bytes += file.size_bytes
        if fault is not None:
            with self._database.reading() as connection:
                still = referenced(connection, [file.path])
            if still:
                kept = self._artifacts.path(f"{TRASH}/{file.path}")
                remedy = LOST.get(file.kind, LOST_WEIGHTS)
                if kept.exists():
                    remedy = f"it is in the trash: move {kept} to {self._artifacts.path(file.path)}"
                yield Violation(file.owner, f"the file of its {file.kind} {fault} ({file.path})", remedy)

    def _fault(self, file: FileRef) -> str | None:
        path = self._artifacts.path(file.path)
        try:
            size = path.stat().st_size
            if size != file.size_bytes:
                return f"has {_of(size, 'byte')} instead of {file.size_bytes}"
            return None if sha256_of(path) == file.sha256 else "has changed: its SHA-256 is another"
        except FileNotFoundError:
            return "is missing"
        except OSError as error:
            return f"cannot be read: {error.strerror}"

    def _count_unnamed(self) -> None:
        files = self._artifacts.files()
        while page := {file.key: file for file in islice(files, FILES)}:
            with self._database.reading() as connection:
                unnamed = page.keys() - referenced(connection, page)
                marks = garbage.marks(connection, unnamed)
            for key in unnamed:
                self.findings.count("discarded" if key in marks and marks[key].discarded else "stray", page[key])
        for file in self._artifacts.trash():
            self.findings.count("trash", file)


def _of(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
