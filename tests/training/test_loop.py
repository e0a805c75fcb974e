"""The training loop: measurements, stop reasons, and the states that it leaves."""

from __future__ import annotations

import gc
from math import isfinite
from time import sleep
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from service.domain.epoch import Epoch
from service.domain.status import ErrorCode, StopReason
from service.training import metrics
from service.training.losses import balanced
from service.training.models import initial_state
from tests.training.jobs import CPU, Observed, job, network_of, reports, train

EXPLODING: dict[str, Any] = {
    "task": "regression",
    "architecture": {"kind": "mlp", "hidden": []},
    "optimizer": {"kind": "sgd", "lr": 10.0},
    "batch_size": "full",
}


def val_loss(row: Epoch) -> float:
    assert row.val_loss is not None
    return row.val_loss


def rows_of(**fields: Any) -> list[Epoch]:
    return [report.row for report in reports(**fields)]


def same(state: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(values, other[key]) for key, values in state.items())


def without_seconds(rows: list[Epoch]) -> list[Epoch]:
    return [row.model_copy(update={"seconds": 0.0}) for row in rows]


def test_equal_jobs_give_equal_rows_and_weights_whatever_the_global_generator() -> None:
    fields: dict[str, Any] = {"max_epochs": 6, "architecture": {"hidden": [8], "dropout": 0.2}, "batch_size": 16}
    *_, undisturbed = first = list(reports(**fields))

    second: list[Observed] = []
    for report in reports(**fields):
        torch.manual_seed(len(second))
        second.append(report)

    assert without_seconds([r.row for r in first]) == without_seconds([r.row for r in second])
    assert same(undisturbed.last_state, second[-1].last_state)
    assert same(undisturbed.best_state, second[-1].best_state)


def test_training_draws_nothing_from_the_global_generator() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)

    torch.manual_seed(0)
    rows_of(max_epochs=2, architecture={"hidden": [8], "dropout": 0.2})

    assert torch.equal(torch.rand(3), expected)


def test_another_seed_gives_another_history() -> None:
    assert rows_of(max_epochs=1, seed=0)[0].train_loss != rows_of(max_epochs=1, seed=1)[0].train_loss


def test_training_ends_at_max_epochs() -> None:
    *before, last = reports(max_epochs=3)

    assert [report.stop for report in before] == [None, None]
    assert (last.stop, last.error, last.row.epoch) == (StopReason.max_epochs, None, 3)


def test_training_ends_at_the_first_epochs_end_past_max_seconds() -> None:
    *before, last = reports(max_epochs=1000, max_seconds=0.05, early_stopping=None)

    assert last.stop is StopReason.max_time
    assert sum(report.row.seconds for report in before) < 0.05 <= sum(r.row.seconds for r in (*before, last))


def test_the_time_a_consumer_takes_is_not_training_time() -> None:
    training = reports(max_epochs=2, max_seconds=0.5)

    next(training)
    sleep(0.6)

    assert next(training).stop is StopReason.max_epochs


def test_early_stopping_ends_training_with_the_best_epochs_weights_kept() -> None:
    rows, states = [], {}
    for report in reports(max_epochs=60, early_stopping={"patience": 3}):
        rows.append(report.row)
        states[report.row.epoch] = report.last_state

    best = min(rows, key=val_loss)
    assert report.stop is StopReason.early_stopped
    assert report.row.epoch == best.epoch + 3
    assert same(report.best_state, states[best.epoch])
    assert not same(report.best_state, report.last_state)


def test_without_early_stopping_the_best_is_kept_all_the_same() -> None:
    training = list(reports(max_epochs=40, early_stopping=None))

    best = min((report.row for report in training), key=val_loss)
    assert len(training) == 40
    assert [report.row.epoch for report in training if report.row.is_best][-1] == best.epoch < 40


def test_a_target_ends_training() -> None:
    *_, last = reports(max_epochs=50, early_stopping={"monitor": "train_loss", "target": 0.6})

    assert last.stop is StopReason.target_reached
    assert last.row.train_loss is not None
    assert last.row.train_loss <= 0.6


