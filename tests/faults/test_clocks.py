"""Jumps of the wall clock do not affect leases."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from examples.local_service import wait_until_warm
from tests.faults.teams import LEASE, Team
from tests.processes import get, linux_only

FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


@pytest.fixture
def jumping_clock(database_url: str, tmp_path: Path) -> Iterator[tuple[Team, Path]]:
    """Two workers, and the file with the offset of the second one's wall clock in seconds."""
    offset = tmp_path / "offset"
    offset.write_text("+0")
    with Team(database_url, tmp_path / "home").at_work(workers=1) as team:
        team.environment |= {
            "LD_PRELOAD": str(FAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(offset),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        team.workers.append(team.start("worker"))
        wait_until_warm(team.client, team.api, workers=2)
        yield team, offset


@linux_only
@pytest.mark.skipif(FAKETIME is None, reason="needs libfaketime (Debian's package faketime)")
@pytest.mark.parametrize("jump", ["+3600", "-3600"])
def test_a_clock_jump_of_an_hour_takes_no_job_from_a_worker(jumping_clock: tuple[Team, Path], jump: str) -> None:
    team, offset = jumping_clock
    before = team.running(2)
    assert {team.pid_of(job) for job in before} == {worker.pid for worker in team.workers}

    offset.write_text(jump)
    time.sleep(LEASE * 2)

    after = [get(team.client, job["id"]) for job in before]
    assert [(job["attempt"], job["failures"], job["worker"]) for job in after] == [
        (1, 0, job["worker"]) for job in before
    ]
    assert all(one["progress"]["epoch"] < other["progress"]["epoch"] for one, other in zip(before, after, strict=True))
    team.cancel_all()
    ended = [get(team.client, job["id"], wait=20) for job in before]
    assert [job["status"] for job in ended] == ["cancelled"] * 2
    one, other = (datetime.fromisoformat(job["finished_at"]) for job in ended)
    assert 3_500 < abs((one - other).total_seconds()) < 3_700, "the clock has not jumped"
    assert team.problems() == []
