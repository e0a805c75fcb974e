"""The main job, end to end: a real table, two networks (batch norm on and off), early stopping, the best epochs.

    make demo        or        python -m examples.demo

It starts a service of its own, and leaves the best checkpoints in demo-output/.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from safetensors.torch import load_file

from examples.local_service import running_service

if TYPE_CHECKING:
    import httpx2

CSV = Path(__file__).parent / "penguins.csv"
OUTPUT = Path("demo-output")
console = Console()


def main() -> None:
    console.print("Starting a service (its trainers import torch once, at the start) ...")
    with tempfile.TemporaryDirectory() as home, running_service(Path(home)) as client:
        dataset = upload(client, CSV)
        jobs = [submit(client, dataset["id"], batch_norm) for batch_norm in (True, False)]
        jobs = watch(client, jobs)
        show(jobs)
        for job in jobs:
            path = download(client, job)
            load_in_plain_pytorch(path, batch_norm=job["spec"]["architecture"]["batch_norm"])
        predict(client, jobs[0])
    console.print(f"\nThe best checkpoints are in [bold]{OUTPUT}/[/bold]. Your turn: [bold]make serve[/bold]")


def upload(client: httpx2.Client, path: Path) -> dict[str, Any]:
    response = client.post("/v1/datasets", params={"name": path.name}, content=path.read_bytes())
    dataset: dict[str, Any] = response.raise_for_status().json()
    missing = sum(column["missing"] for column in dataset["columns"])
    console.print(f"Uploaded {path.name}: {dataset['rows']} rows, {len(dataset['columns'])} columns, {missing} gaps")
    return dataset


def submit(client: httpx2.Client, dataset_id: str, batch_norm: bool) -> dict[str, Any]:
    spec = {
        "name": f"batch norm {'on' if batch_norm else 'off'}",
        "data": {"kind": "dataset", "id": dataset_id, "target": "species"},
        "architecture": {"kind": "mlp", "hidden": [64, 32], "batch_norm": batch_norm},
        "early_stopping": {"patience": 10},
    }
    job: dict[str, Any] = client.post("/v1/jobs", json=spec).raise_for_status().json()
    return job


def watch(client: httpx2.Client, jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[best]}"))
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        bars = [progress.add_task(job["name"], total=job["progress"]["max_epochs"], best="") for job in jobs]
        while True:
            jobs = [client.get(f"/v1/jobs/{job['id']}", params={"wait": 0.2}).json() for job in jobs]
            for bar, job in zip(bars, jobs, strict=True):
                best = f"best {job['best']['value']:.4f} at {job['best']['epoch']}" if job["best"] else ""
                progress.update(bar, completed=job["progress"]["epoch"], best=best)
            if all(job["finished_at"] for job in jobs):
                return jobs


def show(jobs: list[dict[str, Any]]) -> None:
    table = Table("network", "why it ended", "epochs", "best epoch", "val_loss", "accuracy")
    for job in jobs:
        best = job["best"]
        table.add_row(
            job["name"],
            job["stop_reason"],
            str(job["progress"]["epoch"]),
            str(best["epoch"]),
            f"{best['value']:.4f}",
            f"{best['metrics']['val_accuracy']:.4f}",
        )
    console.print(table)


def download(client: httpx2.Client, job: dict[str, Any]) -> Path:
    OUTPUT.mkdir(exist_ok=True)
    onoff = "on" if job["spec"]["architecture"]["batch_norm"] else "off"
    path = OUTPUT / f"penguins-batch-norm-{onoff}.safetensors"
    path.write_bytes(client.get(job["best"]["checkpoint"]["download_url"]).raise_for_status().content)
    return path


def load_in_plain_pytorch(path: Path, batch_norm: bool) -> None:
    state = load_file(path)
    layers: list[torch.nn.Module] = []
    width = state["layers.0.weight"].shape[1]
    for hidden in (64, 32):
        layers.append(torch.nn.Linear(width, hidden))
        if batch_norm:
            layers.append(torch.nn.BatchNorm1d(hidden))
        layers.append(torch.nn.ReLU())
        width = hidden
    model = torch.nn.Module()
    model.layers = torch.nn.Sequential(*layers, torch.nn.Linear(width, 3))
    model.load_state_dict(state, strict=True)
    parameters = sum(p.numel() for p in model.parameters())
    console.print(f"{path}: plain PyTorch loads it with strict=True, {parameters:,} parameters")


def predict(client: httpx2.Client, job: dict[str, Any]) -> None:
    row = {"island": "Biscoe", "bill_length_mm": 50.0, "bill_depth_mm": 15.2, "flipper_length_mm": 218}
    row |= {"body_mass_g": 5700, "sex": "male", "year": 2008}
    answer = client.post(f"/v1/jobs/{job['id']}/predict", json={"rows": [row]}).raise_for_status().json()
    first = answer["predictions"][0]
    share = first["probabilities"][first["prediction"]]
    console.print(f"A penguin from Biscoe with a 218 mm flipper is a {first['prediction']} ({share:.1%})")


if __name__ == "__main__":
    main()
