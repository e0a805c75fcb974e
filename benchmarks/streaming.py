"""Training on a table larger than memory, in a control group with a memory limit, against the same rows in memory.

    python -m benchmarks.streaming                                  # 5 GB of rows under a limit of 1 GiB
    python -m benchmarks.streaming --rows 200000 --limit-mib 512    # smaller
    python -m benchmarks.streaming --texts                          # one-hot inputs, faster to make
    python -m benchmarks.streaming --sorted                         # rows sorted by the class: the worst order

Needs root and control groups of version 1 or 2 for the limit; without them it says so, and measures only.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from benchmarks.memory import peak
from service.spec.job import JobSpec
from service.spec.limits import JobLimits, memory_estimate
from service.spec.resolve import resolve
from service.spec.table import Column, ColumnType, TableProfile, ValueCount

if TYPE_CHECKING:
    from collections.abc import Iterator

    from service.spec.resolved import Resolved

GROUPS = Path("/sys/fs/cgroup")
SIGNAL = 30  # columns that the class depends on
CATEGORIES = 50
HIDDEN = [64, 32]


def make_table(path: Path, rows: int, columns: int, *, texts: bool, by_class: bool) -> None:
    """Numbers with two decimals, or texts with 50 values each, and a class that depends on some of them and on chance;
    `columns`: inputs of the network."""
    if texts:
        values = ", ".join(f"'v' || hash(r, {i}) % {CATEGORIES} AS x{i}" for i in range(columns // CATEGORIES))
        score = " + ".join(f"(hash(x{i}, {i}) % 401)::DOUBLE / 100 - 2" for i in range(columns // CATEGORIES))
    else:
        values = ", ".join(f"(hash(r, {i}) % 401)::DOUBLE / 100 - 2 AS x{i}" for i in range(columns))
        score = " + ".join(f"x{i} * x{i + 1}" for i in range(0, SIGNAL, 2))
    table = duckdb.connect().query(f"SELECT r, {values} FROM range({rows}) t(r)")  # noqa: S608
    table = table.project(f"* EXCLUDE r, {score} + (hash(r, 'noise') % 1001)::DOUBLE / 250 - 2 > 0 AS y")
    table = table.order("y") if by_class else table
    table.write_parquet(str(path), compression="zstd", row_group_size=max(2_048, min(122_880, 4_000_000 // columns)))


def job_of(rows: int, columns: int, epochs: int, limit: int | None, *, texts: bool) -> Resolved:
    """The job; with a `limit` in bytes, its rows are streamed if they do not fit."""
    if texts:
        listed = [ValueCount(value=f"v{value}", count=rows // CATEGORIES) for value in range(CATEGORIES)]
        kind: dict[str, Any] = {"type": ColumnType.text, "distinct": CATEGORIES, "values": listed}
    else:
        kind = {"type": ColumnType.number, "distinct": 401, "min": -2.0, "max": 2.0}
    names = range(columns // CATEGORIES if texts else columns)
    classes = [ValueCount(value=value, count=rows // 2) for value in (False, True)]
    y = Column(name="y", type=ColumnType.boolean, missing=0, distinct=2, values=classes)
    table = TableProfile(rows=rows, columns=[*(Column(name=f"x{i}", missing=0, **kind) for i in names), y])
    fields: dict[str, Any] = {
        "data": {"kind": "dataset", "id": "ds_1", "target": "y"},
        "architecture": {"kind": "mlp", "hidden": HIDDEN},
        "batch_size": 1_024,
        "max_epochs": epochs,
        "early_stopping": None,
    }
    limits = None if limit is None else JobLimits(10**9, 10**6, None, limit)
    return resolve(JobSpec.model_validate(fields), table, limits)


def train(folder: Path, job: Resolved, streamed: Resolved) -> None:
    """In a child process: train and print a line of JSON an epoch. Both modes train on the same prepared rows."""
    import torch

    from service.data.preprocess.streamed import StreamedRows
    from service.training import shards
    from service.training.loop import Training
    from service.worker.prepared_files import PreparedFiles

    torch.set_num_threads(1)
    shards.use_threads(os.cpu_count() or 1, lambda: 1)
    started = time.perf_counter()
    files = PreparedFiles(folder)
    data = files.get_or_stream("rows", lambda: StreamedRows(streamed.preparation, folder / "table.parquet"))
    print(json.dumps({"prepared": time.perf_counter() - started, "peak": peak(os.getpid())}), flush=True)
    before = time.process_time()
    for (report,) in Training([job], data, torch.device("cpu")):
        found = {"seconds": report.row.seconds, "val_loss": report.row.val_loss, "train_loss": report.row.train_loss}
        cpu, before = time.process_time() - before, time.process_time()
        print(json.dumps({**found, "cpu": cpu, "peak": peak(os.getpid())}), flush=True)


@contextmanager
def memory_group(limit: int) -> Iterator[Path | None]:
    """A control group with this limit in bytes, or None where none can be made."""
    version_2 = (GROUPS / "cgroup.controllers").exists()
    group = (GROUPS if version_2 else GROUPS / "memory") / f"bestepoch-{os.getpid()}"
    try:
        group.mkdir()
        (group / ("memory.max" if version_2 else "memory.limit_in_bytes")).write_text(str(limit))
    except OSError as error:
        print(f"no control group, so memory is measured and not limited: {error}")
        yield None
        return
    try:
        yield group
    finally:
        group.rmdir()


def run(arguments: list[str], group: Path | None) -> list[dict[str, Any]]:
    """The lines of a child process in this control group."""
    join = f"echo $$ > {group / 'cgroup.procs'} && " if group is not None else ""
    command = ["sh", "-c", f'{join}exec "$@"', "sh", sys.executable, "-m", "benchmarks.streaming", *arguments]
    lines = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            lines.append(json.loads(line))
            print("  ", line.strip(), flush=True)
    if child.returncode:
        raise SystemExit(f"the child ended with {child.returncode}")
    return lines


def compare(asked: argparse.Namespace, folder: Path) -> None:
    """Train in both modes, and print how they differ."""
    limit = asked.limit_mib * 2**20
    job = job_of(asked.rows, asked.columns, asked.epochs, limit, texts=asked.texts)
    estimate, size = memory_estimate(job) / 2**20, job.row_set_bytes / 2**30
    print(f"{asked.rows:,} rows of {asked.columns:,}: {size:.1f} GiB prepared, windows of {job.window_rows} rows")
    print(f"limit {asked.limit_mib} MiB, estimated {estimate:.0f} MiB")
    make_table(folder / "table.parquet", asked.rows, asked.columns, texts=asked.texts, by_class=asked.sorted)
    given = [f"--{name}={getattr(asked, name)}" for name in ("rows", "columns", "epochs")]
    given += [f"--limit-mib={asked.limit_mib}", f"--folder={folder}", *(["--texts"] if asked.texts else [])]
    print("streamed, under the limit:")
    with memory_group(limit) as group:
        _, *streamed = run([*given, "--child=streamed"], group)
    print("in memory, without a limit:")
    _, *memory = run([*given, "--child=memory"], None)
    for name, what in (("seconds", "second"), ("cpu", "CPU second")):
        one, other = (min(line[name] for line in lines) for lines in (streamed, memory))
        print(f"rows a {what}: {job.rows.train / one:,.0f} and {job.rows.train / other:,.0f}, ratio {other / one:.2f}")
    one, other = streamed[-1]["val_loss"], memory[-1]["val_loss"]
    print(f"validation loss after {asked.epochs} epochs: {one:.5f} and {other:.5f}, {one / other - 1:+.2%}")
    print(f"peak memory of the streaming process: {streamed[-1]['peak'] / 2**20:,.0f} MiB")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=1_250_000)
    options.add_argument("--columns", type=int, default=1_000)
    options.add_argument("--epochs", type=int, default=10)
    options.add_argument("--limit-mib", type=int, default=1_024)
    options.add_argument("--texts", action="store_true", help="columns of 50 texts each, one-hot encoded")
    options.add_argument("--sorted", action="store_true", help="sort the table by the class")
    options.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options.add_argument("--child", choices=["streamed", "memory"], help=argparse.SUPPRESS)
    asked = options.parse_args()
    if asked.child is None:
        with tempfile.TemporaryDirectory(prefix="bestepoch-streaming-") as folder:
            compare(asked, Path(folder))
        return
    streamed = job_of(asked.rows, asked.columns, asked.epochs, asked.limit_mib * 2**20, texts=asked.texts)
    memory = job_of(asked.rows, asked.columns, asked.epochs, None, texts=asked.texts)
    train(asked.folder, streamed if asked.child == "streamed" else memory, streamed)


if __name__ == "__main__":
    main()
