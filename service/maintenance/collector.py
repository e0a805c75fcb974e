"""Garbage collector: deletes ended jobs after their time, and files that no row names, once it has seen them so twice.

Files are marked by one collection and taken by one that is made a day or more after, by a clock that no change of the
time of day moves (`store/garbage.py`).
"""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from service.errors import Misconfigured, StorageError, Unavailable
from service.maintenance import deployment_id
from service.store.maintenance import garbage, retention
from service.store.maintenance.artifact_refs import collectable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from threading import Event

    from service.artifacts import Artifacts
    from service.store.engine import Database
    from service.store.maintenance.garbage import CollectionRun, Mark

log = logging.getLogger(__name__)

TURN_SECONDS = 3_600.0  # between two collections, whichever process makes them
DAY = 24 * 3_600.0  # how long something must have been due, where nobody has said so by deleting or replacing it
STRAY_SHARE = 0.25  # of all files: more than that without a row are no accident of single processes
STRAYS = 100  # that may go whatever share they are
FILES = 500  # looked up in one statement
JOBS = 20  # forgotten in one transaction: each may have thousands of epochs
STAGED_AGE = timedelta(hours=1)  # storing a sweep takes seconds
STAGED_JOBS = 500  # deleted in one transaction
BREATH_SECONDS = 0.05  # between two, in which others get SQLite's write lock


@dataclass(frozen=True)
class RetentionPolicy:
    """How long things are kept."""

    days: int = 0
    """Ended jobs; 0: for ever."""
    grace_hours: float = 24.0
    """Files that were replaced or whose job or data set was deleted, where they are: longer than a backup takes."""
    trash_days: float = 7.0
    """Files that nobody deleted and no row names, in the trash."""


@dataclass
class CollectionReport:
    """What a collection found and did, and what the next ones are going to do."""

    jobs: int = 0
    deleted: list[str] = field(default_factory=list)
    trashed: list[str] = field(default_factory=list)
    waiting: int = 0  # files that are garbage, but not for long enough
    failed: int = 0  # that could not be removed
    refused: str | None = None  # why strays were left alone

    def __str__(self) -> str:
        """In lines."""
        said = [f"{self.jobs:,} jobs that ended long ago were deleted"] if self.jobs else []
        said += [
            f"{len(self.deleted):,} files that were replaced or deleted are gone",
            f"{len(self.trashed):,} files without a row were moved to the trash",
            f"{self.waiting:,} files wait for their time",
        ]
        said += [f"{self.failed:,} files could not be removed, see the log"] if self.failed else []
        return "\n".join(said + ([self.refused] if self.refused else []))


@dataclass
class Candidates:
    """What there is, by what is to become of it."""

    files: int = 0
    bytes: int = 0
    deletable: list[str] = field(default_factory=list)  # replaced or deleted, for long enough
    strays: list[str] = field(default_factory=list)  # without a row for long enough
    waiting: list[tuple[str, float]] = field(default_factory=list)  # (key, seconds left)

    def sort(self, key: str, mark: Mark | None, now: float, grace: float) -> None:
        """One more file that is garbage."""
        discarded = mark is not None and mark.discarded
        since = now if mark is None or mark.since is None else mark.since
        left = since + (grace if discarded else DAY) - now
        if left > 0:
            self.waiting.append((key, left))
        else:
            (self.deletable if discarded else self.strays).append(key)

    def lines(self) -> Iterator[str]:
        """Each file, and what would become of it."""
        yield from (f"{key}  would be deleted" for key in self.deletable)
        yield from (f"{key}  would be moved to the trash" for key in self.strays)
        yield from (f"{key}  would wait {left / 3_600:.1f} hours more" for key, left in self.waiting)
        yield self.refusal or f"{len(self.deletable) + len(self.strays):,} of {self.files:,} files would go"

    @property
    def refusal(self) -> str | None:
        """Why the strays must not go, if so."""
        strays, share = len(self.strays), len(self.strays) / max(self.files, 1)
        if strays <= STRAYS or share <= STRAY_SHARE:
            return None
        what = f"{strays:,} of {self.files:,} files have no row, {share:.0%}"
        why = "left alone, as the database may be the wrong one or an old one"
        return f"{what}: {why}; see `bestepoch collect --dry-run`, and if they may go, `bestepoch collect --force`"


