"""The command `advice`: which patience would have been enough, by recorded histories."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.common import DEFAULT_URL, ApiKey, AsJson, Url, connect, print_table
from service.spec.early_stopping import Monitor

if TYPE_CHECKING:
    from service.domain.advice import MeanInterval, PatienceOutcome

app = typer.Typer()

SHOWN = {1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 40, 50}
"""Patiences that are printed, with the recommended one."""


@app.command()
def advice(
    monitor: Annotated[Monitor, typer.Option(help="The monitored metric.")] = Monitor.val_loss,
    max_regret: Annotated[
        float, typer.Option(help="How much worse the best epoch may become, relative to its value.")
    ] = 0.01,
    dataset: Annotated[str | None, typer.Option(help="Only jobs on the data set with this id.")] = None,
    sweep: Annotated[str | None, typer.Option(help="Only jobs of the sweep with this id.")] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Say which patience would have saved how many epochs, at what regret, by the recorded histories."""
    filters = {name: value for name, value in (("dataset", dataset), ("sweep", sweep)) if value is not None}
    with connect(url, api_key) as client:
        found = client.early_stopping_advice(monitor, max_regret, **filters)
    if as_json:
        typer.echo(found.model_dump_json())
        return
    for sentence in found.sentences:
        typer.echo(sentence)
    shown = [each for each in found.patiences if each.patience in {*SHOWN, found.recommended}]
    if shown:
        typer.echo()
        print_table(("patience", "epochs saved", "relative regret", "missed", "histories"), map(_cells, shown))


def _cells(outcome: PatienceOutcome) -> list[str]:
    measured = [_percent(outcome.epochs_saved), _percent(outcome.relative_regret), f"{outcome.missed:.0%}"]
    return [str(outcome.patience), *measured, str(outcome.histories)]


def _percent(interval: MeanInterval) -> str:
    if interval.low is None or interval.high is None:
        return f"{interval.mean:.1%}"
    return f"{interval.mean:.1%} ({interval.low:.1%} to {interval.high:.1%})"
