"""Baselines: simple models trained and scored on the same rows as a network. Needs scikit-learn, an extra."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.reports.bootstrap import Bootstrap, estimates
from service.reports.column_codes import ColumnCodes
from service.reports.importance import Columns
from service.reports.row_losses import Truth
from service.reports.sections.baselines import Baseline, Baselines, Verdict
from service.reports.sections.estimate import Estimate

MAX_CELLS = 12_500_000
"""Training values that baselines are fitted on; of more rows a random sample is drawn."""
MAX_TREES = 1_000
"""Boosted trees at most, over all classes."""
MAX_TREE_CLASSES = 100
MAX_ROUNDS = 200
THREADS = 2  # a fixed number: sums of another number of threads may differ in the last bit
SEED = 0

HOW_TO_INSTALL = "linear model and boosted trees need scikit-learn on the server: pip install 'bestepoch[baseline]'"


@dataclass(frozen=True)
class RowsOfPart:
    """Feature columns (N,) and targets of some rows."""

    columns: Columns
    truth: Truth

    def at(self, rows: NDArray[np.int64]) -> RowsOfPart:
        """These of the rows."""
        return RowsOfPart({name: values[rows] for name, values in self.columns.items()}, self.truth.at(rows))


def compare(
    train: RowsOfPart, validation: RowsOfPart | None, scored: RowsOfPart, network: NDArray[np.float64]
) -> Baselines:
    """Train the baselines and score them on the rows `scored` beside the network's outputs there: (N, C) or (N,).

    `validation`: rows that decide when boosting stops, as they do for the network.
    """
    models, missing = list(_constant(train.truth, len(network))), None
    train = _sample(train)
    try:
        models += _learnt(train, validation or scored, scored)
    except ImportError:
        missing = HOW_TO_INSTALL
    truth = scored.truth
    losses = np.stack([truth.row_losses(network), *(truth.row_losses(outputs) for _, _, outputs in models)], axis=1)
    bootstrap = Bootstrap(len(losses))
    drawn = truth.of_mean(bootstrap.means([bootstrap.unit_sums(each) for each in losses.T]))
    values = truth.mean_loss(losses)
    network_loss, *own = estimates(values, drawn)
    differences = estimates(values - values[0], drawn - drawn[:, :1])[1:]
    found = [
        Baseline(
            name=name,
            description=description,
            loss=loss,
            metrics=_metrics(truth, outputs),
            difference=difference,
            verdict=_verdict(difference),
        )
        for (name, description, outputs), loss, difference in zip(models, own, differences, strict=True)
    ]
    return Baselines(
        loss=truth.loss,
        network=network_loss,
        network_metrics=_metrics(truth, network),
        training_rows=len(train.truth.values),
        models=found,
        missing=missing,
    )


_Model = tuple[str, str, NDArray[np.float64]]  # name, description, outputs


def _constant(truth: Truth, rows: int) -> Iterator[_Model]:
    if truth.classes is None:
        yield "constant", "the mean of the training rows, for every row", np.full(rows, truth.values.mean())
    else:
        shares = np.bincount(truth.values, minlength=truth.classes) / len(truth.values)
        yield "constant", "the shares of the classes in the training rows, for every row", np.tile(shares, (rows, 1))


def _learnt(train: RowsOfPart, validation: RowsOfPart, scored: RowsOfPart) -> Iterator[_Model]:
    if train.truth.classes is not None and len(np.unique(train.truth.values)) < 2:
        return
    from sklearn.exceptions import ConvergenceWarning  # an extra
    from threadpoolctl import threadpool_limits

    with threadpool_limits(THREADS), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield _linear(train, scored)
        if (train.truth.classes or 1) <= MAX_TREE_CLASSES:
            yield _boosted_trees(train, validation, scored)


def _linear(train: RowsOfPart, scored: RowsOfPart) -> _Model:
    from sklearn.linear_model import LogisticRegression, Ridge

    encoding = ColumnCodes.fit(train.columns)
    x, x_scored = encoding.standardized(train.columns), encoding.standardized(scored.columns)
    if train.truth.classes is None:
        model = Ridge().fit(x, train.truth.values)
        return "linear", "linear regression (ridge)", model.predict(x_scored)
    classifier = LogisticRegression().fit(x, train.truth.values)
    shares = _of_all_classes(classifier.predict_proba(x_scored), classifier.classes_, train.truth.classes)
    return "linear", "logistic regression", shares


def _boosted_trees(train: RowsOfPart, validation: RowsOfPart, scored: RowsOfPart) -> _Model:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    encoding = ColumnCodes.fit(train.columns)
    x, x_scored = encoding.coded(train.columns), encoding.coded(scored.columns)
    classes, y = train.truth.classes, train.truth.values
    seen = np.isin(validation.truth.values, y) if classes is not None else np.ones(len(validation.truth.values), bool)
    validation = validation.at(np.flatnonzero(seen))
    rounds = min(MAX_ROUNDS, MAX_TREES // (classes if classes is not None and classes > 2 else 1))
    kind = HistGradientBoostingRegressor if classes is None else HistGradientBoostingClassifier
    model = kind(max_iter=rounds, early_stopping=True, categorical_features=encoding.is_text or None, random_state=SEED)
    model.fit(x, y, X_val=encoding.coded(validation.columns), y_val=validation.truth.values)
    description = f"{model.n_iter_} boosted trees{' a class' if classes is not None and classes > 2 else ''}"
    if classes is None:
        return "boosted_trees", description, model.predict(x_scored)
    return "boosted_trees", description, _of_all_classes(model.predict_proba(x_scored), model.classes_, classes)


def _of_all_classes(shares: NDArray[np.float64], seen: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """(N, classes) probabilities, 0 for classes without training rows."""
    found = np.zeros((len(shares), classes))
    found[:, seen] = shares
    return found


def _sample(train: RowsOfPart) -> RowsOfPart:
    rows, most = len(train.truth.values), max(1_000, MAX_CELLS // max(1, len(train.columns)))
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
