"""The monitored metrics: which way is better, and which task defines them."""

from __future__ import annotations

import pytest

from service.spec.early_stopping import CLASSIFICATION, REGRESSION, Monitor


@pytest.mark.parametrize("monitor", Monitor)
def test_scores_should_grow_and_losses_and_errors_should_shrink(monitor: Monitor) -> None:
    scores = {"val_accuracy", "val_f1_macro", "val_roc_auc", "val_r2"}

    assert monitor.larger_is_better == (monitor.value in scores)


def test_every_metric_but_the_losses_belongs_to_one_task() -> None:
    assert not CLASSIFICATION & REGRESSION
    assert set(Monitor) - CLASSIFICATION - REGRESSION == {Monitor.val_loss, Monitor.train_loss}
