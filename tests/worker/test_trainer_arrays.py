"""The trainer: claimed jobs that train as one array, and what happens to one of them."""

from __future__ import annotations

from typing import Any

import pytest

from service.artifacts import Artifacts
from service.domain.status import Status
from service.store.engine import Database
from service.store.jobs import actions, attempt
from tests.store.records import claim, job, submit
from tests.worker.trainers import outcome, run, trainer


def test_an_array_gives_each_job_the_same_result_as_alone(database: Database, artifacts: Artifacts, pipe: Any) -> None:
    fields = [
        {
            "seed": seed,
            "optimizer": {"lr": lr},
            "split": {"test": 0.2},
            "max_epochs": 12,
            "early_stopping": {"patience": 2},
        }
        for seed, lr in [(0, 0.01), (1, 0.1), (2, 0.3)]
    ]
    together = [submit(database, **each).id for each in fields]
    run(database, artifacts, pipe, width=8)
    alone = []
    for each in fields:
        alone.append(submit(database, **each).id)
        run(database, artifacts, pipe)

    assert [outcome(database, artifacts, j) for j in together] == [outcome(database, artifacts, j) for j in alone]


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_cancelling_one_of_an_array_leaves_the_others_alone(
    database: Database, artifacts: Artifacts, pipe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.worker.recorder.FLUSH_SECONDS", 0.0)
    first, second = (submit(database, seed=seed, max_epochs=5, early_stopping=None).id for seed in (0, 1))
    claims = claim(database, width=8)
    with database.transaction() as connection:
        actions.cancel(connection, first)

    trainer(database, artifacts, pipe).run(claims)

    assert (job(database, first).status, job(database, first).progress.epoch) == (Status.cancelled, 1)
    assert (job(database, second).status, job(database, second).progress.epoch) == (Status.succeeded, 5)


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_member_with_a_lost_lease_leaves_and_the_others_commit(
    database: Database, artifacts: Artifacts, pipe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.worker.recorder.FLUSH_SECONDS", 0.0)
    stolen, kept = (submit(database, seed=seed, max_epochs=5, early_stopping=None).id for seed in (0, 1))
    claims = claim(database, width=8)
    with database.transaction() as connection:
        attempt.release(connection, stolen, 1)
    claim(database, "wrk_thief")

    trainer(database, artifacts, pipe).run(claims)

    assert (job(database, stolen).status, job(database, stolen).progress.epoch) == (Status.running, 0)
    assert job(database, kept).status is Status.succeeded


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_an_error_in_an_array_requeues_its_members_to_be_tried_alone(
    database: Database, artifacts: Artifacts, pipe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = [submit(database, seed=seed, max_epochs=2).id for seed in (0, 1)]

    def broken(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr("service.worker.prepared_cache.prepare_table", broken)
        run(database, artifacts, pipe, width=8)
    apart = [len(claim(database, width=8)) for _ in both]

    assert [(job(database, j).failures, job(database, j).attempt) for j in both] == [(1, 2), (1, 2)]
    assert apart == [1, 1]
