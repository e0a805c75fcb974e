"""`bestepoch sweep`: run a sweep from a file and print its leaderboard."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.common import DEFAULT_URL, EXIT_CODES, ApiKey, AsJson, Url, connect, print_table
from service.cli.sweep_file import SweepFile, read
from service.domain.status import Status

if TYPE_CHECKING:
    from service.client import Client, Sweep
    from service.domain.sweep import EpochSpread, Spread, SweepPoint
    from service.domain.sweep import Sweep as State

app = typer.Typer()

MAX_ROWS = 20  # of the leaderboard
MAX_VALUE_LENGTH = 40
VERDICTS = {"not_distinguishable": "no clear difference", "best": "best", "worse": "worse", "unknown": "unknown"}
SCORES = ("val_accuracy", "val_r2")  # shown beside the monitored metric


@app.command(name="sweep")
def run_sweep(
    file: Annotated[Path, typer.Argument(help="Sweep file, TOML or JSON.")],
    out: Annotated[Path | None, typer.Option(help="Where to save the best job's checkpoint: a file or folder.")] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Train many networks from a sweep file, and rank them.

    The file has `file` (the table, relative to it) and `target`; `base`, a job spec; `grid` or `points`, as in
    "optimizer.lr" = [0.001, 0.01]; and optionally `replicates`, `folds`, `repeats`, `name`, `labels`.
    """
    sweep_file = read(file)
    with connect(url, api_key) as client:
        sweep = submit(client, sweep_file)
        follow(sweep, url, quiet=as_json)
        points = sweep.summary()
        if as_json:
            typer.echo(json.dumps(as_dict(sweep, points)))
        else:
            show(sweep.state, points)
            print_failures(client, sweep)
        if out is not None and sweep.state.best is not None:
            saved = sweep.best().download(out)
            if not as_json:
                typer.echo(f"Saved {saved}")
    raise typer.Exit(exit_code(sweep.state))


def submit(client: Client, file: SweepFile) -> Sweep:
    """Upload the table and submit the sweep."""
    return client.sweep(base_of(client, file), **file.fields)


def base_of(client: Client, file: SweepFile) -> dict[str, Any]:
    """Upload the table; the base job spec that trains on it."""
    if file.table is None:
        return file.base
    dataset = client.upload(file.table)
    data = {"kind": "dataset", "id": dataset.id, "target": file.target, **file.base.get("data", {})}
    return {**file.base, "data": data}


def follow(sweep: Sweep, url: str, *, quiet: bool) -> None:
    """Print the sweep's page of the dashboard, and wait until it has ended."""
    if not quiet:
        typer.echo(f"Sweep {sweep.id} of {sweep.state.jobs} jobs: {url.rstrip('/')}/#/sweep/{sweep.id}", err=True)
    sweep.wait(progress=not quiet)


def as_dict(sweep: Sweep, points: list[SweepPoint]) -> dict[str, Any]:
    """The sweep and its summary, as the service's JSON."""
    return {
        "sweep": sweep.state.model_dump(mode="json"),
        "summary": [point.model_dump(mode="json") for point in points],
    }


def exit_code(state: State) -> int:
    """The exit code of the command: failed jobs take precedence over cancelled ones."""
    return next((EXIT_CODES[status] for status in (Status.failed, Status.cancelled) if state.counts.get(status)), 0)


def print_failures(client: Client, sweep: Sweep) -> None:
    """Print how many jobs have failed, and the error of the last one."""
    if failed := sweep.state.counts.get(Status.failed):
        job = next(client.jobs(sweep=sweep.id, status=Status.failed))
        message = job.state.error.message if job.state.error else ""
        typer.echo(f"{failed} of {sweep.state.jobs} jobs failed; {job.id}: {message}", err=True)


def show(state: State, points: list[SweepPoint]) -> None:
    """Print the leaderboard and the best job."""
    if any(point.value is not None for point in points):
        _leaderboard(state, points)
    best = state.best
    if best is not None:
        typer.echo(f"Best job: {best.job}, {best.monitor} {best.value:.4g} at epoch {best.epoch}")


def _leaderboard(state: State, points: list[SweepPoint]) -> None:
    names = list(dict.fromkeys(name for point in points for name in point.point))
    if state.folds is not None:
        names.remove("split.folds")  # the same in every row
    scores = [name for name in SCORES if name != state.monitor and any(name in point.metrics for point in points)]
    count = max(point.value.n for point in points if point.value is not None)
    rows = []
    for rank, point in enumerate(points[:MAX_ROWS], start=1):
        changes = [_shortened(point.point[name]) if name in point.point else "" for name in names]
        measured = [_mean_and_error(point.value), _epochs(point.best_epoch)]
        measured += [_mean_and_error(point.metrics.get(name)) for name in scores]
        rows.append([str(rank), *changes, *measured, *([_versus_best(point)] if count > 1 else [])])
    compared = ["versus best"] if count > 1 else []
    print_table(["", *map(partial(_short, names), names), state.monitor, "best epoch", *scores, *compared], rows)
    if len(points) > MAX_ROWS:
        typer.echo(f"and {len(points) - MAX_ROWS} more configurations")
    if count > 1:
        typer.echo(f"mean ± standard error over {count} {'folds' if state.folds else 'seeds'}")
    elif len(points) > 1:
        typer.echo("one run each: differences may be chance; train replicates or folds to know")


def _short(names: list[str], name: str) -> str:
    """The last part of a dotted name, unless another name ends with it."""
    last = [each.rpartition(".")[2] for each in names]
    return name.rpartition(".")[2] if last.count(name.rpartition(".")[2]) == 1 else name


def _mean_and_error(spread: Spread | None) -> str:
    """Mean ± standard error; the latter for two or more values."""
    if spread is None or spread.mean is None:
        return ""
    return f"{spread.mean:.4f}" + ("" if spread.standard_error is None else f" ± {spread.standard_error:.4f}")


def _versus_best(point: SweepPoint) -> str:
    """Whether the point can be told from the best one."""
    versus = point.versus_best
    if versus is None:
        return ""
    p_value = "" if versus.p_value is None else f" (p = {versus.p_value:.2g})"
    return f"{VERDICTS[versus.verdict]}{p_value}"


def _epochs(spread: EpochSpread | None) -> str:
    if spread is None:
        return ""
    return f"{spread.median:g}" + ("" if spread.min == spread.max else f" ({spread.min}-{spread.max})")


def _shortened(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= MAX_VALUE_LENGTH else text[: MAX_VALUE_LENGTH - 1] + "…"
