"""A large CSV over HTTP: time to store and profile it, and peak memory. Linux only.

    python -m benchmarks.upload [megabytes]

20 columns: an id, a class, a date, a text that is unique, and 16 numbers that are. Memory is what the kernel calls
VmHWM, the most that a process ever held: of the process that reads the file, and of the API above what it held before.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from examples.local_service import running_service

NUMBERS = 16
ROW_BYTES = 329
LOOK_SECONDS = 0.02


def main() -> None:
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "large.csv"
        write(file, megabytes * 10**6 // ROW_BYTES)
        with running_service(Path(folder) / "home", BESTEPOCH_TRAINERS="1") as client:
            api = child_of("self")
            before = status(api, "VmRSS")
            with watched_reader(api) as peaks:
                started = time.perf_counter()
                answer = client.post("/v1/datasets", content=pieces(file), timeout=900.0)
                seconds = time.perf_counter() - started
            dataset = answer.raise_for_status().json()
            after = status(api, "VmHWM")
    print(
        f"file:   {dataset['source_bytes'] / 1e6:,.0f} MB, {dataset['rows']:,} rows x {len(dataset['columns'])} columns"
    )
    print(f"time:   {seconds:.0f} s from the first byte sent to the profile")
    print(f"reader: {max(peaks) / 1e6:,.0f} MB at most")
    print(f"API:    {after / 1e6:,.0f} MB at most, {(after - before) / 1e6:,.0f} MB more than before")


def write(file: Path, rows: int) -> None:
    columns = [
        *("id", "'class' || id % 7 AS class"),
        *("DATE '2000-01-01' + (id % 9000)::INT AS day", "md5(id::VARCHAR)[:12] AS code"),
        *(f"random() * 1000 AS x{i}" for i in range(NUMBERS)),
    ]
    duckdb.execute(f"COPY (FROM range({rows}) AS t(id) SELECT {', '.join(columns)}) TO '{file}'")


def pieces(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        while piece := opened.read(1 << 20):
            yield piece


@contextmanager
def watched_reader(api: str) -> Iterator[list[int]]:
    """The peaks of memory, in bytes, of the process that reads the upload, looked at again and again."""
    peaks = [0]
    done = threading.Event()

    def look() -> None:
        while not done.wait(LOOK_SECONDS):
            peaks.extend(
                status(pid, "VmHWM") for pid in children(api) if "service.data.processes.ingest" in command(pid)
            )

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield peaks
    finally:
        done.set()
        thread.join()


def children(pid: str) -> list[str]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += read(task).split()
    return found


def child_of(pid: str) -> str:
    return next(child for child in children(pid) if "service.cli" in command(child))


def command(pid: str) -> str:
    return read(Path(f"/proc/{pid}/cmdline")).replace("\0", " ")


def status(pid: str, key: str) -> int:
    """A value of /proc/PID/status in bytes, 0 where the process is gone."""
    lines = [line.split() for line in read(Path(f"/proc/{pid}/status")).splitlines()]
    return next((int(words[1]) * 1024 for words in lines if words[0] == f"{key}:"), 0)


def read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""


if __name__ == "__main__":
    main()
