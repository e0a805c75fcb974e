"""Resumes attempts: reads the saved state and the history up to there, checks them, and sets the resume point."""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING

from service.domain.checkpoint import Checkpoint, CheckpointKind
from service.domain.event import EventKind
from service.errors import CheckpointCorrupt
from service.store import checkpoints, epochs
from service.store.jobs.events import NewEvent
from service.training.loop import ResumePoint
from service.training.snapshot import from_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service.artifacts import Artifacts
    from service.domain.epoch import Epoch
    from service.store.engine import Database
    from service.worker.attempt import Attempt

log = logging.getLogger(__name__)

LOST = "its saved state is missing or has changed"
OTHER_ENGINE = "another version of the engine, which rounds large networks differently, saved its state"

SavedState = tuple[Checkpoint, "Sequence[Epoch]", "Checkpoint | None"]
"""The file of a saved state, the history up to its epoch, and the best checkpoint published by then."""
KINDS = (CheckpointKind.mid_epoch, CheckpointKind.state)


def saved_states(database: Database, attempts: Sequence[Attempt]) -> list[list[SavedState]]:
    """What the database has of each attempt's job to resume from, the latest first."""
    ids = [attempt.claim.job_id for attempt in attempts]
    with database.reading() as connection:
        found = [checkpoints.of_jobs(connection, ids, kind) for kind in KINDS]
        states = {i: sorted((of[i] for of in found if i in of), key=_latest_first) for i in ids}
        bests = checkpoints.of_jobs(connection, [i for i in ids if states[i]], CheckpointKind.best)
        rows = {i: epochs.read(connection, i, limit=states[i][0].epoch) for i in ids if states[i]}
    return [[(state, rows[i][: state.epoch], bests.get(i)) for state in states[i]] for i in ids]


def _latest_first(state: Checkpoint) -> tuple[int, bool]:
    return -state.epoch, state.kind is CheckpointKind.state


def resume(artifacts: Artifacts, attempt: Attempt, saved: Sequence[SavedState], machine: dict[str, str]) -> None:
    """Set where the attempt resumes; `machine`: this one's fingerprint.

    Without a sound state of the same engine it starts at epoch 1, which takes time but gives the bits of an
    uninterrupted run. Raises CheckpointCorrupt for a fork, which cannot start without its parent's weights.
    """
    if not saved:
        return
    attempt.mid_epoch = any(state.kind is CheckpointKind.mid_epoch for state, *_ in saved)
    (state, rows, best), *earlier = saved
    try:
        point, made_by = _read(artifacts, state, rows)
    except (CheckpointCorrupt, OSError) as error:
        if earlier:
            log.warning("a job resumes from an earlier state: %s", error)
            resume(artifacts, attempt, earlier, machine)
            return
        if attempt.claim.forked:
            message = "the saved state that the fork resumes from is missing or has changed"
            raise CheckpointCorrupt(message) from error
        log.warning("a job starts over: %s", error)
        attempt.resumed_after = 0
        attempt.events.append(_start_over(attempt.claim.job_id, LOST, {}))
        return
    differences = _differences(made_by, machine)
    if "engine" in differences and not attempt.claim.forked:
        log.warning("a job starts over: an earlier version of the engine saved its state")
        attempt.resumed_after = 0
        attempt.events.append(_start_over(attempt.claim.job_id, OTHER_ENGINE, differences))
        return
    snapshot = point.snapshot
    attempt.resume_point, attempt.resumed_after, attempt.epoch = point, snapshot.epoch, snapshot.epoch
    attempt.seconds = sum(row.seconds for row in rows)
    attempt.best = rows[snapshot.best_epoch - 1] if snapshot.best_epoch else None
    attempt.published = best
    attempt.events.append(_resumed(attempt.claim.job_id, point, differences))


def _read(artifacts: Artifacts, state: Checkpoint, rows: Sequence[Epoch]) -> tuple[ResumePoint, dict[str, str]]:
    """The resume point, and the fingerprint of the machine that made it."""
    data = artifacts.path(state.path, state.sha256).read_bytes()
    if hashlib.sha256(data).hexdigest() != state.sha256:
        raise CheckpointCorrupt("the saved state has changed")
    snapshot, made_by = from_bytes(data)
    if [row.epoch for row in rows] != list(range(1, snapshot.epoch + 1)):
        raise CheckpointCorrupt("the history does not reach the saved state")
    return ResumePoint(snapshot, rows), made_by


def _resumed(job_id: str, point: ResumePoint, differences: dict[str, list[str]]) -> NewEvent:
    """The entry of the job's log; `differences`: see `_differences`."""
    epoch, partial = point.snapshot.epoch, point.snapshot.partial
    details = {"epoch": epoch, "exact": not differences, "differs": differences}
    if not epoch and partial is None:
        return NewEvent(job_id, EventKind.resumed, "starts with the best weights of the parent job", details)
    changed = "; ".join(f"{name} was {old}, is {new}" for name, (old, new) in differences.items())
    how = f"perhaps not bit-identical: {changed}" if changed else "bit-identical"
    where = f"epoch {epoch}" if partial is None else f"step {partial.step} of epoch {epoch + 1}"
    return NewEvent(job_id, EventKind.resumed, f"resumed after {where} ({how})", details)


def _start_over(job_id: str, reason: str, differences: dict[str, list[str]]) -> NewEvent:
    """The entry of the job's log when its saved state cannot be resumed."""
    details = {"epoch": 0, "exact": True, "differs": differences}
    return NewEvent(job_id, EventKind.resumed, f"starts over: {reason}", details)


def _differences(before: dict[str, str], now: dict[str, str]) -> dict[str, list[str]]:
    """The parts of a fingerprint that have changed: {name: [before, now]}."""
    return {name: [old, now[name]] for name, old in before.items() if now.get(name, old) != old}
