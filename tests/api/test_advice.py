"""Advice about early stopping from the tenant's recorded histories."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from service.domain.access import Scope
from service.domain.status import Status, StopReason
from service.stopping.advice import MIN_HISTORIES
from service.store import histories
from service.store.engine import Database
from tests.api.conftest import both_databases
from tests.api.job_factory import JobFactory, epoch
from tests.api.operations import Maker, key  # noqa: F401
from tests.api.sweep_requests import submit
from tests.store.records import claim

LOSSES = [0.9, 0.5, 0.6, 0.4, 0.5, 0.6, 0.7, 0.8]


def ask(client: TestClient, **params: Any) -> Any:
    response = client.get("/v1/advice/early-stopping", params=params)
    assert response.status_code == 200, response.text
    return response.json()


def ended(
    job_factory: JobFactory,
    losses: list[float] = LOSSES,
    stop: StopReason = StopReason.max_epochs,
    status: Status = Status.succeeded,
    **fields: Any,
) -> str:
    """A job that has recorded these losses, and is over."""
    taken = job_factory.running(**{"early_stopping": None, **fields})
    job_factory.record(
        taken,
        *(epoch(n, val_loss=loss, metrics={"val_accuracy": 1 - loss}) for n, loss in enumerate(losses, start=1)),
    )
    job_factory.finish(taken, status, stop)
    return taken.job_id


@both_databases
def test_each_patience_says_what_it_would_have_saved_and_lost(client: TestClient, job_factory: JobFactory) -> None:
    for _ in range(MIN_HISTORIES):
        ended(job_factory)

    found = ask(client)

    first, second = found["patiences"][:2]
    assert (found["object"], found["monitor"], found["jobs"], found["histories"]) == (
        *("early_stopping_advice", "val_loss"),
        *(MIN_HISTORIES, MIN_HISTORIES),
    )
    assert (first["patience"], first["epochs_saved"]["mean"], first["missed"]) == (1, pytest.approx(5 / 8), 1.0)
    assert first["relative_regret"]["mean"] == pytest.approx(0.25)
    assert (second["epochs_saved"]["mean"], second["relative_regret"]["high"]) == (pytest.approx(2 / 8), 0.0)
    assert found["recommended"] == 2
    assert found["sentences"][0].startswith("Patience 2 would have saved 25.0% (95% interval 25.0% to 25.0%)")
    assert ask(client, monitor="val_accuracy")["patiences"][0]["relative_regret"]["mean"] == pytest.approx(1 / 6)


def test_only_histories_that_tell_are_read(client: TestClient, job_factory: JobFactory) -> None:
    ended(job_factory, early_stopping={"patience": 4}, stop=StopReason.early_stopped)
    ended(job_factory, early_stopping={"rule": "gl"}, stop=StopReason.early_stopped)
    ended(job_factory, early_stopping={"patience": 4, "monitor": "val_accuracy"}, stop=StopReason.early_stopped)
    ended(job_factory, stop=StopReason.cancelled)
    ended(job_factory, stop=StopReason.pruned, status=Status.cancelled)
    job_factory.running()

    found = ask(client)

    assert (found["jobs"], found["stopped_early"]) == (1, 1)
    assert [each["patience"] for each in found["patiences"]] == [1, 2, 3]
    assert found["sentences"][0].startswith("Too few histories: 1 independent ones")


def test_filters_are_those_of_the_list_of_jobs(client: TestClient, job_factory: JobFactory) -> None:
    ended(job_factory, name="mine", labels={"project": "birds"})
    ended(job_factory)

    assert ask(client)["jobs"] == 2
    assert ask(client, name="mine")["jobs"] == ask(client, **{"label.project": "birds"})["jobs"] == 1
    assert ask(client, sweep="swp_0")["jobs"] == ask(client, dataset="ds_0")["jobs"] == 0


def test_the_seeds_of_a_point_are_one_history(client: TestClient, job_factory: JobFactory, database: Database) -> None:
    sweep = submit(client, grid={"batch_size": [8, 16]}, replicates=3).json()
    for _ in range(6):
        (taken,) = claim(database)
        job_factory.record(taken, *(epoch(n, val_loss=loss) for n, loss in enumerate(LOSSES, start=1)))
        job_factory.finish(taken, stop=StopReason.max_epochs)

    found = ask(client, sweep=sweep["id"])

    assert (found["jobs"], found["histories"]) == (6, 2)


def test_very_long_histories_and_old_ones_are_left_out(
    client: TestClient, job_factory: JobFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        ended(job_factory)
    assert not ask(client)["truncated"]

    monkeypatch.setattr(histories, "MAX_JOBS", 2)
    assert (ask(client)["jobs"], ask(client)["truncated"]) == (2, True)
    monkeypatch.setattr(histories, "MAX_EPOCHS", 10)
    assert (ask(client)["jobs"], ask(client)["truncated"]) == (1, True)
    monkeypatch.setattr(histories, "MAX_JOB_EPOCHS", 7)
    found = ask(client)
    assert (found["jobs"], found["truncated"]) == (0, True)
    assert found["sentences"][1] == "Not all matching jobs were read: the newest ones, without very long histories."


def test_other_tenants_histories_are_not_read(client: TestClient, job_factory: JobFactory, key: Maker) -> None:  # noqa: F811
    ended(job_factory)
    theirs = {"Authorization": f"Bearer {key('theirs', Scope.read)}"}

    assert client.get("/v1/advice/early-stopping", headers=theirs).json()["jobs"] == 0


@pytest.mark.parametrize(
    ("params", "parameter"),
    [({"monitor": "val_lss"}, "monitor"), ({"max_regret": 0}, "max_regret"), ({"patience": 3}, "patience")],
)
def test_wrong_parameters_are_named(client: TestClient, params: dict[str, Any], parameter: str) -> None:
    response = client.get("/v1/advice/early-stopping", params=params)

    assert (response.status_code, response.json()["errors"][0]["parameter"]) == (422, parameter)
