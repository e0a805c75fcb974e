"""Reports over HTTP: of the penguins, first and again with a warm server process, and of 100,000 rows x 50 columns.

    python -m benchmarks.report

Memory is the largest resident set of the process that builds the report, read from /proc.
"""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from examples.local_service import running_service

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx2

PENGUINS = Path(__file__).parents[1] / "examples/penguins.csv"
ROWS, NUMBERS, TEXTS = 100_000, 40, 10
WARM = 5


def main() -> None:
    with tempfile.TemporaryDirectory() as home, running_service(Path(home)) as client:
        penguins = PENGUINS.read_bytes()
        seconds = [report(client, train(client, penguins, "species", seed)) for seed in range(WARM + 1)]
        print(f"penguins, first report:  {seconds[0]:6.2f} s (starts the server process, which imports torch)")
        print(f"penguins, next reports:  {statistics.median(seconds[1:]):6.2f} s (median of {WARM})")
        job = train(client, table(), "y", 0)
        with peak_bytes() as peak:
            took = report(client, job)
        print(f"{ROWS:,} x {NUMBERS + TEXTS}:          {took:6.2f} s, {peak[0] / 2**20:,.0f} MiB")
        took = report(client, job)
        print(f"the same, stored:        {took:6.3f} s")


def table() -> bytes:
    """A CSV: a class that depends on some numbers and texts."""
    rng = np.random.default_rng(0)
    numbers = rng.standard_normal((ROWS, NUMBERS)).round(4)
    texts = rng.integers(0, 8, (ROWS, TEXTS))
    score = numbers[:, 0] * numbers[:, 1] + numbers[:, 2] + (texts[:, 0] > 4) + rng.standard_normal(ROWS) - 0.4
    names = [f"n{i}" for i in range(NUMBERS)] + [f"t{i}" for i in range(TEXTS)] + ["y"]
    lines = (
        ",".join([*map(str, a), *(f"v{value}" for value in b), "yes" if y > 0 else "no"])
        for a, b, y in zip(numbers.tolist(), texts.tolist(), score.tolist(), strict=True)
    )
    return "\n".join([",".join(names), *lines]).encode()


def train(client: httpx2.Client, csv: bytes, target: str, seed: int) -> str:
    dataset = client.post("/v1/datasets", content=csv, headers={"Content-Type": "text/csv"}).raise_for_status().json()
    spec: dict[str, Any] = {
        "data": {"kind": "dataset", "id": dataset["id"], "target": target},
        "split": {"validation": 0.2, "test": 0.2},
        "architecture": {"hidden": [64, 32]},
        "max_epochs": 5,
        "seed": seed,
    }
    job = client.post("/v1/jobs", json=spec).raise_for_status().json()
    while job["status"] not in ("succeeded", "failed"):
        job = client.get(f"/v1/jobs/{job['id']}", params={"wait": 60}).raise_for_status().json()
    return str(job["id"])


def report(client: httpx2.Client, job: str) -> float:
    started = time.perf_counter()
    client.get(f"/v1/jobs/{job}/report", timeout=600).raise_for_status()
    return time.perf_counter() - started


@contextmanager
def peak_bytes() -> Iterator[list[int]]:
    """The largest resident set of the processes of reports that start meanwhile, in a list of one."""
    peak, stop = [0], threading.Event()
    before = set(Path("/proc").glob("[0-9]*/status"))

    def watch() -> None:
        while not stop.wait(0.05):
            for status in set(Path("/proc").glob("[0-9]*/status")) - before:
                with suppress(OSError, StopIteration, ValueError):
                    lines = dict(line.split(":\t", 1) for line in status.read_text().splitlines())
                    parent = Path(f"/proc/{lines['PPid'].strip()}/cmdline").read_bytes()
                    if "VmHWM" in lines and b"serving.helper_server" in parent:
                        peak[0] = max(peak[0], 1024 * int(lines["VmHWM"].split()[0]))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()


if __name__ == "__main__":
    main()
