"""A suspended worker that wakes after its lease has expired changes nothing."""

from __future__ import annotations

import os
import signal

from tests.faults.teams import Team
from tests.faults.test_resuming import SPEC, ended, outcome
from tests.processes import get, linux_only, submit, until


@linux_only
def test_writes_of_a_worker_suspended_past_its_lease_are_fenced_off(team: Team) -> None:
    spec = {**SPEC, "max_epochs": 300}
    undisturbed = ended(team.client, submit(team.client, spec))
    job_id = submit(team.client, spec)
    before = until(lambda: (job := get(team.client, job_id))["progress"]["epoch"] > 20 and job)
    zombies = team.family_of(before)
    for pid in zombies:
        os.kill(pid, signal.SIGSTOP)

    job = ended(team.client, job_id)
    for pid in zombies:
        os.kill(pid, signal.SIGCONT)
    until(lambda: f"lease lost: attempt 1 of {job_id}" in team.logs())

    log = team.client.get(f"/v1/jobs/{job_id}/events").json()["data"]
    assert (job["status"], job["attempt"]) == ("succeeded", 2)
    # Not `failures`, which the new attempt has set back if it took long enough to save its state.
    assert [event["details"]["code"] for event in log if event["kind"] == "retried"] == ["worker_lost"]
    assert job["worker"] != before["worker"]
    assert get(team.client, job_id) == job
    assert outcome(team.client, job) == outcome(team.client, undisturbed)
    assert team.problems() == []
