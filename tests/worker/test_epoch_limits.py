"""Jobs with a limit of epochs: released at it, and bit-identical to a calm run however they are stopped."""

from __future__ import annotations

import os
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.artifacts import Artifacts
from service.domain.access import DEFAULT_TENANT
from service.domain.event import EventKind
from service.domain.status import Status, StopReason
from service.store.engine import Database
from service.store.jobs import actions
from service.training.loop import Training
from service.worker import recorder as recorder_module
from tests.store.records import job, resume, submit, submit_limited
from tests.worker.attempts import SPEC, Gone, Told, attempt, log, outcome, state

pytestmark = pytest.mark.usefixtures("eager")


def promote(database: Database, job_id: str, epoch_limit: int | None) -> None:
    with database.transaction(DEFAULT_TENANT) as connection:
        assert actions.promote(connection, [job_id], epoch_limit) == 1


def prune_and_revive(database: Database, job_id: str) -> None:
    with database.transaction(DEFAULT_TENANT) as connection:
        assert actions.prune(connection, [job_id], "not among the best") == 1
    with database.transaction(DEFAULT_TENANT) as connection:
        resume(connection, job_id)


def test_a_job_is_paused_at_its_limit_with_state_and_best_saved(database: Database, artifacts: Artifacts) -> None:
    limited = submit_limited(database, 5, **SPEC)

    attempt(database, artifacts, Told())

    paused = job(database, limited.id)
    assert (paused.status, paused.progress.epoch, paused.failures) == (Status.paused, 5, 0)
    assert state(database, limited.id).epoch == 5
    assert paused.best is not None
    assert paused.best.checkpoint is not None
    assert paused.best.checkpoint.epoch == paused.best.epoch
    assert log(database, limited.id)[-1] == (
        EventKind.paused,
        "paused after epoch 5, its limit until its sweep decides",
    )
    assert attempt(database, artifacts, Told()) == []


def test_a_job_that_ends_at_its_limit_has_succeeded(database: Database, artifacts: Artifacts) -> None:
    limited = submit_limited(database, 12, **SPEC)

    attempt(database, artifacts, Told())

    ended = job(database, limited.id)
    assert (ended.status, ended.stop_reason) == (Status.succeeded, StopReason.max_epochs)


def test_members_leave_the_array_at_their_own_limits(database: Database, artifacts: Artifacts) -> None:
    calm = [submit(database, seed=seed, **SPEC).id for seed in range(3)]
    attempt(database, artifacts, Told(), width=3)
    limited = [submit_limited(database, limit, seed=seed, **SPEC).id for seed, limit in enumerate((2, 7, 100))]

    attempt(database, artifacts, Told(), width=3)

    found = [job(database, job_id) for job_id in limited]
    assert [each.status for each in found] == [Status.paused, Status.paused, Status.succeeded]
    assert [each.progress.epoch for each in found] == [2, 7, 12]
    for job_id in limited[:2]:
        promote(database, job_id, None)
    attempt(database, artifacts, Told(), width=2)
    for one, other in zip(calm, limited, strict=True):
        assert outcome(database, one) == outcome(database, other)


def test_a_job_whose_state_is_at_its_limit_is_paused_without_training(
    database: Database, artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An older API, which knows no limits, lets a client resume it.
    limited = submit_limited(database, 5, **SPEC)
    attempt(database, artifacts, Told())
    at_limit = outcome(database, limited.id)
    promote(database, limited.id, 6)
    with database.transaction() as connection:
        connection.exec_driver_sql("UPDATE jobs SET epoch_limit = 5")

    def epoch(_: Training) -> None:
        raise AssertionError("it must not train")

    monkeypatch.setattr(Training, "epoch", epoch)
    attempt(database, artifacts, Told())

    assert (job(database, limited.id).status, outcome(database, limited.id)) == (Status.paused, at_limit)


def test_a_promoted_job_that_lost_its_state_starts_over_to_the_same_bits(
    database: Database, artifacts: Artifacts
) -> None:
    calm = submit(database, **SPEC)
    attempt(database, artifacts, Told())
    limited = submit_limited(database, 5, **SPEC)
    attempt(database, artifacts, Told())
    artifacts.path(state(database, limited.id).path).unlink()
    promote(database, limited.id, 7)

    attempt(database, artifacts, Told())

    assert (job(database, limited.id).status, job(database, limited.id).progress.epoch) == (Status.paused, 7)
    promote(database, limited.id, None)
    attempt(database, artifacts, Told())
    assert outcome(database, limited.id) == outcome(database, calm.id)


def test_a_worker_that_stops_at_the_limit_pauses_the_job(database: Database, artifacts: Artifacts) -> None:
    limited = submit_limited(database, 3, **SPEC)

    attempt(database, artifacts, Told(3))

    assert (job(database, limited.id).status, job(database, limited.id).progress.epoch) == (Status.paused, 3)


def test_a_job_that_a_client_cancels_is_cancelled_at_its_limit(database: Database, artifacts: Artifacts) -> None:
    class Cancelling(Told):
        def poll(self) -> bool:
            if super().poll():
                with database.transaction() as connection:
                    actions.cancel(connection, limited.id)
            return False

    limited = submit_limited(database, 3, **SPEC)

    attempt(database, artifacts, Cancelling(2))

    assert (job(database, limited.id).status, job(database, limited.id).progress.epoch) == (Status.cancelled, 3)


MEMBERS = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 3),
        "optimizer": st.sampled_from([{"kind": "adam", "lr": 0.01}, {"kind": "adam", "lr": 0.3}]),
        "schedule": st.sampled_from([{"kind": "constant"}, {"kind": "cosine"}, {"kind": "plateau", "patience": 0}]),
        "early_stopping": st.sampled_from([None, {"patience": 1}, {"patience": 4}]),
        "averaging": st.sampled_from([None, {"kind": "ema", "decay": 0.9}]),
        "max_epochs": st.integers(1, 14),
    }
)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@settings(
    max_examples=int(os.environ.get("TEST_EXAMPLES", "10")), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(MEMBERS, min_size=1, max_size=4), st.integers(0, 2**32))
def test_limits_promotions_revivals_and_kills_change_no_bits(
    database: Database, artifacts: Artifacts, members: list[dict[str, Any]], seed: int
) -> None:
    fields = [{**SPEC, **member} for member in members]
    calm = [submit(database, **each).id for each in fields]
    for _ in calm:
        attempt(database, artifacts, Told())
    draw = random.Random(seed)
    limited = [submit_limited(database, draw.randint(1, 15), **each).id for each in fields]
    kills = 2  # the third one without progress would fail a job

    while live := [job_id for job_id in limited if not job(database, job_id).status.terminal]:
        how = draw.choice([Told, Gone]) if kills else Told
        kills -= how is Gone
        with pytest.MonkeyPatch.context() as patch:
            if draw.random() < 0.5:
                patch.setattr(recorder_module, "SAVING_SHARE", 1e-9)  # saves one state, after the first epoch
            attempt(database, artifacts, how(draw.randint(1, 8)), width=draw.randint(1, 4))
        paused = [each for each in (job(database, job_id) for job_id in live) if each.status is Status.paused]
        for each in draw.sample(paused, draw.randint(0, len(paused))):
            if draw.random() < 0.3:
                prune_and_revive(database, each.id)
            else:
                promote(database, each.id, draw.choice([None, each.progress.epoch + draw.randint(1, 5)]))

    for one, other in zip(calm, limited, strict=True):
        assert job(database, one).stop_reason == job(database, other).stop_reason
        assert outcome(database, one) == outcome(database, other)
