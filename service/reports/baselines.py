"""Baselines: simple models trained and scored on the same rows as a network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from service.reports.loss_intervals import LossIntervals
from service.reports.rows import BaselineOutputs, RowsOfPart, TrainingRows, Truth
from service.reports.sections.baselines import Baseline, Baselines, Verdict
from service.reports.sections.estimate import Estimate

MAX_CELLS = 12_500_000
"""Training values, of more than two classes times their number, that baselines are fitted on; of more rows a random
sample is drawn."""
FULL_FITS = 8
"""So many times baselines are fitted on that many values; more fits share the work of these."""
MAX_FITS = 32
"""Different sets of training rows, such as folds, that baselines are fitted on."""
SEED = 0

HOW_TO_INSTALL = "linear model and boosted trees need scikit-learn on the server: pip install 'bestepoch[baseline]'"


def compare(
    every: RowsOfPart, trained: Sequence[TrainingRows], scored: RowsOfPart, network: NDArray[np.float64]
) -> Baselines:
    """Train the baselines and score them on the N rows `scored` beside the network's outputs there: (N, C) or (N,).

    `every`: the rows of the table. `trained`: the rows that networks were trained on; of several, baselines are fitted
    on each, and averaged as the networks are, so that a row is predicted by no model that was trained on it.
    """
    models, missing, fitted_on = _fitted(every, trained, scored)
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
        training_rows=fitted_on,
        fits=len(trained),
        models=found,
        missing=missing,
    )


def _fitted(
    every: RowsOfPart, trained: Sequence[TrainingRows], scored: RowsOfPart
) -> tuple[list[BaselineOutputs], str | None, int]:
    """The averaged models, why some are missing, and on how many rows each was fitted at least."""
    share, missing = min(1.0, FULL_FITS / len(trained)), None
    fits, sizes = list[list[BaselineOutputs]](), list[int]()
    for each in trained:
        part = scored.at(np.flatnonzero(each.weights))
        train = _sample(every.at(each.train), share)
        models = list(_constant(train.truth, len(part.truth.values)))
        try:
            from service.reports.learned_baselines import learned  # needs an extra

            models += learned(train, every.at(each.validation), part, share)
        except ImportError:
            missing = HOW_TO_INSTALL
        fits.append(models)
        sizes.append(len(train.truth.values))
    weights = [each.weights for each in trained]
    shared = min(len(models) for models in fits)  # training rows of one class have the constant alone
    return (
        [_averaged(own, weights) for own in zip(*(models[:shared] for models in fits), strict=True)],
        missing,
        min(sizes),
    )


def _averaged(fits: Sequence[BaselineOutputs], weights: Sequence[NDArray[np.float64]]) -> BaselineOutputs:
    """One model, fitted several times, each for the rows where its weight is not 0."""
    first, rounds = fits[0], [fit.rounds for fit in fits if fit.rounds is not None]
    description = first.description
    if rounds:
        low, high = min(rounds), max(rounds)
        description = f"{low if low == high else f'{low} to {high}'} {description}"
    if len(fits) == 1:
        return first._replace(description=description)
    total, outputs = np.sum(weights, axis=0), np.zeros((len(weights[0]), *first.outputs.shape[1:]))
    for fit, own in zip(fits, weights, strict=True):
        rows = np.flatnonzero(own)
        factors = own[rows] / total[rows]
        outputs[rows] += fit.outputs * (factors if fit.outputs.ndim == 1 else factors[:, None])
    return first._replace(description=description, outputs=outputs)


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


def _sample(train: RowsOfPart, share: float) -> RowsOfPart:
    classes = train.truth.classes or 2
    cells = len(train.columns) * (classes if classes > 2 else 1)
    rows, most = len(train.truth.values), max(1_000, int(share * MAX_CELLS) // max(1, cells))
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
