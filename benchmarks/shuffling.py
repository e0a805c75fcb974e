"""Validation loss after 10 epochs with rows that are shuffled in windows of blocks, against a full shuffle of all rows.

    python -m benchmarks.shuffling                       # all tables and orders
    python -m benchmarks.shuffling --seeds 8 --rows 500000

Tables have a signal and noise, so that networks do not overfit in 10 epochs; each is stored in a random order, sorted
by its target, and sorted by time while the inputs drift. Windows are a share of the table as they are in a table that
is larger than memory.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import torch

from service.data.preprocess.dataset import Prepared
from service.data.preprocess.streamed import StreamedRows
from service.spec.job import JobSpec
from service.spec.resolve import resolve
from service.spec.table import Column, ColumnType, TableProfile, ValueCount
from service.training.loop import Training
from service.worker import rows_file

NOISE = "sqrt(-2 * ln(random() + 1e-12)) * cos(2 * pi() * random())"  # normally distributed
INPUTS = 20
WINDOWS = [16, 64]  # blocks of 256 rows; a table of 1,000 inputs has 128 by default
HIDDEN = [64, 32]


@dataclass(frozen=True)
class Table:
    """A made table: SQL of its target from the inputs x0, x1, ..."""

    name: str
    target: str
    classes: int | None  # None: a number


SCORE = "x0 * x1 + sin(2 * x2) + 0.5 * x3 - 0.3 * abs(x4)"
TABLES = [
    Table("2 classes", f"({SCORE} + {NOISE} > 0)::INT", 2),
    Table("2 classes, 1 of 10", f"({SCORE} + {NOISE} > 2.2)::INT", 2),
    Table("5 classes", f"greatest(0, least(4, round(1.2 * ({SCORE} + 0.7 * {NOISE}) + 2)))::INT", 5),
    Table("number", f"{SCORE} + {NOISE}", None),
]
ORDERS = {"random": "random()", "by target": "y, random()", "by time": "t"}


def make(path: Path, table: Table, order: str, rows: int) -> None:
    """Write the table; `t` is the time, with which one input drifts."""
    inputs = ", ".join(f"{NOISE}{' + 3 * t' if i == 0 else ''} AS x{i}" for i in range(INPUTS))
    with duckdb.connect(config={"threads": 1}) as base:
        base.execute("SELECT setseed(0.5)")
        made = base.sql(f"SELECT r, t, {inputs} FROM (SELECT r, r / {rows} AS t FROM range({rows}) s(r))")  # noqa: S608
        base.execute("CREATE TABLE made AS SELECT * FROM made")
        found = base.table("made").project(f"*, {table.target} AS y").order(ORDERS[order])
        found.project("* EXCLUDE (r, t)").write_parquet(str(path))
        del made


def spec(table: Table, rows: int, window: int | None, seed: int) -> Any:
    """The job; `window`: blocks, None: rows in memory."""
    numbers = {"type": ColumnType.number, "missing": 0, "distinct": rows, "min": -5.0, "max": 8.0}
    if table.classes is None:
        y = Column(name="y", **numbers)
    else:
        listed = [ValueCount(value=value, count=rows // table.classes) for value in range(table.classes)]
        y = Column(name="y", type=ColumnType.integer, missing=0, distinct=table.classes, values=listed)
    profile = TableProfile(rows=rows, columns=[*(Column(name=f"x{i}", **numbers) for i in range(INPUTS)), y])
    streaming = "off" if window is None else {"window_rows": window * 256}
    fields = {
        "data": {"kind": "dataset", "id": "ds_1", "target": "y", "streaming": streaming},
        "task": "regression" if table.classes is None else "classification",
        "architecture": {"kind": "mlp", "hidden": HIDDEN},
        "batch_size": 512,
        "max_epochs": 10,
        "early_stopping": None,
        "seed": seed,
    }
    return resolve(JobSpec.model_validate(fields), profile)


def losses(table: Table, rows: int, window: int | None, seeds: int, data: Prepared) -> np.ndarray[Any, Any]:
    """(seeds,) validation losses after the last epoch. Both kinds of jobs train on the same prepared rows."""
    jobs = [spec(table, rows, window, seed) for seed in range(seeds)]
    found = np.full(seeds, np.nan)
    for reports in Training(jobs, data, torch.device("cpu")):
        for report in reports:
            found[report.member] = report.row.val_loss
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=131_072)
    options.add_argument("--seeds", type=int, default=3)
    asked = options.parse_args()
    torch.set_num_threads(1)
    print(f"{asked.rows:,} rows, {asked.seeds} seeds; validation loss / that of a full shuffle - 1")
    print("| table | order | full shuffle |", " | ".join(f"{blocks} blocks" for blocks in WINDOWS), "|")
    ratios: dict[tuple[str, int], list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="bestepoch-shuffling-") as folder:
        for table in TABLES:
            for order in ORDERS:
                path, prepared = Path(folder) / "table.parquet", Path(folder) / "rows"
                make(path, table, order, asked.rows)
                job = spec(table, asked.rows, WINDOWS[0], 0)
                rows_file.write_streamed(prepared, StreamedRows(job.preparation, path))
                data = rows_file.read(prepared, streamed=True)
                full = losses(table, asked.rows, None, asked.seeds, data)
                shown = []
                for blocks in WINDOWS:
                    ratio = np.log(losses(table, asked.rows, blocks, asked.seeds, data) / full)
                    ratios.setdefault((order, blocks), []).extend(ratio)
                    shown.append(f"{np.expm1(ratio.mean()):+.2%} ± {ratio.std(ddof=1):.2%}")
                print(f"| {table.name} | {order} | {full.mean():.4f} |", " | ".join(shown), "|", flush=True)
    for (order, blocks), own in ratios.items():
        print(f"{order}, {blocks} blocks: {np.expm1(np.mean(own)):+.2%}, deviation {np.std(own, ddof=1):.2%}")


if __name__ == "__main__":
    main()