@pytest.mark.parametrize("monitor", ["val_loss", "val_accuracy", "val_f1_macro", "val_roc_auc", "val_log_loss"])
def test_the_best_weights_evaluate_to_the_recorded_best_value(monitor: str) -> None:
    fields = {"max_epochs": 20, "early_stopping": {"monitor": monitor, "patience": 20}}
    resolved, data = job(**fields)
    *rows, last = reports(**fields)
    best = [report.row for report in (*rows, last) if report.row.is_best][-1]

    logits = network_of(resolved, last.best_state)(torch.tensor(data.validation.x)).detach()

    (found,) = metrics.classification(logits.unsqueeze(0), torch.tensor(data.validation.y))
    recorded = {"val_loss": best.val_loss, **best.metrics}[monitor]
    assert found[monitor.removeprefix("val_").replace("loss", "log_loss").replace("log_log", "log")] == pytest.approx(
        recorded, abs=1e-6
    )


def test_test_rows_are_scored_once_with_the_best_weights() -> None:
    fields = {"split": {"validation": 0.2, "test": 0.2}, "max_epochs": 30, "early_stopping": {"patience": 3}}
    resolved, data = job(**fields)
    *before, last = reports(**fields)

    logits = network_of(resolved, last.best_state)(torch.tensor(data.test.x)).detach()

    (found,) = metrics.classification(logits.unsqueeze(0), torch.tensor(data.test.y))
    assert all(report.test is None for report in before)
    assert last.test == pytest.approx({"loss": found["log_loss"], **found}, abs=1e-6)


def test_without_validation_rows_the_training_loss_decides() -> None:
    fields = {"split": {"validation": 0.0}, "early_stopping": {"monitor": "train_loss"}, "max_epochs": 3}

    *_, last = reports(**fields)

    assert (last.row.val_loss, last.row.metrics, last.test) == (None, {}, None)
    assert last.row.is_best


@pytest.mark.parametrize("loss", [{}, {"class_weight": "balanced"}, {"label_smoothing": 0.2}])
def test_the_training_loss_is_as_trained_and_the_validation_loss_is_plain(loss: dict[str, Any]) -> None:
    fields = {"loss": loss, "batch_size": "full", "max_epochs": 1}
    resolved, data = job(data={"kind": "synthetic", "rows": 61, "features": 3, "classes": 3}, **fields)
    (report,) = reports(data={"kind": "synthetic", "rows": 61, "features": 3, "classes": 3}, **fields)
    x, y = torch.tensor(data.train.x), torch.tensor(data.train.y)
    weight = balanced(y, 3) if "class_weight" in loss else None
    as_trained = nn.CrossEntropyLoss(weight, label_smoothing=loss.get("label_smoothing", 0.0))

    before = network_of(resolved, initial_state(resolved.graph, 0)).train()
    after = network_of(resolved, report.last_state)

    assert report.row.train_loss == pytest.approx(as_trained(before(x), y).item(), abs=1e-6)
    plain = nn.CrossEntropyLoss()(after(torch.tensor(data.validation.x)), torch.tensor(data.validation.y))
    assert report.row.val_loss == pytest.approx(plain.item(), abs=1e-6)


def test_a_schedules_rate_stands_in_the_rows() -> None:
    rates = [row.lr for row in rows_of(schedule={"kind": "step", "step_size": 2, "gamma": 0.5}, max_epochs=5)]

    assert rates == pytest.approx([0.003, 0.003, 0.0015, 0.0015, 0.00075])


def test_a_plateau_watches_the_monitored_value() -> None:
    schedule = {"kind": "plateau", "patience": 0, "factor": 0.5, "threshold": 0.9}

    rows = rows_of(schedule=schedule, optimizer={"lr": 0.01}, max_epochs=4)

    assert [row.lr for row in rows] == pytest.approx([0.01, 0.01, 0.005, 0.0025])


def test_a_loss_that_is_not_finite_stops_training_with_the_best_kept() -> None:
    *before, last = reports(**EXPLODING, early_stopping={"patience": 1000})

    assert (last.stop, last.error) == (StopReason.diverged, None)
    assert last.row.non_finite
    assert last.row.train_loss is None
    assert any(report.row.is_best for report in before)
    assert all(values.isfinite().all() for values in last.best_state.values())


