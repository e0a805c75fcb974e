"""Forks: what they inherit, and what is refused."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from starlette.testclient import TestClient

from service.domain.checkpoint import CheckpointKind
from service.maintenance.collector import Collector, RetentionPolicy
from service.maintenance.deployment_id import pair
from service.store.jobs.claim import Claim
from tests.api.conftest import both_databases
from tests.api.job_factory import JobFactory, epoch


@pytest.fixture
def parent(job_factory: JobFactory) -> Claim:
    """A job that ended after 5 epochs, the fourth of which was its best, with everything saved."""
    claim = job_factory.running(max_epochs=50, early_stopping={"patience": 1}, labels={"team": "a"}, name="first")
    rows = [epoch(number) for number in range(1, 5)]
    job_factory.record(claim, *rows, epoch(5, val_loss=0.9, is_best=False, wait=1))
    job_factory.publish(claim, 4)
    job_factory.publish(claim, 5, CheckpointKind.state)
    job_factory.finish(claim)
    return claim


def fork(client: TestClient, job_id: str, *, key: str | None = None, **asked: Any) -> Any:
    headers = {} if key is None else {"Idempotency-Key": key}
    return client.post(f"/v1/jobs/{job_id}/fork", json=asked, headers=headers)


@both_databases
def test_a_fork_from_last_takes_over_history_best_and_state(client: TestClient, parent: Claim) -> None:
    response = fork(client, parent.job_id, changes={"early_stopping.patience": 3, "name": "second"})

    job = response.json()
    assert (response.status_code, job["status"], job["progress"]["epoch"]) == (201, "queued", 5)
    assert job["forked"] == {"job": parent.job_id, "checkpoint": "last", "epoch": 5}
    assert (job["name"], job["labels"], job["spec"]["early_stopping"]["patience"]) == ("second", {"team": "a"}, 3)
    assert (job["best"]["epoch"], job["best"]["value"]) == (4, 0.25)
    assert client.get(response.headers["location"]).json() == job
    before = client.get(f"/v1/jobs/{parent.job_id}/history").json()["data"]
    assert client.get(f"/v1/jobs/{job['id']}/history").json()["data"] == before
    one, other = (client.get(f"/v1/jobs/{each}/checkpoints/best").json() for each in (parent.job_id, job["id"]))
    assert one["sha256"] == other["sha256"]


def test_a_fork_from_best_begins_at_epoch_1(client: TestClient, parent: Claim) -> None:
    job = fork(client, parent.job_id, checkpoint="best", changes={"optimizer": {"kind": "sgd", "lr": 0.1}}).json()

    assert (job["progress"]["epoch"], job["best"]) == (0, None)
    assert job["forked"] == {"job": parent.job_id, "checkpoint": "best", "epoch": 4}
    assert client.get(f"/v1/jobs/{job['id']}/history").json()["data"] == []
    assert client.get(f"/v1/jobs/{job['id']}/checkpoints").json()["data"] == []


@both_databases
def test_files_that_a_fork_shares_outlive_the_other_job(client: TestClient, parent: Claim) -> None:
    job = fork(client, parent.job_id, changes={"max_epochs": 80}).json()

    assert client.delete(f"/v1/jobs/{parent.job_id}").status_code == 204

    assert client.get(f"/v1/jobs/{job['id']}/checkpoints/best/download").status_code == 200
    client.post(f"/v1/jobs/{job['id']}/cancel")
    assert client.delete(f"/v1/jobs/{job['id']}").status_code == 204


def test_a_shared_file_is_deleted_with_the_last_job_that_names_it(
    client: TestClient, job_factory: JobFactory, parent: Claim
) -> None:
    pair(job_factory.database, job_factory.artifacts)
    collector = Collector(job_factory.database, job_factory.artifacts, RetentionPolicy(grace_hours=0.0))
    job = fork(client, parent.job_id).json()
    client.post(f"/v1/jobs/{job['id']}/cancel")

    left = []
    for job_id in (parent.job_id, job["id"]):
        assert client.delete(f"/v1/jobs/{job_id}").status_code == 204
        collector.collect(threading.Event())
        left.append(len(list(job_factory.artifacts.files())))

    assert left[0] > 0
    assert left[1] == 0


def test_a_fork_is_created_once_per_idempotency_key(client: TestClient, parent: Claim, job_factory: JobFactory) -> None:
    first = fork(client, parent.job_id, key="night", changes={"seed": 3})
    again = fork(client, parent.job_id, key="night", changes={"seed": 3})
    other = fork(client, job_factory.trained().job_id, key="night", changes={"seed": 3})

    assert (first.status_code, again.status_code, again.json()["id"]) == (201, 200, first.json()["id"])
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")


def test_a_fork_warns_of_a_rule_that_has_already_fired(client: TestClient, parent: Claim) -> None:
    warnings = fork(client, parent.job_id).json()["warnings"]

    (warning,) = [each for each in warnings if each["code"] == "rule_has_fired"]
    assert warning["message"] == "the rule has fired at epoch 5: one more epoch may be all; change early_stopping"


def test_a_fork_with_another_kind_leaves_the_defaults_of_the_old_one(
    client: TestClient, job_factory: JobFactory
) -> None:
    parent = job_factory.trained(optimizer={"kind": "adam", "lr": 0.25}).job_id

    spec = fork(client, parent, checkpoint="best", changes={"optimizer.kind": "sgd", "loss.kind": "focal"}).json()[
        "spec"
    ]

    assert (spec["optimizer"]["kind"], spec["optimizer"]["lr"], spec["loss"]["kind"]) == ("sgd", 0.25, "focal")


def test_a_setting_of_the_old_kind_that_the_new_one_lacks_is_an_error(
    client: TestClient, job_factory: JobFactory
) -> None:
    parent = job_factory.trained(optimizer={"kind": "adam", "eps": 0.25}).job_id

    problem = fork(client, parent, checkpoint="best", changes={"optimizer.kind": "sgd"}).json()

    assert problem["errors"] == [{"pointer": "/changes", "message": "/optimizer/eps unknown field"}]


@pytest.mark.parametrize(
    ("asked", "pointer", "message"),
    [
        ({"changes": {"max_epochs": 5}}, "/changes/max_epochs", "5 epochs are trained already: ask for more"),
        ({"changes": {"optimizer.lr": -1}}, "/changes/optimizer.lr", "should be greater than"),
        ({"changes": {"optimizer.speed": 1}}, "/changes/optimizer.speed", "unknown field"),
        ({"changes": {"a~b/c": 1}}, "/changes/a~0b~1c", "unknown field"),
        ({"changes": {"architecture.hidden": [9]}}, "/changes/architecture.hidden", "must keep its layers"),
        (
            {"changes": {"split.seed": 9}},
            "/changes/split.seed",
            "cannot be changed in a fork",
        ),
        (
            {"changes": {"optimizer": {"kind": "sgd"}}},
            "/changes/optimizer/kind",
            "cannot be changed for `last`, which continues the optimizer's state; fork from `best`",
        ),
        (
            {"changes": {"early_stopping.monitor": "val_accuracy"}},
            "/changes/early_stopping.monitor",
            "by val_accuracy epoch 1 is the best, whose weights are not kept; fork from `best`",
        ),
        ({"checkpoint": "first"}, "/checkpoint", "'best' or 'last'"),
        ({"change": {}}, "/change", "unknown field; did you mean `changes`?"),
    ],
)
def test_changes_that_do_not_fit_the_weights_are_a_422_with_their_pointer(
    client: TestClient, parent: Claim, asked: dict[str, Any], pointer: str, message: str
) -> None:
    problem = fork(client, parent.job_id, **asked).json()

    assert problem["status"] == 422
    assert problem["errors"][0]["pointer"] == pointer
    assert message in problem["errors"][0]["message"]


def test_a_job_without_a_checkpoint_cannot_be_forked(client: TestClient, job_factory: JobFactory) -> None:
    job = job_factory.queued()

    last, best = (fork(client, job.id, checkpoint=kind) for kind in ("last", "best"))

    assert (last.status_code, best.status_code) == (409, 409)
    assert last.json()["detail"] == "the job is queued and has no saved state to fork from"
    assert best.json()["detail"] == "the job is queued and has no best checkpoint to fork from"


def test_a_missing_job_cannot_be_forked(client: TestClient) -> None:
    assert fork(client, "job_0").status_code == 404
