"""Memory of the API while it sends and receives a large file, and an upload that goes on after its client is killed.

    python -m benchmarks.large_files --megabytes 2000 [--s3]

The file is an array of random numbers, which do not compress. `--s3`: the artifacts are in moto's S3 server, which
`make cluster` installs; without it, in a folder. The API, its memory's peak and the client are processes of their own.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2
import numpy as np

from bestepoch import Client
from service.settings import free_port
from tests.object_store import BUCKET, ENVIRONMENT, s3_port

if TYPE_CHECKING:
    from collections.abc import Iterator

COLUMNS = 64
MEGABYTE = 10**6
UPLOAD = "import sys; from bestepoch import Client; print(Client(sys.argv[1]).upload(sys.argv[2]).id)"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--s3", action="store_true")
    arguments = parser.parse_args()
    ways = ("proxy", "presigned") if arguments.s3 else ("proxy",)
    for transfers in ways:
        with tempfile.TemporaryDirectory() as folder:
            measure(Path(folder), arguments.megabytes * MEGABYTE, transfers, s3=arguments.s3)


def measure(home: Path, size: int, transfers: str, *, s3: bool) -> None:
    """Print what one way of transfers takes."""
    print(f"{size / MEGABYTE:,.0f} MB, {'S3' if s3 else 'a folder'}, {transfers}")
    file = home / "rows.npy"
    write_array(file, size)
    with running_api(home, transfers, s3=s3) as (process, url), Client(url) as client:
        client.upload(b"a,b\n1,2\n3,4\n")  # what the API imports at its first upload is no part of the file
        with peak_memory(process.pid, "upload in parts, its client killed half-way"):
            sent = killed_upload(client, url, file)
            began = time.monotonic()
            dataset = subprocess.check_output([sys.executable, "-c", UPLOAD, url, str(file)], text=True).strip()
        print(f"  parts sent before the kill: {sent}; the rest and reading the file: {time.monotonic() - began:.1f} s")
        for _ in range(2):
            with peak_memory(process.pid, "download"):
                began = time.monotonic()
                saved = client.download_dataset(dataset, home / "table.parquet")
                seconds = time.monotonic() - began
            print(f"  {saved.stat().st_size / MEGABYTE:,.0f} MB downloaded and verified in {seconds:.1f} s")


def write_array(file: Path, size: int) -> None:
    """An array of random numbers in a file of about this size."""
    rows = size // (4 * COLUMNS)
    array = np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=(rows, COLUMNS))
    generator = np.random.default_rng(0)
    for start in range(0, rows, 100_000):
        part = array[start : start + 100_000]
        part[:] = generator.random(part.shape, dtype=np.float32)
    array.flush()


def killed_upload(client: Client, url: str, file: Path) -> int:
    """Start a client that uploads the file, and kill it when half of the parts are stored; returns how many are."""
    process = subprocess.Popen([sys.executable, "-c", UPLOAD, url, str(file)], stdout=subprocess.DEVNULL)
    http = httpx2.Client(base_url=url)
    while True:
        for upload in http.get("/v1/datasets/uploads").json()["data"]:
            parts = http.get(f"/v1/datasets/uploads/{upload['id']}").json()["parts"]
            received = len([part for part in parts if part["received"]])
            if received >= len(parts) / 2:
                process.send_signal(signal.SIGKILL)
                process.wait()
                return received
        assert process.poll() is None, "the client has ended"
        time.sleep(0.05)


@contextmanager
def running_api(home: Path, transfers: str, *, s3: bool) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """An API process, and its URL."""
    port = free_port("127.0.0.1")
    environment = {**os.environ, "BESTEPOCH_HOME": str(home), "BESTEPOCH_PORT": str(port)}
    environment |= {"BESTEPOCH_TRANSFERS": transfers, "BESTEPOCH_LOG_LEVEL": "warning"}
    environment |= {"BESTEPOCH_MAX_UPLOAD_BYTES": str(10 * 10**9), "BESTEPOCH_MAX_INGEST_BYTES": str(4 * 10**9)}
    environment |= {"BESTEPOCH_MAX_INGEST_SECONDS": "3600"}
    if s3:
        environment |= {**ENVIRONMENT, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{s3_port()}"}
        environment |= {"BESTEPOCH_ARTIFACTS_URL": f"s3://{BUCKET}/{home.name}"}
    subprocess.run(
        [sys.executable, "-m", "service.cli", "migrate"], env=environment, check=True, stdout=subprocess.DEVNULL
    )
    with ExitStack() as stack:
        process = subprocess.Popen([sys.executable, "-m", "service.cli", "api"], env=environment)
        stack.callback(process.wait)
        stack.callback(process.terminate)
        url = f"http://127.0.0.1:{port}"
        while True:
            try:
                if httpx2.get(f"{url}/readyz").is_success:
                    break
            except httpx2.TransportError:
                time.sleep(0.1)
            assert process.poll() is None, "the API has ended"
        yield process, url


@contextmanager
def peak_memory(pid: int, what: str) -> Iterator[None]:
    """Print by how much the peak of a process's memory exceeds what it has before, and its size afterwards."""
    before = memory(pid, "VmRSS")
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak begins anew
    yield
    peak, after = memory(pid, "VmHWM"), memory(pid, "VmRSS")
    print(
        f"  {what}: the API's memory grows from {before:.0f} MB by {peak - before:.1f} MB, {after - before:.1f} MB stay"
    )


def memory(pid: int, name: str) -> float:
    """A line of /proc/PID/status, in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / MEGABYTE for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    main()
