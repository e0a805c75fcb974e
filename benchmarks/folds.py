"""Cross-validation: 8 folds as one array against 8 seeds as one array, and against 8 jobs one after another.

    python -m benchmarks.folds [repetitions]

10,000 x 20 rows, batch 64, MLP 20-64-32-2 with batch norm, as in engine.py, but split into 8 folds: 8,750 rows train,
1,250 validate. Also 10,003 rows, whose folds differ by a row, so that members have last batches of their own. First the
engine, one thread, in turns; then over HTTP with one trainer, from POST to the last byte of the last checkpoint. In
both, each fold is compared with the same job alone, bit for bit.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.engine import Loops, take_turns
from examples.local_service import running_service
from service.data.preprocess.dataset import Prepared, prepare
from service.spec.job import JobSpec
from service.spec.resolve import Resolved, profile_of, resolve
from service.training.loop import Training

if TYPE_CHECKING:
    import httpx2

FOLDS, EPOCHS, ROWS = 8, 10, (10_000, 10_003)
CPU = torch.device("cpu")
BASE: dict[str, Any] = {"max_epochs": EPOCHS, "early_stopping": None}


def main() -> None:
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    torch.set_num_threads(1)
    for rows in ROWS:
        print_seconds(f"{rows:,} rows, engine, ms a job and epoch", measure(rows, repetitions), 1_000)
        compare_bits(rows)
    for rows in ROWS:
        seconds = measure_http(rows, max(3, repetitions // 3))
        print_seconds(f"{rows:,} rows, POST to last checkpoint, ms a job", seconds, 1_000 / FOLDS)


def print_seconds(what: str, seconds: dict[str, float], unit: float) -> None:
    """Each contender, and its ratio to the seeds."""
    for name, own in seconds.items():
        print(f"{what}: {name:24s}{own * unit:9.2f}   {own / seconds['8 seeds, one array']:.3f} of the seeds")


def data_of(rows: int, seed: int = 0) -> dict[str, Any]:
    return {"kind": "synthetic", "rows": rows, "features": 20, "seed": seed}


def fold_job(rows: int, fold: int, **fields: Any) -> Resolved:
    """A job that validates on this fold."""
    split = {"folds": FOLDS, "fold": fold}
    spec = JobSpec.model_validate({**BASE, "data": data_of(rows), "split": split, **fields})
    return resolve(spec, profile_of(spec.data))  # type: ignore[arg-type]


def measure(rows: int, repetitions: int) -> dict[str, float]:
    """Seconds per job and epoch of the engine: medians of so many turns."""
    endless = {"max_epochs": 1_000_000}
    folds = [fold_job(rows, fold, **endless) for fold in range(1, FOLDS + 1)]
    seeds = [fold_job(rows, 1, seed=seed, **endless) for seed in range(FOLDS)]
    loops: Loops = {
        "8 seeds, one array": (FOLDS, epochs(seeds)),
        "8 folds, one array": (FOLDS, epochs(folds)),
        "a fold alone": (1, epochs(folds[:1])),
    }
    return take_turns(loops, repetitions)


def rows_of(jobs: Sequence[Resolved]) -> list[Prepared]:
    """The rows of each job; jobs with the same split share them."""
    sets = {job.preparation.key: job for job in jobs}
    prepared = {key: prepare(job.preparation, None) for key, job in sets.items()}
    return [prepared[job.preparation.key] for job in jobs]


def epochs(jobs: Sequence[Resolved]) -> Iterator[None]:
    for _ in Training(jobs, rows_of(jobs), CPU):
        yield


def compare_bits(rows: int) -> None:
    """Train the folds together and each alone; raises AssertionError where a weight differs."""
    jobs = [fold_job(rows, fold, max_epochs=3) for fold in range(1, FOLDS + 1)]
    data = rows_of(jobs)
    together = last_states(jobs, data)
    for member, job in enumerate(jobs):
        ((name, alone),) = last_states([job], data[member : member + 1]).items()
        assert name == 0
        differing = [key for key, value in alone.items() if not torch.equal(value, together[member][key])]
        assert not differing, (member, differing)
    print(f"{rows:,} rows, engine: the weights of {FOLDS} folds after 3 epochs are bit for bit those of the jobs alone")


def last_states(jobs: Sequence[Resolved], data: Sequence[Prepared]) -> dict[int, dict[str, torch.Tensor]]:
    """The weights of each job after its last epoch."""
    training, states = Training(jobs, data, CPU), dict[int, dict[str, torch.Tensor]]()
    for reports in training:
        states |= {report.member: training.last_state(report.member) for report in reports if report.ended}
    return states


def measure_http(rows: int, repetitions: int) -> dict[str, float]:
    """Seconds from POST to the last byte of the last checkpoint: medians of so many, on a service with one trainer."""
    seconds: dict[str, list[float]] = {"8 seeds, one array": [], "8 folds, one array": [], "8 folds, one by one": []}
    with tempfile.TemporaryDirectory() as home, running_service(Path(home), BESTEPOCH_TRAINERS="1") as client:
        for turn in range(repetitions + 1):
            first = {**BASE, "data": data_of(rows, 2 * turn), "split": {"folds": FOLDS, "fold": 1}}
            base = {**BASE, "data": data_of(rows, 2 * turn + 1)}  # no rows are cached before a sweep
            asked = {"8 seeds, one array": {"base": first, "replicates": FOLDS}}
            asked["8 folds, one array"] = {"base": base, "folds": FOLDS}
            checkpoints: dict[str, list[bytes]] = {}
            for name, body in asked.items():
                started = time.perf_counter()
                checkpoints[name] = sweep(client, body)
                seconds[name].append(time.perf_counter() - started)
            started = time.perf_counter()
            splits = [{"folds": FOLDS, "fold": fold} for fold in range(1, FOLDS + 1)]
            alone = [checkpoint(client, submit(client, {**base, "split": split})) for split in splits]
            seconds["8 folds, one by one"].append(time.perf_counter() - started)
            assert alone == checkpoints["8 folds, one array"], "checkpoints differ"
    print(f"{rows:,} rows, HTTP: the checkpoints of {FOLDS} folds are byte for byte those of the jobs alone")
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}  # the first turn warms up


def sweep(client: httpx2.Client, body: dict[str, Any]) -> list[bytes]:
    """Submit a sweep, wait for its end, and download each job's best checkpoint, in order of submission."""
    found = client.post("/v1/sweeps", json=body).raise_for_status().json()
    while found["status"] == "running":
        found = client.get(f"/v1/sweeps/{found['id']}", params={"wait": 60}).raise_for_status().json()
    assert found["counts"]["succeeded"] == FOLDS, found
    jobs = client.get("/v1/jobs", params={"sweep": found["id"]}).raise_for_status().json()["data"]
    return [checkpoint(client, job["id"]) for job in reversed(jobs)]


def submit(client: httpx2.Client, spec: dict[str, Any]) -> str:
    """The id of a job that has ended."""
    job = client.post("/v1/jobs", json=spec).raise_for_status().json()
    while job["status"] in ("queued", "running"):
        job = client.get(f"/v1/jobs/{job['id']}", params={"wait": 60}).raise_for_status().json()
    assert job["status"] == "succeeded", job
    return str(job["id"])


def checkpoint(client: httpx2.Client, job_id: str) -> bytes:
    """The file of the best epoch."""
    return client.get(f"/v1/jobs/{job_id}/checkpoints/best/download").raise_for_status().content


if __name__ == "__main__":
    main()
