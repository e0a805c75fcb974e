"""Jobs with each loss: what they learn, and that losses, metrics and predictions fit together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sk
import torch
from torch.nn import functional as F

from service.data.preprocess.dataset import Prepared, prepare
from service.data.preprocess.sources import load
from service.spec.resolve import Resolved
from service.training.checkpoint import LoadedCheckpoint
from service.training.inference import InferenceModel
from service.training.scoring import scores
from tests.specs import synthetic
from tests.training.jobs import CPU, Observed, network_of, train

RNG = np.random.default_rng(0)
X = RNG.uniform(-1.0, 1.0, (400, 2)).round(4)
NOISY = (5.0 + 3.0 * X[:, 0] + RNG.exponential(2.0, 400)).round(4)
COUNTS = RNG.poisson(np.exp(5.0 + X[:, 0] - 0.5 * X[:, 1])).astype(float)
NETWORK: dict[str, Any] = {"hidden": [16], "batch_norm": False}


def trained(y: Any, **fields: Any) -> tuple[Resolved, Prepared, Observed]:
    """A job on these targets after its last epoch, with its rows."""
    data = {"kind": "inline", "x": X.tolist(), "y": list(y)}
    given = {"architecture": NETWORK, "max_epochs": 60, "optimizer": {"lr": 0.01}, "split": {"test": 0.2}, **fields}
    job = synthetic(data=data, **given)
    rows = prepare(job.preparation, None)
    *_, (last,) = train([job], rows, CPU)
    return job, rows, last


def predictions(job: Resolved, rows: Prepared, last: Observed) -> np.ndarray[Any, Any]:
    """Of all rows of the data, by the best weights, as the service predicts them."""
    network = network_of(job, last.best_state)
    loaded = LoadedCheckpoint(network, job.graph, rows.preprocessing, job.spec, 1, {})
    return InferenceModel(loaded).numbers(load(job.preparation, None))


@pytest.mark.parametrize("q", [0.1, 0.5, 0.9])
def test_the_quantile_loss_learns_the_quantile(q: float) -> None:
    found = predictions(*trained(NOISY, loss={"kind": "quantile", "q": q}))

    assert (found > NOISY).mean() == pytest.approx(q, abs=0.06)


def test_the_absolute_error_learns_the_median_and_the_squared_error_the_mean() -> None:
    median, mean = (predictions(*trained(NOISY, loss={"kind": kind})) for kind in ("absolute", "squared"))

    assert (median > NOISY).mean() == pytest.approx(0.5, abs=0.06)
    assert mean.mean() == pytest.approx(NOISY.mean(), rel=0.03)


def test_the_poisson_loss_learns_rates() -> None:
    found = predictions(*trained(COUNTS, loss={"kind": "poisson"}))

    expected = np.exp(5.0 + X[:, 0] - 0.5 * X[:, 1])
    np.testing.assert_allclose(found, expected, rtol=0.2)
    assert np.abs(np.log(found / expected)).mean() < 0.05


def test_the_poisson_metrics_are_those_of_scikit_learn() -> None:
    job, rows, last = trained(COUNTS, loss={"kind": "poisson"}, max_epochs=1)

    outputs = network_of(job, last.last_state)(torch.tensor(rows.validation.x))[:, 0].detach().double()
    target = rows.preprocessing.target
    rate, truth = outputs.exp().numpy() * target.scale, rows.validation.y.astype(np.float64) * target.scale
    deviance = sk.mean_poisson_deviance(truth, rate)

    assert target.mean == 0.0
    assert target.scale == pytest.approx(rows.train.y.mean() * target.scale)
    assert last.row.metrics["val_poisson_deviance"] == pytest.approx(deviance, rel=1e-5)
    assert last.row.val_loss == pytest.approx(deviance / 2 / target.scale, rel=1e-5)
    assert last.row.metrics["val_rmse"] == pytest.approx(sk.root_mean_squared_error(truth, rate), rel=1e-5)
    assert last.test is not None
    assert set(last.test) == {"loss", "mae", "rmse", "r2", "poisson_deviance"}


def test_poisson_metrics_and_predictions_are_finite_where_rates_overflow() -> None:
    job, rows, last = trained(COUNTS, loss={"kind": "poisson"}, max_epochs=1)
    outputs = torch.tensor([[[1.0], [700.0]]])

    ((_, measured),) = scores([job.spec], outputs, torch.ones(2), rows.preprocessing.target)

    assert measured["mae"] == pytest.approx(np.exp(80.0) * rows.preprocessing.target.scale / 2, rel=1e-6)
    weights = {**last.best_state, "layers.2.bias": torch.tensor([1e4])}
    assert np.isfinite(predictions(job, rows, replace(last, best_state=weights))).all()


def test_a_huber_loss_is_measured_in_standard_deviations_of_the_target() -> None:
    job, rows, last = trained(NOISY, loss={"kind": "huber", "delta": 0.5}, max_epochs=2)

    outputs = network_of(job, last.last_state)(torch.tensor(rows.validation.x))[:, 0].detach()

    expected = F.huber_loss(outputs, torch.tensor(rows.validation.y), delta=0.5).item()
    assert last.row.val_loss == pytest.approx(expected, rel=1e-5)


def test_the_validation_loss_of_the_focal_loss_has_no_class_weights() -> None:
    loss = {"kind": "focal", "gamma": 1.5, "class_weight": "balanced"}
    job, rows, last = trained(np.where(NOISY > 8.0, 1, 0), loss=loss, max_epochs=2)

    log_p = network_of(job, last.last_state)(torch.tensor(rows.validation.x)).detach().log_softmax(1)

    own = log_p.gather(1, torch.tensor(rows.validation.y).unsqueeze(1)).squeeze(1)
    assert last.row.val_loss == pytest.approx(-((1 - own.exp()) ** 1.5 * own).mean().item(), rel=1e-5)
    assert last.row.metrics["val_log_loss"] == pytest.approx(-own.mean().item(), rel=1e-5)


def test_a_negative_target_that_no_profile_shows_is_refused_when_rows_are_read() -> None:
    data = {"kind": "inline", "x": X.tolist(), "y": COUNTS.tolist()}
    job = synthetic(data=data, loss={"kind": "poisson"})
    below = synthetic(data={**data, "y": [-1.5, *COUNTS.tolist()[1:]]}, task="regression")

    with pytest.raises(Exception, match=r"the smallest value of column .y. is -1\.5"):
        prepare(job.preparation.__class__(**{**vars(below.preparation), "target": job.target}), None)


@pytest.mark.parametrize("kind", ["huber", "quantile", "poisson", "absolute"])
def test_a_rows_prediction_is_the_same_alone_and_in_any_batch(kind: str) -> None:
    job, rows, last = trained(COUNTS, loss={"kind": kind}, max_epochs=1)
    network = network_of(job, last.best_state)
    model = InferenceModel(LoadedCheckpoint(network, job.graph, rows.preprocessing, job.spec, 1, {}))
    table = load(job.preparation, None)

    together = model.numbers(table)

    for row in (0, 3, 131, 399):
        columns = {name: values[[row]] for name, values in table.columns.items()}
        assert model.numbers(type(table)(columns, 1)) == together[row]
