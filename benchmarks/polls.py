"""Polls of an ended job, of one and of two API processes and of MLflow's server, compared with a bare FastAPI route.

    python -m benchmarks.polls [python of an environment with mlflow and psycopg]

On SQLite and on Postgres, without a worker. MLflow's are `runs/get` of `mlflow server` with as many workers and a
database of the same kind. Load, rounds and the bare route are those of `benchmarks.api`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import httpx2

from benchmarks.api import ROUNDS, SPEC, bare_route, get, migrate, rate, wait_for
from examples.local_service import running_service
from service.settings import free_port
from tests.databases import postgres_database, postgres_server

if TYPE_CHECKING:
    from collections.abc import Iterator

OTHERS_SECONDS = 10.0  # from the first process of a server that is ready to the last
MLFLOW = "/api/2.0/mlflow/runs"


def main(mlflow: str | None) -> None:
    """Polls of an ended job at one and at two API processes, without a worker; of MLflow's by this Python, if given."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        bare = stack.enter_context(bare_route(home))
        postgres = stack.enter_context(postgres_server())
        for name, settings in (("SQLite", {}), ("Postgres", {"BESTEPOCH_DATABASE_URL": postgres})):
            migrate({**settings, "BESTEPOCH_HOME": str(home / name)})
            with running_service(home / name, **settings) as client:
                job = client.post("/v1/jobs", json=SPEC).json()["id"]
                assert client.get(f"/v1/jobs/{job}", params={"wait": 60}).json()["status"] == "succeeded"
            with ExitStack() as servers:
                requests = {"bare": get(bare, "/job_1")}
                for processes in (1, 2):
                    api = servers.enter_context(running_api(home / name, processes, settings))
                    requests[f"bestepoch, {processes} processes"] = get(api, f"/v1/jobs/{job}")
                    if mlflow:
                        empty = servers.enter_context(postgres_database(postgres)) if settings else ""
                        store = empty or f"sqlite:///{home}/mlflow_{processes}.db"
                        theirs = servers.enter_context(running_mlflow(mlflow, processes, store))
                        requests[f"MLflow, {processes} workers"] = get(theirs, f"{MLFLOW}/get?run_id={new_run(theirs)}")
                rates = {which: list[float]() for which in requests}
                for _ in range(ROUNDS):
                    for which, request in requests.items():
                        rates[which].append(rate(request))
            for which, found in rates.items():
                cost = median(b / r for b, r in zip(rates["bare"], found, strict=True))
                print(f"{name}, {which}: {median(found):,.0f} polls a second, {cost:.2f} x bare")


@contextmanager
def running_api(home: Path, processes: int, settings: dict[str, str]) -> Iterator[str]:
    """Its address."""
    port = free_port("127.0.0.1")
    command = [sys.executable, "-m", "service.cli", "api", "--port", f"{port}", "--processes", f"{processes}"]
    environment = {**os.environ, "BESTEPOCH_HOME": str(home), "BESTEPOCH_LOG_LEVEL": "warning", **settings}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        wait_for(f"http://127.0.0.1:{port}/readyz")
        time.sleep(OTHERS_SECONDS)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


@contextmanager
def running_mlflow(python: str, workers: int, store: str) -> Iterator[str]:
    """Its address."""
    port = free_port("127.0.0.1")
    command = [python, "-m", "mlflow", "server", "--port", f"{port}", "--workers", f"{workers}"]
    process = subprocess.Popen([*command, "--backend-store-uri", store], stdout=subprocess.DEVNULL)
    try:
        wait_for(f"http://127.0.0.1:{port}/health")
        time.sleep(OTHERS_SECONDS)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def new_run(mlflow: str) -> str:
    """A run with a loss of 100 epochs."""
    run = httpx2.post(f"{mlflow}{MLFLOW}/create", json={"experiment_id": "0"}).json()["run"]["info"]["run_id"]
    losses = [{"key": "val_loss", "value": 1 / (step + 1), "timestamp": step, "step": step} for step in range(100)]
    httpx2.post(f"{mlflow}{MLFLOW}/log-batch", json={"run_id": run, "metrics": losses}).raise_for_status()
    return str(run)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
