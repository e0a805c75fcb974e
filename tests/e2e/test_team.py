"""Postgres, an API and two workers in processes of their own, as a team runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from examples.local_service import wait_until_warm
from service.settings import free_port
from tests.databases import postgres_database
from tests.processes import wait_for_end
from tests.specs import REFERENCE

KEY = {"Authorization": "Bearer correct-horse"}


def bestepoch(environment: dict[str, str], *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "service.cli", *arguments], env=environment)


@pytest.fixture
def team(postgres: str, tmp_path: Path) -> Iterator[httpx2.Client]:
    """A client, without a key, of the API of a team."""
    port = str(free_port("127.0.0.1"))
    with postgres_database(postgres) as url:
        environment = {
            **os.environ,
            "BESTEPOCH_HOME": str(tmp_path / "home"),
            "BESTEPOCH_DATABASE_URL": url,
            "BESTEPOCH_ARTIFACTS_URL": str(tmp_path / "shared"),
            "BESTEPOCH_API_KEY": "correct-horse",
            "BESTEPOCH_TRAINERS": "1",
            "BESTEPOCH_LOG_LEVEL": "warning",
        }
        too_early = bestepoch(environment, "worker")
        assert too_early.wait(30) == 2
        assert bestepoch(environment, "migrate").wait(30) == 0
        members = [("api", "--port", port), ("worker",), ("worker",)]
        processes = [bestepoch(environment, *member) for member in members]
        try:
            with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=70.0) as client:
                wait_until_warm(client, processes[0], workers=2, headers=KEY)
                yield client
        finally:
            for process in processes:
                process.terminate()
            codes = [process.wait(40) for process in processes]
        assert codes == [0, 0, 0]


def test_jobs_of_a_team_are_shared_by_its_workers_and_need_the_key(team: httpx2.Client) -> None:
    assert team.post("/v1/jobs", json=REFERENCE).status_code == 401
    longer = {**REFERENCE, "early_stopping": None, "max_epochs": 400}
    specs = [{**longer, "batch_size": size} for size in (64, 100, 128, 200, 256, "full")]

    submitted = [team.post("/v1/jobs", json=spec, headers=KEY).json()["id"] for spec in specs]
    jobs = [wait_for_end(team, f"/v1/jobs/{job_id}", headers=KEY) for job_id in submitted]

    assert [job["status"] for job in jobs] == ["succeeded"] * len(specs)
    assert len({job["worker"] for job in jobs}) == 2
    best = jobs[0]["best"]["checkpoint"]
    assert len(team.get(best["download_url"], headers=KEY).content) == best["size_bytes"]
    assert team.get(best["download_url"]).status_code == 401
