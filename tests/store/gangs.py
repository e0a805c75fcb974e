"""Workers that join gangs, and jobs on several devices, for the tests of the store."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from service.store import workers
from service.store.engine import Database
from service.store.jobs import gangs
from service.store.jobs.gang_order import Member
from service.store.jobs.gangs import Step
from tests.store.records import submit

DATA = {"kind": "synthetic", "rows": 100, "features": 3}
ONE = Member("wrk_1", "cpu", trainers=1, free=1, lease_seconds=15.0, gang_seconds=60.0)
BUSY = replace(ONE, free=0)
TWO, THREE = replace(ONE, worker="wrk_2"), replace(ONE, worker="wrk_3")


def register(database: Database, *members: Member, **fields: Any) -> None:
    """Heartbeats of these workers, with a trainer each; `fields`: of their rows."""
    now = datetime.now(UTC)
    with database.transaction() as connection:
        for member in members:
            info = {"id": member.worker, "hostname": "h", "pid": 1, "trainers": 1, "device": member.kind, "jobs": []}
            workers.heartbeat(connection, workers.WorkerInfo(**info | fields, started_at=now, seen_at=now))


def step(database: Database, by: Member, *skipped: str, max_running: int = 0) -> Step:
    with database.transaction() as connection:
        return gangs.step(connection, by, skipped, max_running=max_running)


def submit_on(database: Database, devices: int, **fields: object) -> str:
    return submit(database, data=DATA, parallel={"devices": devices}, **fields).id
