"""The script of Slurm as Slurm runs it: by bash, with Slurm's variables, and a signal to the shell before the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.cluster.manifests import ROOT
from tests.faults.teams import Team, bestepoch
from tests.processes import ENDLESS, get, linux_only, submit, until, worker_of

SCRIPT = ROOT / "deploy/slurm/workers.sbatch"


@linux_only
@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_worker_of_slurm_trains_and_leaves_its_jobs_to_others_at_its_time_limit(
    database_url: str, tmp_path: Path
) -> None:
    settings, node = tmp_path / "bestepoch.env", tmp_path / "node"
    node.mkdir()
    settings.write_text(f"BESTEPOCH_DATABASE_URL={database_url}\nBESTEPOCH_ARTIFACTS_URL={tmp_path}/home/artifacts\n")
    slurm = {"SLURM_JOB_ID": "7", "SLURM_CPUS_PER_TASK": "1", "SLURM_TMPDIR": str(node)}
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.defpath}", "HOME": str(tmp_path), **slurm}
    team = Team(database_url, tmp_path / "home")
    with bestepoch(team.environment, "api", "--port", str(team.port)), closing(team.client):
        until(team.answers, 120)
        job = submit(team.client, ENDLESS)
        script = subprocess.Popen(["bash", str(SCRIPT), str(settings)], env=environment, cwd=tmp_path)
        try:
            until(lambda: get(team.client, job)["progress"]["epoch"] or script.poll() is not None, 120)
            assert script.poll() is None
            assert worker_of(team.client) == script.pid  # which Slurm sends the signal to
            (worker,) = team.client.get("/v1/workers").json()["data"]

            script.send_signal(signal.SIGTERM)
            code = script.wait(120)
        finally:
            script.kill()
            script.wait()
        left = get(team.client, job)

    assert (code, left["status"]) == (0, "queued")
    assert worker["trainers"] == 1
    assert (node / "bestepoch-7/logs").is_dir()
