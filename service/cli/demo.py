"""`bestepoch demo`: the effect of batch norm and early stopping, measured on a small real table."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING

import typer

import service
from service.cli.common import DEFAULT_URL, ApiKey, AsJson, Url, connect, print_table
from service.cli.sweep import as_dict, exit_code, follow, print_failures

if TYPE_CHECKING:
    from collections.abc import Iterable

    from service.client import Client, Sweep
    from service.domain.sweep import SweepResult

app = typer.Typer(no_args_is_help=True, help="Demonstrations on a small real table.")

TABLE = "examples/penguins.csv"
NAME = "demo: batch norm and early stopping"
BATCH_NORM, STOPPING = "architecture.batch_norm", "early_stopping"
# Predicting a penguin's island overfits soon, which shows what early stopping does. The optimizer is plain SGD: with
# Adam, which normalizes its steps, batch norm made no significant difference here. Cross-validation uses every row once
# for validation, since a single fifth of them is too noisy.
BASE = {"optimizer": {"kind": "sgd", "lr": 0.1}, "max_epochs": 200}
POINTS = [{BATCH_NORM: norm, STOPPING: rule} for norm in (True, False) for rule in ({"patience": 20}, None)]
FOLDS, SEEDS = 5, 3


@dataclass(frozen=True)
class Network:
    """One of the four configurations: means over its jobs."""

    batch_norm: bool
    early_stopping: bool
    best_val_loss: float
    best_val_loss_of_folds: list[float]
    """(FOLDS,) means over the seeds."""
    best_epoch: float
    epochs: float
    seconds: float
    """From claim to end of a job; similar jobs train together."""
    last_val_loss: float
    """Of the last epoch, whose weights are kept without best-epoch checkpoints."""


@app.callback()
def demos() -> None:
    """Demonstrations on a small real table."""


@app.command("batch-norm")
def batch_norm(url: Url = DEFAULT_URL, api_key: ApiKey = None, as_json: AsJson = False) -> None:
    """Train four networks, with and without batch norm and early stopping, and compare them."""
    with connect(url, api_key) as client:
        data = {"kind": "dataset", "id": client.upload(table_file()).id, "target": "island"}
        sweep = client.sweep({**BASE, "data": data}, points=POINTS, folds=FOLDS, replicates=SEEDS, name=NAME)
        follow(sweep, url, quiet=as_json)
        code = exit_code(sweep.state)
        networks = [] if code else compare(client, sweep)
        if as_json:
            result = as_dict(sweep, sweep.summary())
            typer.echo(json.dumps({**result, "networks": [asdict(network) for network in networks]}))
        else:
            print_failures(client, sweep)
    if networks and not as_json:
        _show(networks)
        typer.echo(f"All curves: {url.rstrip('/')}/#/sweep/{sweep.id}")
    raise typer.Exit(code)


def table_file() -> Path:
    """The path of the table: inside the package in a wheel, beside it in a checkout."""
    folder = Path(service.__file__).parent
    inside = folder / TABLE
    return inside if inside.exists() else folder.parent / TABLE


def compare(client: Client, sweep: Sweep) -> list[Network]:
    """The four networks, in the order of POINTS."""
    results = sweep.results()
    jobs = {job.id: job for job in client.jobs(sweep=sweep.id)}
    last = {row.job: jobs[row.job].history(after_epoch=row.epochs - 1)[0].val_loss for row in results}
    return [_network([row for row in results if point.items() <= row.point.items()], last) for point in POINTS]


def _network(rows: list[SweepResult], last: dict[str, float | None]) -> Network:
    folds = [[row for row in rows if row.point["split.fold"] == fold] for fold in range(1, FOLDS + 1)]
    return Network(
        batch_norm=rows[0].point[BATCH_NORM],
        early_stopping=rows[0].point[STOPPING] is not None,
        best_val_loss=_mean(row.value for row in rows),
        best_val_loss_of_folds=[_mean(row.value for row in fold) for fold in folds],
        best_epoch=_mean(row.best_epoch for row in rows),
        epochs=_mean(row.epochs for row in rows),
        seconds=_mean(row.seconds for row in rows),
        last_val_loss=_mean(last[row.job] for row in rows),
    )


def _mean(numbers: Iterable[float | None]) -> float:
    """The mean without None: an epoch that diverged has no loss."""
    return fmean(number for number in numbers if number is not None)


def _show(networks: list[Network]) -> None:
    rows = []
    for each in networks:
        best = f"{each.best_val_loss:.4f} ± {stdev(each.best_val_loss_of_folds):.4f}"
        epochs = [f"{each.best_epoch:.0f}", f"{each.epochs:.0f}", f"{each.seconds:.2f}"]
        rows.append([_on(each.batch_norm), _on(each.early_stopping), best, *epochs, f"{each.last_val_loss:.4f}"])
    headers = ("best val loss", "best\nepoch", "epochs", "seconds", "last epoch's\nval loss")
    print_table(("batch\nnorm", "early\nstopping", *headers), rows)
    typer.echo(f"Means over {FOLDS} folds with {SEEDS} seeds each, ± the standard deviation over the folds.")
    typer.echo(batch_norm_effect(networks))
    typer.echo(early_stopping_effect(networks))


def _on(is_on: bool) -> str:
    return "on" if is_on else "off"


def batch_norm_effect(networks: list[Network]) -> str:
    """The effect of batch norm, with early stopping, in a line."""
    off, on = sorted((each for each in networks if each.early_stopping), key=lambda each: each.batch_norm)
    lower = sum(a < b for a, b in zip(on.best_val_loss_of_folds, off.best_val_loss_of_folds, strict=True))
    return (
        f"Batch norm (with early stopping): best at epoch {on.best_epoch:.0f} instead of {off.best_epoch:.0f}; "
        f"best val loss {on.best_val_loss:.4f} instead of {off.best_val_loss:.4f}, lower in {lower} of {FOLDS} folds."
    )


def early_stopping_effect(networks: list[Network]) -> str:
    """The effect of early stopping, with batch norm, in a line."""
    off, on = sorted((each for each in networks if each.batch_norm), key=lambda each: each.early_stopping)
    above = off.last_val_loss / off.best_val_loss - 1
    return (
        f"Early stopping (with batch norm): {on.epochs:.0f} epochs instead of {off.epochs:.0f}, for a best val loss of "
        f"{on.best_val_loss:.4f} instead of {off.best_val_loss:.4f}; "
        f"the last of the {off.epochs:.0f} epochs is at {off.last_val_loss:.4f}, {above:.0%} above the best."
    )
