"""Baselines that learn: a linear model and boosted trees of scikit-learn, an extra."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge
from threadpoolctl import threadpool_limits

from service.reports.column_codes import ColumnCodes
from service.reports.regression_losses import RegressionLoss
from service.reports.rows import BaselineOutputs, RowsOfPart, Truth

MAX_ROUNDS = 200
MAX_TREE_CELLS = 1_000_000_000
"""Values that all trees together are grown on: with many rows, columns or classes there are fewer trees."""
MIN_ROUNDS = 20
MAX_TREE_CLASSES = 100
MAX_LOG_RATE = 80.0
SEED = 0


def learned(
    train: RowsOfPart, validation: RowsOfPart, scored: RowsOfPart, share: float = 1.0
) -> Iterator[BaselineOutputs]:
    """The models and their outputs for the rows `scored`; none if all training rows are of one class.

    `validation`: rows that decide when boosting stops. `share`: of the work that trees may take.
    """
    if train.truth.classes is not None and len(np.unique(train.truth.values)) < 2:
        return
    encoding = ColumnCodes.fit(train.columns)
    # Several threads spin while they wait for one another: on a busy machine they take ten times as long.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield _linear(encoding, train, scored)
        if (train.truth.classes or 1) <= MAX_TREE_CLASSES:
            yield _boosted_trees(encoding, train, validation, scored, share)


def _linear(encoding: ColumnCodes, train: RowsOfPart, scored: RowsOfPart) -> BaselineOutputs:
    x, x_scored = encoding.standardized(train.columns), encoding.standardized(scored.columns)
    if train.truth.classes is None:
        return _linear_regression(x, x_scored, train.truth)
    classifier = LogisticRegression().fit(x, train.truth.values)
    shares = _of_all_classes(classifier.predict_proba(x_scored), classifier.classes_, train.truth.classes)
    return BaselineOutputs("linear", "logistic regression", shares)


def _linear_regression(x: Any, x_scored: Any, truth: Truth) -> BaselineOutputs:
    if truth.loss == "poisson_deviance":
        model = PoissonRegressor().fit(x, truth.values)
        rates = np.exp(np.minimum(x_scored @ model.coef_ + model.intercept_, MAX_LOG_RATE))
        return BaselineOutputs("linear", "Poisson regression, with a penalty of squared weights", rates)
    model = Ridge().fit(x, truth.values)
    description, outputs, quantile = (
        "linear regression (ridge)",
        model.predict(x_scored),
        truth.regression_loss.quantile,
    )
    if quantile is not None:
        outputs = outputs + np.quantile(truth.values - model.predict(x), quantile)
        description += f", plus the {quantile:g} quantile of its residuals"
    return BaselineOutputs("linear", description, outputs)


def _boosted_trees(
    encoding: ColumnCodes, train: RowsOfPart, validation: RowsOfPart, scored: RowsOfPart, share: float
) -> BaselineOutputs:
    x, y, classes = encoding.coded(train.columns), train.truth.values, train.truth.classes
    known = np.ones(len(validation.truth.values), dtype=np.bool_)
    if classes is not None:
        known = np.isin(validation.truth.values, y)
    stops = validation.at(np.flatnonzero(known))
    trees = classes if classes is not None and classes > 2 else 1
    rounds = max(MIN_ROUNDS, min(MAX_ROUNDS, int(share * MAX_TREE_CELLS) // (trees * max(1, x.size))))
    kind = _regressor(train.truth.regression_loss) if classes is None else HistGradientBoostingClassifier
    model = kind(
        max_iter=rounds,
        early_stopping=bool(known.any()),
        categorical_features=encoding.is_text if encoding.texts else None,
        random_state=SEED,
    )
    held_out = {"X_val": encoding.coded(stops.columns), "y_val": stops.truth.values} if known.any() else {}
    model.fit(x, y, **held_out)
    description = f"boosted trees{' a class' if trees > 1 else ''} (histogram gradient boosting)"
    if classes is None:
        outputs = model.predict(encoding.coded(scored.columns))
    else:
        shares = model.predict_proba(encoding.coded(scored.columns))
        outputs = _of_all_classes(shares, model.classes_, classes)
    return BaselineOutputs("boosted_trees", description, outputs, model.n_iter_)


def _regressor(loss: RegressionLoss) -> Callable[..., HistGradientBoostingRegressor]:
    """Boosted trees for the loss; those for squared errors for the Huber loss, which scikit-learn does not have."""
    if loss.quantile is not None:
        return partial(HistGradientBoostingRegressor, loss="quantile", quantile=loss.quantile)
    return partial(
        HistGradientBoostingRegressor, loss="poisson" if loss.name == "poisson_deviance" else "squared_error"
    )


def _of_all_classes(shares: NDArray[np.float64], seen: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """(N, classes) probabilities, 0 for classes without training rows."""
    found = np.zeros((len(shares), classes))
    found[:, seen] = shares
    return found
