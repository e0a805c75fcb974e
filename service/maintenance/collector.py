"""Mark-and-sweep garbage collector: deletes old ended jobs, and artifacts that no row refers to.

One collection marks a file and another one, at least a day later, removes it, by a clock that is independent of the
wall clock (`store/maintenance/garbage.py`).
"""

from __future__ import annotations

import logging
import random
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from service.errors import Misconfigured, StorageError, Unavailable
from service.maintenance import deployment_id
from service.maintenance.uploads import collect_parts, collect_uploads
from service.store.maintenance import garbage, retention
from service.store.maintenance.artifact_refs import collectable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from threading import Event

    from service.artifacts import Artifacts
    from service.store.engine import Database
    from service.store.maintenance.garbage import CollectionRun, Mark

log = logging.getLogger(__name__)

INTERVAL_SECONDS = 3_600.0  # between collections, over all processes
PARTS_SECONDS = 300.0  # between looks at the sizes of parts that clients put by presigned URLs, which have no limit
DAY = 24 * 3_600.0  # minimum age of garbage that no transaction has discarded
ORPHAN_SHARE = 0.25  # of all files: a larger share suggests a wrong database
MAX_ORPHANS = 100  # are removed whatever their share
FILES = 500  # looked up in one statement
JOBS = 20  # deleted in one transaction: each may have thousands of epochs
STAGED_AGE = timedelta(hours=1)  # storing a sweep takes seconds
STAGED_JOBS = 500  # deleted in one transaction
YIELD_SECONDS = 0.05  # between transactions, to let others take SQLite's write lock


@dataclass(frozen=True)
class RetentionPolicy:
    """Retention times."""

    days: int = 0
    """Of ended jobs; 0: forever."""
    grace_hours: float = 24.0
    """Of replaced and deleted files, in place: must be longer than a backup takes."""
    trash_days: float = 7.0
    """Of orphaned files, in the trash."""


@dataclass
class CollectionReport:
    """Result of a collection."""

    jobs: int = 0
    parts: int = 0  # of uploads that have expired
    deleted: list[str] = field(default_factory=list)
    trashed: list[str] = field(default_factory=list)
    waiting: int = 0  # garbage that is not old enough
    failed: int = 0  # files that could not be removed
    refused: str | None = None  # why orphans were kept

    def __str__(self) -> str:
        """The result in lines of text."""
        lines = [f"deleted {_count(self.jobs, 'old job')}"] if self.jobs else []
        lines += [f"deleted {_count(self.parts, 'part')} of expired uploads"] if self.parts else []
        lines += [
            f"deleted {_count(len(self.deleted), 'replaced or deleted file')}",
            f"moved {_count(len(self.trashed), 'orphaned file')} to the trash",
            f"{_count(self.waiting, 'file')} waiting for the end of the grace period",
        ]
        lines += [f"could not remove {_count(self.failed, 'file')}, see the log"] if self.failed else []
        return "\n".join(lines + ([self.refused] if self.refused else []))


@dataclass
class Candidates:
    """Garbage, by what is to be done with it."""

    files: int = 0
    bytes: int = 0
    deletable: list[str] = field(default_factory=list)  # discarded, after the grace period
    orphans: list[str] = field(default_factory=list)  # unreferenced for a day
    waiting: list[tuple[str, float]] = field(default_factory=list)  # (key, seconds left)

    def add(self, key: str, mark: Mark | None, now: float, grace: float) -> None:
        """Add a file that is garbage."""
        discarded = mark is not None and mark.discarded
        since = now if mark is None or mark.since is None else mark.since
        left = since + (grace if discarded else DAY) - now
        if left > 0:
            self.waiting.append((key, left))
        else:
            (self.deletable if discarded else self.orphans).append(key)

    def lines(self) -> Iterator[str]:
        """Each file and what would be done with it, for a dry run."""
        yield from (f"{key}  would be deleted" for key in self.deletable)
        yield from (f"{key}  would be moved to the trash" for key in self.orphans)
        yield from (f"{key}  would be removed in {left / 3_600:.1f} hours" for key, left in self.waiting)
        yield self.refusal or f"{len(self.deletable) + len(self.orphans):,} of {self.files:,} files would be removed"

    @property
    def refusal(self) -> str | None:
        """Why the orphans must not be removed; None if they may."""
        orphans, share = len(self.orphans), len(self.orphans) / max(self.files, 1)
        if orphans <= MAX_ORPHANS or share <= ORPHAN_SHARE:
            return None
        what = f"{orphans:,} of {self.files:,} files ({share:.0%}) are orphaned"
        why = "not removed, as the database may be wrong or outdated"
        return f"{what}: {why}; list them with `bestepoch collect --dry-run`, remove them with `--force`"


