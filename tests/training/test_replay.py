"""Training stops where a replay of its rule over an unstopped history says."""

from __future__ import annotations

from typing import Any

import pytest

from service.domain.epoch import Epoch
from service.domain.status import StopReason
from service.spec.early_stopping import EarlyStopping
from service.stopping.replay import Replayed, replay
from tests.specs import synthetic
from tests.training.jobs import reports

JOB: dict[str, Any] = {"optimizer": {"lr": 0.01}, "architecture": {"hidden": [16]}, "max_epochs": 60}


def promised(rule: dict[str, Any], **fields: Any) -> tuple[Replayed, list[Epoch]]:
    """What replay says of the rule, and the whole history it says it from."""
    rows = [report.row for report in reports(**fields, early_stopping=None)]
    asked: EarlyStopping | None = synthetic(**fields, early_stopping=rule).spec.early_stopping
    assert asked is not None
    (found,) = replay(synthetic(**fields, early_stopping=None).spec, StopReason.max_epochs, rows, [asked])
    return found, rows


@pytest.mark.parametrize(
    "rule",
    [
        {"patience": 4},
        {"patience": 4, "monitor": "val_accuracy", "min_epochs": 20},
        {"rule": "gl", "alpha": 3.0},
        {"rule": "gl", "alpha": 3.0, "min_epochs": 30},
        {"rule": "pq", "alpha": 0.2, "k": 4},
        {"rule": "up", "s": 3, "k": 2},
        {"rule": "up", "s": 1, "k": 5, "monitor": "val_log_loss", "min_epochs": 12},
        {"rule": "gl", "alpha": 1e6, "monitor": "train_loss", "target": 0.6},
    ],
)
def test_a_job_with_a_rule_ends_where_replay_promises(rule: dict[str, Any]) -> None:
    found, rows = promised(rule, **JOB)

    *_, last = trained = list(reports(**JOB, early_stopping=rule))

    best = [report.row for report in trained if report.row.is_best][-1]
    assert 1 < len(trained) < JOB["max_epochs"]
    assert found.exact
    assert (last.row.epoch, last.stop) == (found.stop_epoch, found.stop_reason)
    assert (best.epoch, best.value(found.rule.monitor)) == (found.best_epoch, found.best_value)
    assert [report.row.measured() for report in trained] == [row.measured() for row in rows[: len(trained)]]


@pytest.mark.parametrize("rule", ["patience", "gl", "pq", "up"])
def test_a_rule_that_cannot_fire_leaves_a_job_to_its_last_epoch(rule: str) -> None:
    *_, last = reports(max_epochs=3, early_stopping={"rule": rule, "min_epochs": 4})

    assert last.stop is StopReason.max_epochs


def test_a_rule_that_stops_leaves_its_measure_and_its_reason_in_the_row() -> None:
    *_, last = reports(**JOB, early_stopping={"rule": "gl", "alpha": 3.0})

    assert last.row.closeness is not None
    assert last.row.closeness > 1
    assert last.row.reason.startswith("GL ")
    assert "exceeds 3 (best " in last.row.reason


def test_another_monitor_under_a_plateau_schedule_is_not_promised_and_indeed_trains_otherwise() -> None:
    fields = {**JOB, "schedule": {"kind": "plateau", "patience": 0, "factor": 0.5}}
    rule = {"patience": 10, "monitor": "train_loss", "min_epochs": 50}
    found, rows = promised(rule, **fields)

    trained = list(reports(**fields, early_stopping=rule))

    assert not found.exact
    assert [report.row.lr for report in trained] != [row.lr for row in rows[: len(trained)]]