class Collector:
    """Collects what is due of one database and its artifacts folder."""

    def __init__(self, database: Database, artifacts: Artifacts, keeping: RetentionPolicy) -> None:
        self._database, self._artifacts, self._keeping = database, artifacts, keeping

    def run(self, stop: Event) -> None:
        """Collect about once an hour until `stop` is set; the first time at once, unless another process just has."""
        while not stop.is_set():
            try:
                self._collect(stop, force=False, apart=TURN_SECONDS)
            except (Unavailable, StorageError) as error:
                log.warning("not collected, trying again in an hour or so: %s", error)
            except Misconfigured as error:
                log.error("not collected: %s", error)
                self._count(refused=1)
            except Exception:
                log.exception("not collected, trying again in an hour or so")
                self._count(failed=1)
            stop.wait(TURN_SECONDS * random.uniform(0.9, 1.3))

    def collect(self, stop: Event, *, force: bool = False) -> CollectionReport:
        """Everything once, in steps that hold nobody up; ends early when `stop` is set.

        `force`: take files without a row however many they are. Raises Misconfigured where the artifacts are another
        database's, Unavailable and StorageError.
        """
        done = self._collect(stop, force=force, apart=0.0)
        assert done is not None
        return done

    def _collect(self, stop: Event, *, force: bool, apart: float) -> CollectionReport | None:
        """See `collect`; None when the last collection was begun less than `apart` seconds ago."""
        deployment_id.check(self._database, self._artifacts)
        with self._database.transaction() as connection:
            turn = garbage.begin(connection, apart)
        if turn is None:
            return None
        self._forget_staged(stop)
        done = CollectionReport()
        if self._keeping.days:
            done.jobs = self._forget(turn, stop)
        found = self._find(turn.now, partial(self._mark, turn))
        done.waiting, done.refused = len(found.waiting), None if force else found.refusal
        if done.refused:
            log.error("%s", done.refused)
            self._count(refused=1)
        done.deleted = self._take(found.deletable, self._artifacts.delete, done, stop)
        if not done.refused:
            done.trashed = self._take(found.strays, self._artifacts.move_to_trash, done, stop)
        trash = self._empty(turn, done, stop)
        if done.failed:
            self._count(undeleted=done.failed)
        if not stop.is_set():
            with self._database.transaction() as connection:
                garbage.end(connection, turn, (found.files, found.bytes), trash)
        return done

    def preview(self) -> Candidates:
        """What the next collection would find, and do with it; changes nothing. Raises as `collect` does."""
        deployment_id.check(self._database, self._artifacts)
        with self._database.reading() as connection:
            now = garbage.latest(connection).now
        return self._find(now, self._marks)

    def _forget_staged(self, stop: Event) -> None:
        """Jobs of sweeps whose process died while it stored them."""
        before, count = datetime.now(UTC) - STAGED_AGE, STAGED_JOBS
        while count == STAGED_JOBS and not stop.wait(BREATH_SECONDS):
            with self._database.transaction() as connection:
                count = retention.forget_staged(connection, before, STAGED_JOBS)
            if count:
                log.info("deleted %d jobs of sweeps that were never stored whole", count)

    def _forget(self, turn: CollectionRun, stop: Event) -> int:
        with self._database.reading() as connection:
            today = garbage.earliest_time(connection, turn, DAY)
        if today is None:
            return 0
        before, forgotten, count = min(today, datetime.now(UTC)) - timedelta(days=self._keeping.days), 0, JOBS
        while count == JOBS and not stop.wait(BREATH_SECONDS):
            with self._database.transaction() as connection:
                count = retention.forget_jobs(connection, before, JOBS)
            forgotten += count
        with self._database.transaction() as connection:
            sweeps = retention.forget_sweeps(connection, before)
        if forgotten or sweeps:
            log.info("forgot %d jobs and %d sweeps that ended before %s", forgotten, sweeps, before.date())
        return forgotten

    def _find(self, now: float, marked: Callable[[list[str]], Mapping[str, Mark | None]]) -> Candidates:
        """First the files, then the rows: a file that is named only now is young, or its job is alive."""
        found, files = Candidates(), self._artifacts.files()
        while page := list(islice(files, FILES)):
            found.files += len(page)
            found.bytes += sum(file.size_bytes for file in page)
            with self._database.reading() as connection:
                left = collectable(connection, [file.key for file in page])
            if left:
                for key, mark in marked(sorted(left)).items():
                    found.sort(key, mark, now, self._keeping.grace_hours * 3_600)
        return found

    def _mark(self, turn: CollectionRun, keys: list[str]) -> Mapping[str, Mark]:
        marks: dict[str, Mark] = {}
        for start in range(0, len(keys), FILES):  # the trash may hold many
            with self._database.transaction(quiet=True) as connection:
                marks |= garbage.mark(connection, turn, keys[start : start + FILES])
        return marks

    def _marks(self, keys: list[str]) -> Mapping[str, Mark | None]:
        with self._database.reading() as connection:
            known = garbage.marks(connection, keys)
        return {key: known.get(key) for key in keys}

    def _take(
        self, keys: Sequence[str], remove: Callable[[str], bool], done: CollectionReport, stop: Event
    ) -> list[str]:
        """Remove these, if still no row names them; the keys of those that are gone."""
        taken: list[str] = []
        for start in range(0, len(keys), FILES):
            if stop.is_set():
                break
            with self._database.reading() as connection:
                left = collectable(connection, keys[start : start + FILES])
            gone = [key for key in sorted(left) if remove(key)]
            done.failed += len(left) - len(gone)
            with self._database.transaction(quiet=True) as connection:
                garbage.forget(connection, gone)
            taken += gone
        return taken

    def _empty(self, turn: CollectionRun, done: CollectionReport, stop: Event) -> tuple[int, int]:
        """Delete what has been in the trash or unfinished for long enough; number and bytes of what is in the trash."""
        trash = {file.key: file.size_bytes for file in self._artifacts.trash()}
        kept = {
            **dict.fromkeys(trash, (self._keeping.trash_days * DAY, self._artifacts.delete)),
            **dict.fromkeys(self._artifacts.unfinished(), (DAY, self._artifacts.remove_unfinished)),
        }
        marks = self._mark(turn, list(kept))
        for name, (seconds, remove) in kept.items():
            since = marks[name].since
            if since is None or turn.now - since < seconds or stop.is_set():
                continue
            if remove(name):
                trash.pop(name, None)
            else:
                done.failed += 1
        return len(trash), sum(trash.values())

    def _count(self, *, failed: int = 0, refused: int = 0, undeleted: int = 0) -> None:
        """For /metrics; an error here must not end the thread that has just reported another."""
        try:
            with self._database.transaction(quiet=True) as connection:
                garbage.count(connection, failed=failed, refused=refused, undeleted=undeleted)
        except Exception as error:
            log.warning("not counted: %s", error)
