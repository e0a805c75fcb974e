"""The main workflow on a real table: two networks, with and without batch norm, early stopping, the best checkpoints.

    make demo        or        python -m examples.demo

It starts its own service, and saves the best checkpoints in demo-output/.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from safetensors.torch import load_file

from bestepoch import Client, Job
from examples.local_service import running_service

if TYPE_CHECKING:
    from service.spec.table import Dataset

CSV = Path(__file__).parent / "penguins.csv"
OUTPUT = Path("demo-output")
HIDDEN = [64, 32]
console = Console()


def main() -> None:
    console.print("Starting a service (its trainers import torch once, at the start) ...")
    with (
        tempfile.TemporaryDirectory() as home,
        running_service(Path(home)) as service,
        Client(str(service.base_url)) as client,
    ):
        dataset = upload(client, CSV)
        jobs = {batch_norm: submit(client, dataset, batch_norm) for batch_norm in (True, False)}
        follow(list(jobs.values()))
        show(list(jobs.values()))
        for batch_norm, job in jobs.items():
            load_in_plain_pytorch(download(job, batch_norm), batch_norm)
        predict(jobs[True])
    console.print(f"\nThe best checkpoints are in [bold]{OUTPUT}/[/bold]. Your turn: [bold]make serve[/bold]")


def upload(client: Client, path: Path) -> Dataset:
    dataset = client.upload(path)
    missing = sum(column.missing for column in dataset.columns)
    console.print(
        f"Uploaded {path.name}: {dataset.rows} rows, {len(dataset.columns)} columns, {missing} missing values"
    )
    return dataset


def submit(client: Client, dataset: Dataset, batch_norm: bool) -> Job:
    return client.train(
        dataset,
        target="species",
        name=f"batch norm {'on' if batch_norm else 'off'}",
        architecture={"kind": "mlp", "hidden": HIDDEN, "batch_norm": batch_norm},
        early_stopping={"patience": 10},
    )


def follow(jobs: list[Job]) -> None:
    """Show a progress bar per job until all have ended."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[best]}"))
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        bars = [progress.add_task(str(job.state.name), total=job.state.progress.max_epochs, best="") for job in jobs]
        while not all(job.state.status.terminal for job in jobs):
            for bar, job in zip(bars, jobs, strict=True):
                best = job.refresh(wait=0.2).state.best
                text = f"best {best.value:.4f} at {best.epoch}" if best else ""
                progress.update(bar, completed=job.state.progress.epoch, best=text)


def show(jobs: list[Job]) -> None:
    table = Table("network", "stop reason", "epochs", "best epoch", "val_loss", "accuracy")
    for state in (job.state for job in jobs):
        if state.best is None:
            raise RuntimeError(f"{state.name} ended {state.status}: {state.error}")
        epochs = [str(state.progress.epoch), str(state.best.epoch)]
        metrics = [f"{state.best.value:.4f}", f"{state.best.metrics['val_accuracy']:.4f}"]
        table.add_row(state.name, state.stop_reason, *epochs, *metrics)
    console.print(table)


def download(job: Job, batch_norm: bool) -> Path:
    OUTPUT.mkdir(exist_ok=True)
    return job.download(OUTPUT / f"penguins-batch-norm-{'on' if batch_norm else 'off'}.safetensors")


def load_in_plain_pytorch(path: Path, batch_norm: bool) -> None:
    """Load a checkpoint into a module that knows nothing of bestepoch."""
    state = load_file(path)
    layers: list[torch.nn.Module] = []
    width = state["layers.0.weight"].shape[1]
    for hidden in HIDDEN:
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


def predict(job: Job) -> None:
    row = {"island": "Biscoe", "bill_length_mm": 50.0, "bill_depth_mm": 15.2, "flipper_length_mm": 218}
    row |= {"body_mass_g": 5700, "sex": "male", "year": 2008}
    (answer,) = job.predict([row])
    probability = answer["probabilities"][answer["prediction"]]
    console.print(f"A penguin from Biscoe with a 218 mm flipper is a {answer['prediction']} ({probability:.1%})")


if __name__ == "__main__":
    main()
