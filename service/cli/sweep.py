"""`bestepoch sweep`: many networks from one file, as a leaderboard."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.common import EXIT_CODES, HERE, ApiKey, AsJson, Url, print_table, service
from service.cli.sweep_file import SweepFile, read
from service.lifecycle import Status

if TYPE_CHECKING:
    from service.client import Client, Sweep
    from service.sweep_records import EpochSpread, Spread, SweepPoint
    from service.sweep_records import Sweep as State

app = typer.Typer()

SHOWN = 20  # points of a leaderboard
LONGEST = 40  # characters of a value in it
SCORES = ("val_accuracy", "val_r2")  # what people know a network by, beside its loss


@app.command()
def sweep(
    file: Annotated[Path, typer.Argument(help="TOML or JSON: the table, the base, and the changes to try.")],
    out: Annotated[Path | None, typer.Option(help="Folder or file for the best job's checkpoint.")] = None,
    url: Url = HERE,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Train the many networks that a file asks for, and rank them.

    `file`, beside it, and `target`; a job spec in `base`; `grid` or `points`, as in "optimizer.lr" = [0.001, 0.01];
    `replicates`, `folds`, `name`, `labels`.
    """
    asked = read(file)
    with service(url, api_key) as client:
        made = submit(client, asked)
        follow(made, url, quiet=as_json)
        points = made.summary()
        if as_json:
            typer.echo(json.dumps(as_dict(made, points)))
        else:
            _show(made.state, points)
            say_failures(client, made)
        if out is not None and made.state.best is not None:
            saved = made.best().download(out)
            if not as_json:
                typer.echo(f"Saved {saved}")
    raise typer.Exit(exit_code(made.state))


def submit(client: Client, asked: SweepFile) -> Sweep:
    """Upload the table, and queue the sweep."""
    if asked.table is None:
        return client.sweep(asked.base, **asked.changes)
    dataset = client.upload(asked.table)
    data = {"kind": "dataset", "id": dataset.id, "target": asked.target, **asked.base.get("data", {})}
    return client.sweep({**asked.base, "data": data}, **asked.changes)


def follow(sweep: Sweep, url: str, *, quiet: bool) -> None:
    """Say where it can be seen and wait for its end."""
    if not quiet:
        typer.echo(f"Sweep {sweep.id} of {sweep.state.jobs} jobs: {url.rstrip('/')}/#/sweep/{sweep.id}", err=True)
    sweep.wait(progress=not quiet)


def as_dict(sweep: Sweep, points: list[SweepPoint]) -> dict[str, Any]:
    """The service's JSON of both."""
    return {
        "sweep": sweep.state.model_dump(mode="json"),
        "summary": [point.model_dump(mode="json") for point in points],
    }


def exit_code(state: State) -> int:
    """What the command ends with: failed jobs weigh more than cancelled ones."""
    return next((EXIT_CODES[status] for status in (Status.failed, Status.cancelled) if state.counts.get(status)), 0)


def say_failures(client: Client, sweep: Sweep) -> None:
    """How many of its jobs have failed, and why the last one did."""
    if failed := sweep.state.counts.get(Status.failed):
        job = next(client.jobs(sweep=sweep.id, status=Status.failed))
        why = job.state.error.message if job.state.error else ""
        typer.echo(f"{failed} of {sweep.state.jobs} jobs failed; {job.id}: {why}", err=True)


def _show(state: State, points: list[SweepPoint]) -> None:
    if any(point.value is not None for point in points):
        _leaderboard(state, points)
    best = state.best
    if best is not None:
        typer.echo(f"Best job: {best.job}, {best.monitor} {best.value:.4g} at epoch {best.epoch}")


def _leaderboard(state: State, points: list[SweepPoint]) -> None:
    names = list(dict.fromkeys(name for point in points for name in point.point))
    if state.folds is not None:
        names.remove("split.folds")  # the same everywhere
    scores = [name for name in SCORES if name != state.monitor and any(name in point.metrics for point in points)]
    rows = []
    for place, point in enumerate(points[:SHOWN], start=1):
        changes = [_brief(point.point[name]) if name in point.point else "" for name in names]
        measured = [_spread(point.value), _epochs(point.best_epoch)]
        rows.append([str(place), *changes, *measured, *(_spread(point.metrics.get(name)) for name in scores)])
    print_table(["", *map(partial(_short, names), names), state.monitor, "best epoch", *scores], rows)
    if len(points) > SHOWN:
        typer.echo(f"and {len(points) - SHOWN} more points")
    several = max(point.value.n for point in points if point.value is not None)
    if several > 1:
        typer.echo(f"mean ± standard deviation over {several} {'folds' if state.folds else 'seeds'}")


def _short(names: list[str], name: str) -> str:
    """Its last part, where no other name ends alike."""
    last = [each.rpartition(".")[2] for each in names]
    return name.rpartition(".")[2] if last.count(name.rpartition(".")[2]) == 1 else name


def _spread(found: Spread | None) -> str:
    """Mean and deviation, the latter where there are several."""
    if found is None or found.mean is None:
        return ""
    return f"{found.mean:.4f}" + ("" if found.std is None else f" ± {found.std:.4f}")


def _epochs(found: EpochSpread | None) -> str:
    if found is None:
        return ""
    return f"{found.median:g}" + ("" if found.min == found.max else f" ({found.min}-{found.max})")


def _brief(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
