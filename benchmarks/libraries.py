"""Other libraries' models with their default settings, on one thread: predictions, and the CPU time of the training.

python -m pip install catboost pytabkit
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.tables import Table

MOST_CATEGORIES = 200  # of a column that HistGradientBoosting gets; it takes 255
MISSING = "nan"
Predicted = tuple["NDArray[np.float64]", float]
"""Probabilities (rows, classes) or numbers (rows,) for the rows set aside, and seconds of CPU time."""


def catboost(table: Table, seed: int) -> Predicted:
    """CatBoost, with its categorical columns named."""
    from catboost import CatBoostClassifier, CatBoostRegressor  # type: ignore[import-not-found]

    model = CatBoostClassifier if table.has_classes else CatBoostRegressor
    options = {"verbose": 0, "thread_count": 1, "allow_writing_files": False}
    train, test = (_with_texts(frame, table.texts) for frame in (table.train, table.test))
    return _fitted(model(random_seed=seed, cat_features=table.texts, **options), table, train, test)


def gradient_boosting(table: Table, seed: int) -> Predicted:
    """scikit-learn's HistGradientBoosting, without texts of more values than it takes."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    model = HistGradientBoostingClassifier if table.has_classes else HistGradientBoostingRegressor
    train, test = _with_categories(table, most=MOST_CATEGORIES)
    return _fitted(model(random_state=seed, categorical_features="from_dtype"), table, train, test)


def realmlp(table: Table, seed: int) -> Predicted:
    """RealMLP with the tuned defaults of pytabkit."""
    from pytabkit import RealMLP_TD_Classifier, RealMLP_TD_Regressor  # type: ignore[import-not-found]

    return _pytabkit(RealMLP_TD_Classifier if table.has_classes else RealMLP_TD_Regressor, table, seed)


def tabm(table: Table, seed: int) -> Predicted:
    """TabM with the defaults of pytabkit."""
    from pytabkit import TabM_D_Classifier, TabM_D_Regressor

    return _pytabkit(TabM_D_Classifier if table.has_classes else TabM_D_Regressor, table, seed)


def _pytabkit(model: Callable[..., Any], table: Table, seed: int) -> Predicted:
    train, test = _with_categories(table)
    medians = train.drop(columns=table.target).median(numeric_only=True)  # it takes no missing numbers
    train, test = train.fillna(medians), test.fillna(medians)
    return _fitted(model(device="cpu", random_state=seed, n_threads=1, verbosity=0), table, train, test)


LIBRARIES: dict[str, Callable[[Table, int], Predicted]] = {
    "CatBoost": catboost,
    "HistGradientBoosting": gradient_boosting,
    "RealMLP": realmlp,
    "TabM": tabm,
}


def _fitted(model: Any, table: Table, train: pd.DataFrame, test: pd.DataFrame) -> Predicted:
    with threadpool_limits(1):
        started = time.process_time()
        model.fit(train.drop(columns=table.target), table.train[table.target])
        seconds = time.process_time() - started
        found = model.predict_proba(test) if table.has_classes else model.predict(test)
    if table.has_classes:
        assert list(model.classes_) == table.classes, model.classes_
    values = np.asarray(found, dtype=np.float64)
    return (values if table.has_classes else values.reshape(-1)), seconds


def _with_texts(frame: pd.DataFrame, texts: list[str]) -> pd.DataFrame:
    """Texts without missing values."""
    plain = frame.copy()
    for name in texts:
        plain[name] = frame[name].astype(object).where(frame[name].notna(), MISSING).astype(str)
    return plain


def _with_categories(table: Table, most: int | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training rows and rows set aside with texts as categories; columns of more than `most` are left out."""
    train, test = table.train.copy(), table.test.copy()
    for name in table.texts:
        known = sorted({str(value) for value in table.train[name].dropna()})
        for frame in (train, test):
            texts = frame[name].astype(object).where(frame[name].notna(), None)
            frame[name] = pd.Categorical([None if text is None else str(text) for text in texts], known)
        if most is not None and len(known) > most:
            train, test = train.drop(columns=name), test.drop(columns=name)
    return train, test
