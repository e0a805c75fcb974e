"""Metrics on held-out rows with default settings, against scikit-learn's networks with early stopping.

    python -m benchmarks.quality [seeds]

A fifth of each table is set aside. The rest is uploaded, as CSV and as Parquet, and trained with default settings; the
rows set aside are sent to /predict as they are. scikit-learn gets the same rows: numbers imputed and standardized,
texts one-hot, the target standardized for regression, `early_stopping=True`, `max_iter=1000`, all else as it comes.
"""

from __future__ import annotations

import csv
import io
import statistics
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
from sklearn import datasets
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from examples.local_service import running_service

if TYPE_CHECKING:
    import httpx2

PENGUINS = Path(__file__).parents[1] / "examples/penguins.csv"
Row = dict[str, Any]


def main() -> None:
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    warnings.simplefilter("ignore")  # scikit-learn's, on texts unseen in training
    print(f"{'':16s}{'score':10s}{'from CSV':>12s}{'from Parquet':>14s}{'scikit-learn':>14s}")
    with tempfile.TemporaryDirectory() as home, running_service(Path(home)) as client:
        for name, (rows, target) in tables().items():
            scores = [one(client, Path(home), rows, target, seed) for seed in range(seeds)]
            means = [statistics.mean(column) for column in zip(*scores, strict=True)]
            kind = "accuracy" if is_classes(rows, target) else "R2"
            print(f"{name:16s}{kind:10s}{means[0]:12.4f}{means[1]:14.4f}{means[2]:14.4f}")
    print(f"means over {seeds} seeds, each with rows of its own set aside")


def tables() -> dict[str, tuple[list[Row], str]]:
    with PENGUINS.open() as file:
        penguins = [{k: cell(v) for k, v in row.items()} for row in csv.DictReader(file)]
    loaded = {name: getattr(datasets, f"load_{name}")() for name in ("breast_cancer", "digits", "diabetes")}
    found = {"penguins": (penguins, "species")}
    for name, table in loaded.items():
        names = [str(n).replace(" ", "_") for n in table.feature_names]
        rows = [
            {**dict(zip(names, map(float, x), strict=True)), "target": y.item()}
            for x, y in zip(table.data, table.target, strict=True)
        ]
        found[name] = rows, "target"
    return found


def cell(text: str) -> float | str | None:
    try:
        return float(text)
    except ValueError:
        return None if text in ("", "NA") else text


def is_classes(rows: list[Row], target: str) -> bool:
    return not isinstance(rows[0][target], float)


def one(client: httpx2.Client, home: Path, rows: list[Row], target: str, seed: int) -> tuple[float, float, float]:
    """Scores of one seed: from CSV, from Parquet, of scikit-learn."""
    truth = [row[target] for row in rows]
    stratify = truth if is_classes(rows, target) else None
    train, held = train_test_split(rows, test_size=0.2, random_state=seed, stratify=stratify)
    score: Callable[[Any, Any], float] = accuracy_score if stratify else r2_score
    answers = [served(client, body, held, target, seed) for body in bodies(home, train)]
    answers.append(by_scikit_learn(train, held, target, seed))
    first, second, third = (float(score([row[target] for row in held], answer)) for answer in answers)
    return first, second, third


def bodies(home: Path, rows: list[Row]) -> list[bytes]:
    """The rows as CSV and as Parquet."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    source, parquet = home / "rows.csv", home / "rows.parquet"
    source.write_text(text.getvalue())
    duckdb.read_csv(str(source)).write_parquet(str(parquet))
    return [source.read_bytes(), parquet.read_bytes()]


def served(client: httpx2.Client, body: bytes, held: list[Row], target: str, seed: int) -> list[Any]:
    dataset = client.post("/v1/datasets", content=body).raise_for_status().json()
    spec = {"data": {"id": dataset["id"], "target": target}, "seed": seed}
    job = client.post("/v1/jobs", json=spec).raise_for_status().json()
    job = client.get(f"/v1/jobs/{job['id']}", params={"wait": 60}).raise_for_status().json()
    assert job["status"] == "succeeded", job
    rows = [{name: value for name, value in row.items() if name != target} for row in held]
    answer = client.post(f"/v1/jobs/{job['id']}/predict", json={"rows": rows}).raise_for_status().json()
    return [prediction["prediction"] for prediction in answer["predictions"]]


def by_scikit_learn(train: list[Row], held: list[Row], target: str, seed: int) -> Any:
    names = [name for name in train[0] if name != target]
    texts = [i for i, name in enumerate(names) if any(isinstance(row[name], str) for row in train)]
    numbers = [i for i in range(len(names)) if i not in texts]
    x, held_x = (
        np.array([[np.nan if row[n] is None else row[n] for n in names] for row in part], dtype=object)
        for part in (train, held)
    )
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), numbers),
        (make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")), texts),
    )
    fixed = {"early_stopping": True, "max_iter": 1000, "random_state": seed}
    if is_classes(train, target):
        network = MLPClassifier(**fixed)
    else:
        network = TransformedTargetRegressor(MLPRegressor(**fixed), transformer=StandardScaler())
    model = make_pipeline(columns, network).fit(x, [row[target] for row in train])
    return model.predict(held_x)


if __name__ == "__main__":
    main()
