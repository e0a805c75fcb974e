"""Baselines: simple models trained and scored on the same rows as a network."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from service.reports.loss_intervals import LossIntervals
from service.reports.rows import BaselineOutputs, RowsOfPart, Truth
from service.reports.sections.baselines import Baseline, Baselines, Verdict
from service.reports.sections.estimate import Estimate

MAX_CELLS = 12_500_000
"""Training values, of more than two classes times their number, that baselines are fitted on; of more rows a random
sample is drawn."""
SEED = 0

HOW_TO_INSTALL = "linear model and boosted trees need scikit-learn on the server: pip install 'bestepoch[baseline]'"


def compare(train: RowsOfPart, validation: RowsOfPart, scored: RowsOfPart, network: NDArray[np.float64]) -> Baselines:
    """Train the baselines and score them on the rows `scored` beside the network's outputs there: (N, C) or (N,).

    `validation`: rows that decide when boosting stops, as they do for the network.
    """
    models, missing = list(_constant(train.truth, len(network))), None
    train = _sample(train)
    try:
        from service.reports.learned_baselines import learned  # needs an extra

        models += learned(train, validation, scored)
    except ImportError:
        missing = HOW_TO_INSTALL
    truth = scored.truth
    losses = np.stack([truth.row_losses(network), *(truth.row_losses(model.outputs) for model in models)], axis=1)
    intervals = LossIntervals(truth, losses)
    (network_loss, *own), differences = intervals.each(), intervals.differences()
    found = [
        Baseline(
            name=model.name,
            description=model.description,
            loss=loss,
            metrics=_metrics(truth, model.outputs),
            difference=difference,
            verdict=_verdict(difference),
        )
        for model, loss, difference in zip(models, own, differences, strict=True)
    ]
    return Baselines(
        loss=truth.loss,
        network=network_loss,
        network_metrics=_metrics(truth, network),
        training_rows=len(train.truth.values),
        models=found,
        missing=missing,
    )


def _constant(truth: Truth, rows: int) -> Iterator[BaselineOutputs]:
    if truth.classes is None:
        quantile = truth.regression_loss.quantile
        what = "mean" if quantile is None else "median" if quantile == 0.5 else f"{quantile:g} quantile"
        value = truth.regression_loss.constant(truth.values)
        yield BaselineOutputs("constant", f"the {what} of the training rows, for every row", np.full(rows, value))
    else:
        shares = np.bincount(truth.values, minlength=truth.classes) / len(truth.values)
        description = "the shares of the classes in the training rows, for every row"
        yield BaselineOutputs("constant", description, np.tile(shares, (rows, 1)))


def _sample(train: RowsOfPart) -> RowsOfPart:
    classes = train.truth.classes or 2
    cells = len(train.columns) * (classes if classes > 2 else 1)
    rows, most = len(train.truth.values), max(1_000, MAX_CELLS // max(1, cells))
    if rows <= most:
        return train
    return train.at(np.sort(np.random.default_rng(SEED).choice(rows, most, replace=False)))


def _verdict(difference: Estimate) -> Verdict:
    if (difference.low or 0.0) > 0:
        return "network_better"
    return "baseline_better" if (difference.high or 0.0) < 0 else "no_difference"


def _metrics(truth: Truth, outputs: NDArray[np.float64]) -> dict[str, float | None]:
    if truth.classes is not None:
        return {"accuracy": float((outputs.argmax(1) == truth.values).mean())}
    errors, spread = outputs - truth.values, float(np.square(truth.values - truth.values.mean()).sum())
    r2 = 1 - float(np.square(errors).sum()) / spread if spread else None
    return {"mae": float(np.abs(errors).mean()), "r2": r2}
