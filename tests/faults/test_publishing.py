"""Checkpoints during crashes, suspensions and disk errors: always a complete old or new one."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from service.artifacts import Artifacts
from service.domain.checkpoint import CheckpointKind
from service.domain.job import JobError
from service.domain.status import ErrorCode, Status
from service.maintenance.deployment_id import pair
from service.maintenance.doctor import Doctor
from service.store import checkpoints
from service.store.engine import Database
from service.store.jobs import leases
from service.store.jobs.claim import Claim
from service.store.maintenance.artifact_refs import referenced
from service.training.progress import ProgressCounter
from service.worker import recorder
from service.worker.protocol import CheckpointPolicy
from service.worker.trainer import Trainer
from tests.api.job_factory import JobFactory
from tests.faults.teams import Team
from tests.faults.test_resuming import ended
from tests.maintenance.collector_helpers import collect
from tests.object_store import in_s3
from tests.processes import get, linux_only, submit, until
from tests.store import records
from tests.worker.attempts import Told, outcome

SPEC: dict[str, Any] = {"max_epochs": 3, "early_stopping": None, "architecture": {"hidden": [8]}}
CRASHED = 9
CRASH = JobError(code=ErrorCode.worker_lost, message="it died")


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Publish and save after every epoch, in a forkable process."""
    monkeypatch.setattr(recorder, "FLUSH_SECONDS", 0.0)
    monkeypatch.setattr(recorder, "PUBLISHING_SHARE", float("inf"))
    monkeypatch.setattr(recorder, "SAVING_SHARE", float("inf"))
    torch.set_num_threads(1)


def trainer(database: Database, artifacts: Artifacts) -> Trainer:
    pipe = cast("Connection", Told())  # nobody says anything
    policy = CheckpointPolicy(0.0, frozenset({"last", "state"}))
    return Trainer(database, artifacts, torch.device("cpu"), pipe, ProgressCounter(), policy)


def trains(url: str, artifacts: Artifacts, claims: list[Claim], prepare: Callable[[], None]) -> int:
    """Train in a child process after `prepare` has injected a fault; returns its process id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        prepare()
        trainer(Database(url), artifacts).run(claims)
        os._exit(0)
    finally:
        os._exit(1)


def train(database: Database, artifacts: Artifacts) -> str:
    """Train the queued job in this process, without faults; returns its id."""
    claims = records.claim(database)
    trainer(database, artifacts).run(claims)
    return claims[0].job_id


def crash_at(step: int) -> Callable[[], None]:
    """Make this process exit at the given step of writing files and committing rows."""

    def prepare() -> None:
        done = 0

        def at_a_step() -> None:
            nonlocal done
            done += 1
            if done == step:
                os._exit(CRASHED)

        def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **options: Any) -> Any:
                at_a_step()
                return function(*arguments, **options)

            return call

        transaction = Database.transaction

        @contextmanager
        def watched(self: Database, **options: Any) -> Iterator[Any]:
            with transaction(self, **options) as connection:
                yield connection
                at_a_step()
            at_a_step()

        Database.transaction = watched  # type: ignore[method-assign]
        for owner, name in ((os, "fsync"), (Path, "open"), (Path, "replace"), (Path, "unlink")):
            setattr(owner, name, wrapped(getattr(owner, name)))

    return prepare


def wrong(database: Database, artifacts: Artifacts) -> list[str]:
    return [str(each) for each in Doctor(database, artifacts).examine()]


@linux_only
def test_a_crash_at_any_step_of_publishing_leaves_complete_checkpoints_and_the_same_result(
    database: Database, database_url: str, artifacts: Artifacts, tmp_path: Path
) -> None:
    records.submit(database, **SPEC)
    undisturbed = outcome(database, train(database, artifacts))
    step, code = 0, CRASHED
    while code == CRASHED:
        step += 1
        disturbed = records.submit(database, **SPEC).id
        claims = records.claim(database)
        pid = trains(database_url, artifacts, claims, crash_at(step))
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert wrong(database, artifacts) == [], step
        if records.job(database, disturbed).status is Status.running:
            with database.transaction() as connection:
                leases.record_crash(connection, disturbed, 1, CRASH)
            assert train(database, artifacts) == disturbed
        assert outcome(database, disturbed) == undisturbed, step
    assert (code, step > 30) == (0, True)


@linux_only
@pytest.mark.parametrize("fate", [signal.SIGCONT, signal.SIGKILL], ids=["goes on", "is killed"])
def test_files_of_a_suspended_and_superseded_trainer_are_collected(
    database: Database, database_url: str, artifacts: Artifacts, fate: signal.Signals
) -> None:
    job_id = records.submit(database, **SPEC).id
    claims = records.claim(database)

    def prepare() -> None:
        replace = Path.replace

        def stopping(self: Path, target: Any) -> Path:
            os.kill(os.getpid(), signal.SIGSTOP)
            return replace(self, target)

        Path.replace = stopping  # type: ignore[method-assign, assignment]

    pid = trains(database_url, artifacts, claims, prepare)
    assert os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1])
    with database.transaction() as connection:
        leases.record_crash(connection, job_id, 1, CRASH)
    train(database, artifacts)
    before = outcome(database, job_id)
    os.kill(pid, fate)
    while os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1]):  # at its next rename
        os.kill(pid, fate)

    assert outcome(database, job_id) == before
    scraps = [artifacts.path(name) for name in artifacts.unfinished()]
    assert len(scraps) == (fate is signal.SIGKILL)
    pair(database, artifacts)
    collect(JobFactory(database, artifacts))
    assert not any(path.exists() for path in scraps)
    keys = {file.key for file in artifacts.files()}
    with database.reading() as connection:
        assert keys == referenced(connection, keys)
    assert wrong(database, artifacts) == []


@linux_only
def test_a_disk_that_cannot_sync_fails_the_job_with_storage_error(
    database: Database, database_url: str, artifacts: Artifacts, tmp_path: Path
) -> None:
    job_id = records.submit(database, **SPEC).id
    claims = records.claim(database)

    def prepare() -> None:
        def broken(handle: int) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        os.fsync = broken

    os.waitpid(trains(database_url, artifacts, claims, prepare), 0)

    failed = records.job(database, job_id)
    assert failed.error is not None
    assert (failed.status, failed.error.code) == (Status.failed, ErrorCode.storage_error)
    assert "Input/output error" in failed.error.message
    with database.reading() as connection:
        assert checkpoints.find(connection, job_id) == []
    assert wrong(database, artifacts) == []


@pytest.fixture
def little_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with 4 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", place], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"needs the right to mount a small tmpfs: {mounted.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


@linux_only
@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_on_a_full_disk_uploads_get_507_and_jobs_keep_their_best_checkpoint(
    database_url: str, tmp_path: Path, little_disk: Path
) -> None:
    settings = {"BESTEPOCH_ARTIFACTS_URL": str(little_disk), "BESTEPOCH_SAVE_SECONDS": "0"}
    with Team(database_url, tmp_path / "home", **settings).at_work(workers=1) as team:
        refused = team.client.post("/v1/datasets", content=b"a,b\n" + b"1,2\n" * 2_000_000)
        assert (refused.status_code, refused.json()["code"]) == (507, "storage_error")
        small = team.client.post("/v1/datasets", content=b"a,b\n1,2\n3,4\n")
        assert small.status_code == 201

        job_id = team.running(1)[0]["id"]
        best = until(lambda: (get(team.client, job_id)["best"] or {}).get("checkpoint"))
        subprocess.run(
            ["dd", "if=/dev/zero", f"of={little_disk / 'filler'}", "bs=4k"], capture_output=True, check=False
        )
        time.sleep(2)
        team.client.post(f"/v1/jobs/{job_id}/cancel")
        job = ended(team.client, job_id, 60)
        assert (job["status"], job["error"]["code"]) == ("failed", "storage_error")
        assert team.client.get(best["download_url"]).status_code == 200
        assert team.client.get("/v1/datasets").status_code == 200
        assert team.client.get(f"/v1/jobs/{job_id}/history").json()["data"]
        assert team.problems() == []

        (little_disk / "filler").unlink()
        assert ended(team.client, submit(team.client, {"data": {"kind": "synthetic"}}))["status"] == "succeeded"


def flip(path: Path) -> None:
    """Flip one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.skipif(in_s3(), reason="flips bits of files in the artifacts folder")
