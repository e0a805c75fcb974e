"""Attempt logs: one per attempt, kept after a crash, bounded in size, number and age."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from service.store.jobs.claim import Claim
from service.worker import attempt_logs
from service.worker.attempt_logs import LogRotation, path_of, prune_logs, tail, trim
from tests.specs import synthetic


def claims(*job_ids: str, attempt: int = 1) -> list[Claim]:
    spec = synthetic().spec
    return [Claim(job_id, attempt, spec) for job_id in job_ids]


def log(folder: Path, name: str, data: bytes = b"x" * 100, age: float = 0.0) -> Path:
    path = folder / name
    path.write_bytes(data)
    os.utime(path, (time.time() - age,) * 2)
    return path


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_all_output_of_a_process_is_in_its_attempts_log_which_the_array_shares(tmp_path: Path) -> None:
    code = f"""
import faulthandler, os, pathlib, sys
from types import SimpleNamespace as Claim
from service.worker import attempt_logs
folder = pathlib.Path({str(tmp_path)!r})
attempt_logs.begin(folder, [Claim(job_id="job_a", attempt=1)])
print("first attempt", flush=True)
attempt_logs.begin(folder, [Claim(job_id="job_a", attempt=2), Claim(job_id="job_b", attempt=7)])
faulthandler.enable()
os.write(1, b"from C")
os.abort()
"""
    subprocess.run([sys.executable, "-c", code], check=False)

    assert (tmp_path / "job_a-1.log").read_text() == "first attempt\n"
    second = tail(path_of(tmp_path, claims("job_a", attempt=2)))
    assert second is not None
    assert second.startswith("from C")
    assert "Fatal Python error: Aborted" in second
    assert (tmp_path / "job_b-7.log").read_text() == second


def test_a_log_tail_is_short_and_valid_in_json(tmp_path: Path) -> None:
    path = log(tmp_path, "job_a-1.log", b"start" + b"\0\xff" * 10_000 + b"end")

    found = tail(tmp_path / "missing.log", path)

    assert found is not None
    assert (len(found) <= attempt_logs.TAIL_BYTES, found.endswith("end"), "\0" in found) == (True, True, False)
    assert tail(tmp_path / "missing.log", log(tmp_path, "job_b-1.log", b"")) is None


def test_a_log_that_grows_keeps_its_end_while_it_is_written(tmp_path: Path) -> None:
    path = log(tmp_path, "job_a-1.log", b"0" * 2_500 + b"1" * 1_000)
    with path.open("ab", buffering=0) as writer:
        trim(path, 1_000)
        writer.write(b"2")
        trim(path, 1_000)  # it is short enough now

    assert path.read_bytes() == b"(truncated)\n" + b"1" * 1_000 + b"2"


def test_the_oldest_logs_go_first_by_bytes_by_number_and_by_age(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        log(tmp_path, f"job_{number}-1.log", age=number * 10)
    (tmp_path / "job_5b-1.log").symlink_to("job_5-1.log")
    (tmp_path / "job_0b-1.log").symlink_to("job_0-1.log")

    prune_logs(tmp_path, 450)
    assert names(tmp_path) == {*(f"job_{number}-1.log" for number in range(4)), "job_0b-1.log"}
    monkeypatch.setattr(attempt_logs, "MAX_FILES", 3)
    prune_logs(tmp_path, 450)
    assert names(tmp_path) == {"job_0-1.log", "job_1-1.log", "job_0b-1.log"}
    log(tmp_path, "job_0-1.log", age=attempt_logs.MAX_SECONDS + 10)
    prune_logs(tmp_path, 450)
    assert names(tmp_path) == {"job_1-1.log"}


def test_a_log_in_use_is_never_the_oldest(tmp_path: Path) -> None:
    quiet = log(tmp_path, "job_quiet-1.log", age=attempt_logs.MAX_SECONDS * 2)
    log(tmp_path, "job_old-1.log", b"x" * 2**20, age=10)

    LogRotation(tmp_path, 2**20).rotate([quiet, tmp_path / "job_gone-1.log"])

    assert names(tmp_path) == {"job_quiet-1.log"}
    LogRotation(tmp_path / "nowhere", 2**20).rotate([])
