"""The job that was resolved at submission is trained, even by a newer version of the service."""

from __future__ import annotations

from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import pytest
import torch
from sqlalchemy import func, select, update

from service.artifacts import Artifacts, sha256_of
from service.domain.access import DEFAULT_TENANT
from service.domain.checkpoint import CheckpointKind
from service.domain.job import Job
from service.domain.status import Status
from service.spec.fork import ForkSpec, check_fork, resolve_fork
from service.spec.limits import JobLimits
from service.spec.resolve import Resolved
from service.spec.sweep import SweepSpec
from service.store import checkpoints, datasets, schema, sweeps
from service.store.engine import Database
from service.store.jobs import jobs, resolutions
from service.store.sweeps import SweepJob
from service.training.checkpoint import LoadedCheckpoint, from_bytes
from service.training.progress import ProgressCounter
from service.worker.protocol import CheckpointPolicy
from service.worker.trainer import Trainer
from tests.data.tables import Stored, store
from tests.store.records import claim, dataset, job

LIMITS = JobLimits(parameters=10_000, epochs=100, seconds=None, memory_bytes=2**40)
FIELDS: dict[str, Any] = {"max_epochs": 1, "split": {"validation": 0.2}}
ROWS = "".join(f"{n % 7},{'abc'[n % 3] if n % 10 else 'rare'},{'xy'[n % 2]}\n" for n in range(60))  # 6 are rare
on_sqlite = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)


@pytest.fixture
def table(tmp_path: Path, database: Database, artifacts: Artifacts) -> Stored:
    """A stored data set, `ds_1`, whose texts are categories by how many rows hold them."""
    made = store(tmp_path, "size,kind,label\n" + ROWS)
    artifacts.put("datasets/ds_1/data.parquet", made.parquet.read_bytes())
    known = {"rows": made.rows, "columns": made.columns, "parquet_sha256": sha256_of(made.parquet)}
    with database.transaction(DEFAULT_TENANT) as connection:
        row = dataset("ds_1").model_copy(update=known)
        datasets.add(connection, row, path="datasets/ds_1/data.parquet", options="{}")
    return made


def resolved(table: Stored, **fields: Any) -> Resolved:
    data = {"kind": "dataset", "id": "ds_1", "target": "label"}
    return table.resolve("label", data=data, **FIELDS | fields)


def submit(database: Database, what: Resolved) -> Job:
    with database.transaction(DEFAULT_TENANT) as connection:
        return jobs.submit(connection, what, max_queued=100)[0]


def upgrade(monkeypatch: pytest.MonkeyPatch) -> None:
    """A version that takes only texts of 15 rows and more for categories."""
    monkeypatch.setattr("service.spec.inputs.MIN_CATEGORY_ROWS", 15)


def train(database: Database, artifacts: Artifacts, width: int = 1) -> list[LoadedCheckpoint]:
    """Train what is first in the queue; the best checkpoints."""
    claims = claim(database, width=width)
    pipe = Pipe()[1]
    policy = CheckpointPolicy(10.0, frozenset({"last", "state"}))
    Trainer(database, artifacts, torch.device("cpu"), pipe, ProgressCounter(), policy).run(claims)
    found = []
    for each in claims:
        assert job(database, each.job_id).status is Status.succeeded
        with database.reading() as connection:
            best = checkpoints.get(connection, each.job_id, CheckpointKind.best)
        found.append(from_bytes(artifacts.path(best.path).read_bytes()))
    return found


def inputs(job: Resolved | LoadedCheckpoint) -> list[tuple[Any, ...]]:
    features = job.features if isinstance(job, Resolved) else job.preprocessing.features
    return [(f.column, f.type, f.categories and tuple(f.categories), f.other, f.indicator) for f in features]


@on_sqlite
def test_a_job_queued_before_an_upgrade_trains_as_resolved_at_submission(
    database: Database, artifacts: Artifacts, table: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = resolved(table)
    submit(database, shown)

    upgrade(monkeypatch)
    assert resolved(table).features != shown.features
    (trained,) = train(database, artifacts)

    assert inputs(trained) == inputs(shown)
    assert trained.graph.layers == shown.layers


def test_jobs_of_a_sweep_share_their_inputs_and_are_not_mixed_with_later_ones(
    database: Database, artifacts: Artifacts, table: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = [resolved(table, seed=seed) for seed in (0, 1)]
    spec = SweepSpec.model_validate({"base": before[0].spec.model_dump(mode="json"), "replicates": 2})
    with database.transaction(DEFAULT_TENANT) as connection:
        new = sweeps.prepare(spec, [SweepJob({}, each) for each in before], DEFAULT_TENANT)
        sweeps.create(connection, new, max_queued=100)
    upgrade(monkeypatch)
    after = resolved(table, seed=2)
    submit(database, after)

    swept, later = train(database, artifacts, width=4), train(database, artifacts, width=4)

    assert [inputs(each) for each in swept] == [inputs(before[0])] * 2
    assert [inputs(each) for each in later] == [inputs(after)]
    with database.reading() as connection:
        assert connection.scalar(select(func.count()).select_from(schema.dataset_inputs)) == 2


@on_sqlite
def test_a_fork_keeps_the_inputs_of_its_parent(
    database: Database, table: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = resolved(table)
    upgrade(monkeypatch)
    now = resolved(table, max_epochs=9)

    fork = resolve_fork(now.spec, table.profile, LIMITS, parent)

    assert (inputs(fork), fork.layers, fork.spec) == (inputs(parent), parent.layers, now.spec)
    assert inputs(now) != inputs(parent)
    check_fork(parent, fork, ForkSpec())


@on_sqlite
def test_a_job_without_a_stored_resolution_is_resolved_when_it_is_claimed(
    database: Database, artifacts: Artifacts, table: Stored
) -> None:
    shown = resolved(table)
    submit(database, shown)
    with database.transaction() as connection:
        connection.execute(update(schema.jobs).values(resolved=None))

    (trained,) = train(database, artifacts)

    assert inputs(trained) == inputs(shown)


def test_how_columns_become_inputs_is_stored_once_and_goes_with_its_data_set(database: Database, table: Stored) -> None:
    submitted = submit(database, resolved(table))

    with database.reading() as connection:
        row = connection.scalar(select(schema.jobs.c.resolved).where(schema.jobs.c.id == submitted.id))
        restored = resolutions.of_job(connection, submitted.id, submitted.known_spec)
    with database.transaction() as connection:
        connection.execute(update(schema.jobs).values(status=Status.cancelled))
        datasets.remove(connection, "ds_1")
        assert connection.scalar(select(func.count()).select_from(schema.dataset_inputs)) == 0
        assert resolutions.of_job(connection, submitted.id, submitted.known_spec) is None

    assert len(row["inputs"]) == 64
    assert restored is not None
    assert restored.features == resolved(table).features