@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_flipped_bit_is_detected_in_every_kind_of_file(database_url: str, tmp_path: Path) -> None:
    with Team(database_url, tmp_path / "home").at_work(workers=1) as team:
        client, artifacts = team.client, team.artifacts()
        rows = "".join(f"{number},{number % 2}\n" for number in range(200))
        data = {"kind": "dataset", "id": client.post("/v1/datasets", content=f"a,b\n{rows}".encode()).json()["id"]}
        spec = {"data": {**data, "target": "b"}, "early_stopping": None, "max_epochs": 2_000}
        undisturbed = ended(client, submit(client, spec))
        job_id = submit(client, spec)
        until(lambda: get(client, job_id)["progress"]["epoch"] > 5)
        client.post(f"/v1/jobs/{job_id}/pause")
        until(lambda: get(client, job_id)["status"] == "paused")
        database = Database(team.url)
        with database.reading() as connection:
            state = checkpoints.get(connection, job_id, CheckpointKind.state)
        database.close()

        flip(artifacts.path(state.path))
        assert any(state.path in each for each in team.problems())
        client.post(f"/v1/jobs/{job_id}/resume")
        job = ended(client, job_id)
        assert job["best"]["checkpoint"]["sha256"] == undisturbed["best"]["checkpoint"]["sha256"]
        log = client.get(f"/v1/jobs/{job_id}/events").json()["data"]
        assert "starts over: its saved state is missing or has changed" in [event["message"] for event in log]

        flip(artifacts.path(job["best"]["checkpoint"]["path"]))
        rows_to_predict = {"rows": [{"a": 1}]}
        answer = client.post(f"/v1/jobs/{job_id}/predict", json=rows_to_predict)
        assert (answer.status_code, answer.json()["code"]) == (500, "checkpoint_corrupt"), answer.text
        assert client.post(f"/v1/jobs/{undisturbed['id']}/predict", json=rows_to_predict).status_code == 200
        assert any(job["best"]["checkpoint"]["path"] in each for each in team.problems())

        (parquet,) = artifacts.path("datasets").glob("*/*")
        flip(parquet)
        other = {**spec, "data": {**data, "target": "a"}}  # what `b` trained on is still in the trainer's memory
        failed = ended(client, submit(client, other))
        assert (failed["status"], failed["error"]["code"]) == ("failed", "dataset_corrupt")
