"""Replay of early-stopping rules over a job's recorded epochs."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from service.api.routes import replay
from service.spec.early_stopping import Patience
from tests.api.conftest import both_databases
from tests.api.job_factory import JobFactory, epoch

LOSSES = [0.5, 0.4, 0.42, 0.43, 0.3, 0.6]


def replays(client: TestClient, job_id: str, *rules: dict[str, Any]) -> Any:
    return client.post(f"/v1/jobs/{job_id}/early-stopping/replay", json={"rules": rules})


@pytest.fixture
def job_id(job_factory: JobFactory) -> str:
    """A running job with six recorded epochs."""
    claim = job_factory.running()
    job_factory.record(claim, *(epoch(n, val_loss=loss) for n, loss in enumerate(LOSSES, start=1)))
    return claim.job_id


@both_databases
def test_each_rule_says_where_it_would_have_stopped_and_at_what_cost(client: TestClient, job_id: str) -> None:
    body = replays(client, job_id, {"patience": 2}, {"rule": "gl", "alpha": 150}).json()

    assert (body["object"], body["epochs"]) == ("list", 6)
    stopped, unstopped = body["data"]
    assert stopped["rule"] == Patience(patience=2).model_dump()
    assert (stopped["stop_epoch"], stopped["stop_reason"], stopped["epochs_saved"]) == (4, "early_stopped", 2)
    assert (stopped["best_epoch"], stopped["best_value"], stopped["exact"]) == (2, 0.4, True)
    assert (stopped["regret"], stopped["relative_regret"]) == (pytest.approx(0.1), pytest.approx(1 / 3))
    assert (unstopped["stop_epoch"], unstopped["regret"], unstopped["exact"]) == (None, 0.0, False)


def test_a_history_of_several_pages_is_replayed_whole(client: TestClient, job_factory: JobFactory) -> None:
    job_id = job_factory.trained(epochs=2_500, max_epochs=2_500).job_id

    body = replays(client, job_id, {"patience": 1}).json()

    assert body["epochs"] == body["data"][0]["best_epoch"] == 2_500
    assert body["data"][0]["exact"]


def test_a_job_without_epochs_is_a_409(client: TestClient, job_factory: JobFactory) -> None:
    response = replays(client, job_factory.queued().id, {})

    assert (response.status_code, response.json()["code"]) == (409, "conflict")
    assert response.json()["detail"] == "the job is queued and has no epoch on record"


def test_a_missing_job_is_a_404(client: TestClient) -> None:
    assert replays(client, "job_0", {}).status_code == 404


@pytest.mark.parametrize(
    ("rules", "pointer", "message"),
    [
        ([{}, {"monitor": "val_mae"}], "/rules/1/monitor", "the history has no val_mae"),
        ([{"patience": 5, "min_delta": "x"}], "/rules/0/min_delta", "should be a number"),
        ([{"rule": "up"}, {"rule": "best"}], "/rules/1/rule", "should be one of 'patience', 'gl', 'pq', 'up'"),
        ([{"rule": "gl", "s": 3}], "/rules/0/s", "unknown field"),
        ([], "/rules", "should have at least 1 item, not 0"),
        ([{}] * 101, "/rules", "should have at most 100 items, not 101"),
    ],
)
def test_an_invalid_rule_is_a_422_with_its_pointer(
    client: TestClient, job_id: str, rules: Any, pointer: str, message: str
) -> None:
    response = replays(client, job_id, *rules)

    assert (response.status_code, response.json()["code"]) == (422, "invalid_spec")
    assert [(e["pointer"], e["message"]) for e in response.json()["errors"]] == [(pointer, message)]


def test_too_many_decisions_in_one_request_are_a_422(
    client: TestClient, job_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "MAX_DECISIONS", 12)

    assert replays(client, job_id, {}, {}).status_code == 200
    refused = replays(client, job_id, {}, {}, {}).json()
    assert refused["errors"] == [{"pointer": "/rules", "message": "6 epochs take at most 2 rules at once"}]
