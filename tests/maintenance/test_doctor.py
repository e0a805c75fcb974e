"""Each kind of damage, done for real, is found and said in a line; a sound service is called sound."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from service.artifacts import Artifacts
from service.domain.access import DEFAULT_TENANT
from service.domain.checkpoint import CheckpointKind
from service.domain.status import Status
from service.maintenance import deployment_id
from service.maintenance.doctor import Doctor, Findings
from service.store import datasets, sweeps
from service.store.engine import Database, migrate, sqlite_module
from service.store.jobs import actions, jobs
from service.store.schema import jobs as jobs_table
from service.store.schema import metadata
from tests.api.states import Kitchen
from tests.specs import synthetic
from tests.store.records import dataset, epoch


def examined(kitchen: Kitchen) -> list[str]:
    return [str(wrong) for wrong in Doctor(kitchen.database, kitchen.artifacts).examine()]


def damage(kitchen: Kitchen, statement: Any) -> None:
    with kitchen.database.transaction() as connection:
        connection.execute(statement)


def trained(kitchen: Kitchen) -> str:
    """A sound job: epoch 3 is its best, with the value that it measured."""
    job_id = kitchen.trained(epochs=3).job_id
    with kitchen.database.transaction() as connection:
        connection.execute(update(jobs_table).where(jobs_table.c.id == job_id).values(best_value=1 / 3))
    return job_id


def change(job_id: str, **values: Any) -> Any:
    return update(jobs_table).where(jobs_table.c.id == job_id).values(**values)


def file_of(kitchen: Kitchen, job_id: str) -> Path:
    (file,) = [file for file in kitchen.artifacts.files() if job_id in file.key]
    return kitchen.artifacts.path(file.key)


def test_a_sound_service_is_called_sound(kitchen: Kitchen) -> None:
    trained(kitchen)
    kitchen.running()
    kitchen.queued()
    kitchen.swept()
    doctor = Doctor(kitchen.database, kitchen.artifacts)

    assert list(doctor.examine()) == []
    said = str(doctor.findings).splitlines()
    assert said[0].startswith("4 jobs, 1 sweep, 0 data sets; 1 file of 0.0 MB compared")
    assert said[1:] == ["nothing is wrong"]


def test_one_is_no_plural() -> None:
    one = Findings(jobs=1, datasets=1, sweeps=1, files=1, wrong=1)
    one.unnamed |= {"discarded": (2, 10), "stray": (1, 10), "trash": (1_000, 10)}

    assert str(one).splitlines() == [
        "1 job, 1 sweep, 1 data set; 1 file of 0.0 MB compared",
        "2 files of 0.0 MB were replaced or deleted and go after the grace period",
        "1 file of 0.0 MB has no row, which may yet come: it goes to the trash once it has had none for a day",
        "1,000 files of 0.0 MB are in the trash",
        "1 thing is wrong",
    ]


def test_a_missing_file_a_short_one_and_a_flipped_bit_are_told_apart(kitchen: Kitchen) -> None:
    missing, short, flipped, sound = (trained(kitchen) for _ in range(4))
    file_of(kitchen, missing).unlink()
    whole = file_of(kitchen, short).read_bytes()
    file_of(kitchen, short).write_bytes(whole[:-1])
    file_of(kitchen, flipped).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))

    said = examined(kitchen)

    assert [line.split(" (")[0] for line in said] == [
        f"{missing}: the file of its best is missing",
        f"{short}: the file of its best has {len(whole) - 1} bytes instead of {len(whole)}",
        f"{flipped}: the file of its best has changed: its SHA-256 is another",
    ]
    assert all("put the file back from a backup, or delete the job" in line for line in said)
    assert not any(sound in line for line in said)


def test_a_missing_state_costs_no_result(kitchen: Kitchen) -> None:
    claim = kitchen.running()
    kitchen.record(claim, epoch(1))
    kitchen.publish(claim, 1, CheckpointKind.state)
    file_of(kitchen, claim.job_id).unlink()

    (said,) = [line for line in examined(kitchen) if "of its state" in line]

    assert said.endswith("a live job begins anew, to the same end; an ended one cannot be forked from its last epoch")


def test_a_data_sets_missing_rows_are_found(kitchen: Kitchen) -> None:
    with kitchen.database.transaction(DEFAULT_TENANT) as connection:
        datasets.add(connection, dataset(), path="datasets/ds_1/data.parquet", options="{}")

    assert examined(kitchen) == [
        "ds_1: the file of its rows is missing (datasets/ds_1/data.parquet); "
        "put the file back from a backup, or delete the data set and upload it again"
    ]


def test_a_checkpoint_that_is_replaced_meanwhile_is_not_missed(
    kitchen: Kitchen, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = kitchen.running()
    kitchen.publish(claim, 1)
    real = Doctor._fault

    def replaced_first(self: Doctor, file: Any) -> str | None:
        kitchen.publish(claim, 2)
        return real(self, file)

    monkeypatch.setattr(Doctor, "_fault", replaced_first)

    assert examined(kitchen) == []


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"worker": None}, "it is running without a worker, a lease or an attempt"),
        ({"lease_until": None}, "it is running without a worker, a lease or an attempt"),
        ({"attempt": 0}, "it is running without a worker, a lease or an attempt"),
        ({"status": Status.queued}, "it waits, but somebody has a lease on it"),
        ({"finished_at": datetime.now(UTC)}, "it has not ended, but has a time when it did"),
        ({"status": Status.failed, "lease_until": None}, "it has ended, but nobody knows when"),
        ({"status": Status.failed, "finished_at": datetime.now(UTC)}, "it has ended, but somebody has a lease on it"),
    ],
)
def test_a_state_that_cannot_be_is_found(kitchen: Kitchen, values: dict[str, Any], what: str) -> None:
    claim = kitchen.running()
    damage(kitchen, change(claim.job_id, **values))

    said, *more = examined(kitchen)

    assert said.startswith(f"{claim.job_id}: {what} (status ")
    unlogged = f"{claim.job_id}: it is failed, but its log tells of 0 ends"
    assert [each.partition(";")[0] for each in more] == [unlogged] * (values.get("status") is Status.failed)


def test_a_live_job_without_its_data_set_is_found(kitchen: Kitchen) -> None:
    live, ended = kitchen.queued(), kitchen.queued()
    with kitchen.database.transaction() as connection:
        actions.cancel(connection, ended.id)
    for job in (live, ended):
        spec = job.spec.model_dump(mode="json")
        spec["data"] = {"kind": "dataset", "id": "ds_1", "target": "species"}
        damage(kitchen, change(job.id, spec=spec))

    (said,) = examined(kitchen)

    assert said.startswith(f"{live.id}: its data set is not there")


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_job_whose_sweep_is_not_there_is_found(kitchen: Kitchen, tmp_path: Path) -> None:
    kitchen.swept()
    careless = sqlite_module.connect(str(tmp_path / "test.db"), isolation_level=None)  # foreign keys are off by default
    careless.execute("DELETE FROM sweeps")
    careless.close()

    (said,) = examined(kitchen)

    assert said.startswith("database: row 1 of jobs names a row of sweeps that is not there")


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize("how", ["pages", "head"])
def test_a_damaged_database_file_is_found(kitchen: Kitchen, tmp_path: Path, how: str) -> None:
    with kitchen.database.transaction(DEFAULT_TENANT) as connection:
        for _ in range(200):
            jobs.submit(connection, synthetic(), max_queued=1_000)
    kitchen.database.close()  # which writes the log into the file
    path = tmp_path / "test.db"
    with path.open("r+b") as file:
        if how == "head":
            file.write(b"not a database at all" * 10)
        else:
            size = path.stat().st_size
            for place in range(size // 2 // 4096 * 4096, size, 4096):
                file.seek(place)
                file.write(os.urandom(200))

    said = examined(kitchen)

    assert said
    assert all(line.startswith("database: ") and "restore the last backup" in line for line in said)


def test_files_without_rows_are_counted_by_their_fate_and_are_no_fault(kitchen: Kitchen) -> None:
    for name in "abc":
        kitchen.artifacts.put(f"checkpoints/{trained(kitchen)}/{name}", b"x" * 100_000)
    with kitchen.database.transaction() as connection:
        for job in jobs.find(connection, limit=1):
            jobs.remove(connection, job.id)
    kitchen.artifacts.put("trash/datasets/ds_1/data.parquet", b"x" * 100_000)
    doctor = Doctor(kitchen.database, kitchen.artifacts)

    assert list(doctor.examine()) == []
    assert str(doctor.findings).splitlines()[1:] == [
        "1 file of 0.0 MB was replaced or deleted and goes after the grace period",
        "3 files of 0.3 MB have no row, which may yet come: they go to the trash once they have had none for a day",
        "1 file of 0.1 MB is in the trash",
        "nothing is wrong",
    ]


def test_a_folder_of_another_database_is_named_first(kitchen: Kitchen) -> None:
    job_id = trained(kitchen)
    deployment_id.join(kitchen.database, kitchen.artifacts)
    kitchen.artifacts.set_deployment_id("dep_of_another")
    file_of(kitchen, job_id).unlink()

    first, second = examined(kitchen)

    assert first.startswith("artifacts: the artifacts folder ")
    assert "belongs to another database: its id is dep_of_another" in first
    assert "run `bestepoch adopt`" in first
    assert second.startswith(f"{job_id}: the file of its best is missing")


def test_a_missing_file_that_is_in_the_trash_can_be_put_back(kitchen: Kitchen) -> None:
    file = file_of(kitchen, trained(kitchen))
    assert kitchen.artifacts.move_to_trash(f"checkpoints/{file.parent.name}/{file.name}")

    (said,) = examined(kitchen)

    _, moved, _, target = said.split("it is in the trash: ")[1].split(" ")
    target = Path(target)
    target.parent.mkdir()
    Path(moved).rename(target)
    assert examined(kitchen) == []


def test_a_sweep_of_which_no_job_is_left_is_no_fault(kitchen: Kitchen) -> None:
    sweep = kitchen.swept()
    with kitchen.database.transaction() as connection:
        for job in jobs.find(connection, limit=10, sweep=sweep.id):
            jobs.remove(connection, job.id)
        assert sweeps.get(connection, sweep.id).jobs == 0

    assert examined(kitchen) == []


def test_every_column_that_holds_a_key_is_called_path() -> None:
    told = {str(column) for table in metadata.sorted_tables for column in table.c if "path" in column.name}

    assert told >= {"datasets.path", "checkpoints.path"}
    assert all(name.endswith(".path") for name in told)


def test_the_command_ends_with_1_where_something_is_wrong(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'bestepoch.db'}"
    migrate(url)
    kitchen = Kitchen(Database(url), Artifacts(tmp_path / "artifacts"))
    job_id = trained(kitchen)
    environment = {**os.environ, "BESTEPOCH_HOME": str(tmp_path)}

    def doctor() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "service.cli", "doctor"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    sound = doctor()
    shutil.rmtree(file_of(kitchen, job_id).parent)
    ill = doctor()
    kitchen.database.close()

    assert (sound.returncode, sound.stdout.splitlines()[-1]) == (0, "nothing is wrong")
    assert (ill.returncode, ill.stdout.splitlines()[-1]) == (1, "1 thing is wrong")
    assert ill.stdout.startswith(f"{job_id}: the file of its best is missing")
    assert ill.stderr == ""
