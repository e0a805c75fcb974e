"""Two trainers on one table: its rows are prepared once, and mapped by both."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from examples.local_service import running_service
from tests.processes import ENDLESS, get, linux_only, submit, trainers_of, until, wait_for_end

TABLE: dict[str, Any] = {"kind": "synthetic", "rows": 50_000, "features": 50}


def shared_bytes(pid: int, name: str) -> int:
    """Memory of a process, in bytes, that it shares with others, of the files whose path contains `name`."""
    found, counts = 0, False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if "-" in line.split()[0]:
            counts = name in line
        elif counts and line.startswith("Shared"):
            found += int(line.split()[1]) * 1024
    return found


def weights(client: httpx2.Client, seed: int) -> bytes:
    """The best weights of a short job on the table."""
    job = submit(client, {"data": TABLE, "seed": seed, "max_epochs": 2, "batch_size": 1_024})
    assert wait_for_end(client, f"/v1/jobs/{job}")["status"] == "succeeded"
    return client.get(f"/v1/jobs/{job}/checkpoints/best/download").raise_for_status().content


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder with a path that is short enough for sockets."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@linux_only
def test_trainers_share_the_rows_of_a_table_and_the_results_stay_the_same(tmp_path: Path, temporary: Path) -> None:
    home = tmp_path / "home"
    (temporary / "bestepoch-rows-stale").mkdir()
    settings = {"BESTEPOCH_TRAINERS": "2", "BESTEPOCH_ARRAY_WIDTH": "1", "BESTEPOCH_LOG_LEVEL": "info"}
    with running_service(home, TMPDIR=str(temporary), **settings) as client:
        both = [submit(client, {**ENDLESS, "data": TABLE, "batch_size": 1_024, "seed": seed}) for seed in (0, 1)]
        for job in both:
            until(lambda job=job: get(client, job)["progress"]["epoch"] >= 1, 60)

        held = [shared_bytes(pid, "bestepoch-rows-") for pid in trainers_of(client)]

        logs = [(home / "logs" / f"{job}-1.log").read_text() for job in both]
        for job in both:
            client.post(f"/v1/jobs/{job}/cancel")
        shared = weights(client, 2)
        (folder,) = temporary.glob("bestepoch-rows-*")
        assert len(list(folder.glob("*.rows"))) == 1
    with running_service(tmp_path / "other", BESTEPOCH_TRAINERS="1") as client:
        own = weights(client, 2)

    assert min(held) > 40_000 * 64 * 4
    assert sorted("mapped rows" in text for text in logs) == [False, True], logs
    assert shared == own
    assert list(temporary.glob("bestepoch-rows-*")) == []