class Collector:
    """Collects the garbage of a database and its artifacts folder. `presigned`: clients put parts by URLs."""

    def __init__(
        self, database: Database, artifacts: Artifacts, retention: RetentionPolicy, *, presigned: bool = False
    ) -> None:
        self._database, self._artifacts, self._retention = database, artifacts, retention
        self._presigned = presigned

    def run(self, stop: Event) -> None:
        """Collect about once an hour until `stop` is set, and at once unless another process has just collected."""
        while not stop.is_set():
            try:
                self._collect(stop, force=False, min_interval=INTERVAL_SECONDS)
            except (Unavailable, StorageError) as error:
                log.warning("garbage collection failed, retrying in about an hour: %s", error)
            except Misconfigured as error:
                log.error("garbage collection refused: %s", error)
                self._count(refused=1)
            except Exception:
                log.exception("garbage collection failed, retrying in about an hour")
                self._count(failed=1)
            self._pause(stop, INTERVAL_SECONDS * random.uniform(0.9, 1.3))

    def _pause(self, stop: Event, seconds: float) -> None:
        """Wait, with a look at the parts of uploads now and then."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not stop.wait(min(left, PARTS_SECONDS)):
            if self._presigned:
                try:
                    collect_parts(self._database, self._artifacts, stop)
                except (Unavailable, StorageError) as error:
                    log.warning("the sizes of parts of uploads cannot be checked: %s", error)

    def collect(self, stop: Event, *, force: bool = False) -> CollectionReport:
        """Collect once, in short transactions; ends early when `stop` is set.

        `force`: remove orphans however many they are. Raises Misconfigured if the artifacts belong to another
        database, Unavailable and StorageError.
        """
        done = self._collect(stop, force=force, min_interval=0.0)
        assert done is not None
        return done

    def _collect(self, stop: Event, *, force: bool, min_interval: float) -> CollectionReport | None:
        """See `collect`; None when the last collection began less than `min_interval` seconds ago."""
        deployment_id.check(self._database, self._artifacts)
        with self._database.transaction() as connection:
            run = garbage.begin(connection, min_interval)
        if run is None:
            return None
        self._delete_staged(stop)
        done = CollectionReport(parts=collect_uploads(self._database, self._artifacts, stop))
        if self._retention.days:
            done.jobs = self._delete_jobs(run, stop)
        found = self._find(run.now, partial(self._mark, run))
        done.waiting, done.refused = len(found.waiting), None if force else found.refusal
        if done.refused:
            log.error("%s", done.refused)
            self._count(refused=1)
        done.deleted = self._remove(found.deletable, self._artifacts.delete, done, stop)
        if not done.refused:
            done.trashed = self._remove(found.orphans, self._artifacts.move_to_trash, done, stop)
        trash = self._empty_trash(run, done, stop)
        if done.failed:
            self._count(undeleted=done.failed)
        if not stop.is_set():
            with self._database.transaction() as connection:
                garbage.end(connection, run, (found.files, found.bytes), trash)
        return done

    def preview(self) -> Candidates:
        """What the next collection would do; changes nothing. Raises as `collect` does."""
        deployment_id.check(self._database, self._artifacts)
        with self._database.reading() as connection:
            now = garbage.latest(connection).now
        return self._find(now, self._marks)

    def _delete_staged(self, stop: Event) -> None:
        """Delete jobs of sweeps whose process crashed while storing them."""
        before, count = datetime.now(UTC) - STAGED_AGE, STAGED_JOBS
        while count == STAGED_JOBS and not stop.wait(YIELD_SECONDS):
            with self._database.transaction() as connection:
                count = retention.delete_staged(connection, before, STAGED_JOBS)
            if count:
                log.info("deleted %d jobs of incomplete sweeps", count)

    def _delete_jobs(self, run: CollectionRun, stop: Event) -> int:
        with self._database.reading() as connection:
            today = garbage.earliest_time(connection, run, DAY)
        if today is None:
            return 0
        before, deleted, count = min(today, datetime.now(UTC)) - timedelta(days=self._retention.days), 0, JOBS
        while count == JOBS and not stop.wait(YIELD_SECONDS):
            with self._database.transaction() as connection:
                count = retention.delete_jobs(connection, before, JOBS)
            deleted += count
        with self._database.transaction() as connection:
            sweeps = retention.delete_sweeps(connection, before)
        if deleted or sweeps:
            log.info("deleted %d jobs and %d sweeps that ended before %s", deleted, sweeps, before.date())
        return deleted

    def _find(self, now: float, get_marks: Callable[[list[str]], Mapping[str, Mark | None]]) -> Candidates:
        """Lists files first, then reads rows: a file that gets its row in between is new, or its job is live."""
        found, files = Candidates(), self._artifacts.files()
        while page := list(islice(files, FILES)):
            found.files += len(page)
            found.bytes += sum(file.size_bytes for file in page)
            with self._database.reading() as connection:
                left = collectable(connection, [file.key for file in page])
            if left:
                for key, mark in get_marks(sorted(left)).items():
                    found.add(key, mark, now, self._retention.grace_hours * 3_600)
        return found

    def _mark(self, run: CollectionRun, keys: list[str]) -> Mapping[str, Mark]:
        marks: dict[str, Mark] = {}
        for start in range(0, len(keys), FILES):  # the trash may contain many
            with self._database.transaction(quiet=True) as connection:
                marks |= garbage.mark(connection, run, keys[start : start + FILES])
        return marks

    def _marks(self, keys: list[str]) -> Mapping[str, Mark | None]:
        with self._database.reading() as connection:
            known = garbage.marks(connection, keys)
        return {key: known.get(key) for key in keys}

    def _remove(
        self, keys: Sequence[str], remove: Callable[[str], bool], done: CollectionReport, stop: Event
    ) -> list[str]:
        """Remove these files if they are still garbage; returns the keys of the removed ones."""
        removed: list[str] = []
        for start in range(0, len(keys), FILES):
            if stop.is_set():
                break
            with self._database.reading() as connection:
                left = collectable(connection, keys[start : start + FILES])
            gone = [key for key in sorted(left) if remove(key)]
            done.failed += len(left) - len(gone)
            with self._database.transaction(quiet=True) as connection:
                garbage.forget(connection, gone)
            removed += gone
        return removed

    def _empty_trash(self, run: CollectionRun, done: CollectionReport, stop: Event) -> tuple[int, int]:
        """Delete old trash and old unfinished files; returns number and bytes of the files left in the trash."""
        trash = {file.key: file.size_bytes for file in self._artifacts.trash()}
        kept = {
            **dict.fromkeys(trash, (self._retention.trash_days * DAY, self._artifacts.delete)),
            **dict.fromkeys(self._artifacts.unfinished(), (DAY, self._artifacts.remove_unfinished)),
        }
        marks = self._mark(run, list(kept))
        for name, (seconds, remove) in kept.items():
            since = marks[name].since
            if since is None or run.now - since < seconds or stop.is_set():
                continue
            if remove(name):
                trash.pop(name, None)
            else:
                done.failed += 1
        return len(trash), sum(trash.values())

    def _count(self, *, failed: int = 0, refused: int = 0, undeleted: int = 0) -> None:
        """Count for /metrics; must not raise, as it runs in error handlers of the collector thread."""
        try:
            with self._database.transaction(quiet=True) as connection:
                garbage.count(connection, failed=failed, refused=refused, undeleted=undeleted)
        except Exception as error:
            log.warning("failure not counted: %s", error)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