def test_a_loss_that_is_not_finite_fails_a_job_that_asked_for_it() -> None:
    *_, last = reports(**EXPLODING, early_stopping={"on_non_finite": "fail", "patience": 1000})

    assert last.stop is None
    assert last.error is not None
    assert last.error.code is ErrorCode.non_finite_loss
    assert all(values.isfinite().all() for values in last.best_state.values())


def test_a_loss_that_is_not_finite_counts_as_no_improvement_if_it_is_to_be_ignored() -> None:
    *before, last = reports(**EXPLODING, early_stopping={"on_non_finite": "ignore", "patience": 60}, max_epochs=500)

    assert (last.stop, last.error, last.row.wait) == (StopReason.early_stopped, None, 60)
    assert sum(report.row.non_finite for report in before) > 5
    assert (last.row.train_loss, last.row.val_loss) == (None, None)
    assert set(last.row.metrics.values()) == {None}


@pytest.mark.parametrize("policy", ["stop", "ignore"])
def test_a_job_without_any_finite_epoch_fails(policy: str) -> None:
    fields = {**EXPLODING, "batch_size": 1, "early_stopping": {"on_non_finite": policy, "patience": 2}}

    *_, last = reports(**fields)

    assert last.stop is None
    assert last.error is not None
    assert last.error.code is ErrorCode.non_finite_loss
    assert last.row.reason.endswith("(no best yet)")


def test_a_monitor_that_the_validation_rows_leave_undefined_is_refused() -> None:
    spec = {"split": {"shuffle": False, "validation": 0.01}, "early_stopping": {"monitor": "val_roc_auc"}}

    (only,) = reports(**spec)
    assert only.error is not None
    assert only.error.code is ErrorCode.invalid_spec
    assert "val_roc_auc is not defined on these validation rows" in only.error.message


def test_stopping_to_iterate_leaves_the_best_epochs_weights() -> None:
    training = reports(max_epochs=1000, early_stopping=None)
    for report in training:
        if report.row.epoch == 4:
            break

    assert all(values.isfinite().all() for values in report.best_state.values())


@pytest.mark.e2e
def test_an_epoch_leaves_no_tensors_behind() -> None:
    alive = []
    for report in reports(max_epochs=31, early_stopping=None, batch_size=16):
        if report.row.epoch in (10, 30):
            gc.collect()
            alive.append(sum(type(thing) is Tensor for thing in gc.get_objects()))

    assert alive[0] == alive[1]


def test_regression_measures_in_the_targets_own_units() -> None:
    x = [[i / 10, (i % 7) / 7] for i in range(60)]
    data = {"kind": "inline", "x": x, "y": [1000.0 + 50.5 * a - 30.0 * b for a, b in x]}
    fields: dict[str, Any] = {"data": data, "task": "regression", "max_epochs": 3}
    resolved, prepared = job(**fields)
    *_, last = reports(**fields)

    outputs = network_of(resolved, last.last_state)(torch.tensor(prepared.validation.x)).detach()[:, 0]

    y = torch.tensor(prepared.validation.y)
    target = prepared.preprocessing.target
    assert last.row.val_loss == pytest.approx(nn.functional.mse_loss(outputs, y).item(), rel=1e-5)
    assert last.row.metrics["val_mae"] == pytest.approx((outputs - y).abs().mean().item() * target.scale, rel=1e-5)
    assert last.row.metrics["val_rmse"] == pytest.approx(val_loss(last.row) ** 0.5 * target.scale, rel=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_job_trains_on_a_gpu_as_on_the_cpu_but_for_rounding() -> None:
    resolved, data = job(max_epochs=3)
    on_gpu = [report for (report,) in train([resolved], data, torch.device("cuda"))]

    on_cpu = [report for (report,) in train([resolved], data, CPU)]
    assert [r.row.train_loss for r in on_gpu] == pytest.approx([r.row.train_loss for r in on_cpu], abs=1e-3)
    assert isfinite(val_loss(on_gpu[-1].row))
