"""Where claimed jobs go on: their saved states and the histories up to there, checked."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from service.domain.checkpoint import Checkpoint, CheckpointKind
from service.domain.epoch import Epoch
from service.domain.event import EventKind
from service.errors import CheckpointCorrupt
from service.store import checkpoints, epochs
from service.store.jobs.events import NewEvent
from service.training.checkpoint import Metadata, to_bytes
from service.training.loop import Start
from service.training.snapshot import from_bytes
from service.worker.member import Weights

if TYPE_CHECKING:
    from service.artifacts import Artifacts
    from service.data.preprocess.preprocessing import Preprocessing
    from service.spec.resolved import Resolved
    from service.store.engine import Database
    from service.store.jobs.claim import Claim

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Saved:
    """What the database knows of where a job goes on."""

    state: Checkpoint | None
    rows: Sequence[Epoch] = ()
    best: Checkpoint | None = None


def saved(database: Database, claims: Sequence[Claim]) -> list[Saved]:
    """What is saved of each job."""
    ids = [claim.job_id for claim in claims]
    with database.reading() as connection:
        states = checkpoints.of_jobs(connection, ids, CheckpointKind.state)
        bests = checkpoints.of_jobs(connection, states.keys(), CheckpointKind.best)
        rows = {job_id: epochs.read(connection, job_id, limit=state.epoch) for job_id, state in states.items()}
    return [Saved(states.get(job_id), rows.get(job_id, ()), bests.get(job_id)) for job_id in ids]


def start(artifacts: Artifacts, saved: Saved) -> tuple[Start, dict[str, str]] | None:
    """Where the job goes on, and what made the state; None: it begins, as nothing sound is saved.

    Beginning anew costs time alone: it leads to the same bits.
    """
    if saved.state is None:
        return None
    try:
        data = artifacts.path(saved.state.path).read_bytes()
        if hashlib.sha256(data).hexdigest() != saved.state.sha256:
            raise CheckpointCorrupt("the saved state has changed")
        snapshot, made_by = from_bytes(data)
        if [row.epoch for row in saved.rows] != list(range(1, snapshot.epoch + 1)):
            raise CheckpointCorrupt("the history does not reach to the saved state")
    except (CheckpointCorrupt, OSError) as error:
        log.warning("a job begins anew: %s", error)
        return None
    return Start(snapshot, saved.rows), made_by


def best(start: Start, job: Resolved, preprocessing: Preprocessing) -> Weights | None:
    """The best weights so far, packed from the saved state; None: there are none yet."""
    snapshot = start.snapshot
    if not snapshot.best_epoch:
        return None
    row = start.rows[snapshot.best_epoch - 1]
    weights = snapshot.weights if snapshot.best is None else snapshot.best
    return Weights(row, lambda: to_bytes(weights, Metadata.of(job, preprocessing, row)))


def entry(job_id: str, start: Start, differs: dict[str, list[str]]) -> NewEvent:
    """What the job's log says of a start; `differs`: see `differing`."""
    epoch = start.snapshot.epoch
    details = {"epoch": epoch, "exact": not differs, "differs": differs}
    if not epoch:
        return NewEvent(job_id, EventKind.resumed, "begins with the best weights of the other job", details)
    changed = "; ".join(f"{name} was {old} and is {new}" for name, (old, new) in differs.items())
    how = f"perhaps not to the same bits: {changed}" if changed else "to the same bits"
    return NewEvent(job_id, EventKind.resumed, f"goes on after epoch {epoch}, {how}", details)


def anew(job_id: str) -> NewEvent:
    """The same of a job whose saved state is lost."""
    details = {"epoch": 0, "exact": True, "differs": {}}
    return NewEvent(job_id, EventKind.resumed, "begins anew: its saved state is missing or has changed", details)


def differing(before: dict[str, str], now: dict[str, str]) -> dict[str, list[str]]:
    """What decides on the bits of a result and is not what it was: {name: [before, now]}."""
    return {name: [old, now[name]] for name, old in before.items() if now.get(name, old) != old}
